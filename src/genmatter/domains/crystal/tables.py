"""Tables of crystals: CSV, TSV, Parquet, with a column of CIFs."""

__all__ = ["table"]

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from genmatter.config import closest
from genmatter.domains.crystal.rows import NAMES, SPLITS, Rows, tidy
from genmatter.errors import DataError


def table(kind: str, raw: bytes, where: str, cif_column: str, columns: Sequence[str] = ()) -> Rows:
    """Reads a table; rows are counted from 1.

    Args:
        kind: `.csv`, `.tsv` or `.parquet`.
        raw: What the file holds.
        where: What to call it in errors.
        cif_column: The column of CIFs.
        columns: Columns to keep; none keeps all that hold numbers.

    Raises:
        DataError: It is damaged, or a column is not there or of another kind.
    """
    found = _read(kind, raw, where)
    if cif_column not in found.column_names:
        raise DataError(
            f"{where} has no column {cif_column!r}{closest(cif_column, found.column_names)}"
        )
    texts = found[cif_column].to_pylist()
    wrong = next((t for t in texts if not isinstance(t, str | None)), None)
    if wrong is not None:
        raise DataError(f"{where}: the column {cif_column!r} holds {wrong!r}, which is no CIF")
    if not texts:
        raise DataError(f"{where} has no row")
    named = next((n for n in NAMES if n in found.column_names), None)
    names = tidy(found[named].to_pylist()) if named else [""] * len(texts)
    return Rows(
        ["cif"] * len(texts),
        [t or "" for t in texts],
        names,
        [f"row {k}" for k in range(1, len(texts) + 1)],
        _numbers(found, columns or _numeric(found, named), where),
        _dealt(found, where),
    )


def _read(kind: str, raw: bytes, where: str) -> pa.Table:
    from pyarrow import csv, parquet

    try:
        if kind == ".parquet":
            return parquet.read_table(pa.BufferReader(raw))
        return csv.read_csv(
            pa.BufferReader(raw),
            read_options=csv.ReadOptions(block_size=max(len(raw), 1)),
            parse_options=csv.ParseOptions(
                delimiter="\t" if kind == ".tsv" else ",", newlines_in_values=True
            ),
        )
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0][:200]
        raise DataError(f"{where} cannot be read ({first}): it is damaged, or no table") from None


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_)


def _numeric(found: pa.Table, named: str | None) -> list[str]:
    """Returns the columns that hold numbers, but for one that counts rows or names them."""
    return [
        f.name
        for f in found.schema
        if _is_number(f.type) and f.name not in (named, "", "split") and "Unnamed" not in f.name
    ]


def _numbers(found: pa.Table, names: Sequence[str], where: str) -> dict[str, np.ndarray]:
    columns = {}
    for name in names:
        if name not in found.column_names:
            raise DataError(f"{where} has no column {name!r}{closest(name, found.column_names)}")
        column = found[name]
        if not _is_number(column.type):
            odd = next((v for v in column.to_pylist() if v is not None), None)
            raise DataError(f"{where}: the column {name!r} holds {odd!r:.60}, which is no number")
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(float)
        if np.isinf(values).any():
            row = int(np.isinf(values).argmax()) + 1
            raise DataError(f"{where}: row {row}, {name} is infinite")
        columns[name] = values
    return columns


def _dealt(found: pa.Table, where: str) -> np.ndarray | None:
    if "split" not in found.column_names:
        return None
    told = [str(v).strip().lower() for v in found["split"].to_pylist()]
    odd = next((k for k, v in enumerate(told) if v not in SPLITS), None)
    if odd is not None:
        raise DataError(
            f"{where}: row {odd + 1}, the column `split` holds {told[odd]!r}; it may say "
            "train, val or test"
        )
    return np.array([SPLITS[v] for v in told])
