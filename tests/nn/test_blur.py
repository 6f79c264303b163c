"""The blurred force is what an average over the noise says."""

import math

import pytest
import torch
from torch import nn

from genmatter.nn.blur import BlurredForce, TableEnergy
from genmatter.nn.pair import PairEnergy
from genmatter.nn.radial import Around, Logarithmic, looked_up

SPACES = pytest.mark.parametrize("space", [2, 3])


class Soft(nn.Module):
    """A smooth hill with a well behind it."""

    def forward(self, r2):
        r = r2.sqrt()
        return torch.where(r < 0.9, 4 * (1 - r / 0.5) * (1 - r / 0.9).relu().square() * 3, 0.0)


def averaged(r, s, space, energy):
    """The slope of ln H, by a grid over the noise."""
    line = torch.linspace(-7, 7, 141).double()
    axes = torch.meshgrid(*[line] * space, indexing="ij")
    noise = torch.stack([a.flatten() for a in axes], -1)
    weight = torch.exp(-noise.square().sum(-1) / 2)
    weight = weight / weight.sum()

    def log_chance(x):
        at = torch.zeros(space).double() + s * noise
        at[:, 0] += x
        return (weight * torch.exp(-energy(at.square().sum(-1)))).sum().log()

    h = 1e-4
    return ((log_chance(r + h) - log_chance(r - h)) / (2 * h)).item()


@SPACES
def test_it_is_the_slope_of_the_mean_over_the_noise(space):
    force = BlurredForce(Soft(), 0.9, space, levels=80, places=160).double()
    for r, s in ((0.2, 0.1), (0.4, 0.1), (0.7, 0.3), (1.2, 0.5)):
        found = force(torch.tensor([[s]]).double(), torch.tensor([[r]]).double()).item()
        want = averaged(r, s, space, Soft())
        assert math.isclose(found, want, rel_tol=0.03, abs_tol=0.01), (r, s)


@SPACES
def test_noise_of_no_size_leaves_the_bare_force(space):
    r = torch.tensor([[0.3, 0.5, 0.8]]).double().requires_grad_(True)
    (slope,) = torch.autograd.grad(Soft()(r.square()).sum(), r)
    force = BlurredForce(Soft(), 0.9, space, levels=40, places=400).double()
    found = force(torch.full((1, 3), 1e-4).double(), r)
    torch.testing.assert_close(found, -slope, atol=0.05, rtol=0.03)


@SPACES
def test_a_core_pushes_apart_with_a_bounded_force_and_ends(space):
    energy = PairEnergy(0.1, 0.9)
    nn.init.constant_(energy.coefficients, 0.1)
    force = BlurredForce(energy, 0.9, space)
    r = torch.tensor([[1e-4, 0.02, 0.1, 0.3, 0.6]])
    for s in (0.01, 0.05, 0.3):
        found = force(torch.full((1, 5), s), r)
        assert found.ge(-1e-6).all()
        assert (found * s**2).le(0.91).all()
        assert found[0, 0] < 0.05 * found[0, 1]
        assert found[0, 2] > 1
    assert force(torch.full((1, 5), 0.1), r + 10).eq(0).all()
    assert force(torch.full((1, 5), 50.0), r).eq(0).all()


def test_an_energy_of_zero_pushes_nothing_and_can_be_learned():
    force = BlurredForce(TableEnergy(Around(1.0, 0.2, 2.0), 16), 2.0, 2)
    found = force(torch.full((1, 3), 0.2), torch.tensor([[0.5, 1.0, 1.5]]))
    assert found.eq(0).all()
    found.sum().backward()
    assert force.energy.values.grad.abs().max() > 0


@pytest.mark.parametrize("scale", [Logarithmic(0.1, 4.0), Around(1.0, 0.1, 4.0)])
def test_tables_are_straight_between_their_places(scale):
    r = torch.linspace(0.11, 3.99, 57)[None]
    share = scale(r)
    assert share.diff().gt(0).all()
    assert share.min() >= 0
    assert share.max() < 1
    tables = torch.stack([torch.linspace(0, 7, 8), torch.linspace(7, 0, 8)])[None]
    kind = torch.arange(57) % 2
    want = torch.where(kind.bool(), 7 - 7 * share, 7 * share)
    torch.testing.assert_close(looked_up(tables, kind, share), want, atol=1e-4, rtol=1e-4)
    assert looked_up(tables, kind, share + 1).eq(0).all()


def test_a_table_is_made_again_when_its_energy_has_changed():
    force = BlurredForce(TableEnergy(Logarithmic(0.05, 1.0), 8), 1.0, 2)
    with torch.no_grad():
        first = force.table()
        assert force.table() is first
        force.energy.values.add_(1)
        assert not torch.equal(force.table(), first)
    assert force.table().requires_grad


@SPACES
def test_gradients_are_finite_whatever_the_energy(space):
    for height in (-1.0, 0.0, 1.0, 100.0):
        energy = PairEnergy(0.1, 0.9)
        nn.init.constant_(energy.coefficients, height)
        force = BlurredForce(energy, 0.9, space)
        force.table().abs().sum().backward()
        assert force.table().isfinite().all()
        assert energy.coefficients.grad.isfinite().all()
