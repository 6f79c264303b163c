r"""The isotropic Gaussian on rotations: where Brownian motion of variance :math:`\sigma^2` ends.

A rotation by :math:`\omega \in [0, \pi]` about an even axis has, with respect to the uniform
law, the density of the heat kernel

.. math:: f(\omega; \sigma) = \sum_{l \ge 0} (2l + 1)\, e^{-l (l + 1) \sigma^2 / 2}\,
          \frac{\sin((l + \frac12)\, \omega)}{\sin(\omega / 2)}

which needs ever more waves as sigma falls, and loses its tail to rounding. Both signs of
:math:`l + \frac12` make one sum over the half-integers, which Poisson's formula turns into a sum
over the images :math:`u_k = \omega + 2 \pi k` of the angle, all of one size and few:

.. math:: f = \frac{\sqrt{2 \pi}\, e^{\sigma^2 / 8}}{\sigma^3 \sin(\omega / 2)}
          \sum_k (-1)^k u_k\, e^{-u_k^2 / 2 \sigma^2}.

Up to sigma 1 three images (k = -1, 0, 1) are exact to rounding, above it nine waves are. What
cancels, at the identity and at a half turn, is written in functions that do not: of small sigma
:math:`f / 8 \pi^2` tends to a normal density of the rotation vector, of large sigma f to 1.

Angles are in radian; sigma is a number or a tensor that broadcasts with them, above 0. All is
computed in 64 bits, has finite gradients everywhere, and returns the angles' kind of number.

References:
    | Normal distribution on SO(3) (Nikolayev & Savyolova, 1997), https://doi.org/10.1155/TSM.29.201
    | Denoising diffusion probabilistic models on SO(3) (Leach et al., 2022), where the sum is
    | truncated: https://openreview.net/forum?id=BY88eBbkpe5
"""

__all__ = [
    "angle_density",
    "cdf",
    "log_density",
    "sample_angle",
    "sample_vector",
    "score",
    "score_scaling",
    "score_vector",
]

import functools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Angles = Float[Tensor, "*#batch"]
Widths = float | Float[Tensor, "*#batch"]

_PI_REST = 1.2246467991473532e-16  # what pi in 64 bits lacks
_WAVES = 9
_REACH = 10.0  # widths beyond which there is nothing, to rounding
_NODES = 64  # of quadrature
_CELLS = 256  # of a table of quantiles
_HALVINGS = 30


def log_density(omega: Angles, sigma: Widths) -> Angles:
    """Returns the logarithm of the density with respect to the uniform law."""
    w, s = _double(omega, sigma)
    image = _log_images(w, s.clamp(max=1))
    wave, _ = _waves(w, s.clamp(min=1))
    return torch.where(s <= 1, image, wave.log()).to(omega)


def score(omega: Angles, sigma: Widths) -> Angles:
    r"""Returns :math:`\partial \log f / \partial \omega`, which is 0 at either end."""
    w, s = _double(omega, sigma)
    narrow = s.clamp(max=1)
    half = math.pi / 2
    near, far = _score_near(w.clamp(max=half), narrow), _score_far(w.clamp(min=half), narrow)
    wave, slope = _waves(w, s.clamp(min=1))
    return torch.where(s <= 1, torch.where(w < half, near, far), slope / wave).to(omega)


def score_vector(v: Float[Tensor, "*#batch 3"], sigma: Widths) -> Float[Tensor, "*#batch 3"]:
    r"""Returns the gradient of :math:`\log f` at the rotations of vectors shorter than pi.

    It is the one in the rotated frame, along :math:`R \exp(\hat\epsilon)`, and along v itself:
    :math:`\partial_\omega \log f \; v / \omega`. Sigma broadcasts with the angles.
    """
    x = _wide(v)
    omega = x.square().sum(-1).clamp_min(torch.finfo(x.dtype).tiny).sqrt()
    return ((score(omega, sigma) / omega)[..., None] * x).to(v)


def angle_density(omega: Angles, sigma: Widths) -> Angles:
    r"""Returns the density of the angle per radian, :math:`(1 - \cos \omega)\, f / \pi`."""
    w, s = _double(omega, sigma)
    return (2 / math.pi * (w / 2).sin().square() * log_density(w, s.sqrt()).exp()).to(omega)


def cdf(omega: Angles, sigma: Widths) -> Angles:
    """Returns the probability of a smaller angle, by Gauss and Legendre's quadrature."""
    w, s = _double(omega, sigma)
    w, weight = _quadrature(torch.minimum(w, _reach(s)))
    return (weight * angle_density(w, s.sqrt()[..., None])).sum(-1).to(omega)


def score_scaling(sigma: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    r"""Returns :math:`\sqrt{\mathrm E |\nabla \log f|^2 / 3}`, of small sigma 1 / sigma."""
    s = _wide(sigma).square()
    w, weight = _quadrature(_reach(s))
    width = s.sqrt()[..., None]
    square = weight * angle_density(w, width) * score(w, width).square()
    return (square.sum(-1) / 3).sqrt().to(sigma)


def sample_angle(sigma: Widths, u: Angles) -> Angles:
    """Returns the angles that shares u in [0, 1] of all rotations do not exceed.

    The distribution function is tabulated once for each different sigma, by Simpson's rule, and
    inverted between two entries, as the cubic that has their values and slopes: a share is right
    to 1e-7.
    """
    share, s = _double(u, sigma)
    each, row = s.unique(return_inverse=True)
    mass, density, h = _table(each)
    base = 2 * torch.arange(len(each)).to(share)  # rows one after another, apart
    found = torch.searchsorted((mass + base[:, None]).flatten(), share + base[row])
    cell = (found - row * (_CELLS + 1) - 1).clamp(0, _CELLS - 1)
    ends = [(mass[row, k], h[row] * density[row, k]) for k in (cell, cell + 1)]
    return (h[row] * (cell + _root(share, *ends[0], *ends[1]))).to(u)


def _table(s: Float[Tensor, " s"]) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the cdf and its slope at evenly spaced angles, and the space between two."""
    end = _reach(s)[:, None]
    grid = torch.linspace(0, 1, 2 * _CELLS + 1, dtype=end.dtype, device=end.device)
    p = angle_density(end * grid, s.sqrt()[:, None])
    h = end / _CELLS
    cells = (p[:, :-1:2] + 4 * p[:, 1::2] + p[:, 2::2]) * h / 6
    mass = torch.nn.functional.pad(cells.cumsum(-1), (1, 0))
    return mass / mass[:, -1:], p[:, ::2], h[:, 0]


def _root(y: Tensor, a: Tensor, da: Tensor, b: Tensor, db: Tensor) -> Tensor:
    """Returns where in [0, 1] the rising cubic of those values and slopes at its ends is y."""
    low, high = torch.zeros_like(y), torch.ones_like(y)
    for _ in range(_HALVINGS):
        x = (low + high) / 2
        bent = (1 - x) * (da - b + a) - x * (db - b + a)
        below = a + x * (b - a + (1 - x) * bent) < y
        low, high = torch.where(below, x, low), torch.where(below, high, x)
    return (low + high) / 2


def sample_vector(sigma: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3"]:
    """Draws a rotation vector of each width."""
    u = torch.rand(sigma.shape, dtype=torch.float64)
    axis = torch.nn.functional.normalize(torch.randn(*sigma.shape, 3, dtype=u.dtype), dim=-1)
    width = _wide(sigma)
    return (sample_angle(width, u.to(width))[..., None] * axis.to(width)).to(sigma)


def _double(omega: Angles, sigma: Widths) -> tuple[Tensor, Tensor]:
    """Returns angles and variances in 64 bits."""
    w = _wide(omega)
    return w, torch.as_tensor(sigma, dtype=w.dtype, device=w.device).square()


def _wide(x: Tensor) -> Tensor:
    """Returns 64 bits, on the CPU where the device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def _reach(s: Tensor) -> Tensor:
    return (_REACH * s.sqrt()).clamp(max=math.pi)


@functools.cache
def _legendre() -> tuple[Tensor, Tensor]:
    x, weight = np.polynomial.legendre.leggauss(_NODES)
    return torch.from_numpy(x), torch.from_numpy(weight)


def _quadrature(end: Tensor) -> tuple[Tensor, Tensor]:
    """Returns nodes and weights of the integral from 0 to each end, on a new last axis."""
    x, weight = (t.to(end) for t in _legendre())
    return end[..., None] * (1 + x) / 2, end[..., None] * weight / 2


def _log_images(w: Tensor, s: Tensor) -> Tensor:
    factor = s / 8 + math.log(8 * math.pi) / 2 - 1.5 * s.log() - w.square() / (2 * s)
    share, _ = _images(w, s)
    return factor - torch.sinc(w / (2 * math.pi)).log() + share.log()


def _images(w: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns the sum over k = -1, 0, 1 divided by its middle term, and its slope.

    .. math:: T = 1 - 2 e^{-\pi a} (\cosh x - 2 \pi a \sinh(x) / x), \quad
              x = a \omega, \; a = 2 \pi / \sigma^2.
    """
    a = 2 * math.pi / s
    x = a * w
    up, down = (x - math.pi * a).exp(), (-x - math.pi * a).exp()
    small = x < 0.3
    y, x2, flat = torch.where(small, torch.ones_like(x), x), x.square(), 2 * (-math.pi * a).exp()
    ratio = torch.where(small, flat * (1 + x2 / 6 + x2.square() / 120), (up - down) / y)
    bend = torch.where(small, flat * x * (1 / 3 + x2 / 30), (up + down - ratio) / y)
    lever = 2 * math.pi * a
    return 1 - up - down + lever * ratio, a * (lever * bend - up + down)


def _score_near(w: Tensor, s: Tensor) -> Tensor:
    r"""Adds the slopes of :math:`\ln(\omega / \sin(\omega / 2)), \ln T, -\omega^2 / 2 s`."""
    small = w < 0.1
    y, w2 = torch.where(small, torch.ones_like(w), w), w.square()
    series = w / 12 * (1 + w2 / 60 + w2.square() / 2520 + w2**3 / 100800)
    share, slope = _images(w, s)
    return torch.where(small, series, 1 / y - 0.5 / (y / 2).tan()) + slope / share - w / s


def _score_far(w: Tensor, s: Tensor) -> Tensor:
    r"""Does the same for images 0 and -1, in what the angle lacks to a half turn.

    .. math:: 2 e^{-(\pi^2 + \delta^2) / 2 \sigma^2}
              (\pi \cosh(\pi \delta / \sigma^2) - \delta \sinh(\pi \delta / \sigma^2)), \quad
              \delta = \pi - \omega.
    """
    d = (math.pi - w) + _PI_REST
    t = (math.pi * d / s).tanh()
    slope = ((math.pi**2 + d.square()) / s - 1) * t - 2 * math.pi * d / s
    return -slope / (math.pi - d * t) - (d / 2).tan() / 2


def _waves(w: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns f and its slope, from :math:`\chi_l = 1 + 2 \sum_{j \le l} \cos j \omega`.

    Clenshaw's recurrence sums :math:`\cos j \omega` and :math:`\sin j \omega / \sin \omega`.
    """
    l = torch.arange(_WAVES, dtype=w.dtype, device=w.device)
    terms = (2 * l + 1) * (-l * (l + 1) * s[..., None] / 2).exp()
    tails = terms.flip(-1).cumsum(-1).unbind(-1)  # the last is that of l = 0
    twice = 2 * w.cos()
    even, even1, odd, odd1 = (torch.zeros_like(twice) for _ in range(4))
    for j, tail in zip(range(_WAVES - 1, 0, -1), tails[:-1], strict=True):
        even, even1 = tail + twice * even - even1, even
        odd, odd1 = j * tail + twice * odd - odd1, odd
    return tails[-1] + twice * even - 2 * even1, -2 * w.sin() * odd
