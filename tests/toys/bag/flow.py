"""A flow from noise to the latents of the VAE, which is frozen."""

import torch

from genmatter.domains.bag.config import BagFlowConfig
from genmatter.domains.bag.represent import Padded
from genmatter.domains.bag.vae import told
from genmatter.generative.vae import VAE
from genmatter.nn.mlp import mlp
from genmatter.spine import Generative, Loss


class Flow(Generative):
    def __init__(self, vae, hidden, steps):
        super().__init__()
        self.vae, self.net, self.steps = vae.requires_grad_(False), mlp(6, hidden, 3), steps
        self.register_buffer("scale", torch.ones(()))

    def train(self, mode=True):
        super().train(mode)
        self.vae.eval()
        return self

    def loss(self, batch, epoch):
        z = self.vae.to_latent(batch)
        t = ((torch.arange(len(z)) + torch.rand(1)) / max(len(z), 1)).to(z)[:, None, None]
        eps = torch.randn_like(z)
        error = (self.velocity((1 - t) * z + t * eps, t, batch) - (eps - z)) * batch.mask[
            ..., None
        ]
        return Loss({"flow": error.square().sum((1, 2))}, {})

    def velocity(self, z, t, batch):
        return self.net(torch.cat([z, t.expand(*z.shape[:2], 1), told(batch)], -1))

    @torch.no_grad()
    def finish(self, batches):
        self.scale.copy_(
            torch.cat([self.vae.to_latent(b)[b.mask].flatten() for b in batches]).std()
        )

    @torch.no_grad()
    def sample(self, given):
        z = self.scale * torch.randn(*given.mask.shape, 3).to(given.mask.device)
        for t in torch.linspace(1, 1 / self.steps, self.steps, device=z.device):
            z = z - self.velocity(z, t[None, None, None], given) / self.steps
        return self.vae.from_latent(z, given)


def build(config: BagFlowConfig, representation: Padded, vae: VAE) -> Flow:
    return Flow(vae, config.hidden_dim, config.sampling.steps)
