import math
import time

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from genmatter.maths.geometry import (
    InternalCoordinates,
    align_principal,
    align_rouse,
    centre,
    grow,
    internal,
    nearest_rotation,
    principal_axes,
    radius_of_gyration,
    rouse_modes,
)

SPACES = pytest.mark.parametrize("space", [2, 3])


def clouds(n, points, space, seed=0):
    g = torch.Generator().manual_seed(seed)
    return centre(torch.randn(n, points, space, dtype=torch.float64, generator=g))


def rotation(space, seed=0):
    g = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(space, space, dtype=torch.float64, generator=g))
    return q * torch.where(torch.arange(space) == 0, torch.linalg.det(q), 1.0)


def mirror(x):
    return x * torch.tensor([-1.0, *[1.0] * (x.shape[-1] - 1)]).to(x)


@SPACES
@pytest.mark.parametrize("align", [align_principal, align_rouse])
def test_alignment_forgets_rotation_and_nothing_else(align, space):
    x = clouds(50, 12, space)
    aligned = align(x)
    for seed in range(5):
        torch.testing.assert_close(align(x @ rotation(space, seed)), aligned)
    torch.testing.assert_close(torch.cdist(aligned, aligned), torch.cdist(x, x))
    torch.testing.assert_close(align(aligned), aligned)
    volume = torch.linalg.det(x[:, :space] - x[:, space : space + 1])
    torch.testing.assert_close(
        torch.linalg.det(aligned[:, :space] - aligned[:, space : space + 1]), volume
    )


@SPACES
def test_principal_axes_are_by_decreasing_spread_and_uncorrelated(space):
    covariance = align_principal(clouds(50, 12, space)).mT @ align_principal(clouds(50, 12, space))
    spread = covariance.diagonal(dim1=-2, dim2=-1)
    assert (spread.diff(dim=-1) <= 0).all()
    torch.testing.assert_close(covariance, torch.diag_embed(spread))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fast_way_in_the_plane_is_the_long_way(dtype):
    x = torch.cat([clouds(200, 12, 2), _ring()[None], _line()[None], torch.zeros(1, 12, 2)])
    x = x.to(dtype)
    torch.testing.assert_close(align_principal(x), x @ principal_axes(x), atol=1e-4, rtol=0)
    torch.testing.assert_close(align_principal(x[-3]), align_principal(x)[-3])
    torch.testing.assert_close(align_principal(x.view(7, 29, 12, 2))[3, 4], align_principal(x)[91])


@SPACES
def test_mirror_images_differ_unless_they_are_asked_to_be_the_same(space):
    x = clouds(50, 12, space)
    gap = (align_principal(mirror(x)) - align_principal(x)).abs().amax((1, 2))
    assert gap.min() > 1e-3
    torch.testing.assert_close(
        align_principal(mirror(x), mirror=True), align_principal(x, mirror=True)
    )


@SPACES
def test_the_sign_rule_is_stable(space):
    """A small change of a shape is a small change of its alignment, but for few shapes."""
    x = clouds(2000, 12, space)
    moved = x + 1e-3 * clouds(2000, 12, space, seed=1)
    jumps = (align_principal(centre(moved)) - align_principal(x)).abs().amax((1, 2)) > 0.1
    assert jumps.double().mean() < 0.01


def _ring(n=12):
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    return centre(torch.stack([angle.cos(), angle.sin()], -1))


def _line(n=12):
    return centre(torch.stack([torch.arange(n), torch.zeros(n)], -1).double())


@pytest.mark.parametrize("shape", [_ring, _line, lambda: _ring(4), lambda: torch.zeros(5, 2)])
@SPACES
def test_degenerate_shapes_have_one_alignment_and_finite_gradients(shape, space):
    x = torch.nn.functional.pad(shape().double(), (0, space - 2)).requires_grad_()
    aligned = align_principal(x)
    assert aligned.isfinite().all()
    for seed in range(5):
        torch.testing.assert_close(align_principal(x @ rotation(space, seed)), aligned)
    (grad,) = torch.autograd.grad((aligned * torch.arange(1.0, 1 + space)).square().sum(), x)
    assert grad.isfinite().all()


@SPACES
def test_gradients_through_alignment_agree_with_finite_differences(space):
    x = clouds(3, 6, space).requires_grad_()
    assert torch.autograd.gradcheck(align_principal, x, atol=1e-6)
    assert torch.autograd.gradcheck(align_rouse, x, atol=1e-6)


@given(
    arrays.arrays("float64", (12, 2), elements=st.floats(-5, 5, width=32)),
    st.floats(-math.pi, math.pi),
)
@settings(max_examples=200, deadline=None)
def test_rotated_shapes_align_alike_whatever_they_are(points, angle):
    x = centre(torch.from_numpy(points))
    _, s, _ = torch.linalg.svd(x)
    if s[0] - s[1] < 1e-2 * s[0] or (rouse_modes(x) @ principal_axes(x))[0, 0].abs() < 1e-2 * s[0]:
        return  # the axis or its sign are a tie, which rounding decides
    c, n = math.cos(angle), math.sin(angle)
    turned = x @ torch.tensor([[c, n], [-n, c]], dtype=torch.float64)
    torch.testing.assert_close(align_principal(turned), align_principal(x), atol=1e-9, rtol=0)


def test_alignment_is_a_hundred_times_faster_than_a_loop():
    x = clouds(4000, 12, 2).float()

    def loop(some):
        aligned = torch.zeros_like(some)
        for i, p in enumerate(some):
            _, axes = torch.linalg.eigh(p.T @ p)
            angle = -torch.atan2(axes[1, -1], axes[0, -1])
            c, s = torch.cos(angle), torch.sin(angle)
            aligned[i] = p @ torch.stack([torch.stack([c, -s]), torch.stack([s, c])]).T
        return aligned

    def seconds(f, some):
        start = time.perf_counter()
        f(some)
        return (time.perf_counter() - start) / len(some)

    seconds(align_principal, x)
    fast = min(seconds(align_principal, x) for _ in range(5))
    assert (
        min(seconds(loop, x[:200]) for _ in range(3)) / fast > 20
    )  # 100 to 200 on a quiet machine


@SPACES
def test_nearest_rotation_undoes_a_rotation(space):
    x = clouds(4, 8, space)
    turn = rotation(space)
    torch.testing.assert_close(nearest_rotation(x.mT @ (x @ turn)), turn.expand(4, -1, -1))
    nearest = nearest_rotation(mirror(x).mT @ x)
    torch.testing.assert_close(torch.linalg.det(nearest), torch.ones(4, dtype=torch.float64))


@SPACES
def test_nearest_rotation_has_the_gradient_of_the_polar_factor(space):
    """Also where m is a rotation itself, so that all of its singular values are equal."""
    m = torch.randn(
        5, space, space, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    assert torch.autograd.gradcheck(nearest_rotation, m.requires_grad_())
    turn = rotation(space).expand(1, -1, -1).clone().requires_grad_()
    assert torch.autograd.gradcheck(nearest_rotation, turn)


@SPACES
@pytest.mark.parametrize("beads", [3, 4, 12, 100])
def test_internal_coordinates_round_trip(space, beads):
    x = clouds(20, beads, space).float()
    again, frames = grow(internal(x))
    torch.testing.assert_close(
        torch.cdist(again, again, compute_mode="donot_use_mm_for_euclid_dist"),
        torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist"),
        atol=1e-4, rtol=1e-5,
    )  # fmt: skip
    torch.testing.assert_close(align_rouse(centre(again)), align_rouse(x), atol=1e-3, rtol=0)
    torch.testing.assert_close(frames @ frames.mT, torch.eye(space).expand_as(frames))


@SPACES
def test_internal_coordinates_of_grown_chains_are_what_they_grew_from(space):
    g = torch.Generator().manual_seed(0)
    bonds = torch.rand(20, 11, dtype=torch.float64, generator=g) + 0.1
    turns = math.pi * (2 * torch.rand(20, 12 - space, dtype=torch.float64, generator=g) - 1)
    bends = math.pi * torch.rand(20, 10 * (space - 2), dtype=torch.float64, generator=g)
    chain = InternalCoordinates(bonds, bends, turns)
    x, _ = grow(chain)
    for ours, theirs in zip(internal(x @ rotation(space) + 3), chain, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_mirroring_changes_the_sign_of_turns():
    for space in (2, 3):
        x = clouds(5, 8, space)
        torch.testing.assert_close(internal(mirror(x)).turns, -internal(x).turns)


def test_straight_chains_in_space_round_trip():
    x = torch.tensor([[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0], [2, 1, 1]]).double()
    again, _ = grow(internal(x))
    torch.testing.assert_close(torch.cdist(again, again), torch.cdist(x, x))
    line = torch.arange(5.0)[:, None] * torch.tensor([1.0, 2.0, 2.0])
    assert internal(line).bends.abs().max() < 1e-3
    assert internal(line).turns.isfinite().all()


def test_angles_of_a_known_chain():
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [1.0, 1.0]])
    bonds, bends, turns = internal(x)
    assert bonds.tolist() == [2, 1, 1]
    assert bends.numel() == 0
    torch.testing.assert_close(turns, torch.tensor([math.pi / 2, math.pi / 2]))


def test_rouse_modes_keep_the_size_of_a_chain():
    """Parseval: they are a discrete cosine transform."""
    x = clouds(4, 12, 3)
    modes = rouse_modes(x).square().sum((1, 2)) * 2 / 12
    torch.testing.assert_close(modes, x.square().sum((1, 2)))


def test_radius_of_gyration_of_a_pair_is_half_its_distance():
    pair = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert radius_of_gyration(pair).item() == pytest.approx(2.5)
    assert radius_of_gyration(pair + 7).item() == pytest.approx(2.5)
