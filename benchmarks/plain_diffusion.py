"""What a DDPM walkthrough does, written plainly: a table of betas, a loader, 200 steps."""

__all__ = ["PlainDDPM", "fit", "sample"]

import math

import torch
from torch import Tensor, nn

STEPS = 200
BETAS = torch.linspace(1e-4, 0.02, STEPS)
ALPHAS = 1 - BETAS
ALPHA_BARS = torch.cumprod(ALPHAS, 0)


class PlainDDPM(nn.Module):
    """Coordinates beside a sinusoidal time, three layers of 256, the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(24 + 64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
            nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 24),
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        frequencies = torch.exp(-math.log(10_000) * torch.arange(32) / 31)
        angles = t.float()[:, None] * frequencies
        return self.net(torch.cat([x, angles.sin(), angles.cos()], -1))


def fit(train: Tensor, epochs: int) -> PlainDDPM:
    """Adam at 1e-3 over shuffled batches of 256."""
    model = PlainDDPM()
    data = torch.utils.data.TensorDataset(train)
    loader = torch.utils.data.DataLoader(data, batch_size=256, shuffle=True)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for (x,) in loader:
            t = torch.randint(0, STEPS, (len(x),))
            noise = torch.randn_like(x)
            a = ALPHA_BARS[t][:, None]
            loss = nn.functional.mse_loss(model(a.sqrt() * x + (1 - a).sqrt() * noise, t), noise)
            adam.zero_grad()
            loss.backward()
            adam.step()
            loss.item()
    return model


@torch.no_grad()
def sample(model: PlainDDPM, n: int) -> Tensor:
    """Walks down all 200 steps."""
    x = torch.randn(n, 24)
    for t in reversed(range(STEPS)):
        noise = model(x, torch.full((n,), t))
        x = (x - BETAS[t] / (1 - ALPHA_BARS[t]).sqrt() * noise) / ALPHAS[t].sqrt()
        if t:
            x = x + BETAS[t].sqrt() * torch.randn_like(x)
    return x
