"""The walkthrough's functions and networks, by their names, and right where it is wrong.

What differs, and why, stands with each of them. `walkthrough`, the preset of `polymer/vae`,
trains these very networks.
"""

__all__ = [
    "Decoder", "Encoder", "PolymerDecoder", "PolymerEncoder", "PolymerVAE", "align_principal",
    "center_com", "find_principal_axis", "make_2d_rotation", "meaning_of_beta",
    "radius_of_gyration", "start_linear", "vae_loss",
]  # fmt: skip

import math
from typing import Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.maths import geometry, ppca
from genmatter.nn.mlp import carry, mlp

Array = TypeVar("Array", np.ndarray, Tensor)


def _like(x: Array, y: Tensor) -> Array:
    return y if isinstance(x, Tensor) else y.numpy()  # pyright: ignore[reportReturnType]


def center_com(paths: Array) -> Array:
    """Moves the centre of mass of one chain or of many, `[..., beads, dim]`, to the origin."""
    return _like(paths, geometry.centre(torch.as_tensor(paths)))


def find_principal_axis(points: Array) -> Array:
    """Returns the unit vector `[dim]` along which centred points `[beads, dim]` spread most.

    Its sign is a function of the shape: the chain's first Rouse mode goes along it, not against.
    """
    x = torch.as_tensor(points)
    return _like(points, geometry.principal_axes(x)[..., 0])


def make_2d_rotation(angle: float) -> Float[np.ndarray, "2 2"]:
    """Returns the matrix that turns column vectors counter-clockwise by an angle in radian."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def align_principal(paths: Array) -> Array:
    """Turns each centred chain, `[..., beads, dim]`, until its principal axis is x.

    All at once, and to one result for each shape: an eigenvector's sign is arbitrary, and
    following it turns many a rotated copy of a chain into a different tensor.
    """
    return _like(paths, geometry.align_principal(torch.as_tensor(paths)))


def radius_of_gyration(coords: Array) -> Array:
    """Returns the root mean square distance from the centre of mass, `[..., beads, dim] -> [...]`.

    Same unit as the coordinates.
    """
    return _like(coords, geometry.radius_of_gyration(torch.as_tensor(coords)))


class Encoder(nn.Module):
    """Coordinates to the mean and standard deviation of q(z|x)."""

    def __init__(
        self, input_dim: int = 24, hidden_dim: int = 256, latent_dim: int = 2,
        posterior: Literal["softplus", "log_variance"] = "softplus",
    ) -> None:  # fmt: skip
        super().__init__()
        self.posterior = posterior
        self.net = nn.Sequential(*mlp(input_dim, hidden_dim, hidden_dim, hidden_dim), nn.ReLU())
        self.fc_mu = nn.Linear(hidden_dim, latent_dim)
        self.fc_sigma = nn.Linear(hidden_dim, latent_dim)

    def forward(self, x: Float[Tensor, "*n in"]) -> tuple[Tensor, Tensor]:
        """Returns mean and standard deviation, `[n, latent_dim]` each."""
        h = self.net(x)
        raw = self.fc_sigma(h)
        log_variance = self.posterior == "log_variance"
        return self.fc_mu(h), (raw / 2).exp() if log_variance else nn.functional.softplus(raw)


class Decoder(nn.Module):
    """Latent points to coordinates."""

    def __init__(self, latent_dim: int = 2, hidden_dim: int = 256, output_dim: int = 24) -> None:
        super().__init__()
        self.net = mlp(latent_dim, hidden_dim, hidden_dim, hidden_dim, output_dim)

    def forward(self, z: Float[Tensor, "*n latent"]) -> Tensor:
        """Returns coordinates `[n, output_dim]`."""
        return self.net(z)


PolymerEncoder, PolymerDecoder = Encoder, Decoder


def start_linear(
    encoder: Encoder, decoder: Decoder, x: Float[Tensor, "n in"], noise: float | None = None
) -> float:
    """Sets both networks to the best linear ones for flat chains, by probabilistic PCA.

    With two latents they are better, from the first step on, than the walkthrough's training
    makes them from random weights.

    Returns:
        The width of the decoder: `noise`, or the best one where that is None.
    """
    latent = encoder.fc_mu.out_features
    best = ppca.fit(x, latent, noise)
    to_mean = nn.Sequential(*encoder.net, encoder.fc_mu)
    carry(to_mean, best.inverse, -best.inverse @ best.mean)
    carry(decoder.net, best.loadings, best.mean)
    std = best.posterior
    raw = 2 * std.log() if encoder.posterior == "log_variance" else std.expm1().log()
    with torch.no_grad():
        encoder.fc_sigma.weight.zero_()
        encoder.fc_sigma.bias.copy_(raw)
    return best.noise


class PolymerVAE(nn.Module):
    """Encoder and decoder of flat chains: 24 numbers are 12 beads in the plane."""

    def __init__(self, input_dim: int = 24, hidden_dim: int = 256, latent_dim: int = 2) -> None:
        super().__init__()
        self.encoder = Encoder(input_dim, hidden_dim, latent_dim)
        self.decoder = Decoder(latent_dim, hidden_dim, input_dim)

    def reparameterize(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """Draws from N(mu, sigma^2), so that gradients reach both."""
        return mu + sigma * torch.randn_like(sigma)

    def forward(self, x: Float[Tensor, "n in"]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the reconstruction, and mean and standard deviation of q(z|x)."""
        mu, sigma = self.encoder(x)
        return self.decoder(self.reparameterize(mu, sigma)), mu, sigma


def vae_loss(
    x: Tensor, x_recon: Tensor, mu: Tensor, sigma: Tensor, beta: float = 0.01
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Returns the total, the mean squared error and the mean KL divergence of one coordinate.

    .. math::
        L = \frac1{nD} \lVert x - \hat x \rVert^2 + \frac{\beta}{nd} \sum \mathrm{KL}

    for n chains of D coordinates and d latent ones. The error is a mean over D numbers and the
    KL over d, so beta is not the weight of a KL in nats: see `meaning_of_beta`.
    """
    recon = nn.functional.mse_loss(x_recon, x)
    kl = -0.5 * torch.mean(1 + 2 * torch.log(sigma + 1e-8) - mu.square() - sigma.square())
    return recon + beta * kl, recon, kl


def meaning_of_beta(beta: float, size: int, latent: int) -> float:
    r"""Returns the width of the decoder for which `vae_loss` is the exact ELBO.

    The negative ELBO of a decoder :math:`\mathcal N(\hat x, s^2)` is, for one chain and up to the
    constant :math:`D \ln(s \sqrt{2\pi})`,

    .. math::
        \frac{\lVert x - \hat x \rVert^2}{2 s^2} + \mathrm{KL}
        = \frac{D}{2 s^2} \left( \frac{\lVert x - \hat x \rVert^2}{D}
        + \frac{2 s^2}{D}\, \mathrm{KL} \right).

    `vae_loss` has :math:`\beta / d` for :math:`2 s^2 / D`, so :math:`s = \sqrt{\beta D / 2 d}`:
    .245 for beta .01, 24 coordinates and 2 latent ones. A sample needs that noise to be one.

    Args:
        beta: As typed, above 0.
        size: Number of coordinates D.
        latent: Number of latent coordinates d.
    """
    return math.sqrt(beta * size / (2 * latent))
