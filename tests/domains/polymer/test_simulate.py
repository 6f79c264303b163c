import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from genmatter.domains.polymer.config import PotentialConfig
from genmatter.domains.polymer.simulate import boltzmann, energy, langevin
from genmatter.errors import DataError
from genmatter.maths.geometry import radius_of_gyration

POTENTIAL = PotentialConfig()
IDEAL = replace(POTENTIAL, lj_epsilon=0.0)
STICKY = replace(POTENTIAL, lj_epsilon=0.4, lj_sigma=0.5)
SIGMAS = 4.5  # far enough out for a hundred comparisons


def bonds(x):
    return x.diff(dim=1).norm(dim=-1)


def turns(x):
    u = torch.nn.functional.normalize(x.double().diff(dim=1), dim=-1)
    return (u[:, 1:] * u[:, :-1]).sum(-1).clamp(-1, 1).acos()


def measures(x, potential):
    return torch.stack(
        [
            radius_of_gyration(x).double(),
            bonds(x).double().mean(1),
            turns(x).mean(1),
            (x[:, 0] - x[:, -1]).norm(dim=-1).double(),
            energy(x.double(), potential),
        ]
    )


def density(stiffness, rest, power):
    return lambda b: power(b) * math.exp(-stiffness / 2 * (b - rest) ** 2)


def cumulative(f, upper):
    grid = np.linspace(0, upper, 4001)
    total = integrate.cumulative_simpson([f(b) for b in grid], x=grid, initial=0)
    return lambda v: np.interp(v, grid, total / total[-1])


@pytest.mark.parametrize("dim", [2, 3])
def test_bonds_of_an_ideal_chain_have_their_closed_form(dim):
    x = boltzmann(4_000, 4, dim, IDEAL, seed=1)
    f = density(IDEAL.bond_stiffness, IDEAL.bond_rest, lambda b: b ** (dim - 1))
    assert stats.kstest(bonds(x).flatten().numpy(), cumulative(f, 5.0)).pvalue > 1e-3


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("stiffness", [0.0, 0.109, 20.0])
def test_turn_angles_of_an_ideal_chain_have_their_closed_form(dim, stiffness):
    potential = replace(IDEAL, angle_stiffness=stiffness)
    x = boltzmann(4_000, 4, dim, potential, seed=2)
    f = density(stiffness, potential.angle_rest, lambda p: math.sin(p) ** (dim - 2))
    assert stats.kstest(turns(x).flatten().numpy(), cumulative(f, math.pi)).pvalue > 1e-3


def test_stiff_terms_are_resolved():
    stiff = replace(IDEAL, bond_stiffness=1e10, angle_stiffness=1e10)
    x = boltzmann(500, 4, 2, stiff, seed=0)
    torch.testing.assert_close(bonds(x), torch.full((500, 3), stiff.bond_rest), rtol=0, atol=1e-4)
    expected = torch.full((500, 2), stiff.angle_rest, dtype=torch.float64)
    torch.testing.assert_close(turns(x), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dim", [2, 3])
def test_excluded_volume_is_what_weighting_ideal_chains_makes_of_them(dim):
    x, ideal = boltzmann(4_000, 5, dim, STICKY, 3), boltzmann(40_000, 5, dim, IDEAL, 4)
    a, b = measures(x, STICKY), measures(ideal, STICKY)
    nonideal = energy(ideal.double(), STICKY) - energy(
        ideal.double(), replace(STICKY, lj_epsilon=0.0)
    )
    w = (-nonideal).exp()
    w /= w.sum()
    b = b.where(b < 1e3, 0)  # a clash of no weight
    mean = (w * b).sum(1)
    error = (a.var(1) / a.shape[1] + ((w * (b - mean[:, None])) ** 2).sum(1)).sqrt()
    assert ((a.mean(1) - mean).abs() < SIGMAS * error).all()
    assert ((a.mean(1) - b.mean(1)).abs() / error).max() > 3 * SIGMAS, "the test has no power"


def test_chains_point_anywhere_and_turn_both_ways():
    x = boltzmann(10_000, 4, 2, POTENTIAL, seed=5).double()
    first, second = x[:, 1] - x[:, 0], x[:, 2] - x[:, 1]
    left = (first[:, 0] * second[:, 1] > first[:, 1] * second[:, 0]).double()
    for value in (*first.T, left - 0.5):
        assert abs(value.mean()) < SIGMAS * value.std() / 100


def test_the_default_chain_is_the_one_of_the_documentation():
    x = boltzmann(2_000, 12, 2, POTENTIAL, seed=0)
    assert bonds(x).mean().item() == pytest.approx(0.702, abs=0.02)
    assert bonds(x).std().item() == pytest.approx(0.339, abs=0.02)
    assert radius_of_gyration(x).mean().item() == pytest.approx(1.120, abs=0.03)
    assert radius_of_gyration(x).std().item() == pytest.approx(0.320, abs=0.02)
    assert (x[:, 0] - x[:, -1]).norm(dim=-1).mean().item() == pytest.approx(2.48, abs=0.12)


@pytest.mark.parametrize("dim", [2, 3])
def test_dynamics_and_exact_sampler_agree(dim):
    exact = measures(boltzmann(10_000, 5, dim, POTENTIAL, seed=0), POTENTIAL)
    x = langevin(64 * 40, 5, dim, POTENTIAL, dt=0.004, stride=50, seed=0, burn=60, walkers=64)
    each = measures(x, POTENTIAL).unflatten(1, (64, 40)).mean(2)  # walkers are independent
    error = (exact.var(1) / exact.shape[1] + each.var(1) / 64).sqrt()
    assert ((each.mean(1) - exact.mean(1)).abs() < SIGMAS * error).all()


def test_frames_follow_each_other_in_time_and_walkers_are_end_to_end():
    x = langevin(60, 4, 2, POTENTIAL, stride=2, seed=0, burn=0, walkers=2)
    steps = x.diff(dim=0).flatten(1).norm(dim=1)
    assert x.shape == (60, 4, 2)
    assert steps.argmax() == 29
    assert steps[29] > 3 * steps[:29].max()


def test_walkers_need_not_divide_the_frames():
    assert langevin(7, 4, 3, POTENTIAL, stride=1, seed=0, burn=0, walkers=3).shape == (7, 4, 3)


def runs(seed):
    return (
        boltzmann(50, 5, 2, POTENTIAL, seed),
        langevin(5, 5, 2, POTENTIAL, stride=3, seed=seed, burn=2),
    )


def test_chains_are_a_function_of_the_seed_and_not_of_the_global_stream():
    before = torch.get_rng_state()
    first, again, other = runs(0), runs(0), runs(1)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a, b)
        assert not torch.isclose(a, c).any(dim=0).any()
        assert a.dtype == torch.float32
        assert a.mean(1).abs().max() < 1e-6


def test_burn_drops_the_first_frames():
    whole = langevin(6, 4, 2, POTENTIAL, stride=3, seed=0, burn=0)
    assert torch.equal(langevin(4, 4, 2, POTENTIAL, stride=3, seed=0, burn=2), whole[2:])


@pytest.mark.parametrize("dt", [0.02, 1.0, 1e6])
def test_a_time_step_that_explodes_is_refused(dt):
    message = re.escape(f"the chain exploded: dt {dt:g} is too long; try {dt / 2:g} ")
    with pytest.raises(DataError, match=message):
        langevin(200, 12, 2, POTENTIAL, dt=dt, seed=0, walkers=16, burn=0)


def test_what_rejection_cannot_sample_is_left_to_dynamics():
    with pytest.raises(DataError, match="exact samples would take too long: use simulator lang"):
        boltzmann(10**7, 3, 2, replace(POTENTIAL, lj_epsilon=12.0), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"beads": 2}, "beads is 2, but has to be at least 3"),
        ({"dim": 4}, "dim is 4"),
        ({"bond_stiffness": 0.0}, "nothing holds"),
        ({"bond_stiffness": -1.0}, "bond_stiffness is -1.0"),
        ({"lj_epsilon": math.nan}, "lj_epsilon is nan"),
        ({"angle_rest": math.inf}, "angle_rest is inf"),
    ],
)
def test_the_exact_sampler_refuses_what_makes_no_chain(change, message):
    shape = {"n": 5, "beads": 4, "dim": 2} | {k: v for k, v in change.items() if len(k) < 6}
    potential = replace(POTENTIAL, **{k: v for k, v in change.items() if len(k) > 5})
    with pytest.raises(DataError, match=message):
        boltzmann(**shape, potential=potential, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 0}, "frames is 0"),
        ({"beads": 1}, "beads is 1"),
        ({"stride": 0}, "stride is 0"),
        ({"walkers": 0}, "walkers is 0"),
        ({"burn": -1}, "burn is -1"),
        ({"dt": 0.0}, "dt is 0.0, but has to be a number above 0"),
        ({"dt": math.nan}, "dt is nan"),
        ({"friction": -1.0}, "friction is -1.0"),
    ],
)
def test_dynamics_refuse_what_makes_no_trajectory(change, message):
    with pytest.raises(DataError, match=message):
        langevin(**{"frames": 2, "beads": 4, "dim": 2, "potential": POTENTIAL, "seed": 0} | change)
