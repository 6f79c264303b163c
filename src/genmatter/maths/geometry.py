r"""Geometry of point clouds and chains, up to rigid motion.

A chain grows by bonds. Behind its last bead it carries a frame, the rows :math:`t, n (, m)`:
:math:`t` along the last bond, :math:`m = t \times n`. The next bond is

.. math:: b\,(\cos\theta\, t + \sin\theta\, e), \qquad e = n \cos\tau + m \sin\tau

with the bend :math:`\theta \in [0, \pi]` (0 is straight) and the dihedral :math:`\tau`. In the
plane :math:`e = n`, and the signed turn :math:`\phi \in (-\pi, \pi]` takes the place of both.
"""

__all__ = [
    "Cloud",
    "Frame",
    "InternalCoordinates",
    "align_principal",
    "align_rouse",
    "centre",
    "first_frame",
    "grow",
    "internal",
    "nearest_rotation",
    "principal_axes",
    "radius_of_gyration",
    "rouse_modes",
    "step",
]

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Cloud = Float[Tensor, "*batch points space"]
Frame = Float[Tensor, "*batch space space"]

_SMALL = 64  # numbers of a cloud up to which it is centred by a matrix
_TIE = 1e-5  # relative size below which a number is taken for zero: float32 knows about 1e-7


def centre(x: Cloud) -> Cloud:
    """Moves the centroid to the origin."""
    points, space = x.shape[-2:]
    if points * space > _SMALL:
        return x - x.mean(-2, keepdim=True)
    # one product with a small matrix: five times faster than a mean over a short axis
    off = torch.eye(points, dtype=torch.float64) - 1 / points
    matrix = torch.kron(off, torch.eye(space, dtype=torch.float64)).to(x)
    return (x.flatten(-2) @ matrix).unflatten(-1, (points, space))


def radius_of_gyration(x: Cloud) -> Float[Tensor, "*batch"]:
    r"""Returns :math:`\sqrt{\langle \lVert x_i - \bar{x} \rVert^2 \rangle_i}`."""
    return centre(x).square().sum(-1).mean(-1).sqrt()


def nearest_rotation(m: Frame) -> Frame:
    r"""Returns the proper rotation that maximises :math:`\operatorname{tr}(R^T m)`.

    With :math:`m = \sum_i a_i b_i^T` it turns the row vectors a closest to b. In space the
    gradient is that of the polar factor, :math:`m = R S`, for which no two singular values need
    to differ: :math:`dR = R\,\Omega` with :math:`\Omega S + S \Omega = R^T dm - dm^T R`. It is
    zero where m leaves the rotation open.

    References:
        | A solution for the best rotation to relate two sets of vectors (Kabsch, 1976)
        | https://doi.org/10.1107/S0567739476001873
    """
    if m.shape[-1] == 2:
        angle = torch.atan2(m[..., 0, 1] - m[..., 1, 0], m[..., 0, 0] + m[..., 1, 1])
        c, s = angle.cos(), angle.sin()
        return torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], -2)
    # a product of rotations is none in half precision, which has no determinants either
    with torch.autocast(m.device.type, enabled=False):
        m = m.to(torch.promote_types(m.dtype, torch.float32))
        u, s, v = torch.linalg.svd(m.detach())
        hand = torch.linalg.det(u @ v).sign()[..., None]
        r = torch.cat([u[..., :-1], u[..., -1:] * hand[..., None]], -1) @ v
        if not m.requires_grad:
            return r
        stretch = torch.cat([s[..., :-1], s[..., -1:] * hand], -1)
        both = stretch[..., :, None] + stretch[..., None, :]
        known = both > _TIE * s[..., :1, None]
        a = r.mT @ (m - m.detach())
        turn = v @ (a - a.mT) @ v.mT / torch.where(known, both, 1.0)
        return r + r @ v.mT @ (turn * known) @ v


def rouse_modes(x: Cloud) -> Float[Tensor, "*batch modes space"]:
    r"""Returns :math:`X_k = -\sum_i x_i \cos(\pi k (i + 1/2) / N)`, k = 1 .. N - 1.

    The first resembles the end-to-end vector. Together they fix a centred chain.

    References:
        | The Theory of Polymer Dynamics (Doi & Edwards, 1986), section 4.1
    """
    return _rouse_weights(x) @ x


def _rouse_weights(x: Cloud) -> Float[Tensor, "modes points"]:
    n = x.shape[-2]
    i, k = torch.arange(n).to(x), torch.arange(1, n).to(x)
    return -torch.cos(math.pi / n * k[:, None] * (i + 0.5))


def align_principal(x: Cloud, *, mirror: bool = False) -> Cloud:
    """Turns a centred cloud until its `principal_axes` are the coordinate axes.

    The result is a function of the shape, and has the shape's distances.

    Args:
        x: Centred clouds, in two or three dimensions.
        mirror: Make mirror images the same; else a cloud is turned, never mirrored.
    """
    if x.shape[-1] == 2 and not mirror:
        return _align_plane(x.reshape(-1, *x.shape[-2:])).view_as(x)
    return x @ principal_axes(x, mirror=mirror)


def _align_plane(x: Float[Tensor, "n points 2"]) -> Float[Tensor, "n points 2"]:
    r"""Does what `align_principal` does, a dozen times faster: points are complex numbers z.

    The principal axis is :math:`\sqrt{\sum z^2}`, by its phase. Shapes for which that, or its
    sign, is not clear take the long way.
    """
    z = torch.view_as_complex(x.contiguous())
    size = torch.linalg.vector_norm(x.detach(), dim=(-2, -1)).square()
    axis2 = (z * z).sum(-1)
    hard = axis2.detach().abs() <= _TIE * size
    axis = torch.polar(torch.ones_like(size), torch.where(hard, 1.0, axis2).angle() / 2)
    mode = z.detach() @ _rouse_weights(x)[0].to(z)
    along = (mode * axis.detach().conj()).real
    aligned = torch.view_as_real(z * (axis * torch.where(along < 0, -1.0, 1.0)).conj()[..., None])
    hard = hard | (along.abs() <= _TIE * (size * x.shape[-2] / 2).sqrt())
    if hard.any():
        aligned = aligned.index_put((hard,), x[hard] @ principal_axes(x[hard]))
    return aligned


def principal_axes(x: Cloud, *, mirror: bool = False) -> Frame:
    r"""Returns the principal axes of centred clouds as columns, by decreasing spread.

    The covariance leaves their signs open. Along each axis the first Rouse mode that is not
    negligible is made positive, except along the last one, which completes a right-handed set
    (unless `mirror`). Where two spreads are equal, :math:`\sum_k X_k X_k^T / k^2` is added to
    the covariance to choose between the axes, so that a circle has a place too. Axes that even
    this leaves open span nothing, or a set of shapes that is measure zero twice over.

    Gradients are exact where the axes are, and finite elsewhere.
    """
    covariance = x.mT @ x
    modes = rouse_modes(x)
    k = torch.arange(1, x.shape[-2], device=x.device).to(x)
    tied = _gaps(_eigh(covariance.detach())[0]).amin(-1) < _TIE
    scaled = modes / k[:, None]
    axes = _axes(covariance + tied[..., None, None] * (scaled.mT @ scaled))
    signs = _signs((modes @ axes).detach())
    if not mirror:
        hand = torch.linalg.det((axes * signs[..., None, :]).detach())
        signs = torch.cat([signs[..., :-1], signs[..., -1:] * hand.sign()[..., None]], -1)
    return axes * signs[..., None, :]


def align_rouse(x: Cloud) -> Cloud:
    r"""Turns a centred chain until its first Rouse modes are on the coordinate axes.

    The first points along x; in space the second lies in the upper half of the xy plane. Unlike
    the principal axes these axes turn smoothly with the shape, except where a mode vanishes.
    """
    modes = rouse_modes(x)
    t = _unit(modes[..., 0, :])
    if x.shape[-1] == 2:
        axes = torch.stack([t, torch.stack([-t[..., 1], t[..., 0]], -1)], -1)
    else:
        second = modes[..., 1, :]
        n = _unit(second - (second * t).sum(-1, keepdim=True) * t)
        axes = torch.stack([t, n, torch.linalg.cross(t, n)], -1)
    return x @ axes


def _unit(v: Float[Tensor, "*batch space"]) -> Float[Tensor, "*batch space"]:
    return v / v.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def _gaps(spreads: Float[Tensor, "*batch space"]) -> Float[Tensor, "*batch gaps"]:
    """Returns the differences of descending spreads, relative to the largest."""
    return -spreads.diff(dim=-1) / spreads[..., :1].clamp_min(torch.finfo(spreads.dtype).tiny)


def _axes(covariance: Frame) -> Frame:
    """Returns eigenvectors as columns, by decreasing eigenvalue.

    `eigh` has NaN gradients where eigenvalues are equal. So its result is held fixed, and first
    order perturbation theory gives what the covariance changes in it: nothing, in value.
    """
    values, axes = _eigh(covariance.detach())
    gaps = values[..., None, :] - values[..., :, None]
    safe = gaps.abs() > _TIE * values[..., :1, None]
    turn = (axes.mT @ (covariance - covariance.detach()) @ axes) / torch.where(safe, gaps, 1.0)
    return axes + axes @ (turn * safe)


def _eigh(c: Frame) -> tuple[Float[Tensor, "*batch space"], Frame]:
    if c.shape[-1] != 2:
        values, axes = torch.linalg.eigh(c)
        return values.flip(-1), axes.flip(-1)
    mean, diff = (c[..., 0, 0] + c[..., 1, 1]) / 2, (c[..., 0, 0] - c[..., 1, 1]) / 2
    angle = torch.atan2(c[..., 0, 1], diff) / 2  # in the plane there is a formula, 30 times faster
    half = torch.hypot(c[..., 0, 1], diff)
    cos, sin = angle.cos(), angle.sin()
    axes = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    return torch.stack([mean + half, mean - half], -1), axes


def _signs(modes: Float[Tensor, "*batch modes space"]) -> Float[Tensor, "*batch space"]:
    """Returns the sign of the first mode along each axis that is not negligible."""
    size = modes.abs()
    large = size > _TIE * size.amax((-1, -2), keepdim=True)
    first = large.to(torch.uint8).argmax(-2, keepdim=True)
    return torch.where(modes.gather(-2, first).squeeze(-2) < 0, -1.0, 1.0).to(modes)


class InternalCoordinates(NamedTuple):
    """InternalCoordinates coordinates of chains of N beads: what rigid motion leaves alone.

    `bonds` are N - 1 lengths. In the plane `bends` is empty and `turns` are N - 2 signed turn
    angles; in space `bends` are N - 2 angles and `turns` N - 3 dihedrals. All in radian.
    """

    bonds: Float[Tensor, "*batch bonds"]
    bends: Float[Tensor, "*batch bends"]
    turns: Float[Tensor, "*batch turns"]


def first_frame(like: Cloud) -> Frame:
    """Returns the frame of a chain that has only a first bond: the coordinate axes."""
    eye = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
    return eye.expand(*like.shape[:-2], -1, -1)


def step(
    frame: Frame, bend: Float[Tensor, "*batch"] | None, turn: Float[Tensor, "*batch"]
) -> Frame:
    """Returns the frame behind the next bond, whose first row is the direction of that bond."""
    c, s = turn.cos()[..., None], turn.sin()[..., None]
    if bend is None:
        t, n = frame.unbind(-2)
        return torch.stack([c * t + s * n, c * n - s * t], -2)
    t, n, m = frame.unbind(-2)
    e, new = c * n + s * m, c * m - s * n
    c, s = bend.cos()[..., None], bend.sin()[..., None]
    return torch.stack([c * t + s * e, c * e - s * t, new], -2)


def grow(chain: InternalCoordinates) -> tuple[Cloud, Float[Tensor, "*batch bonds space space"]]:
    """Builds chains from internal coordinates.

    Returns:
        Positions, the first bead at the origin and the first bond along x, and the frame
        behind each bond.
    """
    bonds, bends, turns = chain
    if bends.shape[-1] == 0 and bonds.shape[-1] == turns.shape[-1] + 1:
        angle = torch.nn.functional.pad(turns.cumsum(-1), (1, 0))
        c, s = angle.cos(), angle.sin()
        frames = torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], -2)
    else:
        frame = first_frame(bonds[..., None].expand(*bonds.shape, 3))
        every = [frame]
        turns = torch.nn.functional.pad(turns, (1, 0))  # the first plane is nobody's dihedral
        for bend, turn in zip(bends.unbind(-1), turns.unbind(-1), strict=True):
            every.append(frame := step(frame, bend, turn))
        frames = torch.stack(every, -3)
    x = (bonds[..., None] * frames[..., 0, :]).cumsum(-2)
    return torch.nn.functional.pad(x, (0, 0, 1, 0)), frames


def internal(x: Cloud) -> InternalCoordinates:
    """Returns the internal coordinates of chains; inverts `grow` up to a rigid motion.

    Where a chain is straight the frame is carried along and the dihedral is 0.
    """
    bond = x.diff(dim=-2)
    length = bond.norm(dim=-1)
    u = bond / length[..., None]
    if x.shape[-1] == 2:
        a, b = u[..., :-1, :], u[..., 1:, :]
        cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
        return InternalCoordinates(length, length[..., :0], torch.atan2(cross, (a * b).sum(-1)))
    frame, bends, turns = _frame_of_plane(u), [], []
    for v in u.unbind(-2)[1:]:
        t, n, m = (frame @ v[..., None]).squeeze(-1).unbind(-1)
        across = torch.hypot(n, m)
        bends.append(torch.atan2(across, t))
        turns.append(torch.where(across > _TIE, torch.atan2(m, n), 0.0))
        frame = step(frame, bends[-1], turns[-1])
    return InternalCoordinates(length, torch.stack(bends, -1), torch.stack(turns, -1)[..., 1:])


def _frame_of_plane(u: Float[Tensor, "*batch bonds 3"]) -> Frame:
    """Returns the frame of the first bond, with n towards the first bond that leaves its line."""
    t = u[..., 0, :]
    across = u - (u * t[..., None, :]).sum(-1, keepdim=True) * t[..., None, :]
    # a chain that never leaves it gets the coordinate axis that is farthest from the line
    other = torch.nn.functional.one_hot(t.abs().argmin(-1), 3).to(t)
    other = other - (other * t).sum(-1, keepdim=True) * t
    across = torch.cat([across, other[..., None, :]], -2)
    first = (across.norm(dim=-1) > _TIE).to(torch.uint8).argmax(-1)
    n = across.gather(-2, first[..., None, None].expand(*first.shape, 1, 3)).squeeze(-2)
    n = n / n.norm(dim=-1, keepdim=True)
    return torch.stack([t, n, torch.linalg.cross(t, n)], -2)
