import math

import numpy as np
import pytest
import torch

from genmatter.domains.polymer.baselines import (
    BASELINES,
    baselines,
    bootstrap,
    gaussian,
    mixture,
    pca,
)
from genmatter.domains.polymer.metrics import bond_lengths, turn_angles
from genmatter.maths.geometry import align_principal, centre
from genmatter.maths.noise import generator
from genmatter.maths.superpose import rmsd


def walks(n, beads=6, dim=2, key=0):
    x = torch.randn(n, beads, dim, generator=generator("baselines", key), dtype=torch.float64)
    return x.cumsum(1).float()


def helix(n, sense=1.0):
    t = torch.arange(10) * 1.1
    return torch.stack([t.cos(), sense * t.sin(), 0.3 * t], -1).expand(n, 10, 3)


@pytest.mark.parametrize("dim", [2, 3])
def test_every_baseline_samples_chains_like_the_training_chains(dim):
    train = walks(600, dim=dim)
    samples = baselines(train, 50)
    assert list(samples) == ["pca", "gaussian", "mixture", "bootstrap"]
    for x in samples.values():
        assert x.shape == (50, 6, dim)
        assert x.dtype == train.dtype
        assert x.isfinite().all()


@pytest.mark.parametrize("model", BASELINES.values(), ids=BASELINES)
def test_samples_are_a_function_of_the_key_and_touch_no_other_stream(model):
    train = walks(600)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = model(train, 20, 1)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert torch.equal(model(train, 20, 1), first)
    assert not torch.equal(model(train, 20, 2), first)


@pytest.mark.parametrize("model", BASELINES.values(), ids=BASELINES)
def test_samples_are_in_the_unit_of_the_training_chains(model):
    train = walks(600)
    torch.testing.assert_close(model(train * 2**-20, 20), model(train, 20) * 2**-20)


@pytest.mark.parametrize("model", BASELINES.values(), ids=BASELINES)
@pytest.mark.parametrize("n", [2, 5, 20])
def test_small_training_sets_will_do(model, n):
    assert model(walks(n), 7).isfinite().all()


def moments(x):
    flat = x.double().flatten(1)
    return flat.mean(0), flat.T.cov()


def test_the_gaussian_has_the_moments_of_the_aligned_chains():
    train = walks(3000)
    mean, covariance = moments(align_principal(centre(train)))
    got_mean, got_covariance = moments(gaussian(train, 40_000))
    torch.testing.assert_close(got_mean, mean, atol=0.05, rtol=0)
    torch.testing.assert_close(got_covariance, covariance, atol=0.08, rtol=0.05)


def test_pca_keeps_the_two_leading_directions_and_nothing_else():
    train = walks(3000)
    values, axes = torch.linalg.eigh(moments(align_principal(centre(train)))[1])
    got_values, got_axes = torch.linalg.eigh(moments(pca(train, 40_000))[1])
    torch.testing.assert_close(got_values[-2:], values[-2:], rtol=0.05, atol=0)
    assert got_values[:-2].abs().max() < 1e-6
    assert (got_axes[:, -1] @ axes[:, -1]).abs() > 0.99


def test_the_mixture_finds_shapes_that_one_gaussian_blurs():
    kinds = torch.tensor([[[0, 0], [1, 0], [2.0, 0]], [[0, 0], [3, 0], [6.0, 0]]])
    train = kinds.repeat(300, 1, 1) + 0.05 * walks(600, 3)
    bonds = bond_lengths(mixture(train, 400)).mean(1)
    assert (torch.minimum((bonds - 1).abs(), (bonds - 3).abs()) < 0.5).all()
    assert (bonds < 2).float().mean() == pytest.approx(0.5, abs=0.1)
    assert (bonds[:100] < 2).float().mean() == pytest.approx(0.5, abs=0.2)  # in no order
    assert ((bond_lengths(gaussian(train, 400)).mean(1) - 2).abs() < 0.5).float().mean() > 0.2


def test_the_bootstrap_keeps_what_each_place_has_and_forgets_what_places_share():
    scale = torch.linspace(1, 2, 500)[:, None, None]
    x = scale * walks(500)
    train, sampled = bond_lengths(x), bond_lengths(bootstrap(x, 4000))
    for place in range(5):
        distance = (sampled[:, place, None] - train[:, place]).abs().amin(1)
        assert distance.max() < 1e-4
        assert len(sampled[:, place].mul(1e4).round().unique()) > 400
    assert sampled.T.corrcoef().fill_diagonal_(0).abs().max() < 0.06
    assert train.T.corrcoef().fill_diagonal_(0).abs().max() > 0.06


def test_the_bootstrap_keeps_the_sense_of_turns_in_the_plane():
    angle = torch.arange(6) * 0.7
    arc = torch.stack([angle.cos(), angle.sin()], -1).expand(4, 6, 2)
    copies = bootstrap(arc, 3)
    torch.testing.assert_close(rmsd(copies, arc[:3]), torch.zeros(3), atol=1e-5, rtol=0)
    assert (rmsd(copies, arc[:3] * torch.tensor([1.0, -1.0])) > 0.1).all()


@pytest.mark.parametrize("sense", [1.0, -1.0])
def test_the_bootstrap_keeps_the_sense_of_helices_in_space(sense):
    copies = bootstrap(helix(4, sense), 3)
    torch.testing.assert_close(rmsd(copies, helix(3, sense)), torch.zeros(3), atol=1e-5, rtol=0)
    assert (rmsd(copies, helix(3, -sense)) > 0.1).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_the_bootstrap_of_free_walks_is_the_walk(dim):
    x = walks(4000, dim=dim)
    sampled = bootstrap(x, 4000)
    assert turn_angles(sampled).mean() == pytest.approx(math.pi / 2, abs=0.03)
    ends = [(y[:, -1] - y[:, 0]).square().sum(-1).mean().item() for y in (x, sampled)]
    assert ends[1] == pytest.approx(ends[0], rel=0.06)
    assert ends[1] == pytest.approx(5 * dim, rel=0.06)
