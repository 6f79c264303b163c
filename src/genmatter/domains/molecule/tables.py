"""Tables of molecules: CSV, TSV, Parquet."""

__all__ = ["parquet", "separated"]

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from genmatter.domains.molecule.rows import Rows, lines, missing, number
from genmatter.errors import DataError


def separated(
    raw: bytes, path: Path, smiles_column: str, columns: Sequence[str], delimiter: str = ""
) -> Rows:
    """Reads a table whose first line names its columns, separated by a comma, `;` or a tab.

    Raises:
        DataError: A column is not there, or a line has other cells than the first.
    """
    text = lines(raw, path)
    between = delimiter or max(",;\t", key=text[0].count)
    cells = _cells(text, path, between)
    head = [name.strip() for name in next(cells)[1]]
    wanted = [_place(path, head, name) for name in (smiles_column, *columns)]
    texts, numbers, values = [], [], []
    for line, row in cells:
        if not row and len(head) > 1:  # an empty line; in a single column it is an empty cell
            continue
        row = row or [""]
        if len(row) != len(head):
            raise DataError(
                f"{path}: line {line} has {len(row)} cells, but the first line has {len(head)}"
            )
        texts.append(row[wanted[0]])
        numbers.append(line)
        for name, k in zip(columns, wanted[1:], strict=True):
            values.append(number(row[k], f"{path}: line {line}, {name}"))
    table = np.array(values, dtype=float).reshape(len(texts), len(columns))
    return Rows(
        texts, np.array(numbers, dtype=int), dict(zip(columns, table.T.copy(), strict=True))
    )


def _cells(text: list[str], path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the line at which each row begins, and its cells."""
    reader = csv.reader((line + "\n" for line in text), delimiter=delimiter, strict=True)
    begin = 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}: line {begin} cannot be read ({error})") from None
        if row is None:
            return
        yield begin, row
        begin = reader.line_num + 1


def _place(path: Path, head: list[str], name: str) -> int:
    """Returns which column has a name; capitals do not matter where that leaves no doubt."""
    same = [k for k, found in enumerate(head) if found == name]
    like = same or [k for k, found in enumerate(head) if found.lower() == name.lower()]
    if len(like) > 1:
        raise DataError(f"{path} has {len(like)} columns {name!r}")
    if not like:
        raise missing(path, name, head)
    return like[0]


def parquet(raw: bytes, path: Path, smiles_column: str, columns: Sequence[str]) -> Rows:
    """Reads a Parquet file.

    Raises:
        DataError: It is damaged, or a column is not there or of another kind.
    """
    from pyarrow import ArrowException, BufferReader
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(BufferReader(raw))
        head = file.schema_arrow.names
        wanted = [head[_place(path, head, name)] for name in (smiles_column, *columns)]
        table = file.read(columns=wanted)
    except (ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read ({first}): it is damaged, or no Parquet") from None
    texts = table[wanted[0]].to_pylist()
    wrong = next((t for t in texts if not isinstance(t, str | None)), None)
    if wrong is not None:
        raise DataError(f"{path}: the column {smiles_column!r} holds {wrong!r}, which is no text")
    found = {
        name: np.array(
            [
                number(value, f"{path}: record {k}, {name}")
                for k, value in enumerate(table[place].to_pylist(), 1)
            ]
        )
        for name, place in zip(columns, wanted[1:], strict=True)
    }
    numbers = np.arange(1, len(texts) + 1)
    return Rows([t or "" for t in texts], numbers, found, unit="record")
