r"""Mixtures of Gaussians with full covariances, fitted by expectation and maximisation."""

__all__ = ["GaussianMixture"]

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Points = Float[Tensor, "n size"]


@dataclass(frozen=True)
class GaussianMixture:
    r"""The distribution :math:`\sum_k w_k \mathcal{N}(\mu_k, L_k L_k^T)`."""

    weight: Float[Tensor, " parts"]
    mean: Float[Tensor, "parts size"]
    scale: Float[Tensor, "parts size size"]
    """The lower triangles L."""

    def log_prob(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Returns the log-density, in nats."""
        return self._joint(x.reshape(-1, x.shape[-1])).logsumexp(-1).reshape(x.shape[:-1])

    def sample(self, n: int) -> Points:
        """Draws points, from the global stream."""
        k = torch.multinomial(self.weight, n, replacement=True)
        noise = torch.randn(n, self.mean.shape[1], dtype=self.mean.dtype, device=self.mean.device)
        return self.mean[k] + (self.scale[k] @ noise[..., None])[..., 0]

    @property
    def free(self) -> int:
        """How many numbers it has been given."""
        parts, size = self.mean.shape
        return parts * (1 + size + size * (size + 1) // 2) - 1

    @classmethod
    def fit(
        cls, x: Points, parts: int, steps: int = 100, ridge: float = 1e-3
    ) -> "GaussianMixture":
        """Maximises the likelihood of points, from as many random points as there are parts.

        Args:
            x: The points.
            parts: Number of Gaussians; at most the number of points.
            steps: Steps of expectation and maximisation.
            ridge: Added to the covariances' diagonals, in units of the points' mean variance.

        References:
            | Pattern Recognition and Machine Learning (Bishop, 2006), section 9.2.2
        """
        parts = min(parts, len(x))
        spread = _triangle(torch.cov(x.T).reshape(x.shape[1], -1), ridge)
        it = cls(
            x.new_full((parts,), 1 / parts),
            x[torch.randperm(len(x))[:parts].to(x.device)],
            spread.expand(parts, -1, -1),
        )
        for _ in range(steps if parts > 1 else 1):
            it = it._step(x, ridge)
        return it

    @classmethod
    def choose(cls, x: Points, most: int) -> "GaussianMixture":
        """Fits 1, 2, 4 .. `most` Gaussians and returns the fit of least BIC (Schwarz, 1978)."""
        fits = [cls.fit(x, k) for k in _doubled(most)]
        scores = [it.free * math.log(len(x)) / 2 - float(it.log_prob(x).sum()) for it in fits]
        return fits[scores.index(min(scores))]

    @classmethod
    def held_out(
        cls, x: Points, held: Float[Tensor, "m size"], most: int, steps: int = 40
    ) -> "GaussianMixture":
        """Fits 1, 2, 4 .. `most` Gaussians; returns the ones that held-out points fit best.

        Args:
            x: What is fitted.
            held: What chooses.
            most: Gaussians, at most.
            steps: Steps of expectation and maximisation.
        """
        fits = [cls.fit(x, k, steps) for k in _doubled(most)]
        scores = [float(it.log_prob(held).mean()) for it in fits]
        return fits[scores.index(max(scores))]

    def _joint(self, x: Points) -> Float[Tensor, "n parts"]:
        gap = (x - self.mean[:, None]).mT
        z = torch.linalg.solve_triangular(self.scale, gap, upper=False)
        log_det = self.scale.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        norm = self.weight.log() - log_det - x.shape[1] / 2 * math.log(2 * math.pi)
        return (norm[:, None] - z.square().sum(1) / 2).T

    def _step(self, x: Points, ridge: float) -> "GaussianMixture":
        share = self._joint(x).softmax(-1).T
        count = share.sum(-1).clamp_min(1e-6)
        mean = share @ x / count[:, None]
        gap = x - mean[:, None]
        covariance = (share[..., None] * gap).mT @ gap / count[:, None, None]
        size = ridge * x.var(0).mean()
        eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        scale = torch.linalg.cholesky(covariance + size * eye)
        return GaussianMixture(count / count.sum(), mean, scale)


def _doubled(most: int) -> list[int]:
    """Returns 1, 2, 4 and so on, and `most`."""
    return [k for k in (2**i for i in range(most.bit_length())) if k < most] + [most]


def _triangle(covariance: Float[Tensor, "size size"], ridge: float) -> Float[Tensor, "size size"]:
    size = ridge * covariance.diagonal().mean()
    eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.cholesky(covariance + size * eye)
