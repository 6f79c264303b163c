"""Where crystals come from: files, a data set by name, the prototypes that come along."""

__all__ = ["Summary", "leaking", "load", "prepared", "summary", "write_dropped"]

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import spglib
import torch

from genmatter.domains.crystal import filling, preparing
from genmatter.domains.crystal.config import CrystalDataConfig
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.elements import NUMBERS
from genmatter.domains.crystal.matching import DEFAULT, groups
from genmatter.domains.crystal.named import NAMED, fetched
from genmatter.domains.crystal.prepared import Dropped, Prepared, first_places
from genmatter.domains.crystal.rows import Rows, read_rows
from genmatter.errors import ConfigError, DataError
from genmatter.loading import split
from genmatter.loading.cached import kept, key
from genmatter.loading.fetch import fetch
from genmatter.loading.parallel import processors, spread
from genmatter.spine import Splits

VERSION = 1
"""Counts changes of how crystals are prepared, which make what is kept on disk useless."""
FEW = 300
"""Records that take less time than starting processes does."""
SHOWN = 100
"""Characters of a name that are kept where its record is left out."""


@dataclass(frozen=True)
class Summary:
    """What became of the records that were read."""

    source: str
    kept: int
    dropped: Sequence[Dropped]
    split: str
    """How the crystals were dealt out."""

    @property
    def facts(self) -> dict[str, str]:
        """What a reader should know, by name."""
        return {
            "data": self.source,
            "crystals": f"{self.kept:,} of {self.kept + len(self.dropped):,} records",
            **{f"left out: {k}": v for k, v in first_places(self.dropped).items()},
            "split": self.split,
        }


def load(told: CrystalDataConfig) -> Splits[Crystals]:
    """Returns the crystals to learn from: a function of `told`, and the same object again.

    They are Niggli-reduced primitive cells. Where nothing is left to validate on, the test
    crystals do that too.

    Raises:
        DataError: Files, data sets or prototypes cannot give these crystals, or too few.
        ConfigError: What is told cannot be meant.
    """
    return _dealt(told)[0]


def summary(told: CrystalDataConfig) -> Summary:
    """Returns what became of the records that were read.

    Raises:
        DataError: What `load` raises.
        ConfigError: What is told cannot be meant.
    """
    found = prepared(_stripped(told))
    how = _dealt(told)[1]
    source = told.source or "prototypes filled with ions"
    return Summary(source, len(found.crystals), found.dropped, how)


def write_dropped(told: CrystalDataConfig, path: Path) -> None:
    """Writes a table of the records that are left out: place, name, reason.

    Raises:
        DataError: What `load` raises, or the file cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(Dropped._fields)
            table.writerows(summary(told).dropped)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror})") from error


def leaking(splits: Splits[Crystals]) -> float:
    """Returns the share of test crystals of which training has a crystal of the same formula."""
    known = set(splits.train.formulas)
    return float(np.mean([f in known for f in splits.test.formulas]))


def _stripped(told: CrystalDataConfig) -> CrystalDataConfig:
    """Leaves out what does not matter to the preparation, so that splits share it."""
    seed = 0 if told.source else told.data_seed
    return replace(told, split="given", valid_fraction=0.1, test_fraction=0.1, data_seed=seed)


@lru_cache(maxsize=3)
def prepared(told: CrystalDataConfig) -> Prepared:
    """Returns all crystals in the order of their files, kept on disk by what they are made of.

    Raises:
        DataError: Files, data sets or prototypes cannot give these crystals.
        ConfigError: What is told cannot be meant.
    """
    _check(told)
    if not told.source:
        return _embedded(told)
    rows = _rows(told)
    facts = (
        VERSION, spglib.__version__, list(rows.notations), list(rows.names), told.max_atoms,
        list(told.elements), told.max_volume, told.duplicates,
        {k: v.tolist() for k, v in rows.columns.items()},
        None if rows.splits is None else rows.splits.tolist(),
    )  # fmt: skip
    name = key("\0".join(rows.texts).encode(), *json.loads(json.dumps(facts)))
    return Prepared.of(kept(f"crystals/prepared-{name}", lambda: _prepare(told, rows).table()))


def _check(told: CrystalDataConfig) -> None:
    if told.max_atoms < 1 or told.max_volume < 0 or told.crystals < 1:
        raise ConfigError(
            f"crystals have at least 1 atom, and space: max_atoms={told.max_atoms}, max_volume="
            f"{told.max_volume:g} and crystals={told.crystals} cannot be"
        )
    for name in told.elements:
        if name not in NUMBERS:
            raise ConfigError(f"there is no element {name!r}; they are written as C, Cl, Fe")


def _embedded(told: CrystalDataConfig) -> Prepared:
    found = filling.made(told.crystals, told.data_seed)
    wanted = {NUMBERS[name] for name in told.elements} or set(NUMBERS.values())
    each = found.volumes / found.counts
    keep = [
        k
        for k, z in enumerate(found.each_numbers())
        if len(z) <= told.max_atoms
        and set(z.tolist()) <= wanted
        and not (told.max_volume and each[k] > told.max_volume)
    ]
    if not keep:
        raise DataError("no prototype can be filled so: elements or limits leave none")
    some = found[keep]
    return Prepared(some, [f"prototype {k}" for k in range(1, len(some) + 1)], [])


def _rows(told: CrystalDataConfig) -> Rows:
    """Reads what the source names: a data set, an address, a file, a folder, a zip."""
    if told.source in NAMED and not Path(told.source).exists():
        parts = []
        for k, path in enumerate(fetched(told.source).values()):
            rows = read_rows(path, told.cif_column, told.columns)
            parts.append(replace(rows, splits=np.full(len(rows), k)))
        return Rows.cat(parts)
    if "://" in told.source:
        try:
            path = fetch(told.source)
        except DataError as error:
            raise DataError(f"{error}; or leave --data out to learn from prototypes") from error
    else:
        path = Path(told.source).expanduser()
        if not path.exists() and told.source.replace("-", "_").lower() in NAMED:
            raise DataError(f"there is no file {told.source}; the data set is called "
                            f"{told.source.replace('-', '_').lower()}")  # fmt: skip
    return read_rows(path, told.cif_column, told.columns)


def _prepare(told: CrystalDataConfig, rows: Rows) -> Prepared:
    """Brings records into one form, and leaves out what has none, saying why."""
    rule = {
        "max_atoms": told.max_atoms,
        "elements": list(told.elements),
        "max_volume": told.max_volume,
    }
    things = list(zip(rows.notations, rows.texts, strict=True))
    many = processors() if len(things) >= FEW else 1
    found = list(spread(preparing.prepared, rule, things, "prepare", many, 200))
    reasons = [reason for *_, reason in found]
    keep = np.array([not reason for reason in reasons])
    if keep.any():
        crystals = _kept(rows, found, keep)
        if told.duplicates == "drop":
            _drop_repeated(crystals, rows, np.flatnonzero(keep), reasons)
            keep = np.array([not reason for reason in reasons])
    dropped = [
        Dropped(rows.places[k], rows.names[k][:SHOWN], reason)
        for k, reason in enumerate(reasons)
        if reason
    ]
    if not keep.any():
        why = "; ".join(f"{k}: {v}" for k, v in first_places(dropped).items())
        raise DataError(
            f"{told.source}: none of {len(rows):,} records is a crystal that can be used: {why}"
        )
    places = [p for p, k in zip(rows.places, keep, strict=True) if k]
    splits = None if rows.splits is None else rows.splits[keep]
    return Prepared(_kept(rows, found, keep), places, dropped, splits)


def _kept(rows: Rows, found: list[list[Any]], keep: Any) -> Crystals:
    some = [f for f, k in zip(found, keep, strict=True) if k]
    return Crystals.of(
        [f[0] for f in some],
        [f[1] for f in some],
        [f[2] for f in some],
        {name: values[keep] for name, values in rows.columns.items()},
        [name for name, k in zip(rows.names, keep, strict=True) if k],
    )


def _drop_repeated(crystals: Crystals, rows: Rows, where: np.ndarray, reasons: list[str]) -> None:
    """Gives a reason to what matches an earlier crystal."""
    for k, first in enumerate(groups(crystals, DEFAULT, "find duplicates").tolist()):
        if first != k:
            reasons[where[k]] = f"repeated: same as {rows.places[int(where[first])]}"


@lru_cache(maxsize=3)
def _dealt(told: CrystalDataConfig) -> tuple[Splits[Crystals], str]:
    """Returns the splits, and how they were dealt out."""
    found = prepared(_stripped(told))
    x = found.crystals
    try:
        if told.split == "given" and found.splits is not None:
            return _given(x, found.splits), "given by the file"
        shares = (told.valid_fraction, told.test_fraction, told.data_seed)
        if told.split == "random":
            rows, how = split.random(len(x), *shares, what="crystals"), "random"
        else:
            rows = split.whole(x.formulas, *shares, "crystals of compositions")
            how = "by composition"
    except DataError as error:
        why = [f"{reason}: {n}" for reason, n in first_places(found.dropped).items()]
        raise DataError(f"{error}{'; left out: ' if why else ''}{'; '.join(why)}") from None
    test = x[rows.test]
    valid = test if rows.valid is rows.test else x[rows.valid]
    return Splits(x[rows.train], valid, test), how


def _given(x: Crystals, splits: np.ndarray) -> Splits[Crystals]:
    train, valid, test = (torch.from_numpy(np.flatnonzero(splits == k)) for k in range(3))
    if not len(train) or not len(test):
        raise DataError(
            f"the column `split` leaves {len(train)} crystals to train on and {len(test)} to test "
            "on: it should say train, val or test of each, or take --split composition"
        )
    last = x[test]
    return Splits(x[train], x[valid] if len(valid) else last, last)
