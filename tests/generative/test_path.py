import math

import pytest
import torch

from genmatter.generative.path import Arc, Betas, Line

PATHS = pytest.mark.parametrize("path", [Arc(0.003, 30.0), Line(0.001), Betas(200, 1e-4, 0.02)])


@PATHS
def test_rates_are_the_derivatives(path):
    path = path.double()
    t = path.at(torch.linspace(0.05, 0.95, 19).double())
    if isinstance(path, Betas):
        t = t + 0.5  # between two steps, where there is a derivative
    h = 1e-4 * (t.max() - t.min())
    for rate, up, down in zip(path.rates(t), path(t + h), path(t - h), strict=True):
        torch.testing.assert_close(rate, (up - down) / (2 * h), rtol=1e-4, atol=1e-6)


@PATHS
def test_it_goes_from_data_to_noise(path):
    t = path.at(torch.linspace(0, 1, 11))
    alpha, sigma = path(t)
    assert t.diff().gt(0).all()
    assert alpha.diff().lt(0).all()
    assert sigma.diff().gt(0).all()
    assert alpha[0] > 0.99
    assert sigma[0] < 0.011


def test_an_arc_keeps_unit_variance_and_is_even_in_the_logarithm_of_noise_over_signal():
    path = Arc(0.003, 30.0)
    alpha, sigma = path(path.at(torch.linspace(0, 1, 7)))
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones(7))
    torch.testing.assert_close((sigma / alpha).log().diff(), torch.full((6,), math.log(1e4) / 6))


def test_a_line_ends_in_noise_alone():
    alpha, sigma = Line(0.001)(Line(0.001).at(torch.ones(1)))
    assert alpha == 0
    assert sigma == 1


def test_the_walkthroughs_betas_leave_an_eighth_of_the_signal():
    """Why its samples are too compact: the last level is not pure noise."""
    path = Betas(200, 1e-4, 0.02)
    levels = path.at(torch.tensor([0.0, 0.004, 0.0051, 0.999, 1.0]))
    assert levels.tolist() == [1, 1, 2, 200, 200]
    alpha, sigma = path(torch.tensor([0.0, 1.0, 200.0]))
    assert alpha[0] == 1
    assert sigma[0] == 0
    assert math.isclose(alpha[1].item() ** 2, 1 - 1e-4, rel_tol=1e-6)
    assert math.isclose(alpha[2].item() ** 2, 0.132, abs_tol=2e-3)
