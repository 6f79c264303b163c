"""Alignments as their files have them: FASTA, A2M, A3M, Stockholm, with gzip or without.

A2M and A3M write what is inserted between columns in small letters, and A2M fills up with dots.
Places that hold nothing but small letters and dots are no columns. If small and capital letters
share a place, small letters are taken away, if that makes columns and no dots tell otherwise;
else small letters are residues as any, and dots are gaps.

Selenocysteine (U) is read as cysteine and pyrrolysine (O) as lysine; X, B, Z and J are residues
that nobody knows; a stop (*) is a gap.

References:
    | The formats: HMMER user's guide, and Pfam's Stockholm 1.0
    | http://eddylab.org/software/hmmer/Userguide.pdf
"""

__all__ = ["UNKNOWN", "Alignment", "Record", "read", "residues"]

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from genmatter.config import closest
from genmatter.domains.protein.sequences import ALPHABET
from genmatter.errors import DataError

UNKNOWN = 21
"""The number of a residue that nobody knows; those of `ALPHABET` lie below."""
_SMALL, _DOT, _BAD = 32, 64, 127
_ADVICE = (
    "align them first, as `mafft --auto in.fasta > out.fasta` does, or search a database with "
    "jackhmmer or hhblits, which align what they find"
)
_OTHERS = {
    "CLUSTAL": "Clustal",
    "LOCUS": "GenBank",
    "ID ": "EMBL or Swiss-Prot",
    "#NEXUS": "Nexus",
}


def _table() -> NDArray[np.int8]:
    found = np.full(256, _BAD, np.int8)
    pairs = [(one, k) for k, one in enumerate(ALPHABET)] + [
        ("U", ALPHABET.index("C")),
        ("O", ALPHABET.index("K")),
    ]
    for one, code in [*pairs, *((one, UNKNOWN) for one in "XBZJ")]:
        found[ord(one)] = code
        if one.isalpha():
            found[ord(one.lower())] = code + _SMALL
    for one in "~_*":
        found[ord(one)] = 0
    found[ord(".")] = _DOT
    return found


_CODES = _table()


class Record(NamedTuple):
    """A sequence as it stands in a file."""

    name: str
    line: int
    """Where it begins, counted from 1."""
    about: str
    """What follows its name."""
    codes: NDArray[np.int8]
    """Its characters by number: small letters are `_SMALL` more."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """The sequences of a file in its columns."""

    residues: NDArray[np.int8]
    """[n, columns], numbers of `ALPHABET`, or `UNKNOWN`."""
    records: list[Record]
    inserts: bool
    """Whether small letters were taken for insertions."""

    def whole(self, row: int) -> tuple[NDArray[np.int8], NDArray[np.intp]]:
        """Returns all residues of a sequence, and which of them stands in each column.

        It is -1 in a column where there is a gap.
        """
        codes = self.records[row].codes
        column = ((codes < _SMALL) & (codes >= 0)) if self.inserts else np.ones(len(codes), bool)
        some = residues(codes)
        counted = np.where(some > 0, np.cumsum(some > 0) - 1, -1)
        return some[some > 0], counted[column]


def residues(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Returns characters as residues, capital or small; a dot is a gap."""
    return np.where(codes == _DOT, 0, np.where(codes >= _SMALL, codes - _SMALL, codes)).astype(
        np.int8
    )


def read(path: Path) -> Alignment:
    """Reads an alignment, line by line.

    Raises:
        DataError: There is no such file, it is damaged, empty, of another kind, of DNA, or its
            sequences are not aligned.
    """
    try:
        records = list(_records(path))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): it is damaged or incomplete") from error
    if not records:
        raise DataError(f"{path} holds no sequence")
    _refuse_dna(path, records)
    return _aligned(path, records)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that are not empty, with their numbers."""
    if not path.is_file():
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"there is no file {path}" + (closest(path.name, near) if near else ""))
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line := line.strip().removeprefix(b"\xef\xbb\xbf"):
                yield number, line


def _records(path: Path) -> Iterator[Record]:
    lines = _lines(path)
    number, first = next(lines, (0, b""))
    if not number:
        raise DataError(f"{path} is empty")
    if first.startswith(b">"):
        return _fasta(path, number, first, lines)
    if first.upper().startswith(b"# STOCKHOLM"):
        return _stockholm(path, lines)
    start = _text(first)
    kind = next((k for mark, k in _OTHERS.items() if start.upper().startswith(mark)), "")
    what = f"in {kind} format" if kind else f"no alignment that is known: it begins {start[:40]!r}"
    raise DataError(f"{path} is {what}; convert it to FASTA, A2M, A3M or Stockholm")


def _fasta(
    path: Path, number: int, head: bytes, lines: Iterable[tuple[int, bytes]]
) -> Iterator[Record]:
    parts: list[NDArray[np.int8]] = []
    for at, line in lines:
        if line.startswith(b">"):
            yield _record(path, number, head, parts)
            number, head, parts = at, line, []
        elif not line.startswith(b";"):  # a comment of the oldest files
            parts.append(_numbers(path, at, line))
    yield _record(path, number, head, parts)


def _record(path: Path, number: int, head: bytes, parts: list[NDArray[np.int8]]) -> Record:
    name, _, about = _text(head[1:]).strip().partition(" ")
    if not name:
        raise DataError(f"{path}: line {number}: a sequence has no name")
    if not parts:
        raise DataError(f"{path}: line {number}: {name!r} has no residues")
    return Record(name, number, about.strip(), np.concatenate(parts))


def _stockholm(path: Path, lines: Iterable[tuple[int, bytes]]) -> Iterator[Record]:
    """Yields sequences, which may be written in blocks, of the first alignment."""
    found: dict[str, tuple[int, list[NDArray[np.int8]]]] = {}
    ended = False
    for number, line in lines:
        if ended:
            raise DataError(
                f"{path}: line {number}: another alignment begins; keep each in a file of its own"
            )
        ended = line == b"//"
        if ended or line.startswith(b"#"):
            continue
        words = line.split()
        if len(words) != 2:
            raise DataError(
                f"{path}: line {number} is no name and its residues: {_text(line)[:40]!r}"
            )
        _, parts = found.setdefault(_text(words[0]), (number, []))
        parts.append(_numbers(path, number, words[1]))
    if not ended:
        raise DataError(f"{path} breaks off: no // ends it")
    for name, (number, parts) in found.items():
        yield Record(name, number, "", np.concatenate(parts))


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _numbers(path: Path, number: int, line: bytes) -> NDArray[np.int8]:
    line = b"".join(line.split())
    codes = _CODES[np.frombuffer(line, np.uint8)]
    bad = np.flatnonzero(codes == _BAD)
    if len(bad):
        one = _text(line[bad[0] : bad[0] + 1])
        raise DataError(f"{path}: line {number}: {one!r} is no residue: {_text(line)[:40]!r}")
    return codes


def _refuse_dna(path: Path, records: list[Record]) -> None:
    """Refuses what consists of the letters of nucleotides."""
    some = np.concatenate([residues(r.codes) for r in records[:1000]])
    counts = np.bincount(some[some > 0], minlength=UNKNOWN + 1)
    bases = counts[[int(_CODES[ord(one)]) for one in "ACGTN"]].sum()
    if counts.sum() >= 20 and bases > 0.95 * counts.sum():
        raise DataError(
            f"{path} is DNA or RNA: its letters are those of bases; this domain takes proteins: "
            "translate the sequences, then align them"
        )


def _aligned(path: Path, records: list[Record]) -> Alignment:
    rows = [r.codes for r in records]
    even = len({len(row) for row in rows}) == 1
    if even:
        raw = np.stack(rows)
        inserted = raw >= _SMALL
        apart = inserted.all(0)
        if (inserted.any(0) == apart).all() and not apart.all():
            return Alignment(raw[:, ~apart], records, bool(apart.any()))
    kept = [row[row < _SMALL] for row in rows]
    dots = any((row == _DOT).any() for row in rows)
    if len(kept[0]) and len({len(row) for row in kept}) == 1 and not (even and dots):
        return Alignment(np.stack(kept), records, inserts=True)
    if even:
        return Alignment(residues(np.stack(rows)), records, inserts=False)
    shown = kept if len({len(row) for row in kept}) > 1 else rows
    odd = next(k for k, row in enumerate(shown) if len(row) != len(shown[0]))
    raise DataError(
        f"{path}: line {records[odd].line}: {records[odd].name!r} has {len(shown[odd])} columns, "
        f"but {records[0].name!r} has {len(shown[0])}: the sequences are not aligned; {_ADVICE}"
    )
