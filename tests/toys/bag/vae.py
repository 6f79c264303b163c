"""A latent for each point of a bag."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genmatter.domains.bag.config import BagVAEConfig
from genmatter.domains.bag.represent import BagBatch, Padded
from genmatter.generative.prior import MixturePrior
from genmatter.generative.vae import VAE
from genmatter.maths.gaussian import DiagonalGaussian
from genmatter.nn.mlp import mlp


def told(batch):
    """The charge and whether it is known, at each point."""
    both = torch.cat([batch.charge.nan_to_num(), batch.charge.isnan().float()], -1)
    return both[:, None].expand(-1, batch.mask.shape[1], -1)


@dataclass(frozen=True)
class Points:
    given: BagBatch
    x: Tensor

    def log_prob(self, batch):
        error = (self.x - batch.x).square().sum(-1) / 2
        return -(error * batch.mask).sum(1)

    def sample(self):
        return self.given.replace(x=self.masked(self.x + torch.randn_like(self.x)))

    def mode(self):
        return self.given.replace(x=self.masked(self.x))

    def masked(self, x):
        return x * self.given.mask[..., None]


class Encoder(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.net = mlp(4, hidden, 6)

    def forward(self, batch):
        mean, raw = self.net(torch.cat([batch.x, told(batch)], -1)).chunk(2, -1)
        return DiagonalGaussian(mean, nn.functional.softplus(raw))


class Decoder(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.net = mlp(5, hidden, 2)

    def forward(self, z, given, epoch):
        return Points(given, self.net(torch.cat([z, told(given)], -1)))


def build(config: BagVAEConfig, representation: Padded) -> VAE:
    nets = Encoder(config.hidden_dim), Decoder(config.hidden_dim)
    return VAE(*nets, lambda given: (*given.mask.shape, 3), MixturePrior(3, 2))
