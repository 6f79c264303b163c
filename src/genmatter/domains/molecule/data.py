"""Where molecules come from: a file, an address, the grammar that comes along."""

__all__ = ["Summary", "load", "prepared", "summary", "write_dropped"]

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import selfies
import torch
from rdkit import rdBase
from torch import Tensor

from genmatter.domains.molecule import scaffolds
from genmatter.domains.molecule.config import MoleculeDataConfig
from genmatter.domains.molecule.formats import read
from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.prepare import check, prepare
from genmatter.domains.molecule.prepared import Dropped, Prepared, first_lines
from genmatter.domains.molecule.rows import Rows, content
from genmatter.domains.molecule.standard import VERSION
from genmatter.errors import DataError
from genmatter.loading import split
from genmatter.loading.cached import kept, key
from genmatter.loading.fetch import fetch
from genmatter.spine import Splits

PART = 10_000
"""Molecules whose symbols are looked at in one go."""


@dataclass(frozen=True)
class Summary:
    """What became of the rows that were read."""

    source: str
    counts: dict[str, int]
    """Rows that were read and kept, kept ones that changed, and how many each reason left out."""
    dropped: Sequence[Dropped]
    """Rows that are left out, in the order of the file."""
    unit: str
    """What rows are called: `line` or `record`."""

    @property
    def facts(self) -> dict[str, str]:
        """What a reader should know, by name."""
        read, kept_ = self.counts["read"], self.counts["kept"]
        changed = {
            "salts stripped": self.counts["stripped"],
            "charges removed": self.counts["neutralised"],
        }
        return {
            "data": self.source,
            "molecules": f"{kept_:,} of {read:,} rows",
            **{name: f"{n:,}" for name, n in changed.items() if n},
            **{f"left out: {k}": v for k, v in first_lines(self.dropped, self.unit).items()},
        }


@dataclass(frozen=True)
class _Dealt:
    splits: Splits[Molecules]
    dropped: list[Dropped]
    """What is left out of the splits, though it was prepared."""


def load(told: MoleculeDataConfig) -> Splits[Molecules]:
    """Returns the molecules to learn from: a function of `told`, and the same object again.

    They are dealt out at random, or by their Bemis-Murcko scaffolds. Molecules to validate and to
    test on that have a SELFIES symbol which no training molecule has are left out. Where no share
    is left to validate on, the test molecules do that too.

    Raises:
        DataError: The file, the address or the grammar cannot give these molecules, or too few.
        ConfigError: What is told cannot be meant.
    """
    return _dealt(told).splits


def summary(told: MoleculeDataConfig) -> Summary:
    """Returns what became of the rows that were read.

    Raises:
        DataError: What `load` raises.
        ConfigError: What is told cannot be meant.
    """
    found, dealt = prepared(told), _dealt(told)
    dropped = sorted([*found.dropped, *dealt.dropped])
    counts = found.counts
    counts["kept"] -= len(dealt.dropped)
    for row in dealt.dropped:
        counts[row.kind] = counts.get(row.kind, 0) + 1
    return Summary(told.source or "BRICS grammar of known drugs", counts, dropped, found.unit)


def write_dropped(told: MoleculeDataConfig, path: Path) -> None:
    """Writes a table of the rows that are left out: line, text, reason.

    Raises:
        DataError: What `load` raises, or the file cannot be written.
        ConfigError: What is told cannot be meant.
    """
    found = summary(told)
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow([found.unit, "text", "reason"])
            table.writerows(found.dropped)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror})") from error


@lru_cache(maxsize=2)
def prepared(told: MoleculeDataConfig) -> Prepared:
    """Returns all molecules in the order of their file, kept on disk by what they are made of.

    Raises:
        DataError: The file, the address or the grammar cannot give these molecules.
        ConfigError: What is told cannot be meant.
    """
    check(told)
    facts = (
        VERSION, rdBase.rdkitVersion, selfies.__version__, told.columns, told.max_length,
        told.max_atoms, told.elements, told.stereo, told.neutralise,
    )  # fmt: skip
    if told.source:
        path = _located(told.source)
        raw = content(path)
        facts = (*facts, path.suffixes[-2:], told.smiles_column)
        make = lambda: _named(path, read(path, told.smiles_column, told.columns), told)
    else:
        from genmatter.domains.molecule.grammar import make as grammar

        smiles = grammar(told.molecules, told.data_seed)
        raw = "\n".join(smiles).encode()
        make = lambda: prepare(Rows.of(smiles), told)
    return Prepared.of(kept(f"molecules/prepared-{key(raw, facts)}", lambda: make().table()))


def _located(source: str) -> Path:
    """Returns the file itself or the copy of what an address holds."""
    if "://" not in source:
        return Path(source).expanduser()
    try:
        return fetch(source)
    except DataError as error:
        raise DataError(f"{error}; or leave --data out to learn from a grammar") from error


def _named(path: Path, rows: Rows, told: MoleculeDataConfig) -> Prepared:
    try:
        return prepare(rows, told)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


@lru_cache(maxsize=2)
def _dealt(told: MoleculeDataConfig) -> _Dealt:
    found = prepared(told)
    x, shares = found.molecules, (told.valid_fraction, told.test_fraction, told.data_seed)
    try:
        if told.split == "scaffold":
            rows = split.whole(scaffolds.scaffolds(x), *shares)
        else:
            rows = split.random(len(x), *shares, what="molecules")
    except DataError as error:
        why = [f"{reason}: {n}" for reason, n in first_lines(found.dropped, found.unit).items()]
        raise DataError(f"{error}{'; left out: ' if why else ''}{'; '.join(why)}") from None
    train, known = x[rows.train], _symbols(x[rows.train].selfies)
    dropped, parts = [], {}
    for name in ("valid", "test"):
        some: Tensor = getattr(rows, name)
        new = _unseen(x[some].selfies, known)
        parts[name] = x[some[torch.tensor([not s for s in new], dtype=torch.bool)]]
        dropped += [
            _dropped(found, int(k), symbol)
            for k, symbol in zip(some.tolist(), new, strict=True)
            if symbol and (name == "test" or rows.valid is not rows.test)
        ]
        if not len(parts[name]):
            raise DataError(
                f"each of {len(some)} molecules of the {name} split has a SELFIES symbol that no "
                "training molecule has: there are too few molecules, or they are too different"
            )
    same = rows.valid is rows.test
    return _Dealt(Splits(train, parts["test" if same else "valid"], parts["test"]), dropped)


def _dropped(found: Prepared, k: int, symbol: str) -> Dropped:
    reason = f"symbol that no training molecule has: {symbol}"
    return Dropped(int(found.lines[k]), found.molecules.smiles[k], reason)


def _symbols(texts: list[str]) -> set[str]:
    """Returns the symbols of SELFIES: many at once, which takes a tenth of the time."""
    found: set[str] = set()
    for k in range(0, len(texts), PART):
        found.update("".join(texts[k : k + PART]).replace("][", "]\n[").split("\n"))
    return found


def _unseen(texts: list[str], known: set[str]) -> list[str]:
    """Returns a symbol of each text that is not known; "" where all are."""
    if _symbols(texts) <= known:
        return [""] * len(texts)
    return [min(_symbols([text]) - known, default="") for text in texts]
