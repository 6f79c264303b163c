import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from genmatter.generative.prior import MixturePrior
from genmatter.generative.vae import VAE, Conditional
from genmatter.loading.batch import Batch
from genmatter.maths.gaussian import DiagonalGaussian
from genmatter.spine import Latent, Likelihood


@dataclass(frozen=True)
class Numbers(Batch):
    x: Tensor


@dataclass(frozen=True)
class Points(Batch):
    """A latent for each of some points."""

    padding: ClassVar[dict[str, Any]] = {"x": 0.0}
    x: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Normal:
    given: Batch
    x: DiagonalGaussian

    def log_prob(self, batch):
        terms = self.x.log_prob(batch.x)
        return terms if terms.ndim == 1 else (terms * batch.mask).sum(1)

    def sample(self):
        return self.given.replace(x=self.x.rsample())

    def mode(self):
        return self.given.replace(x=self.x.mean)


class Posterior(nn.Module):
    def __init__(self, gain, width):
        super().__init__()
        self.gain = nn.Parameter(torch.as_tensor(gain))
        self.width = nn.Parameter(torch.as_tensor(width).clone())

    def forward(self, batch):
        mean = self.gain * batch.x
        return DiagonalGaussian(mean, self.width.expand_as(mean))


class Likely(nn.Module):
    """x = z + noise."""

    def __init__(self, noise):
        super().__init__()
        self.noise = nn.Parameter(torch.tensor([noise]))

    def forward(self, z, given, epoch):
        return Normal(given, DiagonalGaussian(z, self.noise))


S = 0.5  # noise of the likelihood; then x ~ N(0, 1 + S^2), and the posterior is known
GAIN, WIDTH = 1 / (1 + S**2), S / math.sqrt(1 + S**2)


def model(gain=GAIN, width=WIDTH, size=2, parts=0, **options):
    shape = lambda given: given.x.shape
    return VAE(Posterior(gain, width), Likely(S), shape, MixturePrior(size, parts), **options)


def evidence(x):
    return DiagonalGaussian(torch.zeros_like(x), torch.full_like(x, math.sqrt(1 + S**2))).log_prob(
        x
    )


def batch(n=64, size=2):
    return Numbers(math.sqrt(1 + S**2) * torch.randn(n, size))


def test_it_has_its_abilities():
    assert isinstance(model(), Latent)
    assert isinstance(model(), Likelihood)
    assert isinstance(Normal(batch(), DiagonalGaussian.standard(batch().x)), Conditional)


def test_the_bound_is_tight_at_the_true_posterior():
    """Each draw gives log p(x) itself, so it has no variance either."""
    x = batch()
    for k in (1, 3):
        torch.testing.assert_close(model().log_likelihood(x, k), evidence(x.x))


def test_the_bound_is_below_the_evidence_and_importance_tightens_it():
    torch.manual_seed(0)
    x = batch(4000)
    wrong = model(0.6 * GAIN, 1.5 * WIDTH)
    bounds = [wrong.log_likelihood(x, k).mean().item() for k in (1, 4, 16, 256)]
    assert bounds == sorted(bounds)
    assert bounds[0] < evidence(x.x).mean() - 0.2
    assert bounds[-1] == pytest.approx(evidence(x.x).mean().item(), abs=0.02)
    loss = wrong.loss(x, math.inf).total.mean()
    assert -loss.item() == pytest.approx(bounds[0], abs=0.2)


def test_the_loss_has_one_value_per_example_and_names_its_terms():
    loss = model(beta=lambda epoch: min(epoch, 4.0) / 4).loss(batch(), 1)
    assert loss.terms.keys() == {"reconstruction", "kl"}
    assert loss.weights == {"kl": 0.25}
    torch.testing.assert_close(loss.total, loss.terms["reconstruction"] + 0.25 * loss.terms["kl"])


def test_free_bits_charge_no_unit_below_its_allowance():
    x, beta = batch(), 0.5
    q = DiagonalGaussian(GAIN * x.x, torch.full_like(x.x, WIDTH))
    units = q.kl_per_unit().mean(0)
    for allowance in (units.min() / 2, units.mean(), units.max() * 2):
        it = model(free_bits=allowance.item(), beta=lambda epoch: beta)
        loss = it.loss(x, 0)
        charged = loss.terms["kl"].mean() + loss.terms["free_bits"].mean()
        torch.testing.assert_close(charged, units.clamp_min(allowance).sum())
        torch.testing.assert_close(loss.terms["kl"], q.kl_to_standard())
        assert loss.weights["free_bits"] == beta
    charged = loss.terms["kl"].mean() + loss.terms["free_bits"].mean()
    charged.backward()
    assert it.encoder.width.grad.abs() < 1e-6


def test_penalties_join_by_name_and_train_their_parts():
    class Guess(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 1)

        def forward(self, q, z, batch):
            return (self.net(z)[:, 0] - batch.x.sum(1)).square()

    it = model(penalties={"guess": (lambda epoch: 2.0 if epoch < 1 else 3.0, Guess())})
    assert "parts.guess.net.weight" in it.state_dict()
    assert it.loss(batch(), 0).weights["guess"] == 2
    loss = it.loss(batch(), math.inf)
    assert loss.weights["guess"] == 3
    loss.total.sum().backward()
    assert all(p.grad is not None for p in it.parameters())


def test_masked_places_count_for_nothing():
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    x = torch.randn(2, 3, 2)
    found = []
    for rest in (0.0, 50.0):
        torch.manual_seed(1)
        it = model(free_bits=1.0, parts=2)
        points = Points(torch.where(mask[..., None], x, rest), mask)
        loss = it.loss(points, math.inf)
        found.append([*loss.terms.values(), it.log_likelihood(points, 2)])
        found[-1].append(torch.tensor(it.diagnostics(points)["kl"]))
        it.finish([points])
        found[-1].append(it.prior.mean.clone())
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
    charged = (loss.terms["kl"] + loss.terms["free_bits"]).sum()
    units = DiagonalGaussian(GAIN * x, torch.full_like(x, WIDTH)).kl_per_unit()[mask].mean(0)
    torch.testing.assert_close(charged, units.clamp_min(1).sum() * 3)
    assert it.sample(points).x.shape == x.shape


def test_samples_have_the_evidence_and_temperature_scales_the_latent():
    torch.manual_seed(0)
    given = Numbers(torch.full((20000, 2), torch.nan))
    for options, width in (
        ({}, math.sqrt(1 + S**2)),
        ({"noise": False}, 1.0),
        ({"noise": False, "temperature": 0.3}, 0.3),
    ):
        x = model(**options).sample(given).x
        assert x.std().item() == pytest.approx(width, rel=0.02)


def test_to_latent_and_from_latent_are_means():
    x = batch()
    it = model()
    torch.testing.assert_close(it.to_latent(x), GAIN * x.x)
    z = torch.randn(3, 2, requires_grad=True)
    (grad,) = torch.autograd.grad(it.from_latent(z, x[:3]).x.sum(), z)
    torch.testing.assert_close(grad, torch.ones(3, 2))


def test_a_fitted_prior_makes_the_bound_tighter_and_samples_truer():
    torch.manual_seed(0)
    two = torch.where(torch.rand(4000, 1) < 0.5, -3.0, 3.0) * torch.ones(2)
    x = Numbers(two + 0.3 * torch.randn(4000, 2))
    it = model(0.9, 0.4, parts=8)
    before = it.log_likelihood(x).mean()
    it.finish(x[rows] for rows in torch.arange(4000).split(500))
    assert it.log_likelihood(x).mean() > before + 1
    drawn = it.sample(Numbers(torch.full((4000, 2), torch.nan))).x
    assert drawn.mean(1).abs().mean().item() == pytest.approx(3 * 0.9, abs=0.1)
    copy = model(0.9, 0.4, parts=8)
    copy.load_state_dict(it.state_dict())
    torch.testing.assert_close(copy.prior.log_prob(x.x), it.prior.log_prob(x.x))


def test_without_parts_the_prior_stays_standard():
    it = model(parts=0)
    it.finish([batch()])
    z = torch.randn(5, 2)
    torch.testing.assert_close(it.prior.log_prob(z), DiagonalGaussian.standard(z).log_prob(z))


def test_diagnostics_of_a_known_channel():
    """One unit carries ln(1/width) nats of a standard normal, the other none."""
    torch.manual_seed(0)
    width = 0.5
    x = Numbers(torch.randn(4000, 2))
    gain = torch.tensor([math.sqrt(1 - width**2), 0.0])
    it = VAE(
        Posterior(gain, torch.tensor([width, 1.0])),
        Likely(S),
        lambda b: b.x.shape,
        MixturePrior(2),
    )
    found = it.diagnostics(x)
    assert found["active_units"] == 1
    assert found["mutual_information"] == pytest.approx(math.log(1 / width), abs=0.05)
    assert found["kl"] == pytest.approx(math.log(1 / width), abs=0.05)
    assert found["kl_unit_0"] + found["kl_unit_1"] == pytest.approx(found["kl"], abs=1e-4)
    assert found["kl_unit_1"] == pytest.approx(0, abs=1e-6)


def test_training_finds_the_posterior():
    torch.manual_seed(0)
    it, x = model(0.1, 0.9), batch(2000)
    it.decoder.requires_grad_(False)
    adam = torch.optim.Adam(it.encoder.parameters(), lr=0.02)
    for _ in range(400):
        adam.zero_grad()
        it.loss(x, 0).total.mean().backward()
        adam.step()
    assert it.encoder.gain.item() == pytest.approx(GAIN, abs=0.03)
    assert it.encoder.width.item() == pytest.approx(WIDTH, abs=0.03)
