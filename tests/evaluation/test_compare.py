import math

import numpy as np
import pytest
import torch
from scipy import spatial, stats

from genmatter.evaluation.compare import (
    c2st,
    correlation,
    energy_distance,
    histograms,
    jensen_shannon,
    normal_transport,
    spread,
    transport,
    wasserstein,
)
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


def test_histograms_count_each_column_and_put_what_is_beyond_into_the_last_bin():
    x = torch.tensor([[0.1, 5.0], [0.9, 25.0], [-3.0, 5.1], [1.0, 9.9]]).double()
    low, high = torch.tensor([0.0, 5.0]).double(), torch.tensor([1.0, 10.0]).double()
    assert histograms(x, low, high, 2).tolist() == [[2, 2], [2, 2]]
    assert histograms(x, 0.0, 10.0, 5).tolist() == [[4, 0, 0, 0, 0], [0, 0, 2, 0, 2]]
    columns = normal(1000, 3)
    for k, counts in enumerate(histograms(columns, -2.0, 2.0, 7)):
        inside = columns[:, k].clamp(-2, 2 - 1e-12).numpy()
        assert counts.tolist() == np.histogram(inside, 7, (-2, 2))[0].tolist()


def test_jensen_shannon_is_that_of_scipy_and_has_its_limits():
    p, q = normal(20, 9).square(), normal(20, 9, key=1).square()
    expected = [spatial.distance.jensenshannon(a, b) for a, b in zip(p, q, strict=True)]
    assert jensen_shannon(p, q).tolist() == pytest.approx(expected)
    assert jensen_shannon(7 * p, p).abs().max() < 1e-7
    apart = torch.tensor([1.0, 0.0, 3.0, 0.0]), torch.tensor([0.0, 2.0, 0.0, 0.0])
    assert jensen_shannon(*apart).item() == pytest.approx(math.sqrt(math.log(2)))
    assert jensen_shannon(torch.zeros(3), torch.ones(3)).isnan()


def test_two_draws_of_one_law_are_apart_by_what_chance_leaves():
    draws = [torch.rand(500, 200, generator=generator("js", k)).double() for k in range(2)]
    mean = jensen_shannon(*(histograms(x, 0.0, 1.0, 20) for x in draws)).square().mean()
    assert mean.sqrt().item() == pytest.approx(math.sqrt(19 / 2000), rel=0.05)


def test_transport_of_a_shift_is_the_shift_and_the_order_does_not_matter():
    x = normal(200, 2)
    shift = torch.tensor([3.0, -4.0])
    assert transport(x, x.flip(0) + shift) == pytest.approx(5)
    assert transport(x, x[torch.randperm(200, generator=generator("order"))]) < 1e-9
    on_a_line = transport(x[:, :1], 3 * x[:, :1].flip(0) + 1)
    a, b = x[:, 0].sort().values, (3 * x[:, 0] + 1).sort().values
    assert on_a_line == pytest.approx((a - b).square().mean().sqrt().item())


def test_transport_of_normal_laws_is_the_closed_form():
    turn = torch.linalg.qr(normal(3, 3)).Q
    one, two = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 0.1, 0.5]).double()
    # exact moments: points are whitened before they get their widths
    x = normal(400, 5, 3)
    x = x - x.mean(0)
    cov = torch.einsum("nki,nkj->kij", x, x) / 400
    white = (x[:, :, None] @ torch.linalg.inv(torch.linalg.cholesky(cov)).mT)[:, :, 0]
    shift, shape = normal_transport(white * one @ turn.T, (white * two + 4.0) @ turn.T)
    torch.testing.assert_close(shift, torch.full((5,), 48.0).double())
    torch.testing.assert_close(shape, (one - two).square().sum().expand(5))
    other = white * two @ torch.linalg.qr(normal(3, 3, key=2)).Q  # on other axes
    ca, cb = (y[:, 0].T.cov(correction=0) for y in (white * one, other))
    fidelity = torch.linalg.eigvals(ca @ cb).real.sqrt().sum()
    expected = (ca.trace() + cb.trace() - 2 * fidelity).expand(5)
    torch.testing.assert_close(normal_transport(white * one, other)[1], expected)
    flat = normal_transport(white * torch.tensor([1.0, 0, 0]), white * torch.tensor([0, 1.0, 0]))
    torch.testing.assert_close(flat[1], torch.full((5,), 2.0).double())


def test_correlation_is_pearsons():
    a, b = normal(50), normal(50, key=1)
    assert correlation(a, a + b) == pytest.approx(stats.pearsonr(a, a + b).statistic)
    assert correlation(a, 3 - 2 * a) == pytest.approx(-1)
    assert math.isnan(correlation(a, torch.ones(50)))
