import math

import torch

from genmatter.nn.pair import PairEnergy


def trained():
    energy = PairEnergy(0.1, 1.0)
    torch.nn.init.normal_(energy.coefficients)
    return energy


def test_it_starts_as_nothing_and_ends_at_its_reach():
    r = torch.linspace(0.01, 3, 50)
    assert PairEnergy(0.1, 1.0)(r.square()).abs().max() == 0
    energy = trained()
    assert energy(r[r > 1].square()).abs().max() == 0
    assert energy(r[r < 0.9].square()).abs().min() > 0


def test_crowding_is_the_sum_over_earlier_points():
    torch.manual_seed(0)
    energy = trained()
    angle = torch.arange(24) * (2 * math.pi / 24)
    circle = torch.stack([angle.cos(), angle.sin()])
    points, radius = torch.randn(5, 3, 4, 2), torch.rand(5, 3) + 0.5
    there = torch.rand(3, 4) < 0.7
    a = points.square().sum(-1) + radius.square()[..., None]
    found = energy.crowding(a, 2 * radius[..., None, None] * points, there, circle)
    candidates = radius[..., None, None] * circle.T
    r2 = (candidates[:, :, :, None] - points[:, :, None]).square().sum(-1)
    every = (energy(r2) * there[:, None]).sum(-1)
    torch.testing.assert_close(found, every, atol=1e-3, rtol=1e-4)


def test_an_energy_can_be_learned():
    """A steep wall, from distances: it takes coefficients of the right size."""
    torch.manual_seed(0)
    energy, r = PairEnergy(0.1, 1.0), torch.linspace(0.15, 1.2, 300)
    wall = 5 * (1 - r / 0.3).relu() * 4
    adam = torch.optim.Adam(energy.parameters(), lr=0.01)
    for _ in range(500):
        loss = (energy(r.square()) - wall).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert loss < 0.05 * wall.square().mean()
