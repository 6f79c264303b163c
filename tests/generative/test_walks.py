r"""Walks whose fields have a closed form: conformers of which each is a point.

Of a state, conformer k has the share :math:`w_k \prod f(R_k^T R; \sigma_R)\, N(x; \alpha x_k,
\sigma_x^2)`. Clean translations are the mean; rotations answer with the one whose IGSO(3) score
is the mean of the scores.
"""

import pytest
import torch

from genmatter.generative.diffusers import SE3Diffuser
from genmatter.generative.frames import FramePath
from genmatter.generative.walks import (
    Bodies,
    Clean,
    FrameODE,
    FrameSDE,
    Free,
    ReverseSDE,
    ends,
    flow,
    mean_free,
)
from genmatter.maths import igso3, rotation

SIZE, SCALE = 3, 0.5
PATH = FramePath(
    SE3Diffuser({"so3": {"min_sigma": 0.02}, "r3": {"coordinate_scaling": SCALE}}), 1e-3, 3.0
)
EVEN = FramePath(
    SE3Diffuser({"so3": {"min_sigma": 0.1}, "r3": {"coordinate_scaling": SCALE}}), 0.01, 1.0
)


def free(n, fixed=()):
    those = torch.ones(n, SIZE, dtype=torch.bool)
    those[:, list(fixed)] = False
    return Free(those, those, torch.full((n, 1), not fixed))


def targets(k=2):
    """Conformers that are well apart, centred."""
    torch.manual_seed(3)
    trans = 2 * torch.randn(k, SIZE, 3).double()
    return Bodies(rotation.random_matrix(k, SIZE, like=trans), trans - trans.mean(1, keepdim=True))


def posterior(x, level, known, shares):
    """The chance of each conformer given states, and the scores of rotations that it gives."""
    v = rotation.log(known.rots.mT[None] @ x.rots[:, None])
    turned = igso3.log_density(v.norm(dim=-1), level.sigma_r).sum(-1)
    gap = x.trans[:, None] - level.alpha * known.trans
    moved = -gap.square().sum((-2, -1)) / (2 * level.sigma_x.square())
    return (turned + moved + shares.log()).softmax(1), igso3.score_vector(v, level.sigma_r)


def answering(scores, x, sigma):
    """Rotations that stand for a score, whose size grows with the angle; found by halving."""
    size = scores.norm(dim=-1).clamp_min(1e-9)
    low, high = torch.zeros_like(size), torch.full_like(size, 2.0)
    if sigma < 0.6:
        high = torch.full_like(size, torch.pi - 1e-3)
    for _ in range(26):
        middle = (low + high) / 2
        more = igso3.score(middle, sigma).abs() < size
        low, high = torch.where(more, middle, low), torch.where(more, high, middle)
    return x.rots @ rotation.exp(low[..., None] * scores / size[..., None])


def field_of(known, shares, path=PATH):
    def field(x, t, before):
        level = path.level(t)
        chance, scores = posterior(x, level, known, shares)
        score = torch.einsum("nk,nklc->nlc", chance, scores)
        clean = torch.einsum("nk,klc->nlc", chance, known.trans)
        psi = torch.zeros(*clean.shape[:2], 2).to(clean)
        return Clean(answering(score, x, level.sigma_r), clean, psi)

    return field


def noise(n, known, shares, path=PATH, fixed=()):
    """States at the noisy end, from the law that they have there."""
    pick = torch.multinomial(shares, n, replacement=True)
    level, may = path.level(torch.ones((), dtype=torch.float64)), free(n, fixed)
    turn = igso3.sample_vector(level.sigma_r.expand(n, SIZE))
    eps = mean_free(torch.randn(n, SIZE, 3).double(), may)
    start = Bodies(
        known.rots[pick] @ rotation.exp(turn),
        level.alpha * known.trans[pick] + level.sigma_x * eps,
    )
    return may.mix(start, Bodies(known.rots[pick], known.trans[pick]))


WALKS = [
    (FrameODE(20), PATH), (FrameSDE(20), PATH), (FrameSDE(12, 1.0, 0.9), PATH),
    (ReverseSDE(300), EVEN), (FrameODE(1), PATH), (FrameSDE(1), PATH),
]  # fmt: skip


@pytest.mark.parametrize(("walk", "path"), WALKS)
def test_of_one_conformer_every_walk_returns_it(walk, path):
    torch.manual_seed(0)
    known, one = targets(1), torch.ones(1).double()

    def field(x, t, before):
        n = len(x.trans)
        psi = torch.zeros(n, SIZE, 2).to(x.trans)
        return Clean(known.rots.expand(n, -1, -1, -1), known.trans.expand(n, -1, -1), psi)

    found = walk(field, path, noise(5, known, one, path), free(5))
    torch.testing.assert_close(found.rots, known.rots.expand_as(found.rots))
    torch.testing.assert_close(found.trans, known.trans.expand_as(found.trans))


@pytest.mark.parametrize(
    ("walk", "path"), [(FrameODE(20), PATH), (FrameSDE(20), PATH), (ReverseSDE(300), EVEN)]
)
def test_a_walk_is_led_to_where_its_level_says(walk, path):
    """The state that is asked of last is the conformer up to the noise of the last level."""
    torch.manual_seed(0)
    known, states = targets(1), []

    def field(x, t, before):
        n = len(x.trans)
        states.append((x, path.level(t)))
        psi = torch.zeros(n, SIZE, 2).to(x.trans)
        return Clean(known.rots.expand(n, -1, -1, -1), known.trans.expand(n, -1, -1), psi)

    walk(field, path, noise(200, known, torch.ones(1).double(), path), free(200))
    x, level = states[-1]
    turned = rotation.angle(known.rots.mT @ x.rots).square().mean().sqrt() / level.sigma_r
    moved = (x.trans - level.alpha * known.trans).square().mean().sqrt() / level.sigma_x
    assert len(states) == walk.steps
    assert 0.6 * 3**0.5 < turned < 1.4 * 3**0.5
    assert 0.6 < moved / (2 / 3) ** 0.5 < 1.4  # of three bodies' noise a third is their mean


@pytest.mark.parametrize(
    ("walk", "path"), [(FrameODE(30), PATH), (FrameSDE(30), PATH), (ReverseSDE(100), EVEN)]
)
def test_shares_of_conformers_are_recovered(walk, path):
    torch.manual_seed(0)
    known, shares, n = targets(3), torch.tensor([0.6, 0.3, 0.1]).double(), 600
    found = walk(field_of(known, shares, path), path, noise(n, known, shares, path), free(n))
    gaps = (found.trans[:, None] - known.trans).square().sum((-2, -1))
    best = gaps.argmin(1)
    assert (gaps.amin(1).sqrt() < 0.7).double().mean() > 0.99
    counts = torch.bincount(best, minlength=3) / n
    assert (counts - shares).abs().max() < 4 * (0.25 / n) ** 0.5
    turned = rotation.angle(found.rots.mT @ known.rots[best]).amax(1)
    assert (turned < 6 * path.level(torch.tensor(path.min_t)).sigma_r).double().mean() > 0.98


def test_the_flow_goes_up_and_down_the_same_way():
    torch.manual_seed(0)
    known, shares = targets(2), torch.tensor([0.7, 0.3]).double()
    field, may = field_of(known, shares), free(3)
    level = PATH.level(PATH.at(torch.zeros(())).double())
    eps = mean_free(torch.randn(3, SIZE, 3).double(), may)
    turn = igso3.sample_vector(level.sigma_r.expand(3, SIZE))
    x = Bodies(
        known.rots[0] @ rotation.exp(turn), level.alpha * known.trans[0] + level.sigma_x * eps
    )
    errors = []
    for steps in (10, 20):
        levels = ends(PATH, steps, x.trans)
        z = flow(field, PATH, levels, x, may)
        back = flow(field, PATH, levels.flip(0), z, may)
        off = (back.trans - x.trans).norm(dim=-1).mean() / level.sigma_x
        turned = rotation.angle(back.rots.mT @ x.rots).mean() / level.sigma_r
        errors.append((off.item(), turned.item()))
    for rough, fine in zip(*errors, strict=True):
        assert fine < 0.3 * rough
    assert errors[-1][0] < 5e-4
    assert errors[-1][1] < 5e-3


@pytest.mark.parametrize("walk", [FrameODE(8), FrameSDE(8), ReverseSDE(8)])
def test_what_is_fixed_stays_to_the_bit(walk):
    torch.manual_seed(0)
    known, shares = targets(2), torch.tensor([0.5, 0.5]).double()
    start, may = noise(5, known, shares, fixed=(1,)), free(5, fixed=(1,))
    found = walk(field_of(known, shares), PATH, start, may)
    assert torch.equal(found.rots[:, 1], start.rots[:, 1])
    assert torch.equal(found.trans[:, 1], start.trans[:, 1])
    assert not (found.trans[:, 0] == start.trans[:, 0]).any()
    assert not (found.rots[:, 2] == start.rots[:, 2]).any()


@pytest.mark.parametrize("walk", [FrameSDE(12, 0.1), ReverseSDE(60, 0.1)])
def test_less_noise_is_less_diverse(walk):
    """Of a field that answers with less than it sees, states keep what noise they were given."""
    known, shares = targets(1), torch.ones(1).double()

    def field(x, t, before):
        level = PATH.level(t)
        return Clean(x.rots, x.trans * level.alpha, torch.zeros(*x.trans.shape[:2], 2).to(x.trans))

    spread = []
    for scale in (1.0, walk.noise_scale):
        torch.manual_seed(0)
        again = type(walk)(walk.steps, scale)
        start = noise(1, known, shares)
        many = Bodies(start.rots.expand(300, -1, -1, -1), start.trans.expand(300, -1, -1))
        found = again(field, PATH, many, free(300))
        turned = rotation.angle(start.rots.mT @ found.rots).mean()
        spread.append((found.trans.std(0).mean().item(), turned.item()))
    assert spread[1][0] < 0.3 * spread[0][0]
    assert spread[1][1] < 0.3 * spread[0][1]


def test_stochastic_walks_forget_where_they_started():
    """From one state the flow has one end, and churning has all of them."""
    torch.manual_seed(0)
    known, shares = targets(2), torch.tensor([0.5, 0.5]).double()
    start = noise(1, known, shares)
    many = Bodies(start.rots.expand(100, -1, -1, -1), start.trans.expand(100, -1, -1))
    share = []
    for walk in (FrameODE(20), FrameSDE(20, 1.0, 0.9)):
        found = walk(field_of(known, shares), PATH, many, free(100))
        gaps = (found.trans[:, None] - known.trans).square().sum((-2, -1))
        share.append((gaps.argmin(1) == 0).double().mean().item())
    assert share[0] in (0.0, 1.0)
    assert 0.1 < share[1] < 0.9


def test_the_second_order_is_worth_its_name():
    torch.manual_seed(0)
    known, shares = targets(2), torch.tensor([0.7, 0.3]).double()
    x = noise(6, known, shares)
    exact = _middle(FrameODE(100), x, known, shares)
    first, second = (
        (_middle(walk, x, known, shares) - exact).abs().mean()
        for walk in (FrameSDE(20, 1.0, 0.0), FrameODE(20))
    )
    assert second < 0.3 * first


def test_rotations_are_followed_to_second_order_too():
    r"""Of narrow IGSO(3) data widths add in squares, and the flow shrinks v by their ratio."""
    so3 = {"min_sigma": 0.002, "max_sigma": 0.3}
    path, width = FramePath(SE3Diffuser({"so3": so3}), 1e-3, 3.0), 0.1
    torch.manual_seed(0)
    v = 0.3 * torch.randn(8, SIZE, 3).double()
    x = Bodies(rotation.exp(v), torch.zeros_like(v))

    def field(state, t, before):
        noise = path.level(t).sigma_r.square()
        mean = rotation.log(state.rots) * width**2 / (width**2 + noise)
        return Clean(rotation.exp(mean), state.trans, torch.zeros_like(state.trans[..., :2]))

    high = path.level(torch.ones(1).double()).sigma_r.square()
    exact = v * (width**2 / (width**2 + high)).sqrt()
    first, second = (
        (rotation.log(walk(field, path, x, free(8)).rots) - exact).abs().mean()
        for walk in (FrameSDE(20, 1.0, 0.0), FrameODE(20))
    )
    assert second < 0.3 * first


def _middle(walk, x, known, shares):
    """Where the flow stands before its last answer, which takes it to a conformer."""
    states = []
    field = field_of(known, shares)

    def watched(state, t, before):
        states.append(state.trans)
        return field(state, t, before)

    walk(watched, PATH, x, free(len(x.trans)))
    return states[-1]


def test_the_mean_is_removed_only_where_nothing_else_says_where_it_is():
    x = torch.randn(2, SIZE, 3)
    may = Free(
        torch.ones(2, SIZE).bool(),
        torch.tensor([[True, True, False]] * 2),
        torch.tensor([[True], [False]]),
    )
    y = mean_free(x, may)
    torch.testing.assert_close(y[0, :2].mean(0), torch.zeros(3))
    assert torch.equal(y[0, 2], x[0, 2])
    assert torch.equal(y[1], x[1])
