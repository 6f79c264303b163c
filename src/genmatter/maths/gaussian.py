r"""Gaussians with diagonal covariance."""

__all__ = ["DiagonalGaussian", "ramp"]

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class DiagonalGaussian:
    r"""The distribution :math:`\mathcal{N}(\mu, \mathrm{diag}(\sigma^2))` of a vector."""

    mean: Float[Tensor, "*batch event"]
    std: Float[Tensor, "*#batch #event"]

    @classmethod
    def standard(cls, like: Float[Tensor, "*batch event"]) -> "DiagonalGaussian":
        r"""Returns :math:`\mathcal{N}(0, I)` over tensors of that shape."""
        return cls(torch.zeros_like(like), torch.ones_like(like))

    def rsample(self) -> Float[Tensor, "*batch event"]:
        """Draws one sample, through which gradients flow."""
        return self.mean + self.std * torch.randn_like(self.mean)

    def log_prob(self, x: Float[Tensor, "... event"]) -> Float[Tensor, "..."]:
        """Returns the log-density, in nats; the batch axes of both are broadcast."""
        z = (x - self.mean) / self.std
        return -(z.square() / 2 + torch.log(self.std) + math.log(2 * math.pi) / 2).sum(-1)

    def kl_per_unit(self) -> Float[Tensor, "*batch event"]:
        r"""Returns :math:`(\mu^2 + \sigma^2 - 1 - \ln \sigma^2) / 2` for each coordinate, in nats.

        References:
            | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), appendix B
            | https://arxiv.org/abs/1312.6114
        """
        return (self.mean.square() + self.std.square() - 1 - 2 * torch.log(self.std)) / 2

    def kl_to_standard(self) -> Float[Tensor, "*batch"]:
        r"""Returns :math:`\mathrm{KL}(\cdot \parallel \mathcal{N}(0, I))`, in nats."""
        return self.kl_per_unit().sum(-1)


def ramp(t: float, start: float, stop: float, duration: float) -> float:
    """Moves from `start` to `stop` linearly over `duration`, then stays."""
    return stop if t >= duration else start + (stop - start) * t / duration
