r"""The normal distribution that an encoder returns, by mean and log-variance."""

__all__ = ["DiagonalGaussianDistribution"]

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class DiagonalGaussianDistribution:
    r"""The distribution :math:`\mathcal N(\mu, \mathrm{diag}(\sigma^2))` of a latent vector.

    Where vectors are those of padded places, `mask` says which are real; sums over a crystal see
    no others.
    """

    mean: Float[Tensor, "*batch latent"]
    logvar: Float[Tensor, "*batch latent"]
    mask: Bool[Tensor, "*batch"] | None = None

    @property
    def std(self) -> Float[Tensor, "*batch latent"]:
        return (self.logvar / 2).exp()

    @property
    def var(self) -> Float[Tensor, "*batch latent"]:
        return self.logvar.exp()

    def sample(self) -> Float[Tensor, "*batch latent"]:
        """Draws once; gradients flow to mean and log-variance."""
        return self.mean + self.std * torch.randn_like(self.mean)

    def mode(self) -> Float[Tensor, "*batch latent"]:
        """Returns the mean."""
        return self.mean

    def kl(self, other: "DiagonalGaussianDistribution | None" = None) -> Float[Tensor, "*batch"]:
        r"""Returns the KL divergence to another one, or to N(0, I), of each vector, in nats.

        References:
            | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), appendix B
            | https://arxiv.org/abs/1312.6114
        """
        return self._real(self.kl_per_unit(other).sum(-1))

    def kl_per_unit(
        self, other: "DiagonalGaussianDistribution | None" = None
    ) -> Float[Tensor, "*batch latent"]:
        """Returns the same for each coordinate."""
        if other is None:
            return (self.mean.square() + self.var - 1 - self.logvar) / 2
        apart = (self.mean - other.mean).square()
        return ((apart + self.var) / other.var - 1 - self.logvar + other.logvar) / 2

    def log_prob(self, x: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch"]:
        """Returns the log-density of vectors, in nats."""
        z = (x - self.mean).square() / self.var
        return self._real(-(z + self.logvar + math.log(2 * math.pi)).sum(-1) / 2)

    def nll(self, x: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch"]:
        """Returns minus the log-density of vectors, in nats."""
        return -self.log_prob(x)

    def _real(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        return x if self.mask is None else x * self.mask
