import pytest
import torch

from benchmarks.plain_backbone import PlainAttention
from genmatter.maths import rotation
from genmatter.maths.rigid import Rigid, compose
from genmatter.nn.ipa import BackboneUpdate, EdgeTransition, InvariantPointAttention

C_S, C_Z = 12, 8


def attention(dtype=torch.float64):
    """Attention that says something: its last layer starts near zero."""
    torch.manual_seed(0)
    net = InvariantPointAttention(C_S, C_Z, 4, 3, 2, 5)
    torch.nn.init.normal_(net.linear_out.weight, std=0.3)
    return net.to(dtype)


def scene(n=2, size=7, dtype=torch.float64, wide=5.0):
    """Residues, pairs and bodies, of which the first row lacks its last two."""
    torch.manual_seed(1)
    s, z = torch.randn(n, size, C_S), torch.randn(n, size, size, C_Z)
    trans = wide * torch.randn(n, size, 3)
    rots = rotation.random_matrix(n, size, like=trans.double())
    mask = torch.ones(n, size, dtype=torch.bool)
    mask[0, -2:] = False
    return s.to(dtype), z.to(dtype), Rigid(rots.to(dtype), trans.to(dtype)), mask


def answer_and_slopes(net, s, z, r, mask):
    """What comes out, and the gradients of all of it that is real by all that goes in."""
    leaves = [x.clone().requires_grad_() for x in (s, z, *r)]
    weights = [p for p in attention_of(net).parameters() if p.requires_grad]
    out = net(leaves[0], leaves[1], Rigid(*leaves[2:]), mask)[mask]
    slopes = torch.autograd.grad(
        (out * torch.linspace(-1, 1, C_S).to(out)).sum(), leaves + weights
    )
    return out, slopes


def attention_of(net):
    return net.ours if isinstance(net, PlainAttention) else net


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_the_lean_form_is_the_one_by_the_book(dtype, close):
    net, told = attention(dtype), scene(dtype=dtype)
    a, a_slopes = answer_and_slopes(net, *told)
    b, b_slopes = answer_and_slopes(PlainAttention(net), *told)
    size = b.abs().max()
    assert size > 0.1
    torch.testing.assert_close(a / size, b / size, atol=close, rtol=0)
    for x, y in zip(a_slopes, b_slopes, strict=True):
        size = y.abs().max().clamp_min(1)
        torch.testing.assert_close(x / size, y / size, atol=close, rtol=0)


def test_far_from_the_origin_it_is_as_exact():
    net, (s, z, r, mask) = attention(torch.float32), scene(dtype=torch.float32)
    there = Rigid(r.rots, r.trans + 1024)  # a power of two rounds little by itself
    a, b = net(s, z, r, mask)[mask], net(s, z, there, mask)[mask]
    torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_where_all_of_space_moves_nothing_changes():
    net, (s, z, r, mask) = attention(), scene()
    motion = Rigid(rotation.random_matrix(like=r.trans), 30 * torch.randn(3).double())
    moved = compose(Rigid(*(x.expand(*r.trans.shape[:2], *x.shape) for x in motion)), r)
    torch.testing.assert_close(net(s, z, moved, mask)[mask], net(s, z, r, mask)[mask])


def test_where_one_body_moves_others_notice():
    net, (s, z, r, mask) = attention(), scene()
    trans = r.trans.clone()
    trans[:, 0] += 1
    change = (net(s, z, Rigid(r.rots, trans), mask) - net(s, z, r, mask)).abs().amax(-1)
    assert (change[mask] > 1e-6).all()


def test_masked_residues_are_not_seen():
    net, (s, z, r, mask) = attention(), scene()
    gone = ~mask[..., None]
    other = Rigid(
        torch.where(gone[..., None], torch.eye(3).double(), r.rots),
        torch.where(gone, 100.0, r.trans),
    )
    pairs = torch.where((mask[:, :, None] & mask[:, None])[..., None], z, 7.0)
    a, b = net(s, z, r, mask), net(torch.where(gone, -3.0, s), pairs, other, mask)
    torch.testing.assert_close(a[mask], b[mask])


def test_a_row_of_which_nothing_is_real_has_finite_gradients():
    net, (s, z, r, mask) = attention(), scene()
    trans = r.trans.clone().requires_grad_()
    net(s, z, Rigid(r.rots, trans), mask & False).sum().backward()
    assert trans.grad.isfinite().all()


def test_the_order_of_residues_is_not_seen():
    net, (s, z, r, mask) = attention(), scene()
    order = torch.randperm(s.shape[1])
    shuffled = Rigid(r.rots[:, order], r.trans[:, order])
    b = net(s[:, order], z[:, order][:, :, order], shuffled, mask[:, order])
    torch.testing.assert_close(b, net(s, z, r, mask)[:, order])


def test_bodies_start_almost_at_rest():
    torch.manual_seed(0)
    step = BackboneUpdate(64)(torch.randn(3, 4, 64))
    assert step.shape == (3, 4, 6)
    assert 1e-4 < step.abs().max() < 0.1


def test_pairs_are_updated_by_their_own_two_residues():
    torch.manual_seed(0)
    net = EdgeTransition(C_S, C_Z)
    s, z = torch.randn(1, 5, C_S), torch.randn(1, 5, 5, C_Z)
    other = s.clone()
    other[:, 2] += 1
    change = (net(other, z) - net(s, z)).abs().amax(-1)[0] > 1e-6
    touched = torch.zeros(5, 5, dtype=torch.bool)
    touched[2], touched[:, 2] = True, True
    assert torch.equal(change, touched)
