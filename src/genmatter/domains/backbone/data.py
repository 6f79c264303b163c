"""Which conformers a model learns from, and which it is judged by."""

__all__ = ["Correlation", "convert", "correlation", "load", "notes", "trajectories"]

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch

from genmatter.domains.backbone import archive
from genmatter.domains.backbone.archive import Ranges
from genmatter.domains.backbone.config import BackboneDataConfig
from genmatter.domains.backbone.conformers import Conformers, Protein, Trajectory
from genmatter.domains.backbone.memory import Correlation, correlation
from genmatter.domains.backbone.sources import trajectories
from genmatter.errors import DataError
from genmatter.loading import split
from genmatter.spine import Splits

TEST = 0.2
"""Share of a trajectory that is alone to test on."""
BLOCKS = 10
"""Blocks along such a trajectory, at most, each dealt out to all splits."""


@lru_cache(maxsize=2)
def load(config: BackboneDataConfig, *, stream: bool = False) -> Splits[Conformers]:
    """Returns the conformers to learn from: a function of `config`, and the same object again.

    Of a protein with several replicas whole ones are held out to test on, and the end of each
    other one, after a gap, is watched in training. A replica that is alone is split in blocks
    with gaps. The table `config.train_split` is obeyed where there is one. With `stream` arrays
    stay in their files, and frames are read when they are asked for, to the same bits.

    Raises:
        DataError: There are no such frames, they are not fit to learn from, or too few.
    """
    found = trajectories(config, stream=stream)
    deal = _given if config.train_split else _dealt
    train, valid, test = (
        Conformers.some(found, part) for part in zip(*deal(config, found), strict=True)
    )
    for name, part in {"train": train, "test": test}.items():
        if not len(part):
            raise DataError(f"no frames are left to {name} on")
    return Splits(train, valid if len(valid) else test, test)


def _given(config: BackboneDataConfig, found: Sequence[Trajectory]) -> list[split.Rows]:
    """Returns the frames that a table deals out; trajectories that it does not name are left."""
    table = _table(config, found)
    step, rows = max(config.frame_interval, 1), []
    for trajectory in found:
        r = table.get(_name(trajectory), Ranges(0, 0, 0, 0))
        edges = [(r.start, r.train_end), (r.train_end, r.val_end), (r.val_end, r.total)]
        rows.append(split.Rows(*(torch.arange(a, b, step) for a, b in edges)))
    return rows


def _table(config: BackboneDataConfig, found: Sequence[Trajectory]) -> dict[str, Ranges]:
    """Reads the table of frames, and refuses what does not go with the trajectories."""
    table = archive.ranges(Path(config.train_split).expanduser())
    if not table.keys() & {_name(t) for t in found}:
        names = ", ".join(_name(t) for t in found[:5])
        raise DataError(f"{config.train_split} names none of {names}")
    for t in found:
        r = table.get(_name(t))
        if r and r.total != len(t):
            raise DataError(
                f"{config.train_split} says that {_name(t)} has {r.total} frames, but {t.source} "
                f"has {len(t)}"
            )
    return table


def _name(trajectory: Trajectory) -> str:
    return f"{trajectory.protein.name}_R{trajectory.replica}"


def _replicas(found: Sequence[Trajectory]) -> dict[Protein, list[int]]:
    """Returns the numbers of each protein's replicas."""
    numbers: dict[Protein, list[int]] = {t.protein: [] for t in found}
    for t in found:
        numbers[t.protein].append(t.replica)
    return numbers


def _dealt(config: BackboneDataConfig, found: Sequence[Trajectory]) -> list[split.Rows]:
    """Returns the frames of each trajectory, where whole replicas are held out."""
    numbers = _replicas(found)
    return [
        _ends(config, t, numbers[t.protein]) if len(numbers[t.protein]) > 1 else _blocks(config, t)
        for t in found
    ]


def _blocks(config: BackboneDataConfig, trajectory: Trajectory) -> split.Rows:
    """Splits a trajectory that is alone."""
    frames = torch.arange(0, len(trajectory), max(config.frame_interval, 1))
    count = max(1, min(BLOCKS, len(frames) // (30 * max(config.gap, 1))))
    try:
        rows = split.blocks(len(frames), count, config.gap, config.valid_fraction, TEST)
    except DataError as error:
        raise DataError(f"{trajectory.source or trajectory.protein.name}: {error}") from error
    return split.Rows(*(frames[r] for r in rows))


def _held(config: BackboneDataConfig, t: Trajectory, replicas: Sequence[int]) -> bool:
    """Whether a replica is tested on."""
    held = config.test_replicas or (max(replicas),)
    if not {*held} & {*replicas} or {*held} >= {*replicas}:
        raise DataError(
            f"{t.protein.name} has the replicas {_listed(replicas)}: of these some, but not all, "
            f"are to be tested on, not {_listed(held)}"
        )
    return t.replica in held


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _ends(config: BackboneDataConfig, t: Trajectory, replicas: Sequence[int]) -> split.Rows:
    """Splits a trajectory that has others beside it."""
    frames = torch.arange(0, len(t), max(config.frame_interval, 1))
    if _held(config, t, replicas):
        return split.Rows(frames[:0], frames[:0], frames)
    valid = round(len(frames) * config.valid_fraction)
    stop = len(frames) - valid - (config.gap if valid else 0)
    if not 0 <= config.valid_fraction < 1 or config.gap < 0 or stop < 1:
        raise DataError(
            f"{t.source or t.protein.name}: {len(frames)} frames are too few to watch a share of "
            f"{config.valid_fraction:g} after a gap of {config.gap}"
        )
    return split.Rows(frames[:stop], frames[len(frames) - valid :], frames[:0])


def notes(splits: Splits[Conformers]) -> list[str]:
    """Says what was left out on reading, once for each protein."""
    pairs = [(t.protein.name, note) for t in splits.train.trajectories for note in t.notes]
    return [f"{name}: {note}" for name, note in dict.fromkeys(pairs)]


def convert(config: BackboneDataConfig, folder: Path) -> list[Path]:
    """Writes any source as arrays with their tables into a folder; returns the arrays' files.

    Every frame of `config.frame_interval` is written. The table frame_splits.csv holds the split
    of `load` as far as it can be said in it: without gaps, and in one piece for each split.

    Raises:
        DataError: What `load` refuses.
        RunError: The folder cannot be written.
    """
    load(config, stream=True)
    found, step = trajectories(config, stream=True), max(config.frame_interval, 1)
    given = _table(config, found) if config.train_split else {}
    numbers, table = _replicas(found), {}
    for t in found:
        r = given.get(_name(t)) or _range(config, t, numbers[t.protein])
        edges = (r.start, r.train_end, r.val_end, r.total)
        table[_name(t)] = Ranges(*(-(-k // step) for k in edges))
    places = archive.write(found, folder, config.suffix, step)
    archive.write_ranges(table, folder / "frame_splits.csv")
    return places


def _range(config: BackboneDataConfig, t: Trajectory, replicas: Sequence[int]) -> Ranges:
    """Returns about the frames that `_ends` or `_blocks` deals out."""
    n = len(t)
    if len(replicas) > 1 and _held(config, t, replicas):
        return Ranges(0, 0, 0, n)
    stop = n if len(replicas) > 1 else round(n * (1 - TEST))
    return Ranges(0, stop - round(n * config.valid_fraction), stop, n)
