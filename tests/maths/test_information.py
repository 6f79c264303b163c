import math

import pytest
import torch

from genmatter.maths.gaussian import DiagonalGaussian
from genmatter.maths.information import information


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("units", [1, 3])
def test_it_is_that_of_gaussians(width, units):
    r"""For x ~ N(0, 1) and z ~ N(x, s^2) it is ln(1 + 1/s^2) / 2 for each unit."""
    g = torch.Generator().manual_seed(0)
    n = 8000
    mean = torch.randn(n, units, generator=g, dtype=torch.float64)
    z = mean + width * torch.randn(n, units, generator=g, dtype=torch.float64)
    found = information(DiagonalGaussian(mean, torch.full_like(mean, width)), z)
    exact = units * math.log(1 + width**-2) / 2
    assert abs(float(found.mean()) - exact) < 4 * float(found.std()) / n**0.5 + 0.01


def test_it_is_at_most_the_logarithm_of_how_many_there_are():
    n = 128
    mean = torch.randn(n, 8) * 100
    q = DiagonalGaussian(mean, torch.full_like(mean, 0.1))
    torch.testing.assert_close(information(q, q.rsample()), torch.full((n,), math.log(n)))


def test_equal_posteriors_say_nothing():
    q = DiagonalGaussian(torch.ones(50, 4), torch.full((50, 4), 2.0))
    torch.testing.assert_close(information(q, q.rsample()), torch.zeros(50), atol=1e-5, rtol=0)


def test_posteriors_that_differ_in_width_alone_say_something():
    """The variance of each posterior counts, not only its mean."""
    std = torch.tensor([0.01, 100.0]).repeat(500)[:, None]
    q = DiagonalGaussian(torch.zeros(1000, 1), std)
    torch.manual_seed(0)
    assert abs(float(information(q, q.rsample()).mean()) - math.log(2)) < 0.02


def test_gradients_reach_means_and_widths():
    mean = torch.randn(10, 3, requires_grad=True)
    std = torch.rand(10, 3).add(0.5).requires_grad_(True)
    q = DiagonalGaussian(mean, std)
    information(q, q.rsample()).sum().backward()
    assert mean.grad.abs().min() > 0
    assert std.grad.abs().min() > 0


def test_narrow_posteriors_lose_nothing_to_the_squares_that_are_written_out():
    """Of a width of .003 their parts are a million times what is left of them."""
    torch.manual_seed(0)
    mean = 3 * torch.randn(40, 8)
    mean[20:] = mean[:20] + 0.003 * torch.randn(20, 8)  # so that neighbours overlap
    q = DiagonalGaussian(mean, torch.full((1, 1), 0.003))
    z = q.rsample()
    each = DiagonalGaussian(mean.double()[None], q.std.double()[None])
    pairs = each.log_prob(z.double()[:, None])
    found = pairs.diagonal() - pairs.logsumexp(1) + math.log(40)
    torch.testing.assert_close(information(q, z), found.float(), atol=1e-4, rtol=1e-4)
    assert found.std() > 0.01
