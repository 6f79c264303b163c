r"""Samplers on data whose field has a closed form: a normal law with mean m and deviations s.

Given a state, the data have the mean :math:`m + \frac{\alpha s^2}{\alpha^2 s^2 + \sigma^2}
(x - \alpha m)`.
"""

import math

import pytest
import torch

from genmatter.generative.path import Arc, Betas, Line
from genmatter.generative.sampler import (
    Ancestral,
    Estimate,
    MultistepODE,
    StochasticODE,
    divergence,
    drift_of,
    flow,
    flow_with_divergence,
)

MEAN, STD = torch.tensor([0.5, -1.0, 0.0]), torch.tensor([0.3, 1.0, 1.5])


def field_of(path):
    def field(x, t):
        alpha, sigma = path(t)
        variance = (alpha * STD).square() + sigma.square()
        data = MEAN + alpha * STD.square() / variance * (x - alpha * MEAN)
        return Estimate(data, sigma / variance * (x - alpha * MEAN))

    return field


@pytest.mark.parametrize(
    ("sampler", "path"),
    [
        (MultistepODE(40, 0.02), Arc(0.003, 300.0)),
        (MultistepODE(80), Line(0.001)),
        (StochasticODE(300, 0.02), Arc(0.003, 300.0)),
        (StochasticODE(400, churn=0.9), Line(0.001)),
        (Ancestral(1000), Betas(1000, 1e-4, 0.02)),
    ],
)
def test_samples_have_the_data_s_law(sampler, path):
    torch.manual_seed(0)
    x = sampler(field_of(path), path, torch.randn(20_000, 3))
    torch.testing.assert_close(x.mean(0), MEAN, atol=0.04, rtol=0)
    torch.testing.assert_close(x.std(0), STD, atol=0.0, rtol=0.04)


def test_two_steps_of_history_make_a_method_of_second_order():
    path, x = Arc(0.003, 300.0), torch.randn(200, 3).double()
    exact, errors = MultistepODE(6400)(field_of(path), path, x), []
    for steps in (100, 200, 400):
        errors.append((MultistepODE(steps)(field_of(path), path, x) - exact).abs().mean().item())
    assert errors[1] < 0.35 * errors[0]
    assert errors[2] < 0.35 * errors[1]


def test_stochastic_walks_forget_where_they_started():
    path, x = Arc(0.003, 300.0), torch.randn(5000, 3)
    for churn, low, high in ((0.0, 0.99, 1.01), (0.9, -0.2, 0.6)):
        end = StochasticODE(100, churn=churn)(field_of(path), path, x)
        together = torch.corrcoef(torch.stack([x[:, 0], end[:, 0]]))[0, 1]
        assert low < together < high


def test_the_flow_goes_up_and_down_the_same_way():
    path, x = Arc(0.003, 30.0).double(), torch.randn(50, 3).double()
    levels = path.at(torch.linspace(0, 1, 101).double())
    drift = drift_of(field_of(path), path)
    z = flow(drift, levels, x)
    torch.testing.assert_close(flow(drift, levels.flip(0), z), x, atol=1e-3, rtol=1e-3)


def test_divergence_is_the_trace_of_the_jacobian():
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
    x = torch.randn(5, 4)
    jacobian = torch.func.vmap(torch.func.jacrev(net))(x)
    with torch.no_grad():
        v, found = divergence(lambda x, t: net(x), x, torch.tensor(0.3))
    torch.testing.assert_close(v, net(x))
    torch.testing.assert_close(found, jacobian.diagonal(dim1=1, dim2=2).sum(1))


def test_the_likelihood_of_a_normal_law_is_the_closed_form():
    path = Arc(0.001, 1000.0).double()
    x = (MEAN + STD * torch.randn(100, 3)).double()
    levels = path.at(torch.linspace(0, 1, 201).double())
    z, total = flow_with_divergence(drift_of(field_of(path), path), levels, x)
    normal = torch.distributions.Normal(0, 1).log_prob(z).sum(1)
    want = torch.distributions.Normal(MEAN, STD).log_prob(x).sum(1)
    torch.testing.assert_close(normal + total, want, atol=0.01, rtol=0.01)
    assert math.isfinite(want.sum().item())


def test_the_integral_of_the_divergence_is_of_second_order():
    """For a normal law the density changes by the same factor everywhere."""
    path, x, errors = Arc(0.01, 100.0).double(), torch.randn(4, 3).double(), []
    drift = drift_of(field_of(path), path)
    for steps in (40, 80, 160, 1280):
        levels = path.at(torch.linspace(0, 1, steps + 1).double())
        errors.append(flow_with_divergence(drift, levels, x)[1][0].item())
    first, second, third, exact = errors
    assert abs(second - exact) < 0.35 * abs(first - exact)
    assert abs(third - exact) < 0.35 * abs(second - exact)
