"""Molecules on disk, in the formats of the field."""

__all__ = ["SUFFIXES", "read", "read_molecules", "write"]

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import selfies
import torch
from rdkit import Chem

from genmatter.domains.molecule import records, tables, writing
from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.rows import MissingColumnError, Rows, content
from genmatter.domains.molecule.smiles import canonical, decoded, no_log
from genmatter.errors import DataError

Writer = Callable[[Molecules], bytes]

SUFFIXES: dict[str, Writer] = {
    ".csv": writing.csv_file,
    ".smi": writing.smi_file,
    ".sdf": writing.sdf_file,
    ".selfies": writing.selfies_file,
    ".json": writing.json_file,
    ".tsv": writing.tsv_file,
    ".parquet": writing.parquet_file,
}
"""The files that can be read and written, and what writes them; `.gz` may follow."""


def read(path: Path, smiles_column: str = "smiles", columns: Sequence[str] = ()) -> Rows:
    """Reads what a file says of molecules, and looks at no molecule.

    A table has a column of SMILES. An SMI file has one in each line, a SELFIES file a SELFIES; the
    data fields of an SDF file and the keys of a JSON data set are its columns. Compression by gzip
    is found by the content.

    Args:
        path: A file with one of the `SUFFIXES`.
        smiles_column: Which column of a table holds SMILES.
        columns: Columns of numbers to keep; empty cells are NaN.

    Raises:
        DataError: There is no such file, it is damaged, in another encoding or of another kind, a
            column is not there, or what should be a number is none.
    """
    kind, raw = _kind(path), content(path)
    if kind in (".csv", ".tsv"):
        found = tables.separated(raw, path, smiles_column, columns, "\t" if kind == ".tsv" else "")
    elif kind == ".parquet":
        found = tables.parquet(raw, path, smiles_column, columns)
    else:
        reader = {
            ".smi": records.smi,
            ".sdf": records.sdf,
            ".selfies": records.selfies_lines,
            ".json": records.tokenised,
        }[kind]
        found = reader(raw, path, columns)
    if not len(found):
        raise DataError(f"{path} holds no molecule")
    return found


def read_molecules(
    path: Path,
    smiles_column: str = "smiles",
    columns: Sequence[str] = (),
    *,
    lacking: bool = False,
) -> Molecules:
    """Reads anybody's molecules as they are: a row that is none becomes "", and none is left out.

    Args:
        path: The file.
        smiles_column: Which column of a table holds SMILES.
        columns: Columns of numbers.
        lacking: Whether the file may lack these columns, as samples do.

    Raises:
        DataError: What `read` raises.
    """
    try:
        rows = read(path, smiles_column, columns)
    except MissingColumnError as error:
        if not lacking or error.column == smiles_column:
            raise
        rows = read(path, smiles_column, [name for name in columns if name in error.there])
    with no_log():
        smiles = [_canonical(text, rows.notation) for text in rows.texts]
    numbers = {name: torch.from_numpy(values) for name, values in rows.columns.items()}
    return Molecules(np.array(smiles, dtype=object), numbers)


def _canonical(text: str, notation: str) -> str:
    if notation == "mol":
        mol = Chem.MolFromMolBlock(text)
        return canonical(Chem.MolToSmiles(mol)) if mol is not None else ""
    if notation == "selfies":
        try:
            text = decoded(text)
        except selfies.DecoderError:
            return ""
    return canonical(text.strip())


def write(molecules: Molecules, path: Path) -> None:
    """Writes molecules in the format of the file's suffix; what is no molecule keeps its place.

    Raises:
        DataError: The suffix is none of the `SUFFIXES`, a molecule cannot be written so, or the
            file cannot be written.
    """
    writer = SUFFIXES[_kind(path)]
    with no_log():
        found = writer(molecules)
    try:
        # without the time, which would make equal files differ
        path.write_bytes(gzip.compress(found, mtime=0) if _compressed(path) else found)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror})") from error


def _compressed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _kind(path: Path) -> str:
    kind = (path.with_suffix("") if _compressed(path) else path).suffix.lower()
    if kind not in SUFFIXES:
        raise DataError(f"{path} is none of the known kinds of file: {' '.join(SUFFIXES)} (.gz)")
    return kind
