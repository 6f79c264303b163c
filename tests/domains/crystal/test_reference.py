"""Every name, key, default and signature of the reference, each used as it is there."""

import inspect
import pickle
from types import SimpleNamespace

import pytest
import torch

from genmatter import api
from genmatter.domains import crystal
from genmatter.domains.crystal import data
from genmatter.domains.crystal.config import CrystalDataConfig, CrystalVAEConfig
from genmatter.errors import CheckpointError, ConfigError, RunError
from genmatter.maths.noise import stream

SIGNATURES = {
    "VAEModule": {"encoder": None, "decoder": None, "latent_dim": 8},
    "TransformerEncoder": {"d_model": 512, "nhead": 8, "num_layers": 8},
    "TransformerDecoder": {"d_model": 512, "nhead": 8, "num_layers": 8},
    "DiagonalGaussianDistribution": {"mean": ..., "logvar": ...},
    "CrystalBatch": dict.fromkeys(
        ("atom_types", "frac_coords", "lattice", "lengths", "angles", "num_atoms", "mask"), ...
    ),
}
METHODS = {
    "encode": ["self", "batch"],
    "decode": ["self", "encoded"],
    "sample": ["self", "batch", "return_atoms", "return_structures"],
    "reconstruct": ["self", "decoder_out", "batch"],
}
SMALL = {"d_model": 16, "nhead": 2, "num_layers": 1}


@pytest.fixture(scope="module")
def batch():
    crystals = data.load(CrystalDataConfig(crystals=240)).train[:12]
    return crystal.CrystalBatch.of(crystals.structures())


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return crystal.VAEModule(SMALL, SMALL).eval()


def kept(batch):
    return {k: v.clone() for k, v in batch.tensors.items()}


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_and_defaults(name):
    assert name in dir(crystal)
    told = inspect.signature(getattr(crystal, name)).parameters
    for parameter, default in SIGNATURES[name].items():
        found = told[parameter].default
        assert found is inspect.Parameter.empty if default is ... else found == default


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    told = inspect.signature(getattr(crystal.VAEModule, name)).parameters
    assert list(told) == METHODS[name]


def test_names_that_are_not_there_are_refused():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = crystal.nonsense


def test_the_walk_of_the_reference(module, batch):
    before = kept(batch)
    encoded = module.encode(batch)
    posterior = encoded["posterior"]
    assert isinstance(posterior, crystal.DiagonalGaussianDistribution)
    z = posterior.sample()
    assert z.shape == (*batch.mask.shape, 8)
    encoded["x"] = z
    keys = set(encoded)
    out = module.decode(encoded)
    assert set(encoded) == keys
    assert torch.equal(encoded["x"], z)
    given = {k: v.clone() for k, v in out.items()}
    again = module.reconstruct(out, batch)
    assert isinstance(again, crystal.CrystalBatch)
    assert (again.atom_types[batch.mask] > 0).all()
    assert out["atom_types"].shape == (*batch.mask.shape, 119)
    assert out["frac_coords"].shape == batch.frac_coords.shape
    assert (again.lengths > 0).all()
    assert again.lattice.isfinite().all()
    assert [len(s) for s in again.to_structure()] == batch.num_atoms.tolist()
    assert [len(a) for a in again.to_atoms()] == batch.num_atoms.tolist()
    for name, value in kept(batch).items():
        assert torch.equal(value, before[name]), f"{name} was written to"
    for name, value in given.items():
        assert torch.equal(out[name], value), f"{name} was written to"


def test_types_come_from_the_latents_alone(module, batch):
    out = module.decode(module.encode(batch))
    wrong = batch.replace(atom_types=torch.ones_like(batch.atom_types) * batch.mask)
    a, b = (module.reconstruct(out, x).atom_types for x in (batch, wrong))
    assert torch.equal(a, b)


def test_samples_have_the_atom_counts_of_the_batch(module, batch):
    found = module.sample(batch)
    assert torch.equal(found.num_atoms, batch.num_atoms)
    atoms = module.sample(batch, return_atoms=True)
    assert [len(a) for a in atoms] == batch.num_atoms.tolist()
    structures = module.sample(batch, return_structures=True)
    assert [len(s) for s in structures] == batch.num_atoms.tolist()
    with pytest.raises(ConfigError, match="either"):
        module.sample(batch, return_atoms=True, return_structures=True)


def test_the_distribution_is_a_normal_one():
    mean, logvar = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]).bool()
    q = crystal.DiagonalGaussianDistribution(mean, logvar)
    p = torch.distributions.Normal(mean, (logvar / 2).exp())
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    other = crystal.DiagonalGaussianDistribution(logvar, mean)
    r = torch.distributions.Normal(logvar, (mean / 2).exp())
    x = torch.randn_like(mean)
    torch.testing.assert_close(q.log_prob(x), p.log_prob(x).sum(-1))
    torch.testing.assert_close(q.nll(x), -p.log_prob(x).sum(-1))
    kl = torch.distributions.kl_divergence
    torch.testing.assert_close(q.kl(), kl(p, standard).sum(-1))
    torch.testing.assert_close(q.kl(other), kl(p, r).sum(-1))
    assert torch.equal(q.mode(), mean)
    torch.testing.assert_close(q.var, p.variance)
    draws = torch.stack([q.sample() for _ in range(4000)])
    torch.testing.assert_close(draws.mean(0), mean, atol=0.2, rtol=0)
    masked = crystal.DiagonalGaussianDistribution(mean, logvar, mask)
    assert (masked.kl()[~mask] == 0).all()
    assert torch.equal(masked.kl()[mask], q.kl()[mask])


def test_networks_are_plain_modules(batch):
    encoder, decoder = crystal.TransformerEncoder(**SMALL), crystal.TransformerDecoder(**SMALL)
    h = encoder(batch)
    assert h.shape == (*batch.mask.shape, 16)
    assert decoder(h, batch.mask).shape == h.shape
    assert crystal.VAEModule(encoder, decoder).encoder is encoder


def test_configs_are_mappings_or_objects():
    target = {"_target_": "src.vae_module.encoders.transformer.TransformerEncoder"}
    assert crystal.VAEModule(target | SMALL, SimpleNamespace(**SMALL)).encoder.d_model == 16
    with pytest.raises(ConfigError, match="did you mean 'd_model'"):
        crystal.VAEModule({"d_modle": 16})
    with pytest.raises(ConfigError, match="did you mean 'kl'"):
        crystal.VAEModule(SMALL, SMALL, loss_weights={"kll": 1.0})


def test_weights_are_those_of_the_reference(module, batch):
    told = crystal.VAEModule(SMALL, SMALL, loss_weights={"kl": 1e-3}).model.weights
    assert told["kl"] == 1e-3
    known = module.model.weights
    assert (known["atom_types"], known["lengths"], known["angles"]) == (1.0, 1.0, 10.0)
    assert (known["frac_coords"], known["kl"]) == (10.0, 1e-5)
    found = module.calculate_loss(batch)
    parts = sum(known[k] * v for k, v in found.items() if k != "total_loss")
    torch.testing.assert_close(found["total_loss"], parts)


def test_a_step_lowers_the_loss(batch):
    torch.manual_seed(0)
    module = crystal.VAEModule(SMALL, SMALL, lr=3e-3, augment=False)
    adam = module.configure_optimizers()
    losses = []
    for _ in range(30):
        loss = module.calculate_loss(batch)["total_loss"]
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.filterwarnings("ignore:You are trying to")  # of Lightning, where there is no Trainer
def test_steps_are_those_of_a_loop(module, batch):
    for step in (module.training_step, module.validation_step):
        with stream("step"):
            found = step(batch, 0)
        with stream("step"):
            torch.testing.assert_close(found, module.calculate_loss(batch)["total_loss"])
    both = module(batch)
    assert both["posterior"].mean.shape[-1] == 8
    assert both["frac_coords"].shape == batch.frac_coords.shape


def test_a_checkpoint_comes_back(module, batch, tmp_path):
    kept = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(kept)
    path = tmp_path / "vae.ckpt"
    torch.save(kept, path)
    for how in ({}, {"weights_only": False}, {"weights_only": True}):
        again = crystal.VAEModule.load_from_checkpoint(path, **how).eval()
        a, b = (m.encode(batch)["posterior"].mean for m in (module, again))
        assert torch.equal(a, b)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint was executed",))


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    path = tmp_path / "trap.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": {}, "hyper_parameters": Trap()}))
    with pytest.raises(CheckpointError, match=r"trap\.ckpt"):
        crystal.VAEModule.load_from_checkpoint(path, weights_only=False)
    torch.save({"state_dict": {}, "hyper_parameters": Trap()}, path)
    with pytest.raises(CheckpointError, match=r"trap\.ckpt"):
        crystal.VAEModule.load_from_checkpoint(path, weights_only=False)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        crystal.VAEModule.load_from_checkpoint(tmp_path / "none.ckpt")


def test_a_run_is_a_module(tmp_path, batch):
    it = api.train("crystal/vae", CrystalVAEConfig.presets["tiny"], run=tmp_path / "run")
    module = crystal.VAEModule.load_from_checkpoint(tmp_path / "run").eval()
    z = module.encode(batch)["posterior"].mean
    torch.testing.assert_close(z, it.model.to_latent(batch))
    (tmp_path / "run" / "config.yaml").write_text("recipe: polymer/vae\n")
    with pytest.raises(RunError, match="polymer/vae"):
        crystal.VAEModule.load_from_checkpoint(tmp_path / "run")
