r"""The rigid motion that brings one cloud of points closest to another, point by point.

The rotation is the one that maximises :math:`\operatorname{tr}(R^\top a^\top b)` among the
proper ones: clouds are turned, never mirrored.

References:
    | A solution for the best rotation to relate two sets of vectors (Kabsch, 1976)
    | https://doi.org/10.1107/S0567739476001873
"""

__all__ = ["mean_cloud", "pairwise_rmsd", "rmsd", "rotation_onto", "superpose"]

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.maths.geometry import centre, nearest_rotation

Cloud = Float[Tensor, "*#batch points space"]

_PAIRS = 2**18
"""Pairs of clouds compared at once by `pairwise_rmsd`: about 100 MB."""


def rotation_onto(a: Cloud, b: Cloud) -> Float[Tensor, "*#batch space space"]:
    r"""Returns the rotation :math:`R` for which :math:`a R` is closest to :math:`b`.

    Both clouds are centred before. Where several rotations are equally close, as for clouds on
    a line in space, it is one of them.
    """
    return nearest_rotation(centre(a).mT @ centre(b))


def superpose(a: Cloud, b: Cloud) -> Cloud:
    """Moves `a` rigidly to where it is closest to `b`."""
    return centre(a) @ rotation_onto(a, b) + b.mean(-2, keepdim=True)


def rmsd(a: Cloud, b: Cloud) -> Float[Tensor, "*#batch"]:
    r"""Returns :math:`\min \sqrt{\langle \lVert a_i - b_i \rVert^2 \rangle_i}` over rigid motions.

    The unit is that of the clouds. At its minimum the distance does not change with the rotation,
    which is held fixed therefore: gradients are exact, and finite where it is not unique.
    """
    moved = centre(a) @ rotation_onto(a.detach(), b.detach())
    return torch.linalg.vector_norm(moved - centre(b), dim=(-2, -1)) / a.shape[-2] ** 0.5


def mean_cloud(
    x: Float[Tensor, "n points space"], rounds: int = 50
) -> Float[Tensor, "points space"]:
    """Returns the mean of clouds that are superposed on that mean, which is found by iteration.

    The first cloud is the first guess; it ends when the mean moves by less than a millionth of
    its size, or after so many rounds.

    References:
        | Rotation, the generalised Procrustes analysis (Gower, 1975)
        | https://doi.org/10.1007/BF02291478
    """
    mean = centre(x[0])
    for _ in range(rounds):
        last, mean = mean, (centre(x) @ rotation_onto(x, mean)).mean(0)
        if torch.linalg.vector_norm(mean - last) <= 1e-6 * torch.linalg.vector_norm(mean):
            break
    return mean


def pairwise_rmsd(
    a: Float[Tensor, "n points 3"], b: Float[Tensor, "m points 3"]
) -> Float[Tensor, "n m"]:
    r"""Returns the distance, as `rmsd` measures it, of each cloud of `a` from each of `b`.

    With :math:`M = a^\top b` of singular values :math:`s_1 \ge s_2 \ge s_3` the best rotation
    has :math:`\operatorname{tr}(R^\top M) = s_1 + s_2 + \det M / (s_1 s_2)`, which asks for no
    vectors. Squares of the singular values are the roots of a cubic, by the cosine of a third of
    an angle. Squares of distances are exact to about 1e-8 of the squared sizes, of clouds on
    a line to 1e-4.
    """
    a, b = centre(a.double()), centre(b.double())
    size_a, size_b = a.square().sum((1, 2)), b.square().sum((1, 2))
    first, second = a.permute(2, 0, 1), b.permute(2, 1, 0)
    rows = max(1, _PAIRS // len(b))
    found = [
        size[:, None] + size_b - 2 * _best_trace(part[:, None] @ second)
        for part, size in zip(first.split(rows, 1), size_a.split(rows), strict=True)
    ]
    return (torch.cat(found).clamp_min(0) / a.shape[1]).sqrt()


def _best_trace(m: Float[Tensor, "3 3 n m"]) -> Float[Tensor, "n m"]:
    """Returns the greatest trace of the matrices times a rotation."""
    (a, b, c), (d, e, f), (g, h, i) = m
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    xx, yy, zz = m.square().sum(1)  # of the symmetric product of a matrix with its transpose
    xy, xz, yz = a * d + b * e + c * f, a * g + b * h + c * i, d * g + e * h + f * i
    off = xy.square() + xz.square() + yz.square()
    mean = (xx + yy + zz) / 3
    spread = ((xx - mean) ** 2 + (yy - mean) ** 2 + (zz - mean) ** 2 + 2 * off) / 6
    minors = xx * yy + yy * zz + zz * xx - off
    tiny = torch.finfo(m.dtype).tiny
    half = (determinant.square() - mean * minors + 2 * mean**3) / 2
    third = (half / (spread * spread.sqrt()).clamp_min(tiny)).clamp(-1, 1).acos() / 3
    reach = 2 * spread.sqrt()
    last = mean + reach * (third + 2 * torch.pi / 3).cos()
    two = 3 * mean - last  # s1^2 + s2^2
    one = mean + reach * third.cos()
    s12 = (one * (two - one)).clamp_min(0).sqrt()
    s12 = s12.clamp_min(1e-8 * mean + tiny**0.5)  # clouds on a line leave s3 = 0 over 0
    return (two + 2 * s12).clamp_min(0).sqrt() + determinant / s12
