import math

import pytest
import torch

from genmatter.maths import rotation
from genmatter.maths.noise import generator

ANGLES = [0.0, 1e-12, 1e-9, 1e-7, 1e-4, 0.0316, 0.0317, 0.099, 0.101, 1.0, 2.0, 3.0]
NEAR_PI = [math.pi - e for e in (1e-2, 1e-4, 1e-7, 1e-9)]


def normal(*shape, key=0):
    return torch.randn(shape, generator=generator("rotation", key), dtype=torch.float64)


def axes(n):
    """Random ones, and those whose signs and zeros single out a row of the matrix."""
    special = torch.tensor([[1, 0, 0], [0, -1, 0], [0, 0, 1], [1, 1, 0], [0, -1, 1], [-1, 1, 1]])
    return torch.nn.functional.normalize(torch.cat([normal(n, 3), special.double()]), dim=-1)


def vectors(angles):
    return torch.tensor(angles, dtype=torch.float64)[:, None, None] * axes(30)


def matrices(n, key=0):
    return rotation.to_matrix(normal(n, 4, key=key))


def test_matrices_are_proper_rotations():
    r = torch.cat([rotation.exp(vectors([*ANGLES, *NEAR_PI])).flatten(0, 1), matrices(50)])
    torch.testing.assert_close(r @ r.mT, torch.eye(3).double().expand_as(r), rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(len(r)).double())


def test_exp_is_the_exponential_of_the_cross_product():
    v, u = vectors([*ANGLES, 3.1, 5.0, 20.0]), normal(3, key=1)
    hats = rotation.hat(v)
    torch.testing.assert_close((hats @ u), torch.linalg.cross(v, u.expand_as(v)))
    torch.testing.assert_close(rotation.exp(v), torch.matrix_exp(hats), rtol=0, atol=1e-12)


def test_a_quarter_turn_about_z_takes_x_to_y():
    r = rotation.exp(torch.tensor([0, 0, math.pi / 2]).double())
    torch.testing.assert_close(r[:, 0], torch.tensor([0, 1, 0]).double())
    torch.testing.assert_close(r[:, 1], torch.tensor([-1, 0, 0]).double())
    half = math.sqrt(0.5)
    q = rotation.to_quaternion(r)
    torch.testing.assert_close(q, torch.tensor([half, 0, 0, half]).double())


def test_log_undoes_exp():
    v = vectors([*ANGLES, *NEAR_PI])
    torch.testing.assert_close(rotation.log(rotation.exp(v)), v, rtol=0, atol=1e-12)
    q = rotation.exp_quaternion(v)
    torch.testing.assert_close(rotation.log_quaternion(q), v, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(rotation.log_quaternion(-q), v, rtol=1e-12, atol=1e-15)


def test_exp_undoes_log_at_a_half_turn_too():
    r = torch.cat([rotation.exp(vectors([math.pi])).flatten(0, 1), matrices(50)])
    v = rotation.log(r)
    torch.testing.assert_close(rotation.exp(v), r, rtol=0, atol=1e-12)
    assert (torch.linalg.norm(v, dim=-1) <= math.pi + 1e-12).all()


def test_quaternions_and_matrices_are_one_group():
    p, q = (rotation.to_quaternion(matrices(100, key)) for key in (0, 1))
    both = rotation.multiply(p, q)
    product = rotation.to_matrix(p) @ rotation.to_matrix(q)
    torch.testing.assert_close(rotation.to_matrix(both), product)
    torch.testing.assert_close(torch.linalg.norm(both, dim=-1), torch.ones(100).double())
    torch.testing.assert_close(rotation.to_matrix(-3 * q), rotation.to_matrix(q))


def test_a_matrix_gives_its_quaternion_back_whichever_entry_is_largest():
    q = rotation.exp_quaternion(vectors([*ANGLES, *NEAR_PI, math.pi])).flatten(0, 1)
    found = rotation.to_quaternion(rotation.to_matrix(q))
    aligned = found * (found * q).sum(-1, keepdim=True).sign()
    torch.testing.assert_close(aligned, q, rtol=0, atol=1e-12)
    assert (found[:, 0] >= 0).all()


def test_the_angle_is_a_distance():
    a, b, c = (matrices(200, key) for key in range(3))
    apart = rotation.angle(a.mT @ b)
    v = vectors([*ANGLES, *NEAR_PI])
    found = rotation.angle(rotation.exp(v))
    torch.testing.assert_close(found, torch.linalg.norm(v, dim=-1), rtol=0, atol=1e-12)
    torch.testing.assert_close(rotation.angle(b.mT @ a), apart)
    torch.testing.assert_close(rotation.angle((c @ a).mT @ (c @ b)), apart)
    assert (rotation.angle(a.mT @ c) <= apart + rotation.angle(b.mT @ c) + 1e-12).all()
    trace = a.mT.matmul(b).diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(apart.cos(), (trace - 1) / 2)


def test_a_geodesic_goes_evenly_from_one_to_the_other():
    a, b = matrices(50), matrices(50, key=1)
    whole = rotation.angle(a.mT @ b)
    torch.testing.assert_close(rotation.geodesic(a, b, 0.0), a)
    torch.testing.assert_close(rotation.geodesic(a, b, 1.0), b)
    for share in (0.25, 0.7):
        there = rotation.geodesic(a, b, share)
        torch.testing.assert_close(rotation.angle(a.mT @ there), share * whole)
        torch.testing.assert_close(rotation.angle(there.mT @ b), (1 - share) * whole)
    torch.testing.assert_close(
        rotation.geodesic(a, b, torch.tensor(0.3)), rotation.geodesic(b, a, 0.7)
    )


@pytest.mark.parametrize("size", [0.0, 1e-4, 0.0316, 0.5, 2.0, 3.0])
def test_gradients_are_right(size):
    v = (size * axes(1)[:3]).requires_grad_()
    assert torch.autograd.gradcheck(rotation.exp, v)
    assert torch.autograd.gradcheck(rotation.exp_quaternion, v)
    turned = rotation.exp(0.05 * normal(3, key=2))
    there_and_back = lambda v: rotation.log(rotation.exp(v) @ turned)
    assert torch.autograd.gradcheck(there_and_back, v)


EDGES = [0.0, 1e-30, 1e-9, math.pi - 1e-9, math.pi, math.pi + 1e-9]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize(
    "function",
    [
        lambda v: rotation.log(rotation.exp(v)),
        lambda v: rotation.angle(rotation.exp(v)),
        lambda v: rotation.log_quaternion(rotation.exp_quaternion(v)),
        lambda v: rotation.geodesic(torch.eye(3).to(v).expand(len(v), 3, 3), rotation.exp(v), 0.5),
        lambda v: rotation.to_quaternion(rotation.exp(v)),
    ],
)
def test_gradients_are_finite_where_others_are_not(function, size, dtype):
    v = (size * axes(10)).to(dtype).requires_grad_()
    found = function(v)
    (slope,) = torch.autograd.grad(found.sum(), v)
    assert found.isfinite().all()
    assert slope.isfinite().all()
    assert slope.abs().max() < 100


def test_the_gradient_of_log_after_exp_is_the_identity_at_the_identity():
    for size in (0.0, 1e-9):
        v = (size * axes(3)[0]).requires_grad_()
        jacobian = torch.autograd.functional.jacobian(lambda v: rotation.log(rotation.exp(v)), v)
        torch.testing.assert_close(jacobian, torch.eye(3).double(), rtol=0, atol=1e-8)


def test_single_precision_is_kept():
    v = vectors([*ANGLES, *NEAR_PI[:2]])
    back = rotation.log(rotation.exp(v.float()))
    assert back.dtype == torch.float32
    torch.testing.assert_close(back.double(), v, rtol=0, atol=3e-6)
    r = rotation.exp(v.float())
    assert (r @ r.mT - torch.eye(3)).abs().max() < 1e-6
    torch.testing.assert_close(r.double(), rotation.exp(v), rtol=0, atol=1e-6)


def test_random_rotations_are_even():
    torch.manual_seed(0)
    r = rotation.random_matrix(40_000, like=torch.zeros((), dtype=torch.float64))
    assert r.dtype == torch.float64
    assert r.mean(0).abs().max() < 0.02
    torch.testing.assert_close(
        r.square().mean(0), torch.full((3, 3), 1 / 3).double(), atol=0.01, rtol=0
    )
    w = rotation.angle(r)
    share = ((w - w.sin()) / math.pi).sort().values
    even = torch.linspace(0, 1, len(w), dtype=w.dtype)
    assert (share - even).abs().max() < 1.95 / math.sqrt(
        len(w)
    )  # Kolmogorov, at one in a thousand
    assert rotation.random_quaternion(5, 2).shape == (5, 2, 4)
