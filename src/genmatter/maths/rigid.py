r"""Rigid bodies: a rotation and a translation of each, :math:`x \mapsto R x + t`.

As seven numbers a rigid body is its quaternion (w, x, y, z) and its translation.
"""

__all__ = ["Rigid", "compose", "from_tensor_7", "from_three_points", "identity", "invert"]

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.maths import rotation
from genmatter.maths.rotation import Matrix, Vector


class Rigid(NamedTuple):
    """Rotations `[..., 3, 3]` and translations `[..., 3]`."""

    rots: Matrix
    trans: Vector

    def apply(self, points: Vector) -> Vector:
        """Moves points out of the body's frame into space."""
        return (self.rots @ points[..., None]).squeeze(-1) + self.trans

    def invert_apply(self, points: Vector) -> Vector:
        """Moves points of space into the body's frame."""
        return (self.rots.mT @ (points - self.trans)[..., None]).squeeze(-1)

    def to_tensor_7(self) -> Float[Tensor, "*batch 7"]:
        """Returns quaternions with w at least 0, and translations."""
        return torch.cat([rotation.to_quaternion(self.rots), self.trans], -1)


def from_tensor_7(x: Float[Tensor, "*batch 7"]) -> Rigid:
    """Reads quaternions of any length above 0, and translations."""
    return Rigid(rotation.to_matrix(x[..., :4]), x[..., 4:])


def identity(*shape: int, like: Tensor | None = None) -> Rigid:
    """Returns bodies at the origin that are not turned."""
    like = torch.zeros(()) if like is None else like
    return Rigid(torch.eye(3).to(like).expand(*shape, 3, 3), torch.zeros(*shape, 3).to(like))


def compose(a: Rigid, b: Rigid) -> Rigid:
    """Returns the motion by b first and then by a."""
    return Rigid(a.rots @ b.rots, a.apply(b.trans))


def invert(a: Rigid) -> Rigid:
    """Returns the motion that undoes a."""
    return Rigid(a.rots.mT, -(a.rots.mT @ a.trans[..., None]).squeeze(-1))


def from_three_points(x_axis: Vector, origin: Vector, xy_plane: Vector) -> Rigid:
    r"""Returns the body at a point whose x axis goes to another, and whose xy plane holds a third.

    Gram and Schmidt: :math:`e_1 \propto p_x - o`, :math:`e_2 \propto` what of :math:`p_{xy} - o`
    is across :math:`e_1`, :math:`e_3 = e_1 \times e_2`; the axes are the columns of R. Of a
    residue C, CA and N are the three (Jumper et al., 2021, supplement 1.8.1, algorithm 21:
    https://doi.org/10.1038/s41586-021-03819-2).
    """
    e1 = torch.nn.functional.normalize(x_axis - origin, dim=-1)
    v = xy_plane - origin
    e2 = torch.nn.functional.normalize(v - (v * e1).sum(-1, keepdim=True) * e1, dim=-1)
    return Rigid(torch.stack([e1, e2, torch.linalg.cross(e1, e2)], -1), origin)
