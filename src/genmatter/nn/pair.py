"""A learned energy between two points, which depends on their distance."""

__all__ = ["PairEnergy"]

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class PairEnergy(nn.Module):
    r"""A function of distance, :math:`u(r) = \sum_k c_k \max(0, 1 - r / \rho_k)^2`, in kT.

    The knots are a geometric sequence; beyond the last, u is zero. It starts as zero.

    Args:
        low: The smallest knot, in the unit of distances.
        high: The largest.
        knots: How many there are.
    """

    knots: Tensor

    def __init__(self, low: float, high: float, knots: int = 8) -> None:
        super().__init__()
        self.register_buffer("knots", torch.logspace(math.log10(low), math.log10(high), knots))
        self.coefficients = nn.Parameter(torch.zeros(knots))

    def forward(self, r2: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Returns energies at squared distances."""
        r = r2.clamp_min(1e-12).sqrt()
        features = (1 - r / self.knots.view(-1, *[1] * r.ndim)).relu().square()
        # a hard core takes coefficients of about 100, which Adam would be long to reach in ones
        return torch.tensordot(100 * self.coefficients, features, 1)

    def crowding(
        self, a: Float[Tensor, "n steps earlier"], v: Float[Tensor, "n steps earlier 2"],
        there: Bool[Tensor, "steps earlier"], circle: Float[Tensor, "2 nodes"],
    ) -> Float[Tensor, "n steps nodes"]:  # fmt: skip
        r"""Sums energies over earlier beads, at squared distances :math:`a - v \cdot` circle.

        Only pairs of a bead and a node within reach are worked on: about one in ten.
        """
        reach2 = self.knots[-1].square()
        n, s, j = ((a - v.norm(dim=-1) < reach2) & there).nonzero(as_tuple=True)
        r2 = a[n, s, j][:, None] - v[n, s, j] @ circle
        pair, node = (r2 < reach2).nonzero(as_tuple=True)
        u = self(r2[pair, node])
        place = (n * a.shape[1] + s)[pair] * circle.shape[1] + node
        shape = (*a.shape[:2], circle.shape[1])
        return u.new_zeros(math.prod(shape)).index_add(0, place, u).view(shape)
