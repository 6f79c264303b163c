r"""The rigid motion that brings one cloud of points closest to another, point by point.

The rotation is the one that maximises :math:`\operatorname{tr}(R^\top a^\top b)` among the
proper ones: clouds are turned, never mirrored.

References:
    | A solution for the best rotation to relate two sets of vectors (Kabsch, 1976)
    | https://doi.org/10.1107/S0567739476001873
"""

__all__ = ["rmsd", "rotation_onto", "superpose"]

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.maths.geometry import centre, nearest_rotation

Cloud = Float[Tensor, "*batch points space"]


def rotation_onto(a: Cloud, b: Cloud) -> Float[Tensor, "*batch space space"]:
    r"""Returns the rotation :math:`R` for which :math:`a R` is closest to :math:`b`.

    Both clouds are centred before. Where several rotations are equally close, as for clouds on
    a line in space, it is one of them.
    """
    return nearest_rotation(centre(a).mT @ centre(b))


def superpose(a: Cloud, b: Cloud) -> Cloud:
    """Moves `a` rigidly to where it is closest to `b`."""
    return centre(a) @ rotation_onto(a, b) + b.mean(-2, keepdim=True)


def rmsd(a: Cloud, b: Cloud) -> Float[Tensor, "*batch"]:
    r"""Returns :math:`\min \sqrt{\langle \lVert a_i - b_i \rVert^2 \rangle_i}` over rigid motions.

    The unit is that of the clouds.
    """
    return torch.linalg.vector_norm(superpose(a, b) - b, dim=(-2, -1)) / a.shape[-2] ** 0.5
