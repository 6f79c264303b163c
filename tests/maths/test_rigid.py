import pytest
import torch

from genmatter.maths import rigid, rotation
from genmatter.maths.noise import generator
from genmatter.maths.rigid import Rigid


def normal(*shape, key=0):
    return torch.randn(shape, generator=generator("rigid", key), dtype=torch.float64)


def bodies(*shape, key=0):
    return Rigid(rotation.to_matrix(normal(*shape, 4, key=key)), normal(*shape, 3, key=key + 100))


def same(a, b):
    torch.testing.assert_close(a.rots, b.rots)
    torch.testing.assert_close(a.trans, b.trans)


def test_motions_are_a_group():
    a, b, c = (bodies(4, 7, key=k) for k in range(3))
    one = rigid.identity(4, 7, like=a.trans)
    same(rigid.compose(a, one), a)
    same(rigid.compose(one, a), a)
    same(rigid.compose(a, rigid.invert(a)), one)
    same(rigid.compose(rigid.invert(a), a), one)
    left = rigid.compose(rigid.compose(a, b), c)
    same(left, rigid.compose(a, rigid.compose(b, c)))


def test_they_move_points_as_they_are_composed():
    a, b, x = bodies(7), bodies(7, key=1), normal(7, 3, key=2)
    torch.testing.assert_close(rigid.compose(a, b).apply(x), a.apply(b.apply(x)))
    torch.testing.assert_close(rigid.invert(a).apply(x), a.invert_apply(x))
    torch.testing.assert_close(a.invert_apply(a.apply(x)), x)
    torch.testing.assert_close(a.apply(torch.zeros_like(x)), a.trans)


def test_seven_numbers_are_a_body():
    a = bodies(4, 7)
    x = a.to_tensor_7()
    assert (x[..., 0] >= 0).all()
    same(rigid.from_tensor_7(x), a)
    stretched = torch.cat([-2 * x[..., :4], x[..., 4:]], -1)
    same(rigid.from_tensor_7(stretched), a)
    torch.testing.assert_close(rigid.from_tensor_7(stretched).to_tensor_7(), x)


def test_a_residue_puts_up_its_frame():
    """The origin is CA, x goes to C, and N lies in the xy plane where y is above 0."""
    c, ca, n = normal(3, 20, 3)
    frame = rigid.from_three_points(c, ca, n)
    torch.testing.assert_close(frame.trans, ca)
    along, across = frame.invert_apply(c), frame.invert_apply(n)
    assert (along[:, 0] > 0).all()
    assert along[:, 1:].abs().max() < 1e-12
    assert (across[:, 1] > 0).all()
    assert across[:, 2].abs().max() < 1e-12
    torch.testing.assert_close(torch.linalg.det(frame.rots), torch.ones(20).double())


def test_the_frame_moves_with_its_points():
    points, motion = normal(3, 20, 3), bodies(20, key=1)
    moved = [motion.apply(p) for p in points]
    same(rigid.from_three_points(*moved), rigid.compose(motion, rigid.from_three_points(*points)))


def test_gradients_are_right():
    points = normal(3, 2, 3).requires_grad_()
    seven = torch.cat([normal(2, 4, key=1), normal(2, 3, key=2)], -1).requires_grad_()
    frame_of = lambda p: rigid.from_three_points(*p).to_tensor_7()
    assert torch.autograd.gradcheck(frame_of, points)
    assert torch.autograd.gradcheck(lambda x: rigid.from_tensor_7(x).rots, seven)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_absent_atoms_give_nothing_that_is_not_a_number(dtype):
    absent = torch.zeros(2, 3, 3, dtype=dtype, requires_grad=True)
    found = rigid.from_three_points(*absent.unbind(1)).to_tensor_7()
    assert found.isfinite().all()
    (slope,) = torch.autograd.grad(found.sum(), absent)
    assert slope.isfinite().all()


def test_single_precision_is_kept():
    a, b, x = bodies(50), bodies(50, key=1), normal(50, 3, key=2)
    single = [Rigid(r.rots.float(), r.trans.float()) for r in (a, b)]
    found = rigid.compose(*single).apply(x.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), rigid.compose(a, b).apply(x), rtol=0, atol=1e-5)
    back = rigid.from_tensor_7(single[0].to_tensor_7())
    torch.testing.assert_close(back.rots.double(), a.rots, rtol=0, atol=1e-6)
