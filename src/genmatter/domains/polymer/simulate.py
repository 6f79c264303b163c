"""Chains in equilibrium: exact samples of their Boltzmann law, and their Langevin dynamics."""

__all__ = ["boltzmann", "energy", "forces", "langevin"]

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from genmatter.domains.polymer.config import PotentialConfig
from genmatter.domains.polymer.potential import Field, energy, forces, lennard_jones, well_depth
from genmatter.errors import DataError
from genmatter.maths.noise import generator, seed_of

_CELLS = 1 << 14  # of a tabulated distribution
_PROPOSALS = 1 << 16  # chains that the exact sampler starts at once
_TRIAL, _LIMIT = 1 << 20, 1 << 28  # starts before it judges its rate, and the most it makes
_HOT = 20.0  # kT per velocity: a stable run of any length stays well below


def boltzmann(
    n: int, beads: int, dim: int, potential: PotentialConfig, seed: int
) -> Float[Tensor, "n beads dim"]:
    r"""Draws independent chains from :math:`e^{-U}`, exactly.

    Chains grow bead by bead from the law of the ideal chain, whose bonds and turn angles are
    independent: :math:`p(b) \propto b^{d-1} e^{-k_b (b - b_0)^2 / 2}` and
    :math:`p(\phi) \propto \sin^{d-2}\phi\, e^{-k_a (\phi - \phi_0)^2 / 2}`. A new bead survives
    with probability :math:`\prod_i e^{-u(r_i) - w}` over its partners so far, :math:`w` the
    depth of the well, and a chain that loses a bead is given up whole. A survivor has thus been
    accepted with probability :math:`e^{-\sum u - w \#pairs} \le 1`: this is plain rejection
    (von Neumann, 1951) that learns early of its failures, and so has no bias.

    Args:
        n: Number of chains.
        beads: Beads of a chain, at least 3.
        dim: Dimensions of space, 2 or 3.
        potential: The energy.
        seed: Key of the random numbers; the chains are a function of the arguments.

    Returns:
        Centred chains, in the potential's unit of length.

    Raises:
        DataError: An argument is out of range, or too few chains survive to wait for them.
    """
    _check(potential, n=n, beads=beads, dim=dim)
    rng = generator("polymer", "boltzmann", seed)
    bond, turn = _bond_table(dim, potential), _turn_table(dim, potential)
    done: list[Tensor] = []
    have = starts = 0
    with tqdm(total=n, desc="simulate", unit="chain", disable=None, leave=False) as bar:
        while have < n:
            done.append(_grow(beads, dim, potential, bond, turn, rng))
            have, starts = have + len(done[-1]), starts + _PROPOSALS
            bar.update(len(done[-1]))
            if starts >= _TRIAL and n * starts > _LIMIT * max(have, 1):
                raise DataError(
                    f"{have} of {starts} trial chains of {beads} beads survived, so {n} exact "
                    "samples would take too long: use simulator langevin, or fewer beads"
                )
    x = torch.cat(done)[:n]
    return (x - x.mean(-2, keepdim=True)).float()


def _grow(
    beads: int,
    dim: int,
    potential: PotentialConfig,
    bond: np.ndarray,
    turn: np.ndarray,
    rng: torch.Generator,
) -> Float[Tensor, "m beads dim"]:
    """Starts `_PROPOSALS` chains and returns the survivors, in float64."""
    well = well_depth(potential)
    x = torch.zeros(_PROPOSALS, 1, dim, dtype=torch.float64)
    u = _across(torch.zeros_like(x[:, 0]), rng)
    for bead in range(1, beads):
        if bead > 1:
            phi = _draw(turn, len(x), rng)
            u = phi.cos() * u + phi.sin() * _across(u, rng)
        x = torch.cat([x, x[:, -1:] + (_draw(bond, len(x), rng) * u)[:, None]], 1)
        r2 = (x[:, -1:] - x[:, : bead - 1]).square().sum(-1)
        chance = (-lennard_jones(r2, potential) - well).sum(-1).exp()
        alive = torch.rand(len(x), generator=rng, dtype=torch.float64) < chance
        x, u = x[alive], u[alive]
    return x


def _across(u: Tensor, rng: torch.Generator) -> Tensor:
    """Returns random unit vectors at a right angle to `u`; anywhere if `u` is zero."""
    g = torch.randn(u.shape, generator=rng, dtype=u.dtype)
    g = g - (g * u).sum(-1, keepdim=True) * u
    return g / g.norm(dim=-1, keepdim=True)


def _bond_table(dim: int, potential: PotentialConfig) -> np.ndarray:
    rest, width = potential.bond_rest, 1 / math.sqrt(potential.bond_stiffness)
    b = np.linspace(max(0, rest - 10 * width), rest + 10 * width, _CELLS + 1)
    return _table(b, b ** (dim - 1) * np.exp(-(((b - rest) / width) ** 2) / 2))


def _turn_table(dim: int, potential: PotentialConfig) -> np.ndarray:
    rest, stiffness = potential.angle_rest, potential.angle_stiffness
    width = 1 / math.sqrt(max(stiffness, 1e-2))
    phi = np.linspace(max(0, rest - 10 * width), min(math.pi, rest + 10 * width), _CELLS + 1)
    return _table(phi, np.sin(phi) ** (dim - 2) * np.exp(-stiffness / 2 * (phi - rest) ** 2))


def _table(x: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Returns the cumulative distribution of a density (trapezoids), for `_draw` to invert."""
    mass = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return np.stack([mass / mass[-1], x])


def _draw(table: np.ndarray, n: int, rng: torch.Generator) -> Float[Tensor, "n 1"]:
    u = torch.rand(n, generator=rng, dtype=torch.float64)
    return torch.from_numpy(np.interp(u.numpy(), *table))[:, None]


def langevin(
    frames: int,
    beads: int,
    dim: int,
    potential: PotentialConfig,
    *,
    dt: float = 0.0025,
    friction: float = 1.0,
    stride: int = 200,
    seed: int,
    burn: int | None = None,
    walkers: int = 1,
) -> Float[Tensor, "frames beads dim"]:
    r"""Follows chains of beads of unit mass through Langevin dynamics, by BAOAB.

    .. math:: \dot v = -\nabla U(x) - \gamma v + \sqrt{2 \gamma}\,\xi(t)

    Args:
        frames: Frames to return.
        beads: Beads of a chain, at least 3.
        dim: Dimensions of space, 2 or 3.
        potential: The energy.
        dt: Time step. With the default potential and friction, 0.006 explodes at once and 0.005
            about once in five million steps, when two beads meet fast. Bonds shorter than `dt`
            bend as if they were `dt` long, which no step could tell apart.
        friction: :math:`\gamma`, per unit of time.
        stride: Steps from one frame to the next.
        seed: Key of the random numbers; the frames are a function of the arguments.
        burn: Frames that each walker drops first: the start is a straight chain. By default ten
            times the relaxation time of Rouse's chain and of its velocities.
        walkers: Independent trajectories that are laid end to end; 1 is one trajectory. Sixteen
            cost less than twice as much time a step as one.

    Returns:
        Centred frames in the order of time, in the potential's unit of length.

    Raises:
        DataError: An argument is out of range, or `dt` is too long and the chain has exploded.

    References:
        | Rational construction of stochastic numerical methods for molecular sampling
        | (Leimkuhler & Matthews, 2013) https://doi.org/10.1093/amrx/abs010
        | The Theory of Polymer Dynamics (Doi & Edwards, 1986), section 4.2
    """
    sizes = {"frames": frames, "beads": beads, "dim": dim, "stride": stride, "walkers": walkers}
    _check(potential, **sizes, burn=burn or 0)
    _check_step(dt, friction)
    if burn is None:
        burn = math.ceil(10 * _relaxation(beads, dim, potential, friction) / (dt * stride))
    each = -(-frames // walkers)
    rng = np.random.default_rng(seed_of("polymer", "langevin", seed))
    start = _straight(beads, walkers, dim, potential)
    path = _baoab(start, Field(beads, potential, shortest=dt), dt, friction, stride, rng)
    out = np.empty((each, *start.shape), np.float32)
    for i in tqdm(range(-burn, each), "simulate", unit="frame", disable=None, leave=False):
        x = next(path)
        if i >= 0:
            out[i] = x - x.mean(0)
    return torch.from_numpy(out).permute(2, 0, 1, 3).flatten(0, 1)[:frames].contiguous()


def _baoab(
    x: np.ndarray, field: Field, dt: float, friction: float, stride: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yields the positions [beads, walkers, dim] after every `stride` steps, for ever."""
    x, v, f = x.copy(), rng.standard_normal(x.shape), field(x)
    keep = math.exp(-friction * dt)
    kick = math.sqrt(1 - keep**2)
    while True:
        heat = 0.0
        with np.errstate(all="ignore"):  # an explosion is told below, in words
            for _ in range(stride):
                v += dt / 2 * f
                x += dt / 2 * v
                v = keep * v + kick * rng.standard_normal(x.shape)
                x += dt / 2 * v
                f = field(x)
                v += dt / 2 * f
                heat += np.vdot(v, v)
        if not heat < _HOT * v.size * stride:
            raise DataError(
                f"the chain exploded: dt {dt:g} is too long; try {dt / 2:g} "
                "(0.0025 holds for the default potential and friction)"
            )
        yield x


def _relaxation(beads: int, dim: int, potential: PotentialConfig, friction: float) -> float:
    """Returns Rouse's longest relaxation time plus that of the velocities."""
    mass, b = _bond_table(dim, potential)
    square = float((np.diff(mass) * (b[1:] ** 2 + b[:-1] ** 2) / 2).sum())
    return friction * beads**2 * square / (dim * math.pi**2) + 1 / friction


def _straight(beads: int, walkers: int, dim: int, potential: PotentialConfig) -> np.ndarray:
    """Returns chains along the first axis, stretched so far that no two beads clash."""
    bond = max(potential.bond_rest + potential.bond_stiffness**-0.5, potential.lj_sigma)
    x = np.zeros((beads, walkers, dim))
    x[..., 0] = bond * np.arange(beads)[:, None]
    return x


_LEAST = {"beads": 3, "burn": 0}


def _check(potential: PotentialConfig, **counts: int) -> None:
    """Refuses what no chain can be simulated with."""
    for name, value in counts.items():
        if value < _LEAST.get(name, 1):
            raise DataError(f"{name} is {value}, but has to be at least {_LEAST.get(name, 1)}")
    if counts["dim"] not in (2, 3):
        raise DataError(f"dim is {counts['dim']}, but chains live in 2 or 3 dimensions")
    for name, value in vars(potential).items():
        if not (math.isfinite(value) and value >= 0):
            raise DataError(f"{name} is {value}, but has to be a number of at least 0")
    if potential.bond_stiffness == 0:
        raise DataError("bond_stiffness is 0, so that nothing holds the chain together")


def _check_step(dt: float, friction: float) -> None:
    for name, value in {"dt": dt, "friction": friction}.items():
        if not (math.isfinite(value) and value > 0):
            raise DataError(f"{name} is {value}, but has to be a number above 0")
