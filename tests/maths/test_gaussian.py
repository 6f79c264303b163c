import torch
from torch.distributions import Independent, Normal, kl_divergence

from genmatter.maths.gaussian import DiagonalGaussian, ramp


def test_log_prob_and_kl_agree_with_torch():
    torch.manual_seed(0)
    mean, std, x = torch.randn(5, 3), torch.rand(5, 3) + 0.1, torch.randn(5, 3)
    ours, theirs = DiagonalGaussian(mean, std), Independent(Normal(mean, std), 1)
    prior = Normal(torch.zeros(5, 3), torch.ones(5, 3))
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    torch.testing.assert_close(ours.kl_per_unit(), kl_divergence(Normal(mean, std), prior))
    torch.testing.assert_close(ours.kl_to_standard(), ours.kl_per_unit().sum(-1))
    standard = DiagonalGaussian.standard(mean)
    assert standard.kl_to_standard().abs().max() == 0


def test_samples_have_the_moments_and_carry_gradients():
    torch.manual_seed(0)
    mean = torch.tensor([1.0, -2.0], requires_grad=True)
    x = DiagonalGaussian(
        mean.expand(20000, 2), torch.tensor([0.5, 2.0]).expand(20000, 2)
    ).rsample()
    torch.testing.assert_close(x.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(x.std(0), torch.tensor([0.5, 2.0]), atol=0.05, rtol=0)
    (grad,) = torch.autograd.grad(x.mean(0).sum(), mean)
    torch.testing.assert_close(grad, torch.ones(2))


def test_ramp_reaches_its_end_and_stays():
    assert [ramp(t, 0.0, 0.4, 20) for t in (0, 10, 20, 99, float("inf"))] == [
        0,
        0.2,
        0.4,
        0.4,
        0.4,
    ]
    assert ramp(0, 0.0, 1.0, 0) == 1
