"""What a diffusion of rigid bodies promises whatever its network is."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from genmatter.generative import frames
from genmatter.generative.diffusers import SE3Diffuser
from genmatter.generative.frames import (
    FrameBatch,
    FrameDiffusion,
    FramePath,
    Level,
    Weights,
)
from genmatter.generative.walks import Bodies, Clean, FrameODE, FrameSDE, mean_free
from genmatter.maths import igso3, rotation
from genmatter.maths.residues import BACKBONE_IDEAL
from genmatter.spine import Latent, Steerable

SCALE, SIZE = 0.3, 6
POINTS = BACKBONE_IDEAL[0, :3]


class Told(nn.Module):
    """A network that answers with a given conformer wherever it is asked."""

    def __init__(self, rots, trans, psi):
        super().__init__()
        self.answer, self.asked = Clean(rots, trans, psi), []

    def forward(self, state, level, batch, seen, fixed, before):
        self.asked.append((state, before))
        n = len(state.trans)
        return Clean(*(x.expand(n, *x.shape[1:]) for x in self.answer))


class Gaussian(nn.Module):
    """The exact field where bodies lie normally about the origin, and are turned anyhow."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, state, level, batch, seen, fixed, before):
        a, s = level.alpha[:, None, None], level.sigma_x[:, None, None]
        gain = a * self.width**2 / ((a * self.width).square() + s.square())
        return Clean(state.rots, gain * state.trans, torch.zeros_like(state.trans[..., :2]))


class Harmonic(nn.Module):
    """Answers that depend on bodies as a network's do: by what they see of each other."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, state, level, batch, seen, fixed, before):
        free = (seen & ~fixed)[..., None]
        middle = (state.trans * seen[..., None]).sum(1, keepdim=True)
        middle = middle / seen.sum(1)[:, None, None].clamp_min(1)
        local = (state.rots.mT @ (middle - state.trans)[..., None]).squeeze(-1) / 5
        turn = rotation.exp(self.gain * torch.tanh(local) * free)
        trans = state.trans + self.gain * (middle - state.trans + before / 9) * free
        return Clean(state.rots @ turn, trans, nn.functional.normalize(local[..., :2], dim=-1))


def path(**told):
    so3 = {"min_sigma": 0.05, "max_sigma": 1.5}
    r3 = {"coordinate_scaling": SCALE}
    return FramePath(SE3Diffuser({"so3": so3, "r3": r3, **told}), 1e-3, 3.0)


def batch(n=3, size=SIZE, short=0):
    """Rows of which the first lacks its last residues."""
    torch.manual_seed(1)
    trans = 3 * torch.randn(n, size, 3, dtype=torch.float64)
    mask = torch.ones(n, size, dtype=torch.bool)
    mask[0, size - short :] = False
    index = torch.arange(1, size + 1).expand(n, -1).contiguous()
    rots = rotation.random_matrix(n, size, like=trans)
    psi = nn.functional.normalize(torch.randn(n, size, 2).double(), dim=-1)
    x = FrameBatch(
        rots=rots, trans=trans, psi=psi, aatype=torch.zeros_like(index), seq_idx=index,
        residue_index=index, chain_idx=torch.zeros_like(index), mask=mask,
        fixed=torch.zeros_like(mask), protein=torch.zeros(n, dtype=torch.long),
    )  # fmt: skip
    return FrameBatch.cat([x[k : k + 1] for k in range(n)])


def blank(x):
    """The same rows, of which only the residues are known."""
    nan = torch.full_like
    return x.replace(
        rots=nan(x.rots, torch.nan), trans=nan(x.trans, torch.nan), psi=nan(x.psi, torch.nan)
    )


def model(net, walk=FrameODE(6), way=None, weights=Weights(), **more):  # noqa: B008
    told = {"conditioned": 0.0, "motif": 0.0} | more
    return (
        FrameDiffusion(net, way or path(), walk, POINTS.double(), weights, **told).double().eval()
    )


@pytest.fixture
def quiet(monkeypatch):
    """Noise that is the same in the bodies' frames, and in space as `turn` says."""
    told = {"turn": torch.eye(3, dtype=torch.float64)}

    def randn_like(x):
        g = torch.Generator().manual_seed(7)
        return torch.randn(x.shape, generator=g, dtype=torch.float64).to(x) @ told["turn"].mT

    def vectors(sigma):
        g = torch.Generator().manual_seed(8)
        return sigma[..., None] * torch.randn(*sigma.shape, 3, generator=g, dtype=torch.float64)

    monkeypatch.setattr(frames.torch, "randn_like", randn_like)
    monkeypatch.setattr(igso3, "sample_vector", vectors)
    return told


def asked(it, x, u=None, seen=None, fixed=None, share=None):
    """The terms at given levels, of what is seen and fixed."""
    u = torch.linspace(0.05, 0.95, len(x)).double() if u is None else u
    seen = x.mask if seen is None else seen
    fixed = torch.zeros_like(seen) if fixed is None else fixed
    share = torch.ones_like(x.trans[..., 0]) if share is None else share
    return it._loss(x, u, seen, fixed, share).terms


def close(a, b, **more):
    assert a.keys() == b.keys()
    for k in a:
        torch.testing.assert_close(a[k], b[k], **more)


def test_levels_go_from_the_cleanest_to_noise():
    way, u = path(), torch.linspace(0, 1, 9).double()
    t = way.at(u)
    assert t[0].item() == pytest.approx(1e-3)
    assert t[-1].item() == 1
    assert (t.diff() > 0).all()
    level = way.level(t)
    kept = (level.sigma_x * SCALE).square() + level.alpha.square()
    torch.testing.assert_close(kept, torch.ones_like(kept))  # variance preserving
    assert level.alpha[-1] < 0.01
    torch.testing.assert_close(
        FramePath(way.diffuser, 0.01, 1.0).at(u), torch.linspace(0.01, 1, 9).double()
    )


def test_noise_has_the_widths_that_levels_say():
    torch.manual_seed(0)
    it, x = model(Harmonic()), batch(1, 4)
    x = x[torch.zeros(4000, dtype=torch.long)]
    level = it.path.level(torch.tensor(0.3).double().expand(4000))
    free = it._free(x.mask, x.fixed)
    clean = Bodies(x.rots, x.trans - x.trans.mean(1, keepdim=True))
    state, v = it._noised(clean, level, free)
    torch.testing.assert_close(rotation.log(x.rots.mT @ state.rots), v, atol=1e-6, rtol=0)
    noise = (state.trans - level.alpha[0] * clean.trans) / level.sigma_x[0]
    assert noise.var().item() == pytest.approx(3 / 4, rel=0.05)  # without the mean of four
    assert noise.mean(1).abs().max() < 1e-12
    want = igso3.sample_vector(level.sigma_r[:, None].expand(-1, 4)).norm(dim=-1).mean()
    assert v.norm(dim=-1).mean().item() == pytest.approx(want.item(), rel=0.05)


@pytest.mark.parametrize("held", [(), (1, 2)])
def test_the_objective_does_not_see_where_things_are_and_how_they_are_turned(quiet, held):
    it, x = model(Harmonic(), conditioned=0.5), batch(short=2)
    fixed = torch.zeros_like(x.mask)
    fixed[:, list(held)] = True
    turn = rotation.random_matrix(like=x.trans)
    moved = x.replace(rots=turn @ x.rots, trans=x.trans @ turn.mT + 20.0)
    here = asked(it, x, fixed=fixed)
    quiet["turn"] = turn
    close(asked(it, moved, fixed=fixed), here)
    quiet["turn"] = torch.eye(3, dtype=torch.float64)
    with pytest.raises(AssertionError):
        close(asked(it, moved, fixed=fixed), here)


def test_the_right_answer_costs_nothing(quiet):
    x = batch(1)
    told = Told(x.rots, x.trans - x.trans.mean(1, keepdim=True), x.psi)
    for name, term in asked(model(told), x).items():
        assert term.abs().max() < 1e-12, name


def test_terms_are_in_the_units_of_their_noise(quiet):
    """An answer that does not move costs about one for each component."""
    it, x = model(Gaussian(1e-9)), batch(400, 5)
    x = x.replace(trans=x.trans * 1e-9)
    u = torch.linspace(0.2, 0.6, 400).double()
    terms = asked(it, x, u)
    assert terms["trans"].max() < 1e-12
    state = model(Told(x.rots[:1], x.trans[:1] * 0, x.psi[:1]))
    one = asked(state, x[torch.zeros(400, dtype=torch.long)], u)
    assert one["rot"].max() < 1e-20
    off = x.replace(rots=x.rots)
    free = asked(it, off, u)["rot"]
    assert 1.5 < free.mean() < 4.5  # three components of one squared score each


def test_a_score_that_is_wanted_of_clean_translations_weighs_them_by_alpha(quiet):
    x = batch()
    a, b = (asked(model(Harmonic(), weights=Weights(clean=c)), x) for c in (True, False))
    level = path().level(path().at(torch.linspace(0.05, 0.95, 3).double()))
    torch.testing.assert_close(b["trans"], a["trans"] * level.alpha.square())
    for name in ("rot", "psi", "links"):
        assert torch.equal(a[name], b[name])


def test_links_cost_near_the_data_only_and_where_a_chain_goes_on(quiet):
    it, x = model(Harmonic(), weights=Weights(links_below=0.25)), batch(4, short=2)
    u = torch.tensor([0.1, 0.5, 0.62, 0.64]).double()
    t = it.path.at(u)
    found = asked(it, x, u)["links"]
    assert torch.equal(found > 0, t < 0.25)
    broken = x.replace(seq_idx=x.seq_idx * 10)
    assert (asked(it, broken, u)["links"] == 0).all()


def test_links_see_the_distance_of_neighbours_and_not_where_both_are(quiet):
    x = batch(1)
    centred = x.trans - x.trans.mean(1, keepdim=True)
    fixed = torch.tensor([[True] + [False] * (SIZE - 1)])  # so that the mean is not removed
    held = centred - centred[:, :1]
    shifted = held + torch.tensor([0.0, 0.0, 1.0]).double() * ~fixed[..., None]
    level = path().level(path().at(torch.tensor([0.3]).double()))
    found = asked(
        model(Told(x.rots, shifted, x.psi)), x, torch.tensor([0.3]).double(), fixed=fixed
    )
    arm = POINTS.double().square().sum(-1).mean()
    unit = level.sigma_x.square() + arm * level.sigma_r.square()
    torch.testing.assert_close(found["links"], 1 / unit / (SIZE - 1))


def test_weights_without_links_leave_them_out():
    loss = model(Harmonic(), weights=Weights(links=0.0)).loss(batch(), math.inf)
    assert set(loss.terms) == {"rot", "trans", "psi"} == set(loss.weights)


def test_what_is_padded_changes_nothing(quiet):
    it, x = model(Harmonic(), conditioned=0.5), batch(3, short=2)
    wide = x._resized(SIZE + 3)
    g = torch.Generator().manual_seed(7)
    eps = torch.randn(3, SIZE + 3, 3, generator=g, dtype=torch.float64)
    frames.torch.randn_like = lambda y: eps[:, : y.shape[1]].to(y)
    frames.igso3.sample_vector = lambda s: 0.3 * eps[:, : s.shape[1]]
    close(asked(it, wide), asked(it, x))


def test_masked_residues_stay_and_are_not_counted(quiet):
    it, x = model(Harmonic()), batch()
    seen = x.mask.clone()
    seen[:, 2] = False
    level = it.path.level(it.path.at(torch.linspace(0.1, 0.9, 3).double()))
    clean = Bodies(x.rots, x.trans)
    state, v = it._noised(clean, level, it._free(seen, x.fixed))
    assert torch.equal(state.rots[:, 2], x.rots[:, 2])
    assert torch.equal(state.trans[:, 2], x.trans[:, 2])
    assert (v[:, 2] == 0).all()
    found = it.clean(state, level, x, seen, x.fixed, torch.zeros_like(x.trans))
    assert torch.equal(found.trans[:, 2], state.trans[:, 2])
    assert torch.equal(found.rots[:, 2], state.rots[:, 2])
    other = x.replace(psi=torch.where(seen[..., None], x.psi, -x.psi))
    close(asked(it, x, seen=seen), asked(it, other, seen=seen))


def test_crops_have_the_mean_of_whole_proteins(quiet):
    """Over all seeds, where a network answers each residue by itself."""
    x = batch(1)
    u = torch.tensor([0.4]).double()
    apart = torch.arange(SIZE)
    near = (apart[:, None] - apart).abs() <= 1  # fewer at the ends
    p = torch.tensor([0.3, 0.1, 0.1, 0.2, 0.1, 0.2]).double()
    share = (p @ near.double())[None]
    it = model(Gaussian(1.0))
    whole = asked(it, x, u)
    crops = [asked(it, x, u, seen=near[s : s + 1], share=share) for s in range(SIZE)]
    for name in ("rot", "psi"):
        mean = sum(w * c[name] for w, c in zip(p, crops, strict=True))
        torch.testing.assert_close(mean, whole[name])


def test_training_shows_crops_and_validation_whole_proteins():
    def crop(trans, mask, protein):
        shown = mask & (torch.arange(SIZE) < 3)
        return shown, torch.full_like(trans[..., 0], 0.5)

    it = model(Harmonic(), crop=crop)
    x = batch()
    assert torch.equal(it._shown(x)[0], x.mask)
    it.train()
    assert it._shown(x)[0].sum(1).tolist() == [3, 3, 3]


@pytest.mark.parametrize("size", [2, 3, 6, 20])
def test_stretches_are_fixed_in_training_only_and_never_all(size):
    torch.manual_seed(0)
    it, x = model(Harmonic(), motif=0.5), batch(300, size, short=1)
    assert not it._held(x, x.mask).any()
    it.train()
    held = it._held(x, x.mask)
    count, full = held.sum(1), x.mask.sum(1)
    assert not (held & ~x.mask).any()
    assert (count < full).all()
    assert 0.35 < (count > 0).double().mean() < 0.6
    jumps = held.int().diff(dim=1).abs().sum(1) + held[:, 0].int() + held[:, -1].int()
    assert (jumps[count > 0] == 2).all()  # one stretch
    assert held.any(0)[: size - 1].all()  # anywhere


def test_an_earlier_answer_is_shown_where_that_is_learned():
    torch.manual_seed(0)
    x = batch(1)
    for conditioned, training, calls in (
        (0.0, False, {1}),
        (0.5, False, {2}),
        (0.5, True, {1, 2}),
    ):
        found = set()
        for _ in range(12):
            net = Told(x.rots, x.trans, x.psi)
            it = model(net, conditioned=conditioned).train(training)
            it.loss(x, 0.0)
            found.add(len(net.asked))
            earlier = [float(b.abs().sum()) for _, b in net.asked]
            assert earlier[0] == 0
            assert all(e > 0 for e in earlier[1:])
        assert found == calls


def test_the_score_of_what_does_not_turn_is_zero():
    it, x = model(Harmonic()), batch()
    level = it.path.level(torch.full((3,), 0.3).double())
    still = Clean(x.rots, x.trans, x.psi)
    assert (it._score(still, Bodies(x.rots, x.trans), level) == 0).all()


def test_levels_cover_the_way_evenly(monkeypatch):
    it, x, seen = model(Harmonic()), batch(50, 3), []
    plain = it._loss
    monkeypatch.setattr(it, "_loss", lambda b, u, *more: seen.append(u) or plain(b, u, *more))
    it.loss(x, math.inf)
    assert torch.equal((seen[0] * 50).floor().long().sort().values, torch.arange(50))


@pytest.mark.parametrize("walk", [FrameODE(5), FrameSDE(5)])
def test_samples_complete_what_is_given_and_leave_it_to_the_bit(walk):
    torch.manual_seed(0)
    it, x = model(Harmonic(), walk), batch(4, short=2)
    fixed = torch.zeros_like(x.mask)
    fixed[:, 1:3] = True
    hole = blank(x)
    given = hole.replace(
        rots=torch.where(fixed[..., None, None], x.rots, hole.rots),
        trans=torch.where(fixed[..., None], x.trans + 11.3, hole.trans),
        psi=torch.where(fixed[..., None], x.psi, hole.psi), fixed=fixed,
    )  # fmt: skip
    found = it.sample(given)
    for name in ("rots", "trans", "psi"):
        assert torch.equal(getattr(found, name)[fixed], getattr(given, name)[fixed]), name
        assert getattr(found, name).isfinite().all()
    again = it.sample(given)
    free = found.mask & ~fixed
    assert not (found.trans[free] == again.trans[free]).any()
    assert not (found.rots[free] == again.rots[free]).all(-1).all(-1).any()
    assert (found.trans[~x.mask] == 0).all()
    assert (found.rots[~x.mask] == torch.eye(3)).all()
    near = (found.trans - given.trans[:, 1:2])[free].norm(dim=-1)
    assert near.mean() < 60  # around what is fixed, not around the origin


def test_a_motif_that_moves_takes_the_samples_along():
    it, x = model(Harmonic(), FrameODE(4)), batch(2)
    fixed = torch.zeros_like(x.mask)
    fixed[:, :2] = True
    given = x.replace(fixed=fixed)
    torch.manual_seed(0)
    a = it.sample(given)
    torch.manual_seed(0)
    b = it.sample(given.replace(trans=given.trans + 5))
    torch.testing.assert_close(b.trans, a.trans + 5)
    torch.testing.assert_close(b.rots, a.rots)


@pytest.mark.parametrize("known", ["diffuse_rot", "diffuse_trans"])
def test_what_is_not_diffused_is_kept(known):
    torch.manual_seed(0)
    it, x = model(Harmonic(), FrameSDE(4), path(**{known: False})), batch()
    name, other = ("rots", "trans") if known == "diffuse_rot" else ("trans", "rots")
    found = it.sample(blank(x).replace(**{name: getattr(x, name)}))
    assert torch.equal(getattr(found, name), getattr(x, name))
    assert getattr(found, other).isfinite().all()
    term = "rot" if known == "diffuse_rot" else "trans"
    assert (it.loss(x, math.inf).terms[term] < 1e-12).all()


def test_of_one_conformer_samples_are_it():
    x = batch(1)
    trans = x.trans - x.trans.mean(1, keepdim=True)
    found = model(Told(x.rots, trans, x.psi), FrameSDE(4)).sample(blank(x))
    for name, want in (("rots", x.rots), ("trans", trans), ("psi", x.psi)):
        torch.testing.assert_close(getattr(found, name), want)


@pytest.mark.parametrize("walk", [FrameODE(20), FrameSDE(100)])
def test_samples_of_a_normal_law_have_its_width(walk):
    torch.manual_seed(0)
    it, x = model(Gaussian(2.0), walk), blank(batch(1))
    found = it.sample(x[torch.zeros(800, dtype=torch.long)]).trans
    assert found.std().item() == pytest.approx(2.0 * (1 - 1 / SIZE) ** 0.5, rel=0.06)
    assert found.mean(1).abs().max() < 1e-9


def test_chunks_are_put_together_again(monkeypatch):
    it, x = model(Harmonic(), FrameODE(3)), batch(5, short=2)
    whole = it.to_latent(x)
    monkeypatch.setattr(frames, "_PAIRS", 2 * SIZE**2)
    torch.testing.assert_close(it.to_latent(x), whole)
    back = it.from_latent(whole, x)
    monkeypatch.setattr(frames, "_PAIRS", 10**6)
    torch.testing.assert_close(it.from_latent(whole, x).trans, back.trans)
    assert len(it.sample(blank(x))) == 5


def test_the_latent_goes_both_ways():
    torch.manual_seed(0)
    x, errors = batch(3, short=2), []
    for steps in (10, 40):
        it = model(Gaussian(3.0), latent_steps=steps)
        z = it.to_latent(x)
        back = it.from_latent(z, blank(x))
        origin = (x.trans * x.mask[..., None]).sum(1) / x.mask.sum(1)[:, None]
        want = torch.where(x.mask[..., None], x.trans - origin[:, None], 0.0)
        errors.append((back.trans - want).abs().max().item())
        torch.testing.assert_close(back.rots, x.rots)
        assert (z[~x.mask] == 0).all()
    assert errors[1] < 0.1 * errors[0]
    assert errors[1] < 0.05
    assert isinstance(it, Latent)
    assert isinstance(it, Steerable)


def test_any_point_is_a_latent():
    it, x = model(Gaussian(3.0)), batch(2)
    found = it.from_latent(torch.randn(2, SIZE, 12).double(), blank(x))
    eye = found.rots.mT @ found.rots
    torch.testing.assert_close(eye, torch.eye(3).double().expand_as(eye))
    assert found.trans.mean(1).abs().max() < 1e-9


def test_steering_moves_a_linear_measure_to_where_it_is_wanted():
    """Of a normal law the wanted mean and spread are known."""
    torch.manual_seed(0)
    width, n = 2.0, 300
    it, x = model(Gaussian(width), FrameSDE(30)), blank(batch(1))
    measure = lambda b: (b.trans[:, 0] - b.trans[:, -1])[:, 0]
    given = x[torch.zeros(n, dtype=torch.long)]
    variance, want, tolerance = 2 * width**2, 5.0, 0.5
    plain = measure(it.sample(given))
    found = measure(it.steer(given, measure, want, tolerance))
    share = variance / (variance + tolerance**2)
    assert plain.mean().abs() < 0.6
    assert found.mean().item() == pytest.approx(share * want, abs=0.5)
    assert found.std() < 0.5 * plain.std()


def test_steering_turns_bodies_too():
    torch.manual_seed(0)
    it, x = model(Gaussian(2.0), FrameSDE(30)), blank(batch(1))
    given = x[torch.zeros(100, dtype=torch.long)]
    measure = lambda b: (b.rots[:, 0] * b.rots[:, 1]).sum((-2, -1))  # 3 where both turn alike
    plain, found = measure(it.sample(given)), measure(it.steer(given, measure, 3.0, 0.1))
    assert plain.mean() < 1
    assert found.mean() > 2.5


def test_steering_leaves_what_is_fixed():
    torch.manual_seed(0)
    it, x = model(Harmonic(), FrameSDE(5)), batch(3)
    fixed = torch.zeros_like(x.mask)
    fixed[:, 0] = True
    measure = lambda b: (b.trans[:, 0] - b.trans[:, -1]).norm(dim=-1)
    found = it.steer(x.replace(fixed=fixed), measure, 30.0, 0.1)
    assert torch.equal(found.trans[:, 0], x.trans[:, 0])
    assert torch.equal(found.rots[:, 0], x.rots[:, 0])


def test_diagnostics_are_each_term_in_each_quarter():
    found = model(Harmonic()).diagnostics(batch())
    assert {k.rsplit("_", 2)[0] for k in found} == {"rot", "trans", "psi", "links"}
    assert len(found) == 16
    assert all(math.isfinite(v) for v in found.values())


def test_diagnostics_tell_what_crops_show():
    x = batch()
    it = model(Harmonic())
    it.crop = lambda trans, mask, protein: (mask, torch.linspace(0.2, 0.9, SIZE).expand_as(mask))
    found = it.diagnostics(x)
    assert found["crop_least"] == pytest.approx(0.2)
    assert found["crop_most"] == pytest.approx(0.9)


def test_a_batch_without_rows_has_terms_without_rows():
    it = model(Harmonic())
    loss = it.train().loss(batch()[torch.arange(0)], 0.0)
    assert all(term.shape == (0,) for term in loss.terms.values())


def test_a_batch_is_padded_with_bodies_that_are_not_turned():
    x = batch(2, short=2)
    wide = FrameBatch.cat([x, batch(1, SIZE + 2)])
    assert (wide.rots[0, SIZE:] == torch.eye(3)).all()
    assert wide.psi[0, SIZE:].tolist() == [[0.0, 1.0]] * 2
    assert not wide.mask[0, SIZE - 2 :].any()


def test_a_level_is_what_it_is_called():
    assert Level._fields == ("t", "sigma_r", "alpha", "sigma_x")
    assert replace(Weights(), psi=2.0).psi == 2.0
    assert mean_free is frames.mean_free
