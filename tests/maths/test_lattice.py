import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genmatter.maths.lattice import parameters, vectors, wrapped

LENGTHS = st.lists(st.floats(1, 20), min_size=3, max_size=3)
ANGLES = st.lists(st.floats(1.2, 1.9), min_size=3, max_size=3)


@settings(deadline=None, max_examples=50)
@given(LENGTHS, ANGLES)
def test_vectors_have_the_lengths_and_angles_they_were_made_of(lengths, angles):
    a, b = (torch.tensor(x, dtype=torch.float64) for x in (lengths, angles))
    lattice = vectors(a, b)
    found = parameters(lattice)
    torch.testing.assert_close(found[0], a)
    torch.testing.assert_close(found[1], b)
    assert torch.linalg.det(lattice) > 0
    assert lattice[0, 1:].abs().max() == 0
    assert lattice[1, 2] == 0


def test_the_volume_is_that_of_the_formula():
    angles = torch.tensor([1.3, 1.5, 1.8], dtype=torch.float64)
    lengths = torch.tensor([3.0, 4.0, 5.0], dtype=torch.float64)
    x, y, z = angles.cos().tolist()
    volume = 60 * math.sqrt(1 + 2 * x * y * z - x * x - y * y - z * z)
    assert abs(float(torch.linalg.det(vectors(lengths, angles))) - volume) < 1e-9


def test_parameters_do_not_depend_on_the_orientation():
    lattice = torch.randn(5, 3, 3, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    for a, b in zip(parameters(lattice), parameters(lattice @ turn), strict=True):
        torch.testing.assert_close(a, b)


def test_angles_without_a_cell_give_a_flat_one_with_gradients():
    angles = torch.tensor([0.5, 0.5, 2.0], requires_grad=True)
    lattice = vectors(torch.ones(3), angles)
    assert lattice.isfinite().all()
    lattice.sum().backward()
    assert angles.grad is not None
    assert angles.grad.isfinite().all()


def test_differences_go_along_the_shortest_way():
    x = torch.tensor([0.9, -0.9, 0.4]) - torch.tensor([0.1, 0.1, 0.1])
    torch.testing.assert_close(wrapped(x), torch.tensor([-0.2, 0.0, 0.3]))
