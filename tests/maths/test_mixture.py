import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from genmatter.maths.mixture import GaussianMixture


@pytest.fixture
def two():
    scale = torch.tensor([[[1.0, 0.0], [0.5, 0.2]], [[0.3, 0.0], [-0.1, 0.4]]])
    mean = torch.tensor([[0.0, 0.0], [4.0, 1.0]])
    return GaussianMixture(torch.tensor([0.3, 0.7]), mean, scale)


def test_log_prob_agrees_with_torch(two):
    x = torch.randn(5, 7, 2)
    parts = MultivariateNormal(two.mean, scale_tril=two.scale)
    theirs = MixtureSameFamily(Categorical(two.weight), parts)
    torch.testing.assert_close(two.log_prob(x), theirs.log_prob(x))


def test_fit_finds_what_was_sampled(two):
    torch.manual_seed(0)
    x = two.sample(5000)
    it = GaussianMixture.fit(x, 2)
    order = it.mean[:, 0].argsort()
    torch.testing.assert_close(it.weight[order], two.weight, atol=0.03, rtol=0)
    torch.testing.assert_close(it.mean[order], two.mean, atol=0.1, rtol=0)
    torch.testing.assert_close(
        (it.scale @ it.scale.mT)[order], two.scale @ two.scale.mT, atol=0.1, rtol=0
    )
    assert it.log_prob(x).mean() > two.log_prob(x).mean() - 1e-3


def test_every_step_raises_the_likelihood(two):
    torch.manual_seed(0)
    x = two.sample(500).double()
    scores = []
    for steps in range(8):
        torch.manual_seed(1)
        scores.append(GaussianMixture.fit(x, 3, steps, ridge=0.0).log_prob(x).mean())
    assert (torch.stack(scores).diff() > -1e-9).all()


def test_choice_takes_no_more_parts_than_the_data_pay_for(two):
    torch.manual_seed(0)
    assert len(GaussianMixture.choose(torch.randn(2000, 3), 8).weight) == 1
    assert len(GaussianMixture.choose(two.sample(2000), 8).weight) == 2


def test_held_out_points_choose_among_numbers_of_parts(two):
    torch.manual_seed(0)
    x, held = two.sample(2000), two.sample(1000)
    found = GaussianMixture.held_out(x, held, 8)
    for k in (1, 2):
        other = GaussianMixture.fit(x, k, 40)
        assert found.log_prob(held).mean() >= other.log_prob(held).mean() - 5e-3
    assert len(found.weight) >= 2
    # a unit of no use costs BIC its parts, and does not cost held-out points theirs
    wide = torch.cat([x[:400], torch.randn(400, 30)], 1).double()
    more = torch.cat([held, torch.randn(1000, 30)], 1).double()
    assert len(GaussianMixture.choose(wide, 4).weight) == 1
    assert GaussianMixture.held_out(wide, more, 4).log_prob(more).isfinite().all()


def test_fewer_points_than_parts_and_no_spread_are_fine():
    torch.manual_seed(0)
    assert GaussianMixture.fit(torch.randn(3, 2), 8).log_prob(torch.zeros(1, 2)).isfinite().all()
    flat = torch.randn(100, 2) * torch.tensor([1.0, 0.0])
    assert GaussianMixture.fit(flat, 4).sample(10).isfinite().all()
