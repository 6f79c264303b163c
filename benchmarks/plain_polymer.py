"""What the walkthrough does, written plainly: a loop over frames, a loader, an Adam."""

__all__ = ["PlainVAE", "align", "fit", "plain_loss"]

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn


def align(paths: np.ndarray) -> np.ndarray:
    """Centres each frame and turns its first principal axis onto x, frame by frame."""
    out = np.zeros_like(paths)
    for i, points in enumerate(paths):
        points = points - points.mean(0)
        _, axes = np.linalg.eigh(points.T @ points)
        angle = -np.arctan2(axes[1, -1], axes[0, -1])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        out[i] = points @ turn.T
    return out


def _three_layers(width: int, hidden: int) -> list[nn.Module]:
    sizes = [width, hidden, hidden, hidden]
    return [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]


class PlainVAE(nn.Module):
    """Three layers of 256 each way, two latents, softplus sigma."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*_three_layers(24, 256))
        self.mu, self.raw = nn.Linear(256, 2), nn.Linear(256, 2)
        self.decoder = nn.Sequential(*_three_layers(2, 256), nn.Linear(256, 24))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        mu, sigma = self.mu(h), nn.functional.softplus(self.raw(h))
        return self.decoder(mu + sigma * torch.randn_like(sigma)), mu, sigma


def plain_loss(x: Tensor, again: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """Mean squared error plus .01 of the mean KL."""
    kl = -0.5 * torch.mean(1 + 2 * torch.log(sigma + 1e-8) - mu**2 - sigma**2)
    return nn.functional.mse_loss(again, x) + 0.01 * kl


def fit(train: Tensor, epochs: int, after_epoch: object = None) -> PlainVAE:
    """Adam at 1e-3 over shuffled batches of 256, with a look at three numbers at each step."""
    model = PlainVAE()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(train), batch_size=256, shuffle=True
    )
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for (x,) in loader:
            adam.zero_grad()
            loss = plain_loss(x, *model(x))
            loss.backward()
            adam.step()
            loss.item()
        if callable(after_epoch) and after_epoch(model):
            break
    return model
