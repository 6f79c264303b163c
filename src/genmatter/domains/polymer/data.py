"""Where chains come from: a simulation, a file, an address."""

__all__ = ["even", "load", "rows", "series"]

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.polymer.config import LONG_PATHS, PolymerDataConfig
from genmatter.domains.polymer.formats import mapped, read
from genmatter.domains.polymer.simulate import boltzmann, langevin
from genmatter.errors import DataError
from genmatter.loading import split
from genmatter.loading.fetch import fetch
from genmatter.loading.mapped import Mapped
from genmatter.spine import Splits

Chains = Float[Tensor, "n beads dim"]

MOST = 20_000
"""Chains in a file larger than memory that are enough for scores and statistics."""

_CHECKSUMS = {LONG_PATHS: "ccfdc2415231191f818d46e717e06ad8403b0c6dacb7790c3ec64f4f70234610"}


def load(config: PolymerDataConfig, *, stream: bool = False) -> Splits[Any]:
    """Returns the chains to learn from, centred: a function of `config`.

    Frames of a file or of trajectories are split as `config.split` says; independent samples are
    dealt out in turn. Where none are left to validate on, the test chains do that too. With
    `stream` the chains of an array stay in their file, and the splits only know which are theirs.

    Raises:
        DataError: The file, the address or the simulation cannot give these chains.
    """
    x, found = series(config, stream=stream), rows(config, stream=stream)
    part = x.part if isinstance(x, Mapped) else x.__getitem__
    test = part(found.test)
    valid = test if torch.equal(found.valid, found.test) else part(found.valid)
    return Splits(part(found.train), valid, test)


def even(chains: Chains | Mapped[Chains]) -> Chains:
    """Returns chains to compute statistics of: of those in a file, at most `MOST`, evenly."""
    if not isinstance(chains, Mapped):
        return chains
    n = min(len(chains), MOST)
    return chains[torch.arange(n) * len(chains) // n]


@lru_cache(maxsize=1)
def series(config: PolymerDataConfig, *, stream: bool = False) -> Chains | Mapped[Chains]:
    """Returns all chains, in the order of time where they have one.

    Raises:
        DataError: The file, the address or the simulation cannot give these chains.
    """
    if config.source:
        return (mapped if stream else read)(_located(config.source), config.array)
    n, what = sum(_counts(config)), (config.beads, config.dim, config.potential)
    if config.simulator == "exact":
        return boltzmann(n, *what, seed=config.data_seed)
    return langevin(
        n, *what, dt=config.dt, friction=config.friction, stride=config.stride,
        seed=config.data_seed, walkers=max(config.blocks, 1),
    )  # fmt: skip


def rows(config: PolymerDataConfig, *, stream: bool = False) -> split.Rows:
    """Returns which of all chains are in which split.

    Raises:
        DataError: The shares are impossible, or there are too few chains for them.
    """
    n = len(series(config, stream=stream))
    if config.source:
        valid, test = config.valid_fraction, config.test_fraction
    else:
        counts = _counts(config)
        valid, test = counts[1] / n, counts[2] / n
        if config.simulator == "exact":
            train, *rest = torch.arange(n).split(counts)
            return split.Rows(train, rest[0] if len(rest[0]) else rest[1], rest[1])
    if config.split == "blocks":
        return split.blocks(n, config.blocks, config.gap, valid, test)
    return split.random(n, valid, test, config.data_seed)


def _counts(config: PolymerDataConfig) -> tuple[int, int, int]:
    counts = (config.chains, config.valid_chains, config.test_chains)
    if min(config.chains, config.test_chains) < 1 or config.valid_chains < 0:
        raise DataError(
            "there have to be chains to train on, to validate on (or 0) and to test on: asked for "
            f"{counts[0]}, {counts[1]} and {counts[2]}"
        )
    return counts


def _located(source: str) -> Path:
    """Returns the file itself or the copy of what an address holds."""
    if "://" not in source:
        return Path(source).expanduser() if source.startswith("~/") else Path(source)
    try:
        return fetch(source, _CHECKSUMS.get(source))
    except DataError as error:
        raise DataError(f"{error}; or leave --data out to learn from a simulation") from error
