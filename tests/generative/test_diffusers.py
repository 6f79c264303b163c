r"""Diffusers of rigid bodies, against the closed form of what they do to a few known frames.

Of frames :math:`(M_k, m_k)` with widths w and s, blurred to level t, rotations are IGSO(3)'s of
variance :math:`w^2 + \sigma^2` about :math:`M_k`, for widths convolve, and translations normal.
"""

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from scipy.stats import kstest, norm
from torch import Tensor

from genmatter.errors import ConfigError
from genmatter.generative.diffusers import R3Diffuser, SE3Diffuser, SO3Diffuser
from genmatter.maths import igso3, rigid, rotation
from genmatter.maths.noise import generator
from genmatter.maths.rigid import Rigid

LEVELS = [0.01, 0.1, 0.5, 1.0]


def normal(*shape, key=0):
    return torch.randn(shape, generator=generator("diffusers", key), dtype=torch.float64)


def bodies(*shape):
    return Rigid(rotation.to_matrix(normal(*shape, 4)), 5 * normal(*shape, 3, key=1))


def uniform(share):
    return kstest(share.numpy(), "uniform").pvalue > 1e-3


def test_sigma_and_the_rate_of_its_square():
    so3 = SO3Diffuser({"min_sigma": 0.02, "max_sigma": 1.5})
    ends = so3.sigma(torch.tensor([0.0, 1.0]).double())
    torch.testing.assert_close(ends, torch.tensor([0.02, 1.5]).double())
    assert so3.sigma(0.5).item() == pytest.approx(math.log((math.e**1.5 + math.e**0.02) / 2))
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64, requires_grad=True)
    (rate,) = torch.autograd.grad(so3.sigma(t).square().sum(), t)
    torch.testing.assert_close(so3.diffusion_coef(t).square(), rate)


def test_the_noise_of_translations_is_the_integral_of_its_rate():
    r3 = R3Diffuser()
    t = torch.linspace(0, 1, 2001, dtype=torch.float64)
    total = torch.trapezoid(r3.b_t(t), t)
    torch.testing.assert_close(r3.marginal_b_t(1.0), total)
    assert total.item() == pytest.approx((0.1 + 20) / 2)
    torch.testing.assert_close(r3.conditional_var(1.0), 1 - (-total).exp())
    assert r3.diffusion_coef(0.5).item() == pytest.approx(math.sqrt(10.05))
    assert R3Diffuser().conditional_var(1e-9).item() == pytest.approx(1e-10, rel=1e-6)


def test_the_marginal_of_rotations_is_where_their_walk_ends():
    torch.manual_seed(0)
    so3, n, steps = SO3Diffuser(), 8000, 400
    r = rotation.exp(igso3.sample_vector(torch.full((n,), so3.min_sigma).double()))
    drawn, score = so3.forward_marginal(torch.eye(3).double().expand(n, 3, 3), 0.4)
    for k in range(steps):
        t = (k + 0.5) * 0.4 / steps
        step = so3.diffusion_coef(t) * math.sqrt(0.4 / steps)
        r = r @ rotation.exp(step * torch.randn(n, 3).double())
    for x in (r, drawn):
        assert uniform(igso3.cdf(rotation.angle(x), so3.sigma(0.4)))
    torch.testing.assert_close(so3.score(rotation.log(drawn), 0.4), score)


def test_the_marginal_of_translations_is_where_their_sde_ends():
    torch.manual_seed(0)
    r3, n, steps, start = R3Diffuser(), 8000, 400, torch.tensor([10.0, -20.0, 3.0]).double()
    x = r3.coordinate_scaling * start.expand(n, 3)
    for k in range(steps):
        b, dt = r3.b_t((k + 0.5) * 0.4 / steps), 0.4 / steps
        x = x - b * x * dt / 2 + (b * dt).sqrt() * torch.randn_like(x)
    drawn, _ = r3.forward_marginal(start.expand(n, 3), 0.4)
    keep, std = (-r3.marginal_b_t(0.4) / 2).exp(), r3.conditional_var(0.4).sqrt()
    for points in (x / r3.coordinate_scaling, drawn):
        whitened = (points - keep * start) / std * r3.coordinate_scaling
        for column in whitened.T.numpy():
            assert kstest(column, norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize("t", LEVELS)
def test_scores_are_gradients_of_the_marginals(t):
    diffuser, data = SE3Diffuser(), bodies(20)
    found = diffuser.forward_marginal(data, t)
    turned = torch.zeros(20, 3, dtype=torch.float64, requires_grad=True)
    moved = torch.zeros(20, 3, dtype=torch.float64, requires_grad=True)
    v = rotation.log(data.rots.mT @ found["rigids_t"].rots @ rotation.exp(turned))
    angle = torch.linalg.norm(v, dim=-1)
    log_density = igso3.log_density(angle, diffuser.so3.sigma(t)).sum()
    x = 0.1 * found["rigids_t"].trans + moved  # scaled
    mean = (-diffuser.r3.marginal_b_t(t) / 2).exp() * 0.1 * data.trans
    log_density = log_density - (x - mean).square().sum() / diffuser.r3.conditional_var(t) / 2
    slopes = torch.autograd.grad(log_density, [turned, moved])
    torch.testing.assert_close(found["rot_score"], slopes[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found["trans_score"], slopes[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_are_found_again_from_states_and_data(dtype):
    diffuser = SE3Diffuser({"r3": {"coordinate_scaling": 0.37}})
    data = Rigid(*(x.to(dtype) for x in bodies(4, 30)))
    t = torch.tensor(LEVELS, dtype=dtype)
    found = diffuser.forward_marginal(data, t)
    rots, trans = found["rigids_t"]
    rot = diffuser.calc_rot_score(rots, data.rots, t)
    scale = found["rot_score_scaling"][:, None, None]
    error = 1e-4 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(rot / scale, found["rot_score"] / scale, rtol=0, atol=error)
    move = diffuser.calc_trans_score(trans, data.trans, t)
    scale = found["trans_score_scaling"][:, None, None]
    torch.testing.assert_close(move / scale, found["trans_score"] / scale, rtol=0, atol=error)
    back = diffuser.calc_trans_0(move, trans, t)
    torch.testing.assert_close(back, data.trans, rtol=0, atol=100 * error)
    assert {x.dtype for x in (rots, trans, rot, move, back, scale)} == {dtype}


def test_scaled_scores_have_unit_variance_at_every_level():
    torch.manual_seed(0)
    diffuser, t = SE3Diffuser(), torch.tensor(LEVELS)
    found = diffuser.forward_marginal(bodies(4, 20_000), t)
    for kind, scaling in zip(("rot", "trans"), diffuser.score_scaling(t), strict=True):
        assert found[f"{kind}_score_scaling"].shape == t.shape
        torch.testing.assert_close(found[f"{kind}_score_scaling"].float(), scaling)
        scaled = found[f"{kind}_score"] / found[f"{kind}_score_scaling"][:, None, None]
        size = scaled.square().sum(-1).mean(-1)
        torch.testing.assert_close(size, torch.full((4,), 3.0).double(), rtol=0.03, atol=0)


def test_a_level_of_each_example_is_as_good_as_one_number():
    diffuser, data = SE3Diffuser(), bodies(4, 5).to_tensor_7()
    drawn = []
    for level in (0.3, *(torch.full(shape, 0.3, dtype=torch.float64) for shape in ((), (4,)))):
        torch.manual_seed(0)
        drawn.append(diffuser.forward_marginal(data, level))
    for other in drawn[1:]:
        for key in ("rigids_t", "rot_score", "trans_score"):
            torch.testing.assert_close(other[key], drawn[0][key])


@pytest.mark.parametrize("kind", [torch.float64, torch.bool])
@pytest.mark.parametrize("seven", [True, False])
def test_what_does_not_diffuse_stays_to_the_bit(kind, seven):
    diffuser, data = SE3Diffuser(), bodies(3, 6)
    mask = torch.ones(3, 6).to(kind)
    mask[0, :2] = mask[2, 5] = 0
    still = ~mask.bool()
    given = data.to_tensor_7() * torch.tensor([-1, -1, -1, -1, 1, 1, 1]) if seven else data
    tensors = lambda bodies: (bodies,) if seven else tuple(bodies)
    found = diffuser.forward_marginal(given, 0.5, diffuse_mask=mask)
    zero = torch.zeros_like(data.trans)
    score = zero + 1
    walked = diffuser.reverse(given, score, score, 0.5, 0.01, diffuse_mask=mask)
    for bodies_now in (found["rigids_t"], walked):
        for now, before in zip(tensors(bodies_now), tensors(given), strict=True):
            assert torch.equal(now[still], before[still])
            assert (now[~still] != before[~still]).flatten(1).any(1).all()
    for name in ("rot_score", "trans_score"):
        assert found[name][still].abs().max() == 0
        assert (found[name][~still] != 0).all()
    centres = rigid.from_tensor_7(walked).trans if seven else walked.trans
    assert centres.mean(1).abs().amax(1).lt(1e-12).tolist() == [False, True, False]


def test_either_half_can_be_left_out():
    data, score = bodies(2, 5), normal(2, 5, 3)
    for rot, trans in ((True, False), (False, True)):
        diffuser = SE3Diffuser({"diffuse_rot": rot, "diffuse_trans": trans})
        found = diffuser.forward_marginal(data, 0.5)
        walked = diffuser.reverse(data, score, score, 0.5, 0.1)
        for after in (found["rigids_t"], walked):
            assert torch.equal(after.rots, data.rots) is not rot
            assert torch.equal(after.trans, data.trans) is not trans
        assert found["rot_score"].any() == rot
        assert found["trans_score"].any() == trans
        assert (found["rot_score_scaling"] == 1).item() is not rot
        assert (found["trans_score_scaling"] == 1).item() is not trans


class Target(NamedTuple):
    """A few frames, how many there are of each, and how sharp they are."""

    frames: Rigid
    shares: Tensor
    turn: float
    shift: float

    def score(self, now, t, diffuser):
        """The exact scores of the mixture at a level."""
        scale, so3, r3 = diffuser.r3.coordinate_scaling, diffuser.so3, diffuser.r3
        width = (self.turn**2 + so3.sigma(t).square()).sqrt()
        keep = (-r3.marginal_b_t(t) / 2).exp()
        variance = (keep * scale * self.shift).square() + r3.conditional_var(t)
        v = rotation.log(self.frames.rots.mT @ now.rots[:, None])
        apart = scale * (now.trans[:, None] - keep * self.frames.trans)
        turned = igso3.log_density(torch.linalg.norm(v, dim=-1), width)
        logits = self.shares.log() + turned - apart.square().sum(-1) / variance / 2
        parts = logits.softmax(-1)[..., None]
        return (parts * igso3.score_vector(v, width)).sum(1), -(parts * apart / variance).sum(1)

    def nearest(self, now):
        apart = (now.trans[:, None] - self.frames.trans).square().sum(-1) / self.shift**2
        turns = rotation.angle(self.frames.rots.mT @ now.rots[:, None])
        return (apart + turns.square() / self.turn**2).argmin(1)


def target():
    turns = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.5, 1.5]]).double()
    places = torch.tensor([[-4.0, 0.0, 0.0], [6.0, 2.0, 0.0], [0.0, -5.0, 8.0]]).double()
    shares = torch.tensor([0.5, 0.3, 0.2]).double()
    return Target(Rigid(rotation.exp(turns), places), shares, turn=0.2, shift=1.0)


def walk(diffuser, goal, n, steps, **how):
    """Goes all the way, in steps that shrink towards the data."""
    now = Rigid(*(x.double() for x in diffuser.sample_ref(n)))
    for t, s in pairwise((torch.linspace(1, 0, steps + 1).double() ** 2).tolist()):
        scores = goal.score(now, t, diffuser)
        now = diffuser.reverse(now, *scores, t, t - s, center=False, **how)
    return now


@pytest.mark.parametrize("how", [{}, {"flow": True}])
def test_with_its_exact_score_a_known_target_is_recovered(how):
    torch.manual_seed(0)
    goal, n = target(), 2000
    diffuser = SE3Diffuser({"so3": {"max_sigma": 3.0}, "r3": {"coordinate_scaling": 0.2}})
    found = walk(diffuser, goal, n, 200, **how)
    kind = goal.nearest(found)
    shares = kind.bincount(minlength=3) / n
    torch.testing.assert_close(shares.double(), goal.shares, rtol=0, atol=0.04)
    width = math.hypot(goal.turn, diffuser.so3.min_sigma)
    v = rotation.log(goal.frames.rots[kind].mT @ found.rots)
    apart = found.trans - goal.frames.trans[kind]
    for k in range(3):
        for x, std in ((v[kind == k], width), (apart[kind == k], goal.shift)):
            want = torch.full((3,), std, dtype=x.dtype)
            torch.testing.assert_close(x.std(0), want, rtol=0.1, atol=0)
            torch.testing.assert_close(x.mean(0), 0 * want, rtol=0, atol=0.2 * std)


def test_less_noise_is_narrower_than_the_target_and_no_flow():
    torch.manual_seed(0)
    goal = target()
    diffuser = SE3Diffuser({"so3": {"max_sigma": 3.0}, "r3": {"coordinate_scaling": 0.2}})
    spreads = []
    for noise_scale in (1.0, 0.5, 0.0):
        found = walk(diffuser, goal, 300, 100, noise_scale=noise_scale)
        apart = found.trans - goal.frames.trans[goal.nearest(found)]
        spreads.append(apart.square().mean().sqrt().item())
    assert spreads[2] < 0.3 * spreads[0] < spreads[1] < 0.8 * spreads[0]


def test_a_step_centres_unless_told_not_to():
    diffuser, data, zero = SE3Diffuser(), bodies(3, 6), torch.zeros(3, 6, 3).double()
    assert diffuser.reverse(data, zero, zero, 0.5, 0.01).trans.mean(1).abs().max() < 1e-12
    free = diffuser.reverse(data, zero, zero, 0.5, 0.01, center=False, flow=True)
    factor = 1 + diffuser.r3.b_t(0.5) * 0.01 / 2
    torch.testing.assert_close(free.trans, factor * data.trans)
    torch.testing.assert_close(free.rots, data.rots)
    held = torch.ones(3, 6)
    held[1, 2] = 0
    some = diffuser.reverse(data, zero, zero, 0.5, 0.01, held, flow=True).trans
    moved = torch.where(held.bool()[..., None], free.trans, data.trans)
    torch.testing.assert_close(some[1], moved[1])
    assert some[0].mean(0).abs().max() < 1e-12


def test_the_end_of_the_way_knows_nothing_of_the_data():
    torch.manual_seed(0)
    diffuser = SE3Diffuser({"r3": {"coordinate_scaling": 0.25}})
    found = diffuser.sample_ref(20_000)
    assert uniform(igso3.cdf(rotation.angle(found.rots).double(), 20.0))
    torch.testing.assert_close(found.trans.std(0), torch.full((3,), 4.0), rtol=0.02, atol=0)
    assert diffuser.sample_ref(2, 5, as_tensor_7=True).shape == (2, 5, 7)


def test_the_scale_of_coordinates_may_be_set_when_data_have_been_seen():
    torch.manual_seed(0)
    diffuser, data = SE3Diffuser(), bodies(5000)
    diffuser.r3.coordinate_scaling = 0.5
    found = diffuser.forward_marginal(Rigid(data.rots, 0 * data.trans), 0.5)
    std = diffuser.r3.conditional_var(0.5).sqrt() / 0.5
    torch.testing.assert_close(found["rigids_t"].trans.std(0), std.expand(3), rtol=0.05, atol=0)
    size = found["trans_score"].square().mean() / found["trans_score_scaling"].square()
    assert size.item() == pytest.approx(1, rel=0.05)


def test_a_network_s_gradient_reaches_its_frames():
    diffuser, data = SE3Diffuser(), Rigid(*(x.float() for x in bodies(2, 5)))
    guess = data.rots.clone().requires_grad_()
    score = diffuser.calc_rot_score(data.rots, guess, 0.1)  # at the identity
    (slope,) = torch.autograd.grad(score.square().sum() + score.sum(), guess)
    assert slope.isfinite().all()
    assert slope.abs().max() > 0


def test_a_config_is_any_mapping_or_object():
    plain = SE3Diffuser()
    said = {
        "diffuse_rot": True,
        "so3": {"min_sigma": 0.02, "cache_dir": "x"},
        "r3": {"max_b": "2e1"},
    }
    nested = SimpleNamespace(so3=SimpleNamespace(min_sigma=0.02), r3={"max_b": 20})
    for conf in (said, nested):
        diffuser = SE3Diffuser(conf)
        assert diffuser.so3.min_sigma == 0.02
        assert diffuser.so3.max_sigma == plain.so3.max_sigma == 1.5
        assert diffuser.r3.max_b == plain.r3.max_b == 20
        assert diffuser.r3.coordinate_scaling == plain.r3.coordinate_scaling == 0.1
        assert diffuser.diffuse_rot is diffuser.diffuse_trans is True
    assert (plain.so3.min_sigma, plain.r3.min_b, plain.so3.schedule) == (0.1, 0.1, "logarithmic")


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"so3": {"schedule": "linear"}}, "'linear'"),
        ({"so3": {"min_sigm": 0.1}}, "did you mean 'min_sigma'"),
        ({"r_3": {}}, "did you mean 'r3'"),
        ({"so3": {"min_sigma": 2.0}}, "2 and 1.5"),
        ({"so3": {"min_sigma": "small"}}, "so3.min_sigma should be a number, got 'small'"),
        ({"r3": {"max_b": 0.0}}, "0.1 and 0"),
        ({"r3": {"coordinate_scaling": 0}}, "above 0, got 0"),
    ],
)
def test_a_config_that_cannot_be_used_says_why(conf, message):
    with pytest.raises(ConfigError, match=message):
        SE3Diffuser(conf)
