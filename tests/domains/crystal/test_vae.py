"""What the VAE learns from, what it cannot see, and what becomes of latents."""

import math

import pytest
import torch

from genmatter.config import parse, replaced
from genmatter.domains.crystal import data
from genmatter.domains.crystal.config import CrystalDataConfig, CrystalVAEConfig
from genmatter.domains.crystal.decoded import Decoded, errors
from genmatter.domains.crystal.represent import CrystalTensors
from genmatter.domains.crystal.vae import Chart, build
from genmatter.errors import ConfigError
from genmatter.maths import rotation
from genmatter.maths.noise import stream
from genmatter.nn.packed import Places
from genmatter.spine import Latent, Likelihood, Predictor

TINY = CrystalVAEConfig.presets["tiny"]
REFERENCE = {"chart": False, "periodic": False, "index": True, "noise": 0.0, "latent_dim": 8}


@pytest.fixture(scope="module")
def train():
    return data.load(CrystalDataConfig(crystals=240)).train


@pytest.fixture(scope="module")
def fitted(train):
    return CrystalTensors.fit(train, TINY)


@pytest.fixture(scope="module")
def batch(fitted, train):
    return fitted.encode(train[:40])


def made(fitted, seed=0, **changes):
    torch.manual_seed(seed)
    it = build(replaced(TINY, changes), fitted)
    for p in it.parameters():  # nothing is left at zero, where a test would see nothing
        if p.abs().max() == 0:
            torch.nn.init.normal_(p, std=0.1)
    return it.eval()


def test_a_chart_copies_coordinates_and_cells_before_any_training(fitted, batch):
    torch.manual_seed(0)
    it = build(TINY, fitted).eval()
    copy = it.from_latent(it.to_latent(batch), batch)
    apart = (copy.frac_coords - batch.frac_coords + 0.5) % 1 - 0.5
    assert (apart * batch.mask[..., None]).abs().max() < 1e-5
    torch.testing.assert_close(copy.lengths, batch.lengths, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(copy.angles, batch.angles, atol=1e-4, rtol=1e-4)


def test_coordinates_have_no_seam(fitted, batch):
    """Whole cells change neither what is read, nor the loss of what is decoded."""
    it = made(fitted, **REFERENCE)
    shift = torch.randint(-1, 2, batch.frac_coords.shape) * batch.mask[..., None]
    moved = batch.replace(frac_coords=batch.frac_coords + shift)
    torch.testing.assert_close(it.to_latent(moved), it.to_latent(batch), atol=1e-4, rtol=1e-4)
    with stream("a"):
        first = it.loss(batch, math.inf)
    with stream("a"):
        second = it.loss(moved, math.inf)
    for name, term in first.terms.items():
        torch.testing.assert_close(second.terms[name], term, atol=1e-3, rtol=1e-3)


def test_atoms_without_an_index_may_stand_in_any_order(fitted, batch):
    it = made(fitted)
    row = batch[torch.tensor([int(batch.num_atoms.argmax())])]
    order = torch.randperm(int(row.num_atoms))
    turned = row.replace(
        atom_types=row.atom_types[:, order], frac_coords=row.frac_coords[:, order]
    )
    z = it.to_latent(row)
    torch.testing.assert_close(it.to_latent(turned), z[:, order], atol=1e-5, rtol=1e-5)
    a, b = it.from_latent(z, row), it.from_latent(z[:, order], turned.replace())
    torch.testing.assert_close(b.frac_coords, a.frac_coords[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(b.lengths, a.lengths)


def test_periodic_attention_does_not_see_the_origin(fitted, batch):
    """What is left when absolute coordinates are not read is the same wherever atoms lie."""
    it = made(fitted)
    places = Places.of(batch.mask)
    x, frac = torch.randn(len(places.at), 16), places.pack(batch.frac_coords)
    moved = frac + torch.rand(len(batch), 3)[places.row]
    trunk = it.encoder.trunk
    torch.testing.assert_close(
        trunk(x, places, moved), trunk(x, places, frac), atol=1e-4, rtol=1e-4
    )


def test_the_loss_of_a_small_error_is_its_square(batch):
    places = Places.of(batch.mask)
    angle = 2 * math.pi * (places.pack(batch.frac_coords) + 0.01)
    waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
    logits = torch.zeros(len(angle), 119)
    lengths = batch.lengths / batch.num_atoms[:, None] ** (1 / 3)
    found = Decoded(logits, waves, lengths + 0.1, batch.angles + 0.2)
    terms = errors(found, batch, places)
    every = torch.ones(len(batch))
    torch.testing.assert_close(terms["frac_coords"], 1e-4 * every, rtol=1e-2, atol=0)
    torch.testing.assert_close(terms["lengths"], 0.01 * every, rtol=1e-3, atol=0)
    torch.testing.assert_close(terms["angles"], 0.04 * every, rtol=1e-3, atol=0)
    torch.testing.assert_close(terms["atom_types"], math.log(119) * every)


def test_weights_are_those_of_the_config(fitted, batch):
    loss = made(fitted).loss(batch, math.inf)
    told = {"atom_types": 1.0, "frac_coords": 100.0, "lengths": 10.0, "angles": 100.0, "kl": 1e-3}
    assert {k: loss.weights[k] for k in told} == told
    total = sum(loss.weights[k] * v for k, v in loss.terms.items())
    torch.testing.assert_close(loss.total, total)


def test_each_crystal_is_turned_and_moved_by_itself(fitted, batch):
    it = made(fitted, translate=True, rotate=True)
    moved = it._moved(batch)
    turn = torch.linalg.solve(batch.lattice, moved.lattice)
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).expand_as(turn), atol=1e-3, rtol=1e-3)
    assert (torch.linalg.det(turn) > 0).all()
    assert (turn[0] - turn[1]).abs().max() > 0.01
    shift = (moved.frac_coords - batch.frac_coords) % 1
    first = shift[:, :1]
    real = batch.mask[..., None] & torch.ones(3).bool()
    apart = ((shift - first + 0.5) % 1 - 0.5)[real]
    assert apart.abs().max() < 1e-5
    assert (first[0] - first[1]).abs().max() > 0.01
    torch.testing.assert_close(batch.lattice, fitted.encode(fitted.decode(batch)).lattice)


def test_rotations_are_even():
    """The mean of each entry is 0, of its square 1/3; of a uniform quaternion they are not."""
    r = rotation.random_matrix(20_000)
    assert r.mean(0).abs().max() < 0.02
    assert (r.square().mean(0) - 1 / 3).abs().max() < 0.02
    angle = rotation.angle(r)
    assert angle.mean() == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.02)


def test_noise_is_undone_in_training_alone(fitted, batch):
    it = made(fitted, noise=0.5)
    places = Places.of(batch.mask)
    z = it.to_latent(batch)[batch.mask]
    shown, level = it._noised(z, places)
    assert torch.equal(shown, z)
    assert level.max() == 0
    it.train()
    shown, level = it._noised(z, places)
    assert 0 < (level == 0).float().mean() < 1
    assert level.max() <= 0.5
    still = level[places.row] == 0
    assert torch.equal(shown[still], z[still])
    assert (shown != z)[~still].all()


def test_types_that_are_asked_for_stay(fitted, batch):
    it = made(fitted)
    z = torch.randn(*batch.mask.shape, 16)
    nowhere = torch.full_like(batch.frac_coords, torch.nan).masked_fill(~batch.mask[..., None], 0)
    asked = batch.replace(frac_coords=nowhere)
    assert torch.equal(it.from_latent(z, asked).atom_types, batch.atom_types)
    free = batch.replace(atom_types=torch.zeros_like(batch.atom_types))
    types = it.from_latent(z, free).atom_types
    assert (types[batch.mask] > 0).all()
    assert (types[~batch.mask] == 0).all()


def test_latents_tell_types_and_nobody_properties(fitted, batch):
    it = made(fitted)
    z = it.to_latent(batch)
    found, other = it.from_latent(z, batch), it.from_latent(z.flip(0), batch)
    free = it.from_latent(z, batch.replace(atom_types=torch.zeros_like(batch.atom_types)))
    assert torch.equal(found.atom_types, free.atom_types)
    assert not torch.equal(other.atom_types, found.atom_types)
    assert batch.properties.isfinite().any()
    assert found.properties.isnan().all()


def test_properties_are_told_from_latents(fitted, batch):
    it = made(fitted)
    z = it.to_latent(batch).detach()
    found = it.predict(z)
    assert set(found) == {"density", "volume_per_atom"}
    rows = batch[torch.tensor([int(batch.num_atoms.argmin())])]
    alone = it.predict(it.to_latent(rows))["density"]
    torch.testing.assert_close(alone, found["density"][batch.num_atoms.argmin()][None])
    z = z.requires_grad_(True)
    it.predict(z)["density"].sum().backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0


def test_gradients_reach_latents_through_the_cell(fitted, batch):
    it = made(fitted)
    z = it.to_latent(batch).detach().requires_grad_(True)
    fitted.decode(it.from_latent(z, batch)).volumes.sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_its_abilities():
    hint = build.__annotations__["return"]
    assert issubclass(hint, Latent)
    assert issubclass(hint, Predictor)
    assert not issubclass(hint, Likelihood)  # the weighted objective is no bound


def test_the_prior_draws_as_many_atoms_as_are_asked_for(fitted):
    it = made(fitted)
    given = fitted.prompt(5, replaced(TINY, {"num_atoms": (3, 7)}))
    found = it.sample(given)
    assert fitted.decode(found).counts.tolist() == [3, 7, 3, 7, 3]


def test_nothing_is_written_into_what_is_given(fitted, batch):
    it = made(fitted, translate=True, rotate=True).train()
    before = {k: v.clone() for k, v in batch.tensors.items()}
    it.loss(batch, 0.0)
    it.from_latent(it.to_latent(batch), batch)
    for k, v in batch.tensors.items():
        assert torch.equal(v.nan_to_num(), before[k].nan_to_num())


def test_a_chart_has_room_for_the_lattice_from_ten_units_on():
    assert Chart(9, (2.7, 0.9)).cell == 0
    assert Chart(10, (2.7, 0.9)).cell == 6


def test_what_cannot_be_is_refused(fitted):
    with pytest.raises(ConfigError, match="at least 4"):
        build(replaced(TINY, {"latent_dim": 3}), fitted)
    with pytest.raises(ConfigError, match=r"undoes noise up to 0\.4"):
        build(replaced(TINY, {"level": 0.5}), fitted)


def test_flags_are_those_of_the_reference():
    argv = [
        "--encoder.d_model",
        "64",
        "--decoder.num-layers=2",
        "--latent_dim",
        "6",
        "--kl",
        "1e-3",
    ]
    told = parse(CrystalVAEConfig, argv)
    assert told.encoder.d_model == 64
    assert told.decoder.num_layers == 2
    assert told.decoder.d_model == 128
    assert told.weights.kl == 1e-3
    big = CrystalVAEConfig.presets["mp_20/vae_dng"]
    assert (big.encoder.d_model, big.encoder.nhead, big.encoder.num_layers) == (512, 8, 8)
    assert (big.decoder.d_model, big.latent_dim) == (512, 8)
    assert (big.weights.atom_types, big.weights.lengths, big.weights.angles) == (1.0, 1.0, 10.0)
    assert (big.weights.frac_coords, big.weights.kl) == (10.0, 1e-5)
