r"""Rotations of space as matrices, rotation vectors and quaternions.

A rotation vector v is an axis times an angle in radian; :math:`R = \exp \hat v` with
:math:`\hat v u = v \times u`. A quaternion is (w, x, y, z), and q and -q are one rotation.
Matrices turn column vectors. Everything has finite gradients, at the identity and at pi too.

References:
    | Rotations, quaternions and double groups (Altmann, 1986)
    | A robust way to convert rotations to vectors: 2 atan2(|(x, y, z)|, w), whose series at the
    | identity is taken where the sine vanishes (Grassia, 1998, https://doi.org/10.1080/10867651.1998.10487493)
"""

__all__ = [
    "Matrix",
    "Quaternion",
    "Vector",
    "angle",
    "exp",
    "exp_quaternion",
    "geodesic",
    "hat",
    "log",
    "multiply",
    "random_matrix",
    "random_quaternion",
    "to_matrix",
    "to_quaternion",
]

import torch
from jaxtyping import Float
from torch import Tensor

Matrix = Float[Tensor, "*batch 3 3"]
Vector = Float[Tensor, "*batch 3"]
Quaternion = Float[Tensor, "*batch 4"]


def hat(v: Vector) -> Matrix:
    """Returns the matrix of the cross product with v."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def _squared(v: Tensor) -> Tensor:
    return v.square().sum(-1, keepdim=True)


def _bound(x: Tensor) -> float:
    """Returns the square below which four terms of a series are exact."""
    return 1e-2 if x.dtype == torch.float32 else 1e-3


def exp_quaternion(v: Vector) -> Quaternion:
    """Returns the unit quaternion of a rotation vector."""
    s = _squared(v)
    small = s < _bound(s)
    a = torch.where(small, torch.ones_like(s), s).sqrt()
    series = 0.5 - s / 48 + s.square() / 3840 - s**3 / 645120
    cosine = 1 - s / 8 + s.square() / 384 - s**3 / 46080
    sinc = torch.where(small, series, (a / 2).sin() / a)
    return torch.cat([torch.where(small, cosine, (a / 2).cos()), sinc * v], -1)


def exp(v: Vector) -> Matrix:
    """Returns the matrix of a rotation vector."""
    return to_matrix(exp_quaternion(v))


def to_matrix(q: Quaternion) -> Matrix:
    """Returns the matrix of a quaternion of any length above 0."""
    w, x, y, z = torch.nn.functional.normalize(q, dim=-1).unbind(-1)
    return torch.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ], -1).unflatten(-1, (3, 3))  # fmt: skip


def to_quaternion(r: Matrix) -> Quaternion:
    r"""Returns the quaternion of a matrix with w at least 0.

    The four rows of :math:`4 q q^T` are linear in R; the one with the largest diagonal is the
    quaternion times a number that is at least 1, so nothing small is divided by.
    """
    m = r.flatten(-2).unbind(-1)
    xx, yy, zz = m[0], m[4], m[8]
    one = torch.ones_like(xx)
    rows = torch.stack([
        one + xx + yy + zz, m[7] - m[5], m[2] - m[6], m[3] - m[1],
        m[7] - m[5], one + xx - yy - zz, m[1] + m[3], m[2] + m[6],
        m[2] - m[6], m[1] + m[3], one - xx + yy - zz, m[5] + m[7],
        m[3] - m[1], m[2] + m[6], m[5] + m[7], one - xx - yy + zz,
    ], -1).unflatten(-1, (4, 4))  # fmt: skip
    best = rows.diagonal(dim1=-2, dim2=-1).detach().argmax(-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    q = torch.nn.functional.normalize(rows.gather(-2, index).squeeze(-2), dim=-1)
    return torch.where(q[..., :1] < 0, -q, q)


def log(r: Matrix) -> Vector:
    """Returns the shortest rotation vector of a matrix; at an angle of pi, one of the two."""
    return log_quaternion(to_quaternion(r))


def log_quaternion(q: Quaternion) -> Vector:
    r"""Returns the shortest rotation vector of a unit quaternion.

    With s the length of (x, y, z): :math:`v = 2 \operatorname{atan2}(s, w) (x, y, z) / s`.
    """
    q = torch.where(q[..., :1] < 0, -q, q)
    w, xyz = q[..., :1], q[..., 1:]
    s = _squared(xyz)
    small = s < _bound(s)
    root = torch.where(small, torch.ones_like(s), s).sqrt()
    series = 2 + s / 3 + 3 * s.square() / 20 + 5 * s**3 / 56  # 2 asin(s) / s
    return torch.where(small, series, 2 * torch.atan2(root, w) / root) * xyz


def angle(r: Matrix) -> Float[Tensor, "*batch"]:
    """Returns how far a rotation turns, in [0, pi]."""
    q = to_quaternion(r)
    s = _squared(q[..., 1:])
    tiny = torch.finfo(s.dtype).tiny
    return 2 * torch.atan2(s.clamp_min(tiny).sqrt(), q[..., :1]).squeeze(-1)


def geodesic(a: Matrix, b: Matrix, share: float | Tensor) -> Matrix:
    """Returns the rotation that share of the way from a to b, along the shortest way."""
    return a @ exp(share * log(a.mT @ b))


def multiply(p: Quaternion, q: Quaternion) -> Quaternion:
    """Returns the quaternion of turning by q first and then by p."""
    a, u = p[..., :1], p[..., 1:]
    b, v = q[..., :1], q[..., 1:]
    real = a * b - (u * v).sum(-1, keepdim=True)
    u, v = torch.broadcast_tensors(u, v)
    return torch.cat([real, a * v + b * u + torch.linalg.cross(u, v)], -1)


def random_quaternion(*shape: int, like: Tensor | None = None) -> Quaternion:
    """Draws rotations evenly."""
    x = torch.randn(*shape, 4) if like is None else torch.randn(*shape, 4).to(like)
    return torch.nn.functional.normalize(x, dim=-1)


def random_matrix(*shape: int, like: Tensor | None = None) -> Matrix:
    """Draws rotations evenly."""
    return to_matrix(random_quaternion(*shape, like=like))
