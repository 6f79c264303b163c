"""Every name, default and signature of the walkthrough, each used the way that it is there."""

import inspect
import math

import numpy as np
import pytest
import torch

from genmatter.config import resolve
from genmatter.domains import polymer
from genmatter.domains.polymer.config import LONG_PATHS, PolymerVAEConfig

SIGNATURES = {
    "center_com": ["paths"],
    "find_principal_axis": ["points"],
    "make_2d_rotation": ["angle"],
    "align_principal": ["paths"],
    "radius_of_gyration": ["coords"],
    "vae_loss": ["x", "x_recon", "mu", "sigma", "beta"],
    "Encoder": ["input_dim", "hidden_dim", "latent_dim"],
    "Decoder": ["latent_dim", "hidden_dim", "output_dim"],
    "PolymerEncoder": ["input_dim", "hidden_dim", "latent_dim"],
    "PolymerDecoder": ["latent_dim", "hidden_dim", "output_dim"],
    "PolymerVAE": ["input_dim", "hidden_dim", "latent_dim"],
}
DEFAULTS = {"input_dim": 24, "hidden_dim": 256, "latent_dim": 2, "output_dim": 24, "beta": 0.01}


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_and_defaults_are_the_walkthroughs(name):
    found = inspect.signature(getattr(polymer, name)).parameters
    assert list(found)[: len(SIGNATURES[name])] == SIGNATURES[name]
    for parameter in SIGNATURES[name]:
        if parameter in DEFAULTS:
            assert found[parameter].default == DEFAULTS[parameter]
    assert name in dir(polymer)


@pytest.fixture
def paths():
    return np.random.default_rng(0).normal(size=(30, 12, 2)).cumsum(1)


def test_its_preprocessing_runs_as_written(paths):
    data = polymer.align_principal(polymer.center_com(paths))
    flat = data.reshape(-1, 24).astype(np.float32)
    assert flat.shape == (30, 24)
    np.testing.assert_allclose(data.mean(1), 0, atol=1e-12)
    for chain in data:
        np.testing.assert_allclose(np.abs(polymer.find_principal_axis(chain)), [1, 0], atol=1e-9)
    rg = polymer.radius_of_gyration(paths)
    centred = paths - paths.mean(1, keepdims=True)
    np.testing.assert_allclose(rg, np.sqrt((centred**2).sum(-1).mean(-1)))
    quarter = polymer.make_2d_rotation(np.pi / 2)
    np.testing.assert_allclose(quarter @ [1, 0], [0, 1], atol=1e-12)


def test_its_model_and_loss_run_as_written(paths):
    x = torch.from_numpy(paths.reshape(-1, 24)).float()
    model = polymer.PolymerVAE()
    x_recon, mu, sigma = model(x)
    assert x_recon.shape == (30, 24)
    assert mu.shape == sigma.shape == (30, 2)
    assert (sigma > 0).all()
    z = model.reparameterize(mu, torch.zeros_like(sigma))
    assert torch.equal(z, mu)
    assert model.decoder(torch.randn(8, 2)).shape == (8, 24)
    total, recon, kl = polymer.vae_loss(x, x_recon, mu, sigma)
    torch.testing.assert_close(recon, (x - x_recon).square().mean())
    want = ((mu**2 + sigma**2 - 1) / 2 - sigma.log()).mean()
    torch.testing.assert_close(kl, want)
    torch.testing.assert_close(total, recon + 0.01 * kl)
    assert sum(p.numel() for p in model.parameters()) == 277_532


def test_its_recipe_is_a_preset():
    config = resolve(PolymerVAEConfig, preset="walkthrough")
    assert (config.latent_dim, config.hidden_dim, config.posterior) == (2, 256, "softplus")
    assert (config.beta, config.optim.epochs, config.optim.batch_size) == (0.01, 150, 256)
    assert (config.optim.lr, config.optim.ema, config.optim.keep) == (1e-3, 0.0, "last")
    assert (config.data.split, config.data.data_seed) == ("random", 42)
    assert (config.data.valid_fraction, config.data.test_fraction) == (0, 0.1)
    assert LONG_PATHS.endswith("/long_paths.npz")


def test_what_its_beta_means():
    """Its mean over mean is the ELBO of this width: both gradients are proportional."""
    width = polymer.meaning_of_beta(0.01, size=24, latent=2)
    assert math.isclose(width, 0.245, abs_tol=5e-4)
    g = torch.Generator().manual_seed(0)
    x, again = torch.randn(2, 5, 24, generator=g)
    mu, sigma = torch.randn(5, 2, generator=g), torch.rand(5, 2, generator=g) + 0.1
    theirs = polymer.vae_loss(x, again, mu, sigma)[0]
    kl = ((mu**2 + sigma**2 - 1) / 2 - sigma.log()).sum(-1)
    elbo = (x - again).square().sum(-1) / (2 * width**2) + kl
    torch.testing.assert_close(elbo.mean() * 0.01 / 2, theirs, rtol=1e-4, atol=1e-5)
