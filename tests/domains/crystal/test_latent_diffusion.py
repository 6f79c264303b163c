"""The flow in the latent space: what it is told, what it keeps, and what it leaves alone."""

import math

import pytest
import torch

from genmatter.config import replaced
from genmatter.domains.crystal import data, latent_diffusion, vae
from genmatter.domains.crystal.config import (
    CrystalDataConfig,
    CrystalLatentDiffusionConfig,
    CrystalVAEConfig,
)
from genmatter.domains.crystal.latent_diffusion import Hiding, build
from genmatter.domains.crystal.represent import CrystalTensors
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
    return CrystalTensors.fit(train, STAGE)


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


def test_latents_have_unit_spread_in_its_units(fitted, batch):
    it = made(fitted, batch)
    x = it._state(batch)[batch.mask]
    torch.testing.assert_close(x.mean(0), torch.zeros(16), atol=1e-4, rtol=0)
    varying = it.net.scale > 2e-3
    torch.testing.assert_close(
        x.std(0)[varying], torch.ones(int(varying.sum())), atol=1e-3, rtol=0
    )


def test_an_untrained_flow_errs_by_what_there_is(fitted, batch):
    """A velocity of nothing has the squared error of data and noise of unit spread."""
    it = made(fitted, batch, alive=False)
    with stream("a"):
        found = it.loss(batch, math.inf).terms["flow"]
    assert found.shape == (len(batch),)
    assert found.mean().item() == pytest.approx(1.0, abs=0.2)


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
    together = it.net(x, t, batch)
    row = int(batch.num_atoms.argmin())
    alone = batch[torch.tensor([row])]
    found = it.net(x[row : row + 1, : int(alone.num_atoms)], t, alone)
    torch.testing.assert_close(
        together[row, : int(alone.num_atoms)], found[0], atol=1e-5, rtol=1e-5
    )
    assert (together[~batch.mask] == 0).all()


def test_a_formula_is_kept_exactly(fitted, batch):
    it = made(fitted, batch)
    wish = {"formula": "LiFeO2", "formula_units": (1, 2)}
    given = fitted.prompt(6, replaced(TINY, wish))
    found = fitted.decode(it.sample(given))
    assert found.formulas == ["LiFeO2"] * 6
    assert found.counts.tolist() == [4, 8] * 3


@pytest.mark.parametrize("passes", [1, 2])
def test_what_is_known_comes_back(fitted, batch, passes):
    it = made(fitted, batch, passes=passes)
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
        "none": {}, "density": {"target": ("density=9",)}, "elements": {"chemical_system": ("Li",)}
    }  # fmt: skip
    for name, wish in wishes.items():
        with stream("draw"):
            drawn[name] = it.sample(fitted.prompt(3, replaced(TINY, plain | wish))).frac_coords
    assert (drawn["density"] - drawn["none"]).abs().max() > 1e-5
    assert (drawn["elements"] - drawn["none"]).abs().max() > 1e-5


def test_guidance_is_a_line_from_what_is_not_told(fitted, batch):
    given = fitted.prompt(3, replaced(TINY, {"num_atoms": (4,), "chemical_system": ("Li", "O")}))
    t, x = torch.tensor(0.8), torch.randn(3, 4, 16)
    found = {w: made(fitted, batch, guidance=w)._field(given)(x, t).data for w in (0.0, 1.0, 2.0)}
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


def test_training_hides_what_it_could_tell(batch):
    torch.manual_seed(0)
    many = type(batch).cat([batch.replace(space_group=torch.ones(len(batch)).long())] * 50)
    told = Hiding(0.4, 0.5, 0.5)(many)
    types = (told.atom_types > 0).any(1)
    elements = told.elements[:, 0].isfinite()
    groups, wanted = told.space_group > 0, told.wanted.isfinite()
    share = lambda x: float(x.float().mean())
    assert share(types) == pytest.approx(0.6 * 0.5, abs=0.04)
    assert share(elements) == pytest.approx(0.6 * 0.75, abs=0.04)
    assert share(groups) == pytest.approx(0.6 * 0.5, abs=0.04)
    assert share(wanted) == pytest.approx(0.6 * 0.5, abs=0.04)
    assert (elements | ~types).all()
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
    found = made(fitted, batch, alive=False).diagnostics(batch)
    assert list(found) == [f"flow_quarter_{k}" for k in range(1, 5)]
    assert all(0.5 < v < 2 for v in found.values())


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
        ({"passes": 0}, "at least 1 step"),
        ({"level": 0.7}, "undoes noise"),
        ({"conditions": ("densty",)}, "did you mean 'density'"),
    ],
)
def test_what_cannot_be_is_refused(fitted, batch, change, says):
    with pytest.raises(ConfigError, match=says):
        made(fitted, batch, **change)


def test_it_is_told_the_conditions_that_are_named(fitted, batch):
    assert made(fitted, batch).net.where == [0, 1]
    assert made(fitted, batch, conditions=("volume_per_atom",)).net.where == [1]
    assert latent_diffusion.blank(batch).wanted.isnan().all()
