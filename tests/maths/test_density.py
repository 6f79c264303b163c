import math

import pytest
import torch

from genmatter.maths.density import PiecewiseLinear, SoftplusMixture


def linear(**kw):
    g = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 17, dtype=torch.float64, generator=g)
    return PiecewiseLinear(logits, -1.0, 1.0, **kw)


def periodic():
    g = torch.Generator().manual_seed(1)
    return PiecewiseLinear.periodic(3 * torch.randn(4, 32, dtype=torch.float64, generator=g))


def mixture():
    g = torch.Generator().manual_seed(2)
    logits, mean = torch.randn(2, 4, 3, dtype=torch.float64, generator=g)
    std = torch.rand(4, 3, dtype=torch.float64, generator=g) + 0.1
    return SoftplusMixture(logits, mean, std, 0.7)


DENSITIES = pytest.mark.parametrize(
    ("density", "low", "high"),
    [(linear(), -1.0, 1.0), (periodic(), -math.pi, math.pi), (mixture(), 1e-9, 12.0)],
    ids=["interval", "circle", "positive"],
)
U = torch.linspace(0.001, 0.999, 333, dtype=torch.float64).expand(4, -1)


def spread(density, n):
    """The same densities at n values each."""
    names = ("logits", "mean", "std")
    parts = {
        k: getattr(density, k)[:, None].expand(-1, n, -1) for k in names if hasattr(density, k)
    }
    rest = {k: v for k, v in vars(density).items() if k not in names}
    return type(density)(**parts, **rest)


@DENSITIES
def test_density_integrates_to_one(density, low, high):
    n = 400_001
    x = torch.linspace(low, high, n, dtype=torch.float64)
    p = spread(density, n).log_prob(x.expand(4, -1)).exp()
    torch.testing.assert_close(torch.trapezoid(p, x), torch.ones(4).double(), atol=1e-5, rtol=0)


@DENSITIES
def test_quantile_inverts_cdf(density, low, high):
    many = spread(density, U.shape[1])
    x = many.quantile(U)
    assert ((x > low) & (x < high)).all()
    assert (x.diff(dim=1) > 0).all()
    torch.testing.assert_close(many.cdf(x), U, atol=1e-7, rtol=0)


@DENSITIES
def test_density_is_the_slope_of_the_cdf(density, low, high):
    many = spread(density, U.shape[1])
    x = many.quantile(U)
    h = 1e-6
    slope = (many.cdf(x + h) - many.cdf(x - h)) / (2 * h)
    torch.testing.assert_close(many.log_prob(x).exp(), slope, rtol=1e-3, atol=1e-4)


@DENSITIES
def test_gradients_of_quantiles_agree_with_finite_differences(density, low, high):
    names = [k for k in ("logits", "mean", "std") if hasattr(density, k)]
    rest = {k: v for k, v in vars(density).items() if k not in names}
    u = torch.tensor([0.1, 0.4, 0.7, 0.95], dtype=torch.float64)

    def quantile(*parts):
        return type(density)(*parts, **rest).quantile(u)

    parts = [getattr(density, k).clone().requires_grad_() for k in names]
    assert torch.autograd.gradcheck(quantile, parts, eps=1e-4, atol=1e-4, rtol=1e-3)


def test_quantile_and_cdf_carry_gradients_of_their_argument():
    u = torch.tensor([0.1, 0.4, 0.7, 0.95], dtype=torch.float64, requires_grad=True)
    for density in (linear(), mixture()):
        x = density.quantile(u)
        (slope,) = torch.autograd.grad(x.sum(), u)
        torch.testing.assert_close(slope, (-density.log_prob(x.detach())).exp(), rtol=1e-4, atol=0)


def test_even_logits_are_the_uniform_density():
    even = PiecewiseLinear.periodic(torch.full((1, 8), 5.0))
    torch.testing.assert_close(
        even.log_prob(torch.tensor([1.234])), torch.tensor([-math.log(2 * math.pi)])
    )
    torch.testing.assert_close(even.quantile(torch.tensor([0.75])), torch.tensor([math.pi / 2]))


def test_a_density_can_be_all_but_zero_and_stays_finite():
    logits = torch.zeros(1, 16)
    logits[:, 4:8] = -1e4
    logits.requires_grad_()
    density = PiecewiseLinear.periodic(logits)
    hole = density.log_prob(torch.tensor([-math.pi + 2 * math.pi * 5.5 / 16]))
    assert hole.isfinite().all()
    assert hole < -1e3
    x = density.quantile(torch.tensor([0.3]))
    (grad,) = torch.autograd.grad(x.sum() + hole.sum(), logits)
    assert grad.isfinite().all()


def test_the_circle_has_no_seam():
    density = periodic()
    edge = torch.full((4,), math.pi, dtype=torch.float64)
    torch.testing.assert_close(
        density.log_prob(edge - 1e-9), density.log_prob(-edge + 1e-9), rtol=1e-5, atol=1e-5
    )


def test_typical_is_the_mode_of_a_smooth_density_between_the_nodes():
    at = torch.tensor([0.123, -2.0, 3.1, -3.1])
    nodes = torch.arange(96) * (2 * math.pi / 96) - math.pi
    density = PiecewiseLinear.periodic(5 * torch.cos(nodes - at[:, None]))
    torch.testing.assert_close(density.typical(), at, atol=0.05, rtol=0)
    torch.testing.assert_close(density.typical()[:2], at[:2], atol=1e-3, rtol=0)


def test_the_typical_positive_number_is_in_the_middle():
    assert ((mixture().cdf(mixture().typical()) - 0.5).abs() < 0.2).all()
    one = SoftplusMixture(torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1), 2.0)
    torch.testing.assert_close(one.cdf(one.typical()), torch.tensor([0.5]))


def test_softplus_mixture_has_the_tails_it_says():
    one = SoftplusMixture(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1, 1), 1.0)
    far = torch.tensor([20.0])
    normal = torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(one.log_prob(far), normal.log_prob(far))
    near = torch.tensor([1e-4])
    torch.testing.assert_close(
        one.log_prob(near), normal.log_prob(near.log()) - near.log(), rtol=1e-4, atol=0
    )
    for scale in (0.5, 3.0):
        x = torch.tensor([1e-6, 1.0, 50.0])
        y = SoftplusMixture.inverse(x, scale)
        torch.testing.assert_close(scale * torch.nn.functional.softplus(y), x, rtol=1e-4, atol=0)
