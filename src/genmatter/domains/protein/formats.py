"""Sequences on disk: FASTA, A2M and CSV; read as well: A3M and Stockholm.

What is known of a sequence follows its name, as in `>s1 elbo=-101.2 subfamily=S3`. Columns that
have other numbers than 1, 2, 3 are told as `columns=29-52,54-286`. Of CSV the columns are `name`,
`sequence` and what is known. So what is written is read as it was.
"""

__all__ = ["SUFFIXES", "ranges", "read", "write"]

import csv
import gzip
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import torch
from torch import Tensor

from genmatter.domains.protein import alignments
from genmatter.domains.protein.alignments import UNKNOWN, Alignment
from genmatter.domains.protein.labels import read_table
from genmatter.domains.protein.prepare import find, numbered
from genmatter.domains.protein.sequences import Numbering, Sequences, letters
from genmatter.errors import DataError

_TOLD = re.compile(r"(?<!\S)([\w.%-]+)=(\S*)")
_COLUMNS, _WEIGHT = "columns", "weight"


def ranges(numbers: Sequence[int]) -> str:
    """Writes increasing numbers as ranges, such as 29-52,54-286."""
    edges = np.flatnonzero(np.diff(numbers) != 1).tolist()
    starts = [numbers[0], *(numbers[k + 1] for k in edges)]
    ends = [*(numbers[k] for k in edges), numbers[-1]]
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in zip(starts, ends, strict=True))


def _numbers(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def read(
    path: Path, columns: Sequence[str] = (), labels: Sequence[str] = (), focus: str = ""
) -> Sequences:
    """Reads anybody's aligned sequences as they are: no column and no sequence is left out.

    Args:
        path: The file, of any kind that is known.
        columns: Numbers of sequences to take, if the file says them.
        labels: Texts of sequences to take, if the file says them.
        focus: A sequence by which columns are counted, if the file has it: then only columns
            where it has a residue are read.

    Raises:
        DataError: The file cannot be read, or its sequences are not aligned.
    """
    if _kind(path) == ".csv":
        return _read_csv(path, columns, labels)
    found = alignments.read(path)
    x = np.where(found.residues == UNKNOWN, 0, found.residues)
    names = [r.name for r in found.records]
    told = [dict(_TOLD.findall(r.about)) for r in found.records]
    numbering, where = _numbering(found, told[0], names, focus, path)
    sequences = Sequences(torch.from_numpy(x[:, where]), numbering, np.array(names, dtype=object))
    cell = lambda t, k: unquote(t.get(quote(k, safe=""), ""))
    cells = {k: [cell(t, k) for t in told] for k in (_WEIGHT, *columns, *labels)}
    return _known(sequences, cells, columns, labels)


def _numbering(
    found: Alignment, told: Mapping[str, str], names: Sequence[str], focus: str, path: Path
) -> tuple[Numbering, np.ndarray]:
    """Returns how columns are counted, and which they are."""
    width = found.residues.shape[1]
    every = np.arange(width)
    try:
        positions = _numbers(told.get(_COLUMNS, ""))
    except ValueError:
        positions = ()
    if len(positions) == width:
        return Numbering(positions), every
    if focus and any(focus in (n, n.partition("/")[0]) for n in names):
        row = find(focus, names, path)
        some = np.flatnonzero(found.whole(row)[1] >= 0)
        return numbered(found, row, some, path), some
    return Numbering.plain(width), every


def _known(
    sequences: Sequences, cells: Mapping[str, list[str]], columns: Sequence[str],
    labels: Sequence[str],
) -> Sequences:  # fmt: skip
    """Adds what is known of sequences; what a file says nothing of is left out."""
    numbers = {k: _floats(cells[k]) for k in (_WEIGHT, *columns) if any(cells.get(k, ()))}
    weight = numbers.pop(_WEIGHT, None)
    texts = {k: np.array(cells[k], dtype=object) for k in labels if any(cells.get(k, ()))}
    whole = weight is not None and bool(weight.isfinite().all())
    return replace(sequences, weights=weight if whole else None, columns=numbers, labels=texts)


def _floats(texts: Sequence[str]) -> Tensor:
    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return float("nan")

    return torch.tensor([number(t) for t in texts], dtype=torch.float64)


def _read_csv(path: Path, columns: Sequence[str], labels: Sequence[str]) -> Sequences:
    table = read_table(path, "name")
    if "sequence" not in table.cells:
        raise DataError(f"{path} has no column 'sequence'; there are {', '.join(table.cells)}")
    rows = [letters(text) for text in table.cells["sequence"]]
    for name, row in zip(table.rows, rows, strict=True):
        if len(row) != len(rows[0]) or (row < 0).any():
            raise DataError(
                f"{path}: {name!r} is no sequence of {len(rows[0])} residues and gaps (-)"
            )
    if not rows:
        raise DataError(f"{path} holds no sequence")
    at = _numbers(next(iter(table.cells.get(_COLUMNS, ())), "") or f"1-{len(rows[0])}")
    sequences = Sequences(torch.stack(rows), Numbering(at), np.array([*table.rows], dtype=object))
    return _known(sequences, {k: [*v] for k, v in table.cells.items()}, columns, labels)


def _told(sequences: Sequences) -> dict[str, list[str]]:
    """Returns what is known of sequences as texts; "" where nothing is."""
    w = sequences.weights
    numbers = {} if w is None or bool((w == 1).all()) else {_WEIGHT: w}
    numbers |= sequences.columns
    digits = lambda v: "" if v != v else repr(v)
    found = {k: [digits(v) for v in values.tolist()] for k, values in numbers.items()}
    found |= {k: [str(t) for t in texts] for k, texts in sequences.labels.items()}
    if sequences.numbering.positions != Numbering.plain(sequences.sites).positions:
        found[_COLUMNS] = [ranges(sequences.numbering.positions)] * len(sequences)
    return found


def fasta_file(sequences: Sequences) -> str:
    """Returns a record for each sequence, in one line, with what is known behind its name."""
    told = _told(sequences)
    said = lambda k, v: f" {quote(k, safe='')}={quote(v, safe=',:+/')}" if v else ""
    heads = [
        name + "".join(said(k, v[i]) for k, v in told.items())
        for i, name in enumerate(sequences.names)
    ]
    return "".join(f">{h}\n{t}\n" for h, t in zip(heads, sequences.texts, strict=True))


def csv_file(sequences: Sequences) -> str:
    """Returns a table of names, sequences and what is known."""
    told, text = _told(sequences), io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "sequence", *told])
    table.writerows(zip(sequences.names, sequences.texts, *told.values(), strict=True))
    return text.getvalue()


SUFFIXES: dict[str, Callable[[Sequences], str]] = {
    ".fasta": fasta_file,
    ".a2m": fasta_file,
    ".csv": csv_file,
}
"""The files that are written, and what writes them; `.gz` may follow."""


def write(sequences: Sequences, path: Path) -> None:
    """Writes sequences in the format of the file's suffix.

    Raises:
        DataError: The suffix is none of the `SUFFIXES`, or the file cannot be written.
    """
    if _kind(path) not in SUFFIXES:
        raise DataError(
            f"{path} is none of the kinds that are written: {' '.join(SUFFIXES)} (.gz)"
        )
    found = SUFFIXES[_kind(path)](sequences).encode()
    try:
        # without the time, which would make equal files differ
        packed = path.suffix.lower() == ".gz"
        path.write_bytes(gzip.compress(found, mtime=0) if packed else found)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror})") from error


def _kind(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
