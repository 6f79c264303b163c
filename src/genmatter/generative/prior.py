r"""The distribution of latents: a standard normal, or a mixture that is fitted to them.

A decoder is good where the posteriors of the data lie. They never fill a standard normal quite
evenly, and samples show it long before the bound does. So once the networks are trained, a
mixture of Gaussians is fitted to draws from the posteriors: another prior, which the
bound is then measured with, and which loosens nothing.

References:
    | Resampled Priors for Variational Autoencoders (Bauer & Mnih, 2019), for the mismatch
    | https://arxiv.org/abs/1810.11428
    | From Variational to Deterministic Autoencoders (Ghosh et al., 2020), for the fit afterwards
    | https://arxiv.org/abs/1903.12436
"""

__all__ = ["MixturePrior"]

import torch
from torch import Tensor, nn

from genmatter.maths.mixture import GaussianMixture


class MixturePrior(nn.Module):
    """A mixture of at most `parts` Gaussians; until it is fitted, or with none, N(0, I)."""

    weight: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, size: int, parts: int = 0) -> None:
        super().__init__()
        self.parts, rows = parts, max(parts, 1)
        self.register_buffer("weight", torch.full((rows,), 1 / rows))
        self.register_buffer("mean", torch.zeros(rows, size))
        self.register_buffer("scale", torch.eye(size).repeat(rows, 1, 1))

    @property
    def mixture(self) -> GaussianMixture:
        """The distribution of one latent vector."""
        return GaussianMixture(self.weight, self.mean, self.scale)

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns the log-density of each vector, in nats."""
        return self.mixture.log_prob(z)

    def sample(self, shape: tuple[int, ...]) -> Tensor:
        """Draws independent vectors, along the last axis of the shape."""
        *batch, size = shape
        return self.mixture.sample(int(torch.Size(batch).numel())).reshape(*batch, size)

    @torch.no_grad()
    def fit(self, z: Tensor, held: Tensor | None = None) -> None:
        """Fits the mixture to rows of latents.

        The number of Gaussians is chosen by the likelihood of held-out rows, or without such by
        BIC, which takes fewer.
        """
        if not self.parts:
            return
        # in double: the covariance of a unit that the decoder ignores is singular but for ridge
        x = z.double()
        it = (
            GaussianMixture.choose(x, self.parts)
            if held is None
            else GaussianMixture.held_out(x, held.double(), self.parts)
        )
        empty = len(self.weight) - len(it.weight)
        self.weight.copy_(nn.functional.pad(it.weight, (0, empty)))
        self.mean[: len(it.mean)], self.scale[: len(it.scale)] = it.mean.to(z), it.scale.to(z)
