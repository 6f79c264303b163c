"""From a file's alignment to the sequences and columns that are learned from."""

__all__ = ["Dropped", "Prepared", "find", "numbered", "prepare"]

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from genmatter.config import closest
from genmatter.domains.protein.alignments import UNKNOWN, Alignment, Record
from genmatter.domains.protein.config import ProteinDataConfig
from genmatter.domains.protein.sequences import ALPHABET, Numbering, Sequences
from genmatter.errors import ConfigError, DataError

_RANGE = re.compile(r"/(\d+)-(\d+)$")
Mask = NDArray[np.bool_]


class Dropped(NamedTuple):
    """A sequence that is left out."""

    line: int
    name: str
    reason: str

    @property
    def kind(self) -> str:
        """The reason without what is so of this sequence only."""
        return self.reason.partition(": ")[0]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Sequences in the columns that are kept, each once, in the order of their file."""

    sequences: Sequences
    dropped: Sequence[Dropped]
    columns: int
    """How many columns the file has."""
    unknown: int
    """Residues that nobody knows, in what is kept, which stand as gaps."""
    focus: int = -1
    """The row of the focus sequence; -1 where there is none."""


def prepare(alignment: Alignment, told: ProteinDataConfig, path: Path) -> Prepared:
    """Chooses columns and sequences, and says of each sequence that is left out why.

    First columns are chosen: those where the focus sequence has a residue, or those that are not
    mostly gaps; then sequences that have no more gaps there than is allowed; then columns that
    have no more gaps in these. Of equal sequences the first stays. The focus sequence always
    stays.

    Raises:
        DataError: There is no such focus sequence, or nothing is left.
        ConfigError: A share is none.
    """
    _check(told)
    x, records = alignment.residues, alignment.records
    row = find(told.focus, [r.name for r in records], path) if told.focus else -1
    gaps = (x == 0) | (x == UNKNOWN)
    start = _few(gaps, told.column_gaps) if row < 0 else x[row] != 0
    if not start.any():
        raise DataError(
            f"{path}: each of {x.shape[1]} columns has more than {told.column_gaps:.0%} gaps: "
            "raise --column_gaps, or choose a --focus sequence"
        )
    reasons = _reasons(x[:, start], gaps[:, start], records, told, row)
    kept = np.array([not r for r in reasons])
    columns = start.copy()
    columns[start] = _few(gaps[kept][:, start], told.column_gaps)
    reasons = _repeated(x[:, columns], records, reasons, row)
    kept = np.array([not r for r in reasons])
    if not kept.any() or not columns.any():
        told_of = ", ".join(f"{k}: {n}" for k, n in Counter(_kind(r) for r in reasons).items())
        raise DataError(f"{path}: no sequence or no column is left ({told_of})")
    numbering = numbered(alignment, row, np.flatnonzero(columns), path)
    found = x[kept][:, columns]
    sequences = Sequences(
        torch.from_numpy(np.where(found == UNKNOWN, 0, found).astype(np.int8)),
        numbering,
        _distinct([r.name for r, k in zip(records, kept, strict=True) if k]),
    )
    out = [Dropped(r.line, r.name, why) for r, why in zip(records, reasons, strict=True) if why]
    focus = int(kept[:row].sum()) if row >= 0 else -1
    return Prepared(sequences, out, x.shape[1], int((found == UNKNOWN).sum()), focus)


def _check(told: ProteinDataConfig) -> None:
    for name in ("column_gaps", "sequence_gaps"):
        if not 0 <= getattr(told, name) <= 1:
            raise ConfigError(f"{name} is a share from 0 to 1, got {getattr(told, name):g}")
    if not 0 <= told.identity < 1 or not 0 < told.cluster_identity < 1:
        raise ConfigError(
            "shares of equal residues are between 0 and 1, got "
            f"identity={told.identity:g} and cluster_identity={told.cluster_identity:g}"
        )


def _few(gaps: Mask, share: float) -> Mask:
    """Returns which columns have no larger share of gaps; one of gaps only is none."""
    found = gaps.mean(0) if len(gaps) else np.ones(gaps.shape[1])
    return (found <= share) & (found < 1)


def _reasons(
    x: NDArray[np.int8], gaps: Mask, records: Sequence[Record], told: ProteinDataConfig, focus: int
) -> list[str]:
    share = gaps.mean(1)
    unknown = (x == UNKNOWN).sum(1)
    found = [""] * len(x)
    for k in range(len(x)):
        if k == focus:
            continue
        if told.ambiguous == "drop" and unknown[k]:
            found[k] = f"residues that nobody knows: {unknown[k]}"
        elif share[k] > told.sequence_gaps or share[k] == 1:
            found[k] = f"gaps in more than {told.sequence_gaps:.0%} of the columns: {share[k]:.0%}"
    return found


def _repeated(
    x: NDArray[np.int8], records: Sequence[Record], reasons: list[str], focus: int
) -> list[str]:
    """Adds those that are equal to an earlier one, or to the focus sequence."""
    first: dict[bytes, int] = {} if focus < 0 else {x[focus].tobytes(): focus}
    found = list(reasons)
    for k, row in enumerate(x):
        if not found[k] and first.setdefault(row.tobytes(), k) != k:
            found[k] = f"repeated: same as {records[first[row.tobytes()]].name}"
    return found


def _kind(reason: str) -> str:
    return reason.partition(": ")[0] or "kept"


def find(name: str, names: Sequence[str], path: Path) -> int:
    """Returns which sequence has a name, whole or before a slash.

    Raises:
        DataError: There is none, or more than one.
    """
    same = [k for k, n in enumerate(names) if n == name]
    same = same or [k for k, n in enumerate(names) if n.partition("/")[0] == name]
    if not same:
        shown = closest(name, names) if len(names) < 20_000 else ""
        near = shown if shown.startswith("; did you") else f"; the first one is {names[0]!r}"
        raise DataError(f"{path} has no sequence {name!r}{near}")
    if len(same) > 1:
        raise DataError(
            f"{path} has {len(same)} sequences {name!r}: {', '.join(names[k] for k in same[:3])}"
        )
    return same[0]


def numbered(alignment: Alignment, focus: int, columns: NDArray[np.intp], path: Path) -> Numbering:
    """Returns how columns are counted: by the focus sequence's residues, or from 1 in the file.

    A name that ends as in `BLAT_ECOLX/24-286` says which number the first residue has.

    Raises:
        DataError: A name says of another number of residues than there are.
    """
    if focus < 0:
        return Numbering(tuple((columns + 1).tolist()))
    name = alignment.records[focus].name
    whole, at = alignment.whole(focus)
    first, found = 1, _RANGE.search(name)
    if found:
        first, last = int(found[1]), int(found[2])
        if last - first + 1 != len(whole):
            raise DataError(
                f"{path}: the name {name!r} says of {last - first + 1} residues, but the sequence "
                f"has {len(whole)}: rename it, so that columns are numbered right"
            )
    text = "".join(ALPHABET[k] if k < UNKNOWN else "X" for k in whole.tolist())
    return Numbering(tuple((at[columns] + first).tolist()), name, text, first)


def _distinct(names: Sequence[str]) -> NDArray[np.object_]:
    """Returns names of which those that stand there before are numbered: A, A#2, A#3."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name}#{seen[name]}" if seen[name] > 1 else name)
    return np.array(found, dtype=object)
