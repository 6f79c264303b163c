import math

import torch

from genmatter.maths import ppca


def cloud(n=4000, size=6):
    torch.manual_seed(0)
    return torch.randn(n, size) @ torch.randn(size, size) + 3


def bound(x, model, mean, std):
    """The ELBO of a linear VAE with that posterior, per row."""
    again = mean @ model.loadings.T + model.mean
    spread = (std.square() * model.loadings.square().sum(0)).sum()
    size, s2 = x.shape[1], model.noise**2
    fit = ((x - again).square().sum(1) + spread) / (2 * s2) + size * math.log(2 * math.pi * s2) / 2
    kl = (mean.square() + std.square() - 1 - 2 * std.log()).sum(1) / 2
    return -(fit + kl)


def test_its_bound_is_the_likelihood_of_its_normal_law():
    x = cloud()
    model = ppca.fit(x, 2)
    covariance = model.loadings @ model.loadings.T + model.noise**2 * torch.eye(6)
    law = torch.distributions.MultivariateNormal(model.mean, covariance)
    mean = (x - model.mean) @ model.inverse.T
    found = bound(x, model, mean, model.posterior)
    torch.testing.assert_close(found, law.log_prob(x), rtol=1e-3, atol=1e-3)


def test_no_other_loadings_or_noise_do_better():
    x = cloud()
    best = ppca.fit(x, 2)

    def likelihood(loadings, noise):
        covariance = loadings @ loadings.T + noise**2 * torch.eye(6)
        return torch.distributions.MultivariateNormal(best.mean, covariance).log_prob(x).mean()

    top = likelihood(best.loadings, best.noise)
    for _ in range(20):
        assert likelihood(best.loadings + 0.05 * torch.randn(6, 2), best.noise) < top
    assert likelihood(best.loadings, best.noise * 1.1) < top
    assert likelihood(best.loadings, best.noise * 0.9) < top


def test_directions_below_a_given_noise_say_nothing():
    model = ppca.fit(cloud(), 3, noise=100.0)
    assert model.loadings.eq(0).all()
    assert model.posterior.eq(1).all()
    assert model.noise == 100
