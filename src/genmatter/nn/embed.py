"""Numbers written as vectors that a network can read."""

__all__ = ["bumps", "sinusoidal"]

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoidal(t: Float[Tensor, " n"], size: int) -> Float[Tensor, "n size"]:
    """Returns sines and cosines of t, at frequencies from 1 down to 1/10,000.

    References:
        Attention is all you need (Vaswani et al., 2017), section 3.5.
    """
    half = size // 2
    k = torch.arange(half, dtype=t.dtype, device=t.device)
    angle = t[:, None] * (-math.log(10_000.0) / max(half - 1, 1) * k).exp()
    return torch.cat([angle.sin(), angle.cos()], -1)


def bumps(u: Float[Tensor, " n"], size: int) -> Float[Tensor, "n size"]:
    """Returns Gaussian bumps around `size` even places in [0, 1], one and a half places wide."""
    at = torch.linspace(0, 1, size, dtype=u.dtype, device=u.device)
    return (-((u[:, None] - at) * (size - 1) / 1.5).square() / 2).exp()
