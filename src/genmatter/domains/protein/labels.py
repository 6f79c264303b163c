"""What a table says of sequences: numbers, and texts that sort them into kinds."""

__all__ = ["Table", "joined", "read_table"]

import csv
import gzip
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genmatter.config import closest
from genmatter.errors import DataError

_UNKNOWN = {"", "nan", "na", "n/a", "none", "null"}
Cells = Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a table by the names of their sequences."""

    path: Path
    rows: Mapping[str, int]
    """Which row each name has."""
    cells: Cells
    """Texts of each column; "" is unknown."""


def read_table(path: Path, id_column: str = "", columns: Sequence[str] = ()) -> Table:
    """Reads a table whose first line names its columns, separated by a comma, `;` or a tab.

    Args:
        path: The file.
        id_column: The column that holds names of sequences; the first one where it is empty.
        columns: Those to take; all others where there are none.

    Raises:
        DataError: There is no such file, or no such column, a row has other cells than the first
            line, or a name stands in two rows.
    """
    lines = _rows(path)
    _, head = next(lines, (0, []))
    if not head:
        raise DataError(f"{path} is empty")
    at = _place(path, head, id_column) if id_column else 0
    taken = {name: _place(path, head, name) for name in columns} or {
        name: k for k, name in enumerate(head) if k != at
    }
    rows: dict[str, int] = {}
    cells: dict[str, list[str]] = {name: [] for name in taken}
    for line, row in lines:
        if len(row) != len(head):
            raise DataError(
                f"{path}: line {line} has {len(row)} cells, but the first line has {len(head)}"
            )
        name = row[at].strip()
        if name in rows:
            raise DataError(f"{path}: line {line}: a second row of the sequence {name!r}")
        rows[name] = len(rows)
        for column, k in taken.items():
            text = row[k].strip()
            cells[column].append("" if text.lower() in _UNKNOWN else text)
    return Table(path, rows, cells)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    if not path.is_file():
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"there is no table {path}" + (closest(path.name, near) if near else ""))
    raw = path.read_bytes()
    try:
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        reader = csv.reader(lines, delimiter=max(",;\t", key=lines[0].count), strict=True)
        for row in reader:
            if row:
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error, OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read as a table ({error})") from error


def _place(path: Path, head: Sequence[str], name: str) -> int:
    if name not in head:
        raise DataError(f"{path} has no column {name!r}{closest(name, head)}")
    return head.index(name)


def joined(
    table: Table, names: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, np.ndarray], int]:
    """Returns what a table says of sequences: numbers, texts, and how many it knows.

    A name that the table lacks is looked up without what follows a slash, as in `NAME/24-286`.
    A column of which all that is known are numbers is one of numbers.

    Raises:
        DataError: The table knows none of the names.
    """
    at = [table.rows.get(n, table.rows.get(n.partition("/")[0], -1)) for n in names]
    if max(at, default=-1) < 0:
        known, first = next(iter(table.rows), "nothing"), next(iter(names), "nothing")
        raise DataError(
            f"{table.path} knows none of the {len(names)} sequences: it has names such as "
            f"{known!r}, but the alignment such as {first!r}; choose another --id_column"
        )
    numbers, texts = {}, {}
    for column, cells in table.cells.items():
        own = [cells[k] if k >= 0 else "" for k in at]
        values = [_number(text) for text in own]
        if any(own) and all(v is not None for v, text in zip(values, own, strict=True) if text):
            known = [math.nan if v is None else v for v in values]
            numbers[column] = torch.tensor(known, dtype=torch.float64)
        else:
            texts[column] = np.array(own, dtype=object)
    return numbers, texts, sum(k >= 0 for k in at)


def _number(text: str) -> float | None:
    try:
        value = float(text) if "_" not in text else math.inf
    except ValueError:
        return None
    return value if math.isfinite(value) else None
