import math

import pytest
import torch

from genmatter.domains.polymer.config import PotentialConfig
from genmatter.domains.polymer.potential import (
    CUTOFF,
    energy,
    forces,
    lennard_jones,
    well_depth,
)

POTENTIAL = PotentialConfig()
FIRM = PotentialConfig(lj_epsilon=1.0, lj_sigma=0.6, angle_stiffness=2.0)


def chains(dim, n=20, beads=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, beads, dim, generator=g, dtype=torch.float64).cumsum(1) * 0.7


def test_a_right_angle_has_the_energy_of_its_two_bonds_and_its_turn():
    x = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]]], dtype=torch.float64)
    k, b0 = POTENTIAL.bond_stiffness / 2, POTENTIAL.bond_rest
    bend = POTENTIAL.angle_stiffness / 2 * (math.pi / 2 - POTENTIAL.angle_rest) ** 2
    expected = k * (1 - b0) ** 2 + k * (2 - b0) ** 2 + bend
    assert energy(x, POTENTIAL).item() == pytest.approx(expected, rel=1e-12)


def test_the_third_dimension_changes_nothing_for_a_chain_in_the_plane():
    x = chains(2)
    flat = torch.cat([x, torch.full_like(x[..., :1], 3.0)], -1)
    torch.testing.assert_close(energy(flat, FIRM), energy(x, FIRM))


def test_a_pair_has_its_well_where_lennard_and_jones_put_it():
    sigma = FIRM.lj_sigma
    r = torch.tensor([2 ** (1 / 6) * sigma, sigma, CUTOFF * sigma, 9.0], dtype=torch.float64)
    shift = 4 * (CUTOFF**-6 - CUTOFF**-12)
    expected = torch.tensor([shift - 1, shift, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(lennard_jones(r**2, FIRM), expected)
    assert well_depth(FIRM) == pytest.approx(1 - shift)


def test_a_pair_meets_the_cutoff_without_a_step():
    r = CUTOFF * FIRM.lj_sigma * torch.tensor([1 - 1e-9, 1 + 1e-9], dtype=torch.float64)
    assert lennard_jones(r**2, FIRM).abs().max() < 1e-8


def test_bonded_beads_do_not_repel_each_other():
    x = torch.tensor([[[0.0, 0.0], [1e-3, 0.0], [3.0, 0.0]]], dtype=torch.float64)
    assert energy(x, FIRM).item() < 100


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("potential", [POTENTIAL, FIRM])
def test_forces_are_minus_the_gradient_of_the_energy(dim, potential):
    x = chains(dim).requires_grad_()
    (gradient,) = torch.autograd.grad(energy(x, potential).sum(), x)
    torch.testing.assert_close(forces(x.detach(), potential), -gradient, rtol=1e-8, atol=1e-8)


def test_forces_are_minus_the_slope_of_the_energy():
    x, step = chains(3, n=1), 1e-6
    for i in range(x.numel()):
        d = torch.zeros_like(x).view(-1)
        d[i] = step
        ahead, behind = x + d.view_as(x), x - d.view_as(x)
        slope = (energy(ahead, FIRM) - energy(behind, FIRM)) / (2 * step)
        assert forces(x, FIRM).view(-1)[i].item() == pytest.approx(-slope.item(), rel=1e-4)


@pytest.mark.parametrize("dim", [2, 3])
def test_forces_neither_push_nor_turn_a_chain_as_a_whole(dim):
    x = chains(dim)
    f = forces(x, FIRM)
    scale = f.abs().max()
    assert f.sum(1).abs().max() < 1e-12 * scale
    torque = torch.einsum("nia,nib->nab", x, f)
    assert (torque - torque.mT).abs().max() < 1e-11 * scale


@pytest.mark.parametrize("dim", [2, 3])
def test_a_straight_chain_is_not_bent(dim):
    x = torch.zeros(1, 5, dim)
    x[..., 0] = torch.arange(5)
    f = forces(x, POTENTIAL)
    assert f.isfinite().all()
    assert f[..., 1:].abs().max() == 0


@pytest.mark.parametrize("dim", [2, 3])
def test_energy_survives_motion_mirrors_and_reversal(dim):
    x = chains(dim)
    g = torch.Generator().manual_seed(1)
    q, _ = torch.linalg.qr(torch.randn(dim, dim, generator=g, dtype=torch.float64))
    for turn in (q, torch.cat([-q[:1], q[1:]])):
        torch.testing.assert_close(energy(x @ turn + 5.0, FIRM), energy(x, FIRM))
    torch.testing.assert_close(energy(x.flip(1), FIRM), energy(x, FIRM))


def test_forces_keep_the_precision_of_their_argument():
    assert forces(chains(2).float(), POTENTIAL).dtype == torch.float32
