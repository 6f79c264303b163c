import math
import time

import mpmath
import numpy as np
import pytest
import torch
from scipy.stats import kstest

from genmatter.maths import igso3, rotation
from genmatter.maths.noise import generator

ENDS = [1e-8, 1e-4, 0.02, 0.0999, 0.1001, 0.3, 1.0, math.pi / 2 - 1e-9, math.pi / 2 + 1e-9]
ANGLES = [*ENDS, 2.0, 2.9, math.pi - 1e-3, math.pi - 1e-8, math.pi]
WIDTHS = [0.005, 0.02, 0.1, 0.3, 0.7, 0.99, 1.0, 1.01, 1.5, 2.0, 3.0]


def normal(*shape, key=0):
    return torch.randn(shape, generator=generator("igso3", key), dtype=torch.float64)


def even(n, key=0):
    return torch.rand(n, generator=generator("igso3", "even", key), dtype=torch.float64)


def by_characters(omega, sigma):
    """The definition, and its slope."""
    s, f, slope = sigma**2, 0, 0
    half = omega / 2
    digits = mpmath.mp.dps + 10
    for l in range(int(math.sqrt(2 * digits * math.log(10) / float(s))) + 2):
        weight = (2 * l + 1) * mpmath.exp(-l * (l + 1) * s / 2)
        n = 2 * l + 1
        wave, dwave = mpmath.sin(n * half), mpmath.cos(n * half)
        f += weight * wave / mpmath.sin(half)
        slope += weight * (n * dwave - wave * mpmath.cot(half)) / (2 * mpmath.sin(half))
    return f, slope


def by_images(omega, sigma):
    """Poisson's sum with many terms, and its slope."""
    s, total, slope = sigma**2, 0, 0
    for k in range(-8, 9):
        u = omega + 2 * mpmath.pi * k
        term = (-1) ** k * mpmath.exp(-(u**2) / (2 * s))
        total += u * term
        slope += (1 - u**2 / s) * term
    factor = mpmath.exp(s / 8) * mpmath.sqrt(2 * mpmath.pi) / sigma**3 / mpmath.sin(omega / 2)
    return factor * total, factor * (slope - total * mpmath.cot(omega / 2) / 2)


@pytest.mark.parametrize("sigma", WIDTHS)
def test_density_and_score_agree_with_high_precision(sigma):
    with mpmath.workdps(80):
        exact = by_images if sigma < 2 else by_characters
        for omega in ANGLES:
            f, slope = exact(mpmath.mpf(omega), mpmath.mpf(sigma))
            w = torch.tensor(omega, dtype=torch.float64)
            assert abs(mpmath.exp(igso3.log_density(w, sigma).item()) / f - 1) < 1e-9
            assert abs(igso3.score(w, sigma).item() * f / slope - 1) < 1e-9


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_the_sum_over_images_is_the_definition(sigma):
    with mpmath.workdps(80):
        for omega in (1e-8, 0.5, 3.0):
            w, s = mpmath.mpf(omega), mpmath.mpf(sigma)
            for a, b in zip(by_images(w, s), by_characters(w, s), strict=True):
                assert abs(a / b - 1) < 1e-20


def test_the_score_is_the_gradient_of_the_log_density():
    w = torch.linspace(0.01, 3.13, 60, dtype=torch.float64).requires_grad_()
    for sigma in WIDTHS[1:]:
        (slope,) = torch.autograd.grad(igso3.log_density(w, sigma).sum(), w)
        torch.testing.assert_close(igso3.score(w, sigma), slope, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("sigma", WIDTHS)
def test_the_score_vector_is_the_gradient_in_the_turned_frame(sigma):
    v = min(1.0, 2 * sigma) * normal(20, 3) / 2
    step = torch.zeros(20, 3, dtype=torch.float64, requires_grad=True)
    moved = rotation.angle(rotation.exp(v) @ rotation.exp(step))
    (slope,) = torch.autograd.grad(igso3.log_density(moved, sigma).sum(), step)
    torch.testing.assert_close(igso3.score_vector(v, sigma), slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.02, 0.5, 1.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_score_vector_has_finite_gradients_everywhere(sigma, dtype):
    size = torch.tensor([0, 1e-30, 1e-12, 1e-9, 0.1, 1, 2, math.pi - 1e-6, math.pi], dtype=dtype)
    v = (size[:, None] * torch.tensor([0.6, 0.0, 0.8], dtype=dtype)).requires_grad_()
    found = igso3.score_vector(v, sigma)
    (slope,) = torch.autograd.grad(found.square().sum() + found.sum(), v)
    assert found.isfinite().all()
    assert slope.isfinite().all()
    assert found[0].abs().max() == 0
    if sigma < 0.1:  # as of a normal density, where the curvature of the group is not yet felt
        torch.testing.assert_close(found[3:5], -v[3:5] / sigma**2, rtol=1e-3, atol=0)


def test_the_score_vector_is_smooth():
    v = torch.cat([normal(6, 3), 1e-3 * normal(6, 3, key=1)]).requires_grad_()
    for sigma in (0.3, 0.9, 1.1):
        assert torch.autograd.gradcheck(lambda v, s=sigma: igso3.score_vector(v, s), v)


def test_single_precision_comes_back_as_it_was_given():
    v, sigma = normal(8, 50, 3), torch.linspace(0.05, 2, 8).double()[:, None]
    found = igso3.score_vector(v.float(), sigma.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), igso3.score_vector(v, sigma), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sigma", WIDTHS)
def test_characters_have_the_means_of_the_heat_kernel(sigma):
    """They multiply when widths are convolved, so this is the law of both; the first is 1."""
    end = min(math.pi, 12 * sigma)
    x, weight = np.polynomial.legendre.leggauss(200)
    w = torch.from_numpy(end * (x + 1) / 2)
    p = torch.from_numpy(weight) * end / 2 * igso3.angle_density(w, sigma)
    for l in range(6):
        character = ((l + 0.5) * w).sin() / (w / 2).sin() / (2 * l + 1)
        mean = (p * character).sum().item()
        assert mean == pytest.approx(math.exp(-l * (l + 1) * sigma**2 / 2), abs=1e-12)


def test_steps_of_two_widths_are_one_of_their_root_sum_of_squares():
    torch.manual_seed(0)
    for a, b in ((0.3, 0.4), (0.6, 0.8), (1.0, 1.5)):
        widths = torch.tensor([a, b], dtype=torch.float64)[:, None].expand(2, 20_000)
        first, second = rotation.exp(igso3.sample_vector(widths))
        w = rotation.angle(first @ second)
        share = igso3.cdf(w, math.hypot(a, b))
        assert kstest(share.numpy(), "uniform").pvalue > 1e-3


def test_limits_of_narrow_and_of_wide():
    w = torch.linspace(1e-6, math.pi, 50, dtype=torch.float64)
    assert igso3.log_density(w, 8.0).abs().max() < 1e-12
    uniform = (w - w.sin()) / math.pi
    torch.testing.assert_close(igso3.cdf(w, 8.0), uniform, rtol=1e-9, atol=1e-15)
    s = 1e-3
    w = torch.linspace(0, 6 * s, 50, dtype=torch.float64)
    gauss = -w.square() / (2 * s**2) - 1.5 * math.log(2 * math.pi * s**2)
    found = igso3.log_density(w, s) - math.log(8 * math.pi**2)
    torch.testing.assert_close(found, gauss, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sigma", [*WIDTHS, 30.0])
def test_quantiles_invert_the_distribution_function(sigma):
    u = torch.cat([even(500), torch.tensor([1e-6, 1e-3, 0.999, 1 - 1e-6]).double()])
    w = igso3.sample_angle(sigma, u)
    torch.testing.assert_close(igso3.cdf(w, sigma), u, rtol=0, atol=1e-7)
    ends = igso3.sample_angle(sigma, torch.tensor([0.0, 1.0]).double())
    assert ends[0] < 1e-6
    assert ends[1] <= math.pi


def test_each_angle_has_the_law_of_its_own_width():
    sigma = torch.tensor(WIDTHS, dtype=torch.float64)[:, None]
    u = even(2000).expand(len(sigma), 2000)
    w = igso3.sample_angle(sigma, u)
    for row, s in zip(w, WIDTHS, strict=True):
        torch.testing.assert_close(row, igso3.sample_angle(s, u[0]))
    shuffled = torch.randperm(11 * 50, generator=generator("order"))
    many = sigma.expand(-1, 50).flatten()[shuffled]
    v = w[:, :50].flatten()[shuffled]
    torch.testing.assert_close(igso3.sample_angle(many, u[:, :50].flatten()[shuffled]), v)


def test_vectors_have_the_law_and_no_direction():
    torch.manual_seed(0)
    v = igso3.sample_vector(torch.full((20_000,), 0.8, dtype=torch.float64))
    share = igso3.cdf(torch.linalg.norm(v, dim=-1), 0.8)
    assert kstest(share.numpy(), "uniform").pvalue > 1e-3
    for axis in torch.nn.functional.normalize(v, dim=-1).T.numpy():
        assert kstest((axis + 1) / 2, "uniform").pvalue > 1e-3


def test_the_scaling_is_the_root_mean_square_of_a_component_of_the_score():
    torch.manual_seed(0)
    sigma = torch.tensor(WIDTHS[1:], dtype=torch.float64)
    found = igso3.score_scaling(sigma)
    scores = igso3.score_vector(
        igso3.sample_vector(sigma[:, None].expand(-1, 20_000)), sigma[:, None]
    )
    torch.testing.assert_close(scores.square().mean((1, 2)).sqrt(), found, rtol=0.02, atol=0)
    narrow = torch.tensor([0.005, 0.05], dtype=torch.float64)
    torch.testing.assert_close(igso3.score_scaling(narrow), 1 / narrow, rtol=1e-3, atol=0)
    assert igso3.score_scaling(torch.tensor([0.3])).dtype == torch.float32


def test_nothing_has_to_be_made_ready():
    sigma = torch.linspace(0.02, 1.5, 1000, dtype=torch.float64)[:, None]
    w = torch.linspace(0, math.pi, 1000, dtype=torch.float64)
    start = time.process_time()
    igso3.sample_vector(torch.full((8, 256), 0.5))
    assert time.process_time() - start < 0.2
    assert igso3.score(w, sigma).isfinite().all()
