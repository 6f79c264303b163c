r"""Probabilistic PCA: the best linear variational auto-encoder, in closed form.

.. math:: z \sim \mathcal N(0, I), \quad x | z \sim \mathcal N(W z + m, s^2 I), \qquad
          W = U_d (\Lambda_d - s^2)^{1/2}, \quad s^2 = \frac{1}{D - d} \sum_{i > d} \lambda_i

for the d leading eigenvectors U and eigenvalues of the covariance of D numbers.

References:
    | Probabilistic principal component analysis (Tipping & Bishop, 1999)
    | Don't blame the ELBO! A linear VAE perspective on posterior collapse (Lucas et al., 2019)
    | https://arxiv.org/abs/1911.02469
"""

__all__ = ["LinearModel", "fit"]

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LinearModel:
    """The likelihood and the posterior, both linear and normal."""

    mean: Float[Tensor, " size"]
    loadings: Float[Tensor, "size latent"]
    """W: the mean of x given z is `z @ loadings.T + mean`."""
    inverse: Float[Tensor, "latent size"]
    """The mean of z given x is `(x - mean) @ inverse.T`."""
    posterior: Float[Tensor, " latent"]
    """Standard deviation of z given x."""
    noise: float
    """s."""


def fit(x: Float[Tensor, "n size"], latent: int, noise: float | None = None) -> LinearModel:
    """Returns the model of greatest likelihood, of that noise where one is given.

    A direction whose variance is below the noise has no loading: its posterior is its prior.
    """
    x = x.double()
    mean = x.mean(0)
    covariance = (x - mean).T @ (x - mean) / len(x)
    values, vectors = (t.flip(-1) for t in torch.linalg.eigh(covariance))
    s2 = float(values[latent:].mean()) if noise is None else noise**2
    kept = values[:latent].clamp_min(s2)
    loadings = vectors[:, :latent] * (kept - s2).sqrt()
    parts = mean, loadings, (loadings / kept).T, (s2 / kept).sqrt()
    return LinearModel(*(p.float() for p in parts), noise=s2**0.5)
