"""Families of proteins: sequence weights, and an exact simulator.

Seconds are those of the processor, of one core, and of one pair or sequence.
"""

__all__ = ["ratios"]

import time

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import plain_protein
from benchmarks.harness import Ratio, Way, laps
from genmatter.domains.protein.family import simulated
from genmatter.domains.protein.identity import nearest
from genmatter.domains.protein.weights import weights

SITES, SEQUENCES, MANY = 220, 4000, 50_000
SOME = 10
"""Sequences that the loop weighs: each beside all."""
CHAINS, SWEEPS = 500, 100


def ratios(rounds: int = 3) -> list[Ratio]:
    """Returns every comparison."""
    return [*_weights(rounds), _simulated(rounds)]


def _related(n: int, sites: int) -> NDArray[np.int8]:
    """Returns sequences that descend from thirty, an eighth of the residues changed each time."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, 21, (30, sites)).astype(np.int8)
    while len(x) < n:
        more = x[rng.integers(len(x), size=min(len(x), n - len(x)))].copy()
        changed = rng.random(more.shape) < 0.12
        more[changed] = rng.integers(0, 21, changed.sum())
        x = np.concatenate([x, more])
    return x


def _race(
    name: str, plain: tuple[Way, int], ours: tuple[Way, int], rounds: int, note: str
) -> Ratio:
    """Compares ways by the seconds of each of the things that they make so many of."""
    found = laps((plain[0], ours[0]), rounds, time.process_time)
    slow, fast = ([s / n for s in f] for f, n in zip(found, (plain[1], ours[1]), strict=True))
    return Ratio(name, slow, fast, note)


def _weights(rounds: int) -> list[Ratio]:
    """Weights at 80% identity, to the last digit those of the loop over one-hot rows."""
    x = _related(SEQUENCES, SITES)
    rows, residues = plain_protein.one_hot(x), torch.from_numpy(x)
    same = weights(residues, 0.8, 1)[:SOME].tolist() == plain_protein.weigh(rows, SOME)
    assert same, "both ways weigh alike"
    many = torch.from_numpy(_related(MANY, SITES))
    start = time.process_time()
    weights(many, 0.8, 1)
    whole = time.process_time() - start
    plain = (lambda: plain_protein.weigh(rows, SOME), SOME * SEQUENCES)
    ours = (lambda: weights(residues, 0.8, 1), SEQUENCES * SEQUENCES)
    note = f"{SITES} columns; all {MANY:,} sequences take {whole:.3g} s on one core"
    one = _race("weighing, a pair of sequences", plain, ours, rounds, note)
    a, b = x[:200], x[200:]
    dense = plain_protein.one_hot(a), plain_protein.one_hot(b)
    pairs = len(a) * len(b)
    near = (lambda: (dense[0] @ dense[1].T).max(1), pairs), (lambda: nearest(a, b, 1), pairs)
    return [one, _race("nearest sequence, a pair", *near, rounds, "a product of one-hot matrices")]


def _simulated(rounds: int) -> Ratio:
    """Independent sequences of the simulated family, beside chains that are still correlated."""
    law = simulated(96, 0).potts
    start = time.process_time()
    law.sample(MANY, torch.Generator().manual_seed(0))
    whole = time.process_time() - start
    plain = (lambda: plain_protein.gibbs(law, CHAINS, SWEEPS), CHAINS)
    ours = (lambda: law.sample(SEQUENCES, torch.Generator().manual_seed(1)), SEQUENCES)
    note = f"Gibbs chains of {SWEEPS} sweeps; {MANY:,} of {law.sites} sites take {whole:.3g} s"
    return _race("simulating a sequence", plain, ours, rounds, note)
