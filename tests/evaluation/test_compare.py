import math

import pytest
import torch
from scipy import stats

from genmatter.evaluation.compare import c2st, energy_distance, spread, wasserstein
from genmatter.maths.noise import generator


def normal(*shape, key=0):
    return torch.randn(shape, generator=generator("compare", key), dtype=torch.float64)


@pytest.mark.parametrize("shift", [0.0, 0.3, -2.0])
def test_wasserstein_of_a_shift_is_the_shift_in_standard_deviations(shift):
    x = 3 * normal(5000)
    expected = abs(shift) / x.std(correction=0).item()
    assert wasserstein(x + shift, x) == pytest.approx(expected, abs=1e-9)


def test_wasserstein_of_gaussians_of_different_width_is_the_closed_form():
    got = wasserstein(1.5 * normal(40_000), normal(50_000, key=1))
    assert got == pytest.approx(0.5 * math.sqrt(2 / math.pi), abs=0.015)


def test_wasserstein_agrees_with_the_area_between_the_distribution_functions():
    a, b = normal(700).exp(), normal(900, key=1)
    expected = stats.wasserstein_distance(a.numpy(), b.numpy()) / b.std(correction=0).item()
    assert wasserstein(a, b) == pytest.approx(expected, rel=0.02)


def test_wasserstein_does_not_depend_on_the_unit():
    a, b = normal(500), normal(600, key=1)
    assert wasserstein(7 - 10 * a, 7 - 10 * b) == pytest.approx(wasserstein(a, b), rel=1e-9)


def test_a_rigid_observable_is_measured_against_its_size():
    rigid = 1.5 + 1e-9 * normal(100)
    assert wasserstein(rigid, rigid.flip(0) + 1e-9) < 1e-8
    assert wasserstein(rigid + 0.15, rigid) == pytest.approx(0.1)
    assert spread(torch.zeros(5, 2)).tolist() == [1, 1]


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_energy_distance_of_shifted_gaussians_is_the_closed_form(shift):
    even = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    x = torch.special.ndtri(even)[:, None]  # as even as a sample of a Gaussian can be
    gaussian = math.exp(-(shift**2) / 4) - 1
    expected = 4 / math.sqrt(math.pi) * gaussian + 2 * shift * math.erf(shift / 2)
    assert energy_distance(x + shift, x) == pytest.approx(expected, abs=0.005)


def test_energy_distance_is_unbiased_and_so_may_be_negative():
    values = [energy_distance(normal(20, 3, key=i), normal(20, 3, key=-1 - i)) for i in range(400)]
    mean, std = torch.tensor(values).mean().item(), torch.tensor(values).std().item()
    assert abs(mean) < 4 * std / 20
    assert std / 20 < 0.01  # the biased estimate would be 0.2
    assert min(values) < 0


def test_energy_distance_measures_each_feature_in_its_own_spread():
    a, b, unit = normal(300, 3) + 0.5, normal(200, 3, key=1), torch.tensor([1.0, 1e-3, 1e6])
    assert energy_distance(a * unit, b * unit) == pytest.approx(energy_distance(a, b), rel=1e-9)


def test_c2st_cannot_tell_equal_distributions_apart():
    assert c2st(normal(2000, 5), normal(2000, 5, key=1)) == pytest.approx(0.5, abs=0.04)


def test_c2st_reaches_the_best_possible_accuracy_on_shifted_gaussians():
    shift = torch.tensor([1.0, 0, 0])
    best = stats.norm.cdf(0.5)
    got = c2st(normal(6000, 3) + shift, normal(6000, 3, key=1))
    assert got == pytest.approx(best, abs=0.03)


def test_c2st_sees_a_difference_that_no_single_feature_shows():
    z = normal(4000, 2)
    assert c2st(z[:, :1].expand(-1, 2) + 0.1 * z, normal(4000, 2, key=1)) > 0.8


def test_c2st_uses_as_many_rows_of_the_larger_set_as_of_the_smaller():
    assert c2st(normal(400, 2), normal(9000, 2, key=1)) == pytest.approx(0.5, abs=0.1)
    assert c2st(normal(9000, 2), normal(400, 2, key=1) + 20) == 1


def test_c2st_does_not_depend_on_the_unit_and_survives_a_constant_feature():
    a, b, unit = normal(300, 2) + 0.5, normal(300, 2, key=1), torch.tensor([2.0**20, 2.0**-20])
    assert c2st(a * unit, b * unit) == c2st(a, b)
    one = torch.ones(300, 1, dtype=torch.float64)
    assert 0.5 < c2st(torch.cat([a, one], 1), torch.cat([b, one], 1)) < 0.8


@pytest.mark.parametrize("distance", [energy_distance, c2st])
def test_chance_is_a_function_of_the_key_and_touches_no_other_stream(distance):
    a, b = normal(500, 2), normal(500, 2, key=1)
    before = torch.get_rng_state()
    first = distance(a, b, key=3, n=100)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert distance(a, b, key=3, n=100) == first
    assert len({distance(a, b, key=key, n=100) for key in range(5)}) > 1
