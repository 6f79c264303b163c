"""Where sequences come from: an alignment in a file, or a family that is simulated."""

__all__ = [
    "Summary",
    "columns",
    "effective",
    "family",
    "load",
    "motif",
    "prepared",
    "summary",
    "write_dropped",
]

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from genmatter.domains.protein import alignments
from genmatter.domains.protein.clusters import clusters, deal
from genmatter.domains.protein.config import ProteinDataConfig
from genmatter.domains.protein.family import Family, simulated
from genmatter.domains.protein.formats import ranges
from genmatter.domains.protein.labels import joined, read_table
from genmatter.domains.protein.prepare import Dropped, Prepared, prepare
from genmatter.domains.protein.sequences import ALPHABET, Numbering, Sequences
from genmatter.domains.protein.weights import balanced, weights
from genmatter.errors import ConfigError, DataError
from genmatter.loading import split
from genmatter.loading.fetch import fetch
from genmatter.spine import Splits

_SITE = re.compile(r"([A-Z])(-?\d+)")
SUBFAMILY = "subfamily"
"""The label of simulated sequences."""


@dataclass(frozen=True)
class Summary:
    """What became of the sequences that were read."""

    facts: dict[str, str]
    """What a reader should know, by name."""
    dropped: Sequence[Dropped]
    """Sequences that are left out, in the order of the file."""


@dataclass(frozen=True)
class _Dealt:
    splits: Splits[Sequences]
    how: str


def family(told: ProteinDataConfig) -> Family | None:
    """Returns the law of the simulated family; None where the data are a file's.

    Raises:
        ConfigError: There is no such family.
    """
    return None if told.source else simulated(told.sites, told.data_seed)


def load(told: ProteinDataConfig) -> Splits[Sequences]:
    """Returns the sequences to learn from: a function of `told`, and the same object again.

    Weights are those within each split. Where no share is left to validate on, the test sequences
    do that too.

    Raises:
        DataError: The file or the table cannot give these sequences, or too few.
        ConfigError: What is told cannot be meant.
    """
    return _dealt(told, _stamp(told)).splits


def prepared(told: ProteinDataConfig) -> Prepared:
    """Returns all sequences in the order of their file.

    Raises:
        DataError: The file or the table cannot give these sequences.
        ConfigError: What is told cannot be meant.
    """
    return _prepared(told, _stamp(told))


def _stamp(told: ProteinDataConfig) -> tuple[tuple[int, int], ...]:
    """Returns what changes when the files do."""
    paths = (_located(name) for name in (told.source, told.labels) if name)
    return tuple((s.st_mtime_ns, s.st_size) for p in paths if p.is_file() for s in [p.stat()])


def _located(source: str) -> Path:
    """Returns the file itself or the copy of what an address holds."""
    return fetch(source) if "://" in source else Path(source).expanduser()


@lru_cache(maxsize=2)
def _prepared(told: ProteinDataConfig, stamp: object) -> Prepared:
    if not told.source:
        found = _simulated(told)
    else:
        path = _located(told.source)
        found = prepare(alignments.read(path), told, path)
    if told.labels:
        table = read_table(_located(told.labels), told.id_column, told.columns)
        numbers, texts, _ = joined(table, found.sequences.names.tolist())
        found = replace(found, sequences=replace(found.sequences, columns=numbers, labels=texts))
    elif told.columns and told.source:
        raise ConfigError(f"columns {', '.join(told.columns)} need a table: give --labels FILE")
    motif(told, found.sequences.numbering)
    return found


def _simulated(told: ProteinDataConfig) -> Prepared:
    if told.focus:
        raise ConfigError("simulated sequences have numbers for names, and no --focus sequence")
    law = simulated(told.sites, told.data_seed)
    residues, of = law.sample(told.sequences, "data", told.data_seed)
    kinds = np.array([f"S{k + 1}" for k in of.tolist()], dtype=object)
    sequences = replace(Sequences.of(residues), labels={SUBFAMILY: kinds})
    return Prepared(sequences, (), told.sites, 0)


@lru_cache(maxsize=2)
def _dealt(told: ProteinDataConfig, stamp: object) -> _Dealt:
    found = _prepared(told, stamp)
    x, shares = found.sequences, (told.valid_fraction, told.test_fraction, told.data_seed)
    whole = told.split == "cluster" or (told.split == "auto" and bool(told.source))
    if whole:
        of = clusters(x.residues, told.cluster_identity)
        rows, sizes = deal(of, *shares), np.bincount(of)
        how = (
            f"by cluster: {len(sizes):,} at {told.cluster_identity:.0%} identity, the largest of "
            f"{sizes.max():,}"
        )
    else:
        rows = split.random(len(x), *shares, what="sequences")
        how = "single sequences by chance" + ("" if told.source else ", which are independent")
    train, test = (balanced(x[r], told.identity) for r in (rows.train, rows.test))
    valid = test if rows.valid is rows.test else balanced(x[rows.valid], told.identity)
    return _Dealt(Splits(train, valid, test), how)


def motif(told: ProteinDataConfig, numbering: Numbering) -> dict[int, int]:
    """Returns the residue, in numbers of `ALPHABET`, that each column of the motif should have.

    Raises:
        ConfigError: A residue is not written as H57, or its number is that of no column.
    """
    law = family(told) if not told.motif else None
    found: dict[int, int] = {}
    for text in law.motif if law else told.motif:
        match = _SITE.fullmatch(text)
        if not match or match[1] not in ALPHABET:
            raise ConfigError(f"a residue of the motif is written as H57, got {text!r}")
        number = int(match[2])
        if number not in numbering.positions:
            raise ConfigError(
                f"{text} of the motif is in no column that is kept: their numbers are "
                f"{numbering.positions[0]} to {numbering.positions[-1]}, with gaps where columns "
                "are left out"
            )
        found[numbering.positions.index(number)] = ALPHABET.index(match[1])
    return found


def summary(told: ProteinDataConfig) -> Summary:
    """Returns what became of the sequences that were read.

    Raises:
        DataError: What `load` raises.
        ConfigError: What is told cannot be meant.
    """
    found, dealt = prepared(told), _dealt(told, _stamp(told))
    x, read = found.sequences, len(found.sequences) + len(found.dropped)
    facts = {
        "data": told.source or "simulated family, of known couplings",
        "sequences": f"{len(x):,} of {read:,}",
        "columns": f"{x.sites:,} of {found.columns:,}",
    }
    if x.numbering.focus:
        facts["focus"] = f"{x.numbering.focus}, columns {ranges(x.numbering.positions)}"
    if found.unknown:
        facts["unknown residues"] = f"{found.unknown:,}, taken for gaps"
    facts |= {f"left out: {k}": v for k, v in _first_lines(found.dropped).items()}
    facts["split"] = dealt.how
    parts = {name: getattr(dealt.splits, name) for name in ("train", "valid", "test")}
    facts["splits"] = ", ".join(f"{len(s):,} {name}" for name, s in parts.items())
    if told.identity:
        facts["effective sequences"] = (
            f"{effective(told):,.0f} of {len(parts['train']):,} to train on, at "
            f"{told.identity:.0%} identity"
        )
    return Summary(facts, found.dropped)


def columns(told: ProteinDataConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the names of what is known of sequences as numbers, and of what as texts.

    Of a table that is gone, both are all that were asked for.
    """
    if not told.labels:
        return (), () if told.source else (SUBFAMILY,)
    try:
        found = prepared(told).sequences
    except DataError:
        return told.columns, told.columns
    return tuple(found.columns), tuple(found.labels)


def effective(told: ProteinDataConfig) -> float:
    """Returns the effective number of training sequences; all of them without weights."""
    return _effective(told, _stamp(told))


@lru_cache(maxsize=2)
def _effective(told: ProteinDataConfig, stamp: object) -> float:
    train = _dealt(told, stamp).splits.train
    return float(weights(train.residues, told.identity).sum()) if told.identity else len(train)


def _first_lines(dropped: Sequence[Dropped], most: int = 3) -> dict[str, str]:
    """Returns how many sequences each kind of reason left out, and the first lines."""
    kinds: dict[str, list[int]] = {}
    for row in dropped:
        kinds.setdefault(row.kind, []).append(row.line)
    return {
        kind: f"{len(lines):,} (line{'s' * (len(lines) > 1)} "
        f"{', '.join(map(str, lines[:most]))}{' ...' * (len(lines) > most)})"
        for kind, lines in kinds.items()
    }


def write_dropped(told: ProteinDataConfig, path: Path) -> None:
    """Writes a table of the sequences that are left out: line, name, reason.

    Raises:
        DataError: What `load` raises, or the file cannot be written.
        ConfigError: What is told cannot be meant.
    """
    found = prepared(told)
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["line", "name", "reason"])
            table.writerows(found.dropped)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror})") from error
