r"""Lattices: six numbers of a cell and its vectors, and the torus of fractional coordinates.

Vectors are the rows of a matrix L, so that a point lies at :math:`f L`. The first is along x, the
second in the plane of x and y, and the cell is right-handed.
"""

__all__ = ["parameters", "vectors", "wrapped"]

import torch
from jaxtyping import Float
from torch import Tensor

_FLAT = 1e-6
"""The least squared height of a cell, in units of its third vector: angles between which no cell
lies give a flat one."""


def vectors(
    lengths: Float[Tensor, "*n 3"], angles: Float[Tensor, "*n 3"]
) -> Float[Tensor, "*n 3 3"]:
    r"""Returns lattice vectors of lengths a, b, c and angles alpha, beta, gamma (radian).

    Angles between which there is no cell give one that is nearly flat.
    """
    a, b, c = lengths.unbind(-1)
    x, y, z = angles.cos().unbind(-1)
    sine = angles[..., 2].sin()
    across = (x - y * z) / sine
    up = (1 - y.square() - across.square()).clamp_min(_FLAT).sqrt()
    none = torch.zeros_like(a)
    rows = (a, none, none, b * z, b * sine, none, c * y, c * across, c * up)
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def parameters(
    lattice: Float[Tensor, "*n 3 3"],
) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n 3"]]:
    """Returns the lengths of lattice vectors and the angles between them, in radian."""
    lengths = lattice.norm(dim=-1)
    a, b, c = (lattice / lengths[..., None]).unbind(-2)
    cosines = torch.stack([(b * c).sum(-1), (a * c).sum(-1), (a * b).sum(-1)], -1)
    return lengths, cosines.clamp(-1, 1).acos()


def wrapped(x: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Returns differences of fractional coordinates along the shortest way, in [-1/2, 1/2)."""
    return (x + 0.5) % 1 - 0.5
