import dataclasses
import math

import numpy as np
import pytest
import torch

from genmatter.config import replaced
from genmatter.domains.polymer import reference
from genmatter.domains.polymer.config import PolymerVAEConfig
from genmatter.domains.polymer.growth import Grown, Growth
from genmatter.domains.polymer.represent import Cartesian, ChainBatch, Internal
from genmatter.domains.polymer.vae import build
from genmatter.errors import ConfigError
from genmatter.maths import ppca
from genmatter.maths.geometry import centre, radius_of_gyration
from genmatter.maths.noise import generator

SPACES = pytest.mark.parametrize("dim", [2, 3])
PRESETS = PolymerVAEConfig.presets
TINY = PRESETS["tiny"]


def chains(n=64, beads=6, dim=2):
    return torch.randn(n, beads, dim, generator=generator("chains")).cumsum(1)


def represented(config, x):
    cls = {"cartesian": Cartesian, "internal": Internal}[config.representation]
    return cls.fit(x, config)


def grower(dim, beads=6, seed=0, spread=0.3):
    """A growth with weights that say something."""
    torch.manual_seed(seed)
    representation = Internal.fit(chains(beads=beads, dim=dim), TINY)
    growth = Growth(representation, 2, 16, 4, 24).double()
    for p in growth.parameters():
        torch.nn.init.normal_(p, std=spread)
    torch.nn.init.constant_(growth.energy.coefficients, 0.02)
    return growth


def mirrored(x):
    return x * torch.tensor([-1.0, *[1.0] * (x.shape[-1] - 1)]).to(x)


@SPACES
def test_growing_a_chain_and_reading_it_give_the_same_density(dim):
    """Step by step and all at once are two programs for one distribution."""
    growth = grower(dim)
    z, terms = torch.randn(50, 2).double(), []

    def choose(density, i, k):
        value = density.quantile(torch.rand(50, 1).double())
        terms.append(density.log_prob(value))
        if dim == 3 and k == 1:  # the density of a bend, from that of its cosine
            terms.append((1 - value.square()).log() / 2)
        return value

    batch = growth.roll(z, choose)
    torch.testing.assert_close(growth.log_prob(z, batch), torch.cat(terms, 1).sum(1))


@SPACES
def test_transport_of_its_quantiles_is_the_chain(dim):
    """Latent and quantiles together are all of a chain."""
    growth, x = grower(dim), chains(dim=dim).double()
    batch, grown = growth.chain.encode(x), Grown(growth, torch.randn(len(x), 2).double())
    u = grown.quantiles(batch)
    assert ((u > 0) & (u < 1)).all()
    torch.testing.assert_close(grown.transport(u).x, batch.x, atol=1e-4, rtol=1e-4)


@SPACES
def test_the_likelihood_is_normalised(dim):
    """Over the three numbers of three beads, by a grid of them."""
    growth = grower(dim, beads=3)
    logs = torch.linspace(math.log(0.005), math.log(15), 45).double()
    angles = torch.linspace(-math.pi if dim == 2 else 0, math.pi, 97).double()
    grid = torch.cartesian_prod(logs.exp(), logs.exp(), angles)
    z = torch.randn(1, 2).double()
    with torch.no_grad():
        p = (
            growth.log_prob(z.expand(len(grid), 2), ChainBatch(grid)).exp()
            * grid[:, 0]
            * grid[:, 1]
        )
    total = p.view(45, 45, 97)
    for x in (angles, logs, logs):
        total = torch.trapezoid(total, x)
    assert total.item() == pytest.approx(1, abs=0.01)


@SPACES
def test_the_likelihood_is_blind_to_rigid_motion_and_sees_mirroring(dim):
    growth = grower(dim)
    x = chains(dim=dim).double()
    turn, _ = torch.linalg.qr(torch.randn(dim, dim).double())
    turn = turn * torch.where(torch.arange(dim) == 0, torch.linalg.det(turn), 1.0)
    z = torch.randn(len(x), 2).double()
    told = [growth.log_prob(z, growth.chain.encode(y)) for y in (x, x @ turn + 3, mirrored(x))]
    torch.testing.assert_close(told[0], told[1])
    assert (told[0] - told[2]).abs().min() > 1e-4


@SPACES
def test_a_pair_energy_is_excluded_volume(dim):
    growth = grower(dim, beads=10, spread=0.05)
    i, j = torch.triu_indices(10, 10, 2)

    def clashes(strength):
        torch.nn.init.constant_(growth.energy.coefficients, strength)
        torch.manual_seed(0)
        with torch.no_grad():
            batch = Grown(growth, torch.randn(300, 2).double()).sample()
        x = growth.chain.decode(batch)
        near = (x[:, i] - x[:, j]).norm(dim=-1).amin(1) / growth.chain.bond
        return (near < 0.25).double().mean().item()

    assert clashes(0.0) > 0.05
    assert clashes(1.0) < 0.01


@SPACES
def test_gradients_of_transport_and_mode_agree_with_finite_differences(dim):
    growth = grower(dim, spread=0.2)
    u = 0.2 + 0.6 * torch.rand(2, *growth.numbers).double()
    z = torch.randn(2, 2).double().requires_grad_()

    # the sketch is laid over the chain by a rotation whose own gradient is left out
    torch.nn.init.zeros_(growth.read.weight[:, growth.memory * dim : -2])
    for grown in (lambda z: Grown(growth, z).transport(u).x, lambda z: Grown(growth, z).mode().x):
        assert torch.autograd.gradcheck(grown, z, eps=1e-5, atol=1e-3, rtol=1e-2)


@SPACES
@pytest.mark.parametrize("beads", [3, 6, 30])
@pytest.mark.parametrize("representation", ["cartesian", "internal"])
def test_any_chain_trains(representation, beads, dim):
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, representation=representation)
    x = chains(128, beads, dim)
    it = represented(config, x)
    model, batch = build(config, it), it.encode(x)
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(40):
        loss = model.loss(batch, math.inf).total.mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        history.append(loss.item())
    assert all(p.grad is not None for p in model.parameters())
    assert history[-1] < history[0] - 0.3
    model.finish([batch])
    drawn = it.decode(model.sample(it.prompt(9, config)))
    assert drawn.shape == (9, beads, dim)
    assert drawn.isfinite().all()
    assert model.log_likelihood(batch, 2).isfinite().all()


def test_gradients_reach_the_latent_through_an_observable():
    torch.manual_seed(0)
    for representation in ("cartesian", "internal"):
        config = dataclasses.replace(TINY, representation=representation)
        it = represented(config, chains())
        model = build(config, it)
        z = torch.randn(5, 2, requires_grad=True)
        size = radius_of_gyration(it.decode(model.from_latent(z, it.prompt(5, config))))
        (grad,) = torch.autograd.grad(size.sum(), z)
        assert grad.isfinite().all()
        assert (grad.norm(dim=1) > 0).all()


@pytest.mark.parametrize("name", [*PRESETS, ""])
def test_presets_build_and_take_data(name):
    config = PRESETS[name] if name else PolymerVAEConfig()
    x = chains(32, 12)
    it = represented(config, x)
    loss = build(config, it).loss(it.encode(x), 0)
    assert loss.total.isfinite().all()
    assert ("sketch" in loss.terms) == (config.representation == "internal")


def test_the_walkthrough_trains_its_own_networks():
    config, x = PRESETS["walkthrough"], chains(32, 12)
    model = build(config, represented(config, x))
    theirs = reference.PolymerVAE()
    ours = {
        k.replace(".net.", ".", 1): v.shape for k, v in model.state_dict().items() if ".net." in k
    }
    assert ours == {k: v.shape for k, v in theirs.state_dict().items()}
    count = sum(p.numel() for p in theirs.parameters())
    dense = lambda a, b: a * b + b
    body = 2 * dense(256, 256)
    assert count == (
        dense(24, 256) + body + 2 * dense(256, 2) + dense(2, 256) + body + dense(256, 24)
    )
    assert sum(p.numel() for p in model.parameters()) == count == 277_532


def test_the_walkthroughs_loss_is_the_elbo_at_the_width_that_beta_means():
    torch.manual_seed(0)
    config, x = PRESETS["walkthrough"], chains(32, 12)
    model = build(config, it := represented(config, x))
    batch = it.encode(x)
    torch.manual_seed(1)
    ours = model.loss(batch, math.inf)
    torch.manual_seed(1)
    mu, sigma = model.encoder.net(batch.x)
    recon = model.decoder.net(mu + sigma * torch.randn_like(sigma))
    total, mse, kl = reference.vae_loss(batch.x, recon, mu, sigma)
    torch.testing.assert_close(total, mse + 0.01 * kl)
    width = reference.meaning_of_beta(0.01, 24, 2)
    assert width == pytest.approx(0.245, abs=5e-4)
    constant = 24 * math.log(width * math.sqrt(2 * math.pi))
    torch.testing.assert_close(
        ours.total.mean(), 24 / (2 * width**2) * total + constant, rtol=1e-4, atol=1e-4
    )
    assert ours.weights == {"kl": 1.0}


def test_beta_is_the_weight_of_the_kl_and_warms_up():
    config = dataclasses.replace(TINY, beta=0.4, beta_start=0.0, beta_warmup_epochs=10.0)
    it = represented(config, chains())
    batch = it.encode(chains())
    weights = [
        build(config, it).loss(batch, epoch).weights["kl"] for epoch in (0, 5, 10, math.inf)
    ]
    assert weights == pytest.approx([0, 0.2, 0.4, 0.4])
    fixed = dataclasses.replace(
        PRESETS["walkthrough"], beta_start=0.0, beta_warmup_epochs=10.0, latent_dim=2
    )
    it = represented(fixed, chains())
    batch = it.encode(chains())
    weights = [build(fixed, it).loss(batch, epoch).weights["kl"] for epoch in (0, 5, math.inf)]
    assert weights == pytest.approx([0, 0.5, 1])


def test_fixed_noise_without_a_beta_is_refused():
    config = dataclasses.replace(PRESETS["walkthrough"], beta=0.0)
    with pytest.raises(ConfigError, match="above 0"):
        build(config, represented(config, chains()))


def test_posteriors_are_two_spellings_of_a_width():
    x = torch.randn(4, 24)
    torch.manual_seed(0)
    soft = reference.Encoder()
    torch.manual_seed(0)
    log = reference.Encoder(posterior="log_variance")
    raw = soft.fc_sigma(soft.net(x))
    torch.testing.assert_close(soft(x)[1], torch.log1p(raw.exp()))
    torch.testing.assert_close(log(x)[1], (raw / 2).exp())


def test_reference_functions_take_arrays_and_tensors_one_chain_and_many():
    x = chains(5, 12)
    for kind in (lambda t: t, lambda t: t.numpy()):
        many, one = kind(x), kind(x[0])
        for f in (reference.center_com, reference.align_principal, reference.radius_of_gyration):
            assert type(f(many)) is type(many)
            np.testing.assert_allclose(f(many)[0], f(one), rtol=1e-5, atol=1e-5)
            assert f(many).dtype == many.dtype
        axis = reference.find_principal_axis(reference.center_com(one))
        assert axis.shape == (2,)
        spread = np.asarray(reference.center_com(one) @ axis)
        assert spread.std() == pytest.approx(
            np.asarray(reference.align_principal(reference.center_com(one)))[:, 0].std(), rel=1e-4
        )
    turn = reference.make_2d_rotation(math.pi / 2)
    np.testing.assert_allclose(turn @ [1, 0], [0, 1], atol=1e-12)


def test_the_reference_model_runs_as_it_does_there():
    torch.manual_seed(0)
    model = reference.PolymerVAE(input_dim=24, hidden_dim=32, latent_dim=3)
    assert isinstance(model.encoder, reference.PolymerEncoder)
    assert isinstance(model.decoder, reference.PolymerDecoder)
    x = centre(chains(16, 12)).flatten(1)
    recon, mu, sigma = model(x)
    assert recon.shape == x.shape
    assert mu.shape == sigma.shape == (16, 3)
    assert (sigma > 0).all()
    z = model.reparameterize(mu.expand(1000, 16, 3), sigma.expand(1000, 16, 3))
    torch.testing.assert_close(z.std(0), sigma, rtol=0.15, atol=0)
    total, _, kl = reference.vae_loss(x, recon, mu, sigma, beta=0.5)
    total.backward()
    assert kl > 0


@pytest.mark.parametrize("posterior", ["softplus", "log_variance"])
def test_a_linear_start_is_probabilistic_pca(posterior):
    config = replaced(
        PRESETS["gaussian"], {"linear_start": True, "posterior": posterior, "latent_dim": 3}
    )
    x = chains(500)
    batch = represented(config, x).encode(x)
    model = build(config, represented(config, x)).eval()
    model.begin([batch[:200], batch[200:]])
    best = ppca.fit(batch.x, 3)
    law = torch.distributions.MultivariateNormal(
        best.mean, best.loadings @ best.loadings.T + best.noise**2 * torch.eye(12)
    )
    torch.testing.assert_close(
        model.log_likelihood(batch, 50).mean(), law.log_prob(batch.x).mean(), atol=0.1, rtol=0
    )


def test_a_linear_start_of_chains_that_grow_is_refused():
    config = replaced(TINY, {"linear_start": True})
    with pytest.raises(ConfigError, match="cartesian"):
        build(config, represented(config, chains()))
