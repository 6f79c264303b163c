import math

import pytest
import torch

from genmatter.maths.geometry import centre
from genmatter.maths.noise import generator
from genmatter.maths.superpose import (
    mean_cloud,
    pairwise_rmsd,
    rmsd,
    rotation_onto,
    superpose,
)


def normal(*shape, key=0):
    return torch.randn(shape, generator=generator("superpose", key), dtype=torch.float64)


def rotations(n, space, key=0):
    q = (
        torch.linalg.qr(normal(n, space, space, key=key)).Q
        * normal(n, 1, space, key=key + 100).sign()
    )
    return torch.cat([q[..., :-1], q[..., -1:] * torch.linalg.det(q)[:, None, None]], -1)


@pytest.mark.parametrize("space", [2, 3])
def test_a_moved_cloud_is_brought_back(space):
    x = normal(50, 7, space)
    moved = x @ rotations(50, space) + normal(50, 1, space, key=1)
    torch.testing.assert_close(superpose(moved, x), x)
    torch.testing.assert_close(rmsd(moved, x), torch.zeros(50, dtype=x.dtype))


@pytest.mark.parametrize("space", [2, 3])
def test_no_rotation_does_better_and_every_one_is_proper(space):
    a, b = normal(20, 5, space), normal(20, 5, space, key=1)
    found = rotation_onto(a, b)
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(20, dtype=a.dtype))
    torch.testing.assert_close(found.mT @ found, torch.eye(space, dtype=a.dtype).expand_as(found))
    tried = rotations(3000, space, key=2)[:, None]
    errors = (centre(a) @ tried - centre(b)).square().sum(-1).mean(-1).sqrt()
    assert (rmsd(a, b) <= errors.amin(0) + 1e-12).all()
    torch.testing.assert_close(rmsd(a, b), errors.amin(0), atol=0.1, rtol=0)


@pytest.mark.parametrize("space", [2, 3])
def test_a_mirror_image_stays_another_shape(space):
    x = normal(50, 7, space)
    mirror = torch.ones(space, dtype=x.dtype)
    mirror[0] = -1
    assert (rmsd(x * mirror, x) > 0.1).all()
    torch.testing.assert_close(rmsd(x * mirror, x), rmsd(x, x * mirror))


def test_flat_clouds_in_space_have_the_distance_of_the_plane_or_less():
    a, b = normal(20, 6, 2), normal(20, 6, 2, key=1)
    flip = torch.tensor([1.0, -1.0], dtype=a.dtype)  # in space a plane figure can be turned over
    expected = torch.minimum(rmsd(a, b), rmsd(a * flip, b))
    pad = torch.nn.functional.pad
    torch.testing.assert_close(rmsd(pad(a, (0, 1)), pad(b, (0, 1))), expected)


def test_the_distance_of_two_sticks_is_the_difference_of_their_halves():
    stick = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]])
    assert rmsd(stick, 1.5 * stick.flip(-1)).item() == pytest.approx(0.5)
    collapsed = torch.zeros(1, 2, 2)
    assert rmsd(collapsed, stick).item() == pytest.approx(1)
    assert math.isfinite(superpose(collapsed, stick).sum().item())


@pytest.mark.parametrize("space", [2, 3])
def test_the_distance_has_right_gradients_and_finite_ones_where_rotations_are_not_unique(space):
    a, b = normal(4, 6, space).requires_grad_(), normal(4, 6, space, key=1).requires_grad_()
    assert torch.autograd.gradcheck(rmsd, (a, b))
    line = torch.zeros(1, 5, space, dtype=a.dtype)
    line[..., 0] = torch.arange(5)
    for x in (line, torch.zeros_like(line)):
        x = x.clone().requires_grad_()
        rmsd(x, normal(1, 5, space)).sum().backward()
        rmsd(x, line).sum().backward()
        assert x.grad.isfinite().all()


def test_a_cloud_is_superposed_on_one_of_many():
    x = normal(6, 7, 3)
    one = normal(7, 3, key=1)
    torch.testing.assert_close(rmsd(x, one), rmsd(x, one.expand(6, -1, -1)))


@pytest.mark.parametrize("space", [2, 3])
def test_the_mean_cloud_is_the_shape_that_noise_hides(space):
    shape = 5 * normal(9, space)
    noisy = shape + 0.3 * normal(4000, 9, space, key=1)
    moved = noisy @ rotations(4000, space) + 7 * normal(4000, 1, space, key=2)
    mean = mean_cloud(moved)
    assert rmsd(mean, shape).item() < 0.03
    torch.testing.assert_close(superpose(moved, mean).mean(0), mean, atol=1e-4, rtol=0)
    spread = (superpose(moved, mean) - mean).square().sum(-1).mean().sqrt().item()
    freedom = 1 - (space + space * (space - 1) / 2) / (9 * space)
    assert spread == pytest.approx(0.3 * math.sqrt(space * freedom), rel=0.02)
    assert rmsd(mean_cloud(moved.flip(0)), mean).item() < 1e-4


@pytest.mark.parametrize("points", [2, 3, 4, 10])
def test_distances_of_all_pairs_are_those_of_each(points):
    a, b = 3 * normal(30, points, 3), 3 * normal(40, points, 3, key=1)
    b[:10] = a[:10] @ rotations(10, 3)
    b[10:20] = -a[10:20]
    b[20] = 0
    expected = rmsd(a[:, None], b)
    found = pairwise_rmsd(a + 5, b)
    error = 0.05 if points == 2 else 1e-6  # on a line it is less exact
    torch.testing.assert_close(found.square(), expected.square(), atol=error, rtol=0)
    assert found.diagonal()[:10].square().max() < error


def test_distances_of_all_pairs_come_in_parts(monkeypatch):
    a, b = normal(30, 6, 3).float(), normal(40, 6, 3, key=1).float()
    whole = pairwise_rmsd(a, b)
    monkeypatch.setattr("genmatter.maths.superpose._PAIRS", 100)
    torch.testing.assert_close(pairwise_rmsd(a, b), whole)
