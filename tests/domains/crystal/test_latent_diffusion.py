"""The flow in the latent space: what it is told, what it keeps, and what it leaves alone."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from genmatter.config import replaced
from genmatter.domains.crystal import data, vae
from genmatter.domains.crystal.chart import SPREAD
from genmatter.domains.crystal.config import (
    CrystalDataConfig,
    CrystalLatentDiffusionConfig,
    CrystalVAEConfig,
)
from genmatter.domains.crystal.elements import SYMBOLS
from genmatter.domains.crystal.hiding import Hiding, blank
from genmatter.domains.crystal.latent_diffusion import build
from genmatter.domains.crystal.represent import CrystalTensors
from genmatter.domains.crystal.symmetry import space_group
from genmatter.domains.crystal.templates import Templates
from genmatter.domains.crystal.velocity import Pairs
from genmatter.errors import ConfigError
from genmatter.maths.noise import stream
from genmatter.spine import Latent, Predictor

TINY = CrystalLatentDiffusionConfig.presets["tiny"]
STAGE = CrystalVAEConfig.presets["tiny"]


@pytest.fixture(scope="module")
def train():
    return data.load(CrystalDataConfig(crystals=240)).train


@pytest.fixture(scope="module")
def fitted(train):
    """Space groups are left out, but where a test is about them."""
    return dataclasses.replace(CrystalTensors.fit(train, STAGE), groups=False)


@pytest.fixture(scope="module")
def batch(fitted, train):
    return fitted.encode(train[:40])


def made(fitted, batch, *, alive=True, **changes):
    torch.manual_seed(0)
    stage = vae.build(STAGE, fitted).eval()
    it = build(replaced(TINY, changes), fitted, stage)
    it.begin([batch])
    if alive:
        for p in it.denoiser.parameters():  # nothing is left at zero, where a test sees nothing
            if p.abs().max() == 0:
                torch.nn.init.normal_(p, std=0.1)
    return it.eval()


def told(it, batch, *, alone=False):
    """Returns what the flow is told of crystals: with templates, or without."""
    near = it._near(batch, others=True)
    hide = torch.full_like(batch.num_atoms, alone, dtype=torch.bool)
    return it._told(batch, it.templates.draw(near, batch, hide))


def state(it, batch, known):
    """Returns the numbers that the flow draws of crystals, given what it is told."""
    return known.state(it.to_latent(batch), it.layout, it.vae.chart)


def test_it_draws_coordinates_of_atoms_and_one_cell(fitted, batch):
    """All that types say is left out: three units of an atom and six of a crystal remain."""
    it = made(fitted, batch)
    assert it.layout.own.nonzero()[:, 0].tolist() == [0, 1, 2]
    assert it.layout.shared.nonzero()[:, 0].tolist() == list(range(3, 9))
    assert it.layout.said[9:].all()


@pytest.mark.parametrize("alone", [True, False])
def test_copies_by_its_states_are_those_of_the_first_stage(fitted, batch, alone):
    it = made(fitted, batch)
    known = told(it, batch, alone=alone)
    assert known.template.there.any() != alone
    z = known.drawn(state(it, batch, known), it.layout)
    a, b = (it.vae.from_latent(x, batch) for x in (z, it.vae.to_latent(batch)))
    torch.testing.assert_close(a.lengths, b.lengths, atol=0.05, rtol=0.02)
    gap = a.frac_coords - b.frac_coords
    assert (gap - gap.round()).abs().max() < 0.02


def test_an_untrained_flow_errs_by_what_there_is(fitted, batch):
    """A velocity of nothing has the squared error of data and noise of unit spread."""
    it = made(fitted, batch, alive=False, hide_template=1.0).train()
    with stream("a"):
        found = it.loss(batch, math.inf).terms
    for name in ("flow", "flow_cell"):
        assert found[name].shape == (len(batch),)
        assert found[name].mean().item() == pytest.approx(1.0, abs=0.25)


def test_compositions_cost_their_exact_log_likelihood(fitted, batch):
    it = made(fitted, batch)
    found = it.loss(batch, math.inf).terms["composition"]
    model = it.composition
    counts, wish = model.counts(batch.atom_types), model.wish(blank(batch))
    torch.testing.assert_close(found, -model.log_prob(counts, wish))
    assert (found > 0).all()


def test_training_learns_compositions_from_every_crystal(fitted, batch):
    """Half of the term is what nothing told leaves, whatever else is told."""
    it = made(fitted, batch, hide_all=0.0, hide_each=0.0).train()
    it.composition.eval()  # no dropout
    model, counts = it.composition, it.composition.counts(batch.atom_types)
    ways = [model.wish(x) for x in (blank(batch), batch)]
    halves = torch.stack([-model.log_prob(counts, w) for w in ways])
    assert (halves[0] - halves[1]).min() > 0.1
    found = it.loss(batch, 0.0).terms["composition"]
    torch.testing.assert_close(found, halves.mean(0))


def test_space_groups_cost_only_where_they_are_known(fitted, batch):
    assert "space_group" not in made(fitted, batch).loss(batch, math.inf).terms
    known = dataclasses.replace(fitted, groups=True)
    some = batch.replace(space_group=torch.arange(len(batch)) % 2 * 225)
    found = made(known, some).loss(some, math.inf).terms["space_group"]
    assert ((found > 0) == (some.space_group > 0)).all()


def test_samples_have_the_composition_that_was_drawn(fitted, batch):
    it = made(fitted, batch)
    given = fitted.prompt(8, TINY)
    with stream("draw"):
        drawn = it.composed(given)
    with stream("draw"):
        found = it.sample(given)
    assert torch.equal(found.atom_types, drawn.atom_types)
    assert torch.equal(found.atom_types > 0, given.mask)
    assert (found.space_group == 0).all()


def test_elements_that_are_asked_for_are_kept_exactly(fitted, batch):
    it = made(fitted, batch)
    system = [SYMBOLS[z] for z in fitted.elements[:3]]
    for wish in ({}, {"num_atoms": (3, 5)}, {"guidance": 3.0}):
        asked = replaced(TINY, {"chemical_system": tuple(system), **wish})
        it.guidance = asked.sampling.guidance
        found = fitted.decode(it.sample(fitted.prompt(9, asked)))
        assert all({*z.tolist()} == {*fitted.elements[:3]} for z in found.each_numbers())
        if "num_atoms" in wish:
            assert found.counts.tolist() == [3, 5, 3, 5, 3, 5, 3, 5, 3]


def test_space_groups_are_drawn_where_none_is_wished(fitted, batch):
    known = dataclasses.replace(fitted, groups=True)
    it = made(known, batch)
    assert (it.composed(known.prompt(6, TINY)).space_group > 0).all()
    wished = known.prompt(6, replaced(TINY, {"space_group": 62, "formula": "LiFeO2"}))
    assert (it.composed(wished).space_group == 62).all()
    assert (made(fitted, batch).composed(fitted.prompt(6, TINY)).space_group == 0).all()


def test_the_first_stage_learns_nothing_and_stays_awake_in_no_layer(fitted, batch):
    it = made(fitted, batch).train()
    assert not it.vae.training
    it.loss(batch, 0.0).total.mean().backward()
    assert all(p.grad is None for p in it.vae.parameters())
    assert all(p.grad is not None for p in it.denoiser.parameters())


def test_rows_do_not_see_each_other(fitted, batch):
    it = made(fitted, batch)
    x = torch.randn(*batch.mask.shape, 16) * batch.mask[..., None]
    t = torch.full((1,), 0.7)
    row = int(batch.num_atoms.argmin())
    alone = batch[torch.tensor([row])]
    with stream("draw"):
        it.templates.metric.weight.data.mul_(100)  # the nearest template, always
        together = it.net(x, t, told(it, batch))
        found = it.net(x[row : row + 1, : int(alone.num_atoms)], t, told(it, alone))
    torch.testing.assert_close(
        together[row, : int(alone.num_atoms)], found[0], atol=1e-5, rtol=1e-5
    )
    assert (together[~batch.mask] == 0).all()


def test_a_formula_is_kept_exactly(fitted, batch):
    it = made(fitted, batch)
    wish = {"formula": "LiFeO2", "formula_units": (1, 2), "guidance": 2.0}
    given = fitted.prompt(6, replaced(TINY, wish))
    found = fitted.decode(it.sample(given))
    assert found.formulas == ["LiFeO2"] * 6
    assert found.counts.tolist() == [4, 8] * 3


def test_what_is_known_comes_back(fitted, batch):
    it = made(fitted, batch)
    given = fitted.prompt(5, replaced(TINY, {"target": ("density=4",)}))
    found = it.sample(given)
    for name in ("num_atoms", "mask", "elements", "space_group", "properties", "wanted"):
        a, b = found.tensors[name], given.tensors[name]
        assert torch.equal(a.nan_to_num(), b.nan_to_num())
    assert (found.atom_types[found.mask] > 0).all()


def test_wishes_change_what_is_drawn(fitted, batch):
    it = made(fitted, batch)
    plain = {"num_atoms": (4,)}
    drawn = {}
    wishes = {
        "none": {}, "density": {"target": ("density=9",)}, "elements": {"chemical_system": ("O",)}
    }  # fmt: skip
    for name, wish in wishes.items():
        with stream("draw"):
            drawn[name] = it.sample(fitted.prompt(3, replaced(TINY, plain | wish))).frac_coords
    assert (drawn["density"] - drawn["none"]).abs().max() > 1e-5
    assert (drawn["elements"] - drawn["none"]).abs().max() > 1e-5


def test_guidance_is_a_line_from_what_is_not_told(fitted, batch):
    given = fitted.prompt(3, replaced(TINY, {"formula": "LiFeO2", "target": ("density=9",)}))
    t, x = torch.tensor(0.8), torch.randn(3, 4, 16)
    each = {w: made(fitted, batch, guidance=w) for w in (0.0, 1.0, 2.0)}
    found = {w: it._field(told(it, given, alone=True), given)(x, t).data for w, it in each.items()}
    torch.testing.assert_close(
        found[2.0] - found[1.0], found[1.0] - found[0.0], atol=1e-4, rtol=1e-4
    )
    assert (found[1.0] - found[0.0]).abs().max() > 1e-5


def test_guidance_towards_nothing_asks_once(fitted, batch, monkeypatch):
    it = made(fitted, batch, guidance=3.0)
    asked = []
    forward = type(it.net).forward
    monkeypatch.setattr(type(it.net), "forward", lambda *a: asked.append(1) or forward(*a))
    it.sample(fitted.prompt(2, TINY))
    assert len(asked) == it.network_calls == TINY.sampling.steps


def test_samples_are_the_template_where_the_network_says_nothing(fitted, batch):
    """Untrained and sure that crystals lie where their templates do, it gives these back."""
    it = made(fitted, batch, alive=False, level=0.0)
    it.settle = 0
    it.net.gate.bias.data.fill_(-20.0)
    it.templates.metric.weight.data.mul_(100)
    given = batch.replace(
        frac_coords=torch.zeros_like(batch.frac_coords),
        wanted=torch.full_like(batch.wanted, math.nan),
    )
    found, known = it.sample(given), it.vae.denoised(it.to_latent(batch), batch, 0.0)
    gap = found.frac_coords - known.frac_coords
    assert (gap - gap.round()).abs().max() < 0.02
    torch.testing.assert_close(found.lengths, known.lengths, atol=0.1, rtol=0.02)
    it.copy = False
    free = it.sample(given)
    assert (free.lengths - known.lengths).abs().max() > 0.5


def test_a_template_is_another_formula_in_training_and_hidden_by_chance(fitted, batch):
    it = made(fitted, batch, hide_template=0.25).train()
    many = type(batch).cat([batch] * 50)
    near = it._near(many, others=True)
    able = near.isfinite().any(1)
    there = it._shown(many, blank(many), near).template.there
    assert not there[~able].any()
    assert float(there[able].float().mean()) == pytest.approx(0.75, abs=0.04)
    assert torch.equal(it.eval()._shown(many, many, near).template.there, able)


def test_samples_get_the_symmetries_of_their_templates(fitted, batch):
    it = made(fitted, batch, alive=False, level=0.0)
    it.settle = 0
    it.templates.metric.weight.data.mul_(100)
    given = batch.replace(wanted=torch.full_like(batch.wanted, math.nan))
    found = {}
    for reach in (0.0, 1.0):
        it.symmetrise = reach
        with stream("draw"):
            cells = fitted.decode(it.sample(given))
        rows = zip(cells.lattice.numpy(), cells.each_frac(), cells.each_numbers(), strict=True)
        found[reach] = np.mean([space_group(cell, 0.01) > 15 for cell in rows])
    assert found[0.0] < 0.5 < found[1.0]


def test_what_lies_elsewhere_than_its_template_is_learned_without(fitted, batch):
    it = made(fitted, batch)
    known = told(it, batch)
    there = known.template.there
    gap = state(it, batch, known)
    far = torch.stack(it.layout.errors(gap, batch.mask)).amax(0).sqrt()
    assert (far[there] < 0.3).any()
    moved = batch.replace(frac_coords=batch.frac_coords.roll(7, 0))
    for x in (batch, moved):
        found = known.near(it.to_latent(x), it.layout, it.vae.chart)
        gap = state(it, x, known)
        far = torch.stack(it.layout.errors(gap, x.mask)).amax(0).sqrt()
        assert torch.equal(found.template.there, there & (far < 0.3))
        assert (found.latents[~found.template.there] == 0).all()
        assert torch.equal(
            found.latents[found.template.there], known.latents[found.template.there]
        )
    assert not found.template.there.all()


def test_a_state_goes_the_shortest_way_from_its_template(fitted, batch):
    """Whole cells in the latents of a template change nothing."""
    it = made(fitted, batch)
    known = told(it, batch)
    whole = SPREAD * torch.randint(-1, 2, (*batch.mask.shape, 3)) * batch.mask[..., None]
    there = known.template.there[:, None, None]
    moved = known.latents + torch.cat([whole, torch.zeros(*batch.mask.shape, 13)], -1) * there
    found = state(it, batch, dataclasses.replace(known, latents=moved))
    torch.testing.assert_close(found, state(it, batch, known), atol=1e-4, rtol=1e-4)
    assert (moved != known.latents).any()


def test_choices_at_a_low_temperature_are_the_likeliest(fitted, batch):
    known = dataclasses.replace(fitted, groups=True)
    some = batch.replace(space_group=torch.arange(len(batch)) % 2 + 224)
    it = made(known, some, choice=1e-4)
    given = some.replace(space_group=torch.zeros(len(batch)).long())
    counts = it.composition.counts(batch.atom_types)
    near = it.templates.of_groups(it.templates.near(counts))
    assert it.groups is not None
    likeliest = it.groups.log_prob(counts, given, near).argmax(1)
    assert torch.equal(it.composed(given).space_group, likeliest)
    drawn = []
    draw = it.templates.draw
    it.templates.draw = lambda *a: drawn.append(draw(*a)) or drawn[-1]
    found = it.sample(given.replace(wanted=torch.full_like(given.wanted, math.nan)))
    assert len(found) == len(batch)
    own = it.templates.near(counts).masked_fill(likeliest[:, None] != some.space_group, -9e9)
    best = drawn[0].there & (own.max(1).values > -1e6)
    assert best.any()
    types = batch.atom_types[own.argmax(1)]
    assert torch.equal(drawn[0].types[best], types[best])


def test_the_flow_sees_its_template(fitted, batch):
    it = made(fitted, batch)
    known = told(it, batch)
    row = known.template.there
    x, t = torch.randn(*batch.mask.shape, 16), torch.tensor([0.9])
    a = it.net(x, t, known)
    moved = dataclasses.replace(known, latents=known.latents + 0.3 * row[:, None, None])
    types = known.template.types.roll(1, 1) * (known.template.types > 0)
    other = dataclasses.replace(known, template=dataclasses.replace(known.template, types=types))
    for b in (it.net(x, t, moved), it.net(x, t, other)):
        assert (a - b)[row].abs().amax((1, 2)).min() > 1e-6
        torch.testing.assert_close(a[~row], b[~row])


def test_training_hides_what_it_could_tell(batch):
    torch.manual_seed(0)
    many = type(batch).cat([batch.replace(space_group=torch.ones(len(batch)).long())] * 50)
    told = Hiding(0.4, 0.5)(many)
    elements = told.elements[:, 0].isfinite()
    groups, wanted = told.space_group > 0, told.wanted.isfinite()
    share = lambda x: float(x.float().mean())
    assert share(elements) == pytest.approx(0.6 * 0.5, abs=0.04)
    assert share(groups) == pytest.approx(0.6 * 0.5, abs=0.04)
    assert share(wanted) == pytest.approx(0.6 * 0.5, abs=0.04)
    assert torch.equal(told.atom_types, many.atom_types)
    nothing = ~(elements | groups | wanted.any(1))
    assert share(nothing) > 0.4
    assert torch.equal(told.num_atoms, many.num_atoms)


def test_its_latents_are_those_of_the_first_stage(fitted, batch):
    it = made(fitted, batch)
    z = it.to_latent(batch)
    assert torch.equal(z, it.vae.to_latent(batch))
    assert torch.equal(it.from_latent(z, batch).lengths, it.vae.from_latent(z, batch).lengths)
    assert torch.equal(it.predict(z)["density"], it.vae.predict(z)["density"])
    hint = build.__annotations__["return"]
    assert issubclass(hint, Latent)
    assert issubclass(hint, Predictor)


def test_diagnostics_are_means_over_atoms(fitted, batch):
    it = made(fitted, batch, alive=False)
    it.templates = Templates()  # of nothing
    found = it.diagnostics(batch)
    quarters = [f"{name}_quarter_{k}" for k in range(1, 5) for name in ("flow", "cell")]
    assert list(found) == ["composition", *quarters]
    assert all(0.4 < found[name] < 2.5 for name in quarters)


def test_the_flow_is_told_the_space_group_by_chance(fitted, batch):
    it = made(fitted, batch, hide_group=0.25).train()
    many = type(batch).cat([batch.replace(space_group=torch.full((len(batch),), 225))] * 50)
    near = it._near(many, others=True)
    hidden = it._shown(many, blank(many), near).batch.space_group == 0
    assert float(hidden.float().mean()) == pytest.approx(0.25, abs=0.04)
    assert (it.eval()._shown(many, many, near).batch.space_group == 225).all()


def test_samplers_differ(fitted, batch):
    given = fitted.prompt(2, replaced(TINY, {"num_atoms": (4,)}))
    found = []
    for name in ("ode", "sde"):
        with stream("draw"):
            found.append(made(fitted, batch, sampler=name).sample(given).lengths)
    assert (found[0] - found[1]).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, "at least 1 step"),
        ({"level": 0.7}, "undoes noise"),
        ({"choice": 0.0}, "above 0"),
        ({"conditions": ("densty",)}, "did you mean 'density'"),
    ],
)
def test_what_cannot_be_is_refused(fitted, batch, change, says):
    with pytest.raises(ConfigError, match=says):
        made(fitted, batch, **change)


def test_it_is_told_the_conditions_that_are_named(fitted, batch):
    assert made(fitted, batch).net.where == [0, 1]
    assert made(fitted, batch, conditions=("volume_per_atom",)).net.where == [1]
    assert blank(batch).wanted.isnan().all()


def test_pairs_are_told_by_distance_and_whole_cells_change_nothing():
    torch.manual_seed(0)
    pairs = Pairs()
    frac, cell = torch.rand(2, 3, 3), torch.tensor([[2.5, 2.7, 3.0, 1.4, 1.6, 1.8]] * 2)
    count = torch.tensor([3, 3])
    found = pairs(frac, cell, count)
    moved = frac + torch.randint(-2, 3, frac.shape)
    torch.testing.assert_close(pairs(moved, cell, count), found, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pairs(frac + 0.3, cell, count), found, atol=1e-4, rtol=1e-4)
    assert (pairs(frac, cell * 1.1, count) - found).abs().max() > 1e-4


def test_a_cell_that_there_is_not_is_read_all_the_same():
    cell = torch.tensor([[-3.0, 0.0, 9.0, 9.0, -2.0, 0.1]])
    assert Pairs()(torch.rand(1, 4, 3), cell, torch.tensor([4])).isfinite().all()
