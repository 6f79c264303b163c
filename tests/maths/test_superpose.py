import math

import pytest
import torch

from genmatter.maths.geometry import centre
from genmatter.maths.noise import generator
from genmatter.maths.superpose import rmsd, rotation_onto, superpose


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
