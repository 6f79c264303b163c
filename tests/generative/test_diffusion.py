import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from genmatter.generative import diffusion
from genmatter.generative.diffusion import Denoiser, Diffusion
from genmatter.generative.path import Arc, Betas, Line
from genmatter.generative.sampler import MultistepODE, StochasticODE
from genmatter.loading.batch import Batch
from genmatter.spine import Generative, Latent, Likelihood, Steerable

TARGETS = pytest.mark.parametrize(
    "target", [diffusion.velocity, diffusion.noise, diffusion.data], ids=lambda t: t.__name__
)


@dataclass(frozen=True)
class Rows(Batch):
    x: Tensor


class Plain:
    def to_state(self, batch):
        return batch.x

    def to_batch(self, x, given):
        return Rows(x)

    def log_volume(self, batch):
        return batch.x.new_zeros(len(batch))


class Normal(nn.Module):
    """The perfect answer for data from N(mean, std^2)."""

    def __init__(self, path, target, mean, std):
        super().__init__()
        self.path, self.target = path, target
        self.mean, self.std = torch.tensor(mean), torch.tensor(std)
        self.free = nn.Parameter(torch.zeros(()))

    def forward(self, x, t, given):
        alpha, sigma = (c[:, None] for c in self.path(t))
        a, b = (c[:, None] for c in self.target(self.path, t))
        variance = (alpha * self.std).square() + sigma.square()
        off = (x - alpha * self.mean) / variance
        data = self.mean + alpha * self.std.square() * off
        return a * data + b * sigma * off + self.free


def model(target=diffusion.velocity, path=None, mean=(1.0, -0.5), std=(0.5, 1.2), **how):
    path = path or Arc(0.003, 300.0)
    net = Normal(path, target, list(mean), list(std))
    sampler = how.pop("sampler", MultistepODE(40, 0.02))
    return Diffusion(Denoiser(net, path, target), Plain(), sampler, **how)


def test_it_has_every_ability():
    one = model()
    assert isinstance(one, Generative)
    assert isinstance(one, Latent)
    assert isinstance(one, Likelihood)
    assert isinstance(one, Steerable)
    assert one.network_calls == 40


@TARGETS
@pytest.mark.parametrize("path", [Arc(0.01, 30.0), Betas(100, 1e-3, 0.1)])
def test_data_and_noise_follow_from_any_answer(path, target):
    x, eps, t = torch.randn(5, 2), torch.randn(5, 2), path.at(torch.tensor(0.4))
    (alpha, sigma), (a, b) = path(t), target(path, t)

    class Knows(nn.Module):
        def forward(self, state, t, given):
            return a * x + b * eps

    found = Denoiser(Knows(), path, target)(alpha * x + sigma * eps, t, None)
    torch.testing.assert_close(found.data, x, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.noise, eps, atol=1e-3, rtol=1e-3)
    error = Denoiser(Knows(), path, target).error(x, eps, t.expand(5), None)
    torch.testing.assert_close(error, torch.zeros(5), atol=1e-9, rtol=0)


@TARGETS
def test_the_perfect_answer_has_no_gradient_and_opposite_noises_quiet_it(target):
    torch.manual_seed(0)
    spread = {}
    for antithetic in (False, True):
        one = model(target, path=Arc(0.003, 0.3), antithetic=antithetic)
        slopes = []
        for _ in range(60):
            rows = torch.tensor([1.0, -0.5]) + torch.tensor([0.5, 1.2]) * torch.randn(512, 2)
            loss = one.loss(Rows(rows), 0.0).total
            assert loss.shape == (512,)
            (slope,) = torch.autograd.grad(loss.mean(), one.denoiser.net.free)
            slopes.append(slope)
        found = torch.stack(slopes)
        assert found.mean().abs() < 4 * found.std() / 60**0.5 + 1e-3
        spread[antithetic] = found.std().item()
    if target is diffusion.noise:
        assert spread[True] < 0.6 * spread[False]


def test_levels_of_a_batch_are_an_even_grid():
    one = model()
    seen = []
    one.denoiser.error = lambda x, eps, t, given: seen.append(t) or x.sum(1)
    one.loss(Rows(torch.randn(64, 2)), 0.0)
    t = seen[0]
    assert torch.equal(t[:64], t[64:])
    u = ((t[:64].tan().log() - math.log(0.003)) / math.log(1e5)).sort().values
    torch.testing.assert_close(u.diff(), torch.full((63,), 1 / 64), atol=1e-3, rtol=0)


def test_a_latent_is_the_noise_that_a_row_comes_from():
    one, x = model(latent_steps=80), Rows(torch.randn(40, 2))
    z = one.to_latent(x)
    want = (x.x - torch.tensor([1.0, -0.5])) / torch.tensor([0.5, 1.2])
    torch.testing.assert_close(z, want, atol=0.03, rtol=0.02)
    torch.testing.assert_close(one.from_latent(z, x).x, x.x, atol=0.01, rtol=0.01)


def test_the_likelihood_is_exact():
    one, x = model(latent_steps=80), Rows(torch.randn(40, 2))
    law = torch.distributions.Normal(torch.tensor([1.0, -0.5]), torch.tensor([0.5, 1.2]))
    want = law.log_prob(x.x).sum(1)
    torch.testing.assert_close(one.log_likelihood(x), want, atol=0.03, rtol=0.01)


@pytest.mark.parametrize("path", [Arc(0.003, 300.0), Line(0.001)])
def test_steering_a_normal_law_gives_its_posterior(path):
    """For a linear f of a normal law the posterior has a closed form."""
    torch.manual_seed(0)
    last = 0.02 if isinstance(path, Arc) else 0.005
    one = model(path=path, sampler=StochasticODE(100, last))
    given, value, width = Rows(torch.zeros(4000, 2)), 2.0, 0.2
    found = one.steer(given, lambda b: b.x[:, 0], value, width).x
    precision = 1 / 0.5**2 + 1 / width**2
    mean = (1.0 / 0.5**2 + value / width**2) / precision
    assert abs(found[:, 0].mean().item() - mean) < 0.05
    assert abs(found[:, 0].std().item() - precision**-0.5) < 0.05
    assert abs(found[:, 1].mean().item() + 0.5) < 0.1
    assert abs(found[:, 1].std().item() - 1.2) < 0.1


def test_training_hides_a_share_of_conditions_and_latents_know_of_none():
    shares = []
    one = model(
        hide=lambda batch, share: shares.append(share) or batch, hidden=0.3, latent_steps=2
    )
    x = Rows(torch.randn(4, 2))
    one.eval().loss(x, math.inf)
    assert shares == []
    one.train().loss(x, 0.0)
    one.from_latent(one.to_latent(x), x)
    one.log_likelihood(x)
    assert shares == [0.3, 1.0, 1.0, 1.0]


def test_the_error_grows_from_knowing_the_noise_to_knowing_the_data():
    said = model().diagnostics(Rows(torch.randn(500, 2)))
    assert list(said) == [f"denoising_quarter_{k}" for k in (1, 2, 3, 4)]
    assert all(v > 0 for v in said.values())
