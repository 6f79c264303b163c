"""What files say of crystals, before anybody asks whether they are ones."""

__all__ = ["SPLITS", "Rows", "content", "read_rows", "tidy"]

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genmatter.config import closest
from genmatter.domains.crystal.cells import volume
from genmatter.errors import DataError

SPLITS = {"train": 0, "valid": 1, "val": 1, "validation": 1, "dev": 1, "test": 2}
"""What a column `split` may say."""
TABLES = (".csv", ".tsv", ".parquet")
SINGLE = {".cif": "cif", ".vasp": "poscar", ".poscar": "poscar", ".contcar": "poscar"}
MANY = (".extxyz", ".xyz")
NAMES = ("material_id", "id", "name", "mp_id", "task_id", "jid")
"""Columns that may name a crystal, the first that is there."""


@dataclass(frozen=True)
class Rows:
    """Texts that should be crystals, what they are called, and the numbers beside them."""

    notations: Sequence[str]
    """How each text is written: `cif`, `poscar`, or `cell`."""
    texts: Sequence[str]
    names: Sequence[str]
    places: Sequence[str]
    """Where each stands: a file, `line 3` of one, or `record 3`."""
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Numbers by name; NaN where nothing is said."""
    splits: np.ndarray | None = None
    """0, 1 or 2 for train, valid and test, where the file deals them out."""

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def cat(cls, sets: Sequence["Rows"]) -> "Rows":
        """Joins what several files say; a number that one of them lacks is NaN in it."""
        keys = dict.fromkeys(k for s in sets for k in s.columns)
        columns = {
            k: np.concatenate([s.columns.get(k, np.full(len(s), np.nan)) for s in sets])
            for k in keys
        }
        dealt = [s.splits for s in sets if s.splits is not None]
        return cls(
            [x for s in sets for x in s.notations],
            [x for s in sets for x in s.texts],
            [x for s in sets for x in s.names],
            [x for s in sets for x in s.places],
            columns,
            np.concatenate(dealt) if dealt and len(dealt) == len(sets) else None,
        )


Reader = Callable[[bytes, str], Rows]


def read_rows(path: Path, cif_column: str = "cif", columns: Sequence[str] = ()) -> Rows:
    """Reads a file, a folder or a zip of them, in the order of their names.

    A table has a column of CIFs, and one row for each crystal; a CIF one data block or several;
    a POSCAR one crystal, an extXYZ file one frame for each. A folder in which tables are called
    `train`, `val` and `test` is dealt out so. Compression by gzip is found by the content.

    Args:
        path: Where they are.
        cif_column: Which column of a table holds CIFs.
        columns: Columns of tables to keep; none keeps all that hold numbers.

    Raises:
        DataError: There is nothing there, it is damaged or of an unknown kind, or a column is
            not there or holds no numbers.
    """
    if path.is_dir():
        parts = [(p.relative_to(path).as_posix(), p) for p in sorted(path.rglob("*"))]
        named = [(name, p.read_bytes) for name, p in parts if p.is_file() and _kind(name)]
        return _joined(path, named, cif_column, columns)
    raw = content(path)
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(io.BytesIO(raw)):
        return _joined(path, _zipped(path, raw), cif_column, columns)
    kind = _kind(path.name)
    if not kind:
        known = " ".join((*SINGLE, *MANY, *TABLES))
        raise DataError(
            f"{path} is none of the known kinds of file: {known} (.gz), a POSCAR, a folder, a zip"
        )
    return _file(kind, raw, path.name, str(path), cif_column, columns)


def content(path: Path) -> bytes:
    """Returns the bytes of a file, decompressed where they are gzip's.

    Raises:
        DataError: There is no such file, it holds nothing, or it is damaged.
    """
    if not path.is_file():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = closest(path.name, there) if there else ""
        hint = near if near.startswith("; did you mean") else ""
        raise DataError(f"there is no file {path}{hint}")
    try:
        found = _unpacked(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): it is damaged or incomplete") from error
    if not found.strip():
        raise DataError(f"{path} is empty")
    return found


def _unpacked(raw: bytes) -> bytes:
    return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


def _kind(name: str) -> str:
    """Returns the suffix that says what a file is; "" of one that is no crystal's."""
    lower = Path(name.lower().removesuffix(".gz"))
    if lower.suffix in (*SINGLE, *MANY, *TABLES):
        return lower.suffix
    return ".poscar" if lower.name.startswith(("poscar", "contcar")) else ""


def _zipped(path: Path, raw: bytes) -> list[tuple[str, Callable[[], bytes]]]:
    try:
        file = zipfile.ZipFile(io.BytesIO(raw))
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} cannot be read ({error}): it is damaged or incomplete") from None
    names = [n for n in sorted(file.namelist()) if _kind(n) and "__MACOSX" not in n]
    return [(name, lambda name=name: file.read(name)) for name in names]


def _joined(
    path: Path, named: Sequence[tuple[str, Callable[[], bytes]]], cif_column: str,
    columns: Sequence[str],
) -> Rows:  # fmt: skip
    """Joins the files of a folder or a zip."""
    if not named:
        known = " ".join((*SINGLE, *MANY, *TABLES))
        raise DataError(f"{path} holds no file of crystals: {known}, or POSCAR")
    tables = {Path(name).name.split(".")[0].lower(): name for name, _ in named}
    dealt = {SPLITS[stem]: name for stem, name in tables.items() if stem in SPLITS}
    if {0, 2} <= dealt.keys():  # the form of the field: one table for each split
        named = [(name, read) for name, read in named if name in dealt.values()]
    found = []
    for name, read in named:
        try:
            raw = _unpacked(read())
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: {name} cannot be read ({error}): it is damaged") from None
        kept = [] if columns and Path(name).suffix.lower() in SINGLE else columns
        rows = _file(_kind(name), raw, name, f"{path}: {name}", cif_column, kept)
        if {0, 2} <= dealt.keys():
            which = next(k for k, told in dealt.items() if told == name)
            rows = Rows(
                rows.notations, rows.texts, rows.names, [f"{name} {p}" for p in rows.places],
                rows.columns, np.full(len(rows), which),
            )  # fmt: skip
        found.append(rows)
    return Rows.cat(found)


def _file(
    kind: str, raw: bytes, name: str, where: str, cif_column: str, columns: Sequence[str]
) -> Rows:
    if kind in TABLES:
        from genmatter.domains.crystal.tables import table

        return table(kind, raw, where, cif_column, columns)
    text = raw.decode("utf-8", errors="replace")
    if kind in MANY:
        return _frames(text, name, where, columns)
    stem = Path(name.removesuffix(".gz")).stem if "." in Path(name).name else name
    texts = _blocks(text) if kind == ".cif" else [text]
    names = [stem if len(texts) == 1 else _block_name(t) for t in texts]
    places = [name if len(texts) == 1 else f"{name}, block {k}" for k in range(1, len(texts) + 1)]
    return Rows([SINGLE[kind]] * len(texts), texts, names, places)


def _blocks(text: str) -> list[str]:
    """Returns the data blocks of a CIF that have atoms, each as a text; at least one."""
    parts = text.replace("\r\n", "\n").split("\ndata_")
    blocks = [parts[0], *(f"data_{part}" for part in parts[1:])]
    return [block for block in blocks if "_atom_site_" in block] or [text]


def _block_name(text: str) -> str:
    start = text.find("data_")
    return (text[start + 5 :].split(maxsplit=1) or [""])[0]


def _frames(text: str, name: str, where: str, columns: Sequence[str]) -> Rows:
    """Reads the frames of an extXYZ file; their numbers of the whole crystal are columns."""
    from ase.io.extxyz import XYZError, read_xyz

    try:
        every: Any = slice(None)
        frames = list(read_xyz(io.StringIO(text), every))
    except (XYZError, ValueError, KeyError, IndexError, StopIteration, RuntimeError) as error:
        raise DataError(f"{where} cannot be read ({error}): it is damaged, or no extXYZ") from None
    if not frames:
        raise DataError(f"{where} holds no frame")
    texts = []
    for atoms in frames:
        lattice = atoms.cell.array
        flat = not volume(lattice) > 1e-9
        x = atoms.positions if flat else np.linalg.solve(lattice.T, atoms.positions.T).T
        texts.append(json.dumps([atoms.numbers.tolist(), x.tolist(), lattice.tolist()]))
    told = [_numbers(atoms) for atoms in frames]
    keys = dict.fromkeys(k for t in told for k in t)
    for column in columns:
        if column not in keys:
            raise DataError(f"{where} has no column {column!r}{closest(column, keys)}")
    kept = columns or keys
    number = {k: np.array([t.get(k, np.nan) for t in told]) for k in kept}
    names = [str(atoms.info.get("name", "")) or f"{Path(name).stem}-{k}"
             for k, atoms in enumerate(frames, 1)]  # fmt: skip
    places = [f"{name}, frame {k}" for k in range(1, len(frames) + 1)]
    return Rows(["cell"] * len(texts), texts, names, places, number)


def _numbers(atoms: Any) -> dict[str, float]:
    told = dict(atoms.info) | (dict(atoms.calc.results) if atoms.calc else {})
    plain = {k: v for k, v in told.items() if isinstance(v, int | float | np.number)}
    return {k: float(v) for k, v in plain.items() if not isinstance(v, bool)}


def tidy(names: Iterable[Any]) -> list[str]:
    """Returns names as text; what has none is ""."""
    return ["" if name is None else str(name) for name in names]
