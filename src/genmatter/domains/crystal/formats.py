"""Crystals on disk, in the formats of the field."""

__all__ = ["SUFFIXES", "read", "write"]

import gzip
from collections.abc import Callable
from pathlib import Path

from genmatter.domains.crystal import preparing, writing
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.rows import read_rows
from genmatter.errors import DataError
from genmatter.loading.parallel import processors, spread

SUFFIXES: dict[str, Callable[[Crystals], bytes]] = {
    ".zip": writing.zip_file,
    ".cif": writing.cif_file,
    ".extxyz": writing.extxyz_file,
    ".csv": writing.csv_file,
    ".parquet": writing.parquet_file,
}
"""Files that hold any number of crystals, and what writes them."""
_SINGLE = (".vasp", ".poscar")
_POSCARS = (".vasp.zip", ".poscar.zip")
FEW = 500
"""Records that take less time than starting processes does."""


def read(path: Path, cif_column: str = "cif") -> Crystals:
    """Reads anybody's crystals as reduced primitive cells, and leaves none out.

    What is no crystal (a CIF that breaks off, a site that is taken by half) becomes one atom of
    no element, so that whoever counts failures can count it.

    Args:
        path: A file, a folder, or a zip, as `rows.read_rows` takes them.
        cif_column: Which column of a table holds CIFs.

    Raises:
        DataError: There is nothing there, or it is damaged or of an unknown kind.
    """
    rows = read_rows(path, cif_column)
    things = list(zip(rows.notations, rows.texts, strict=True))
    many = processors() if len(things) >= FEW else 1
    found = list(spread(preparing.as_written, {}, things, "read", many, 200))
    return Crystals.of(
        [f[0] for f in found], [f[1] for f in found], [f[2] for f in found], rows.columns,
        rows.names, [f[3] for f in found],
    )  # fmt: skip


def write(x: Crystals, path: Path) -> None:
    """Writes crystals in the format of the file's suffix; a folder of CIFs where it has none.

    A `.zip` holds a CIF for each, a `.vasp.zip` a POSCAR; a `.cif` a data block for each. A
    `.vasp` file holds a single crystal.

    Raises:
        DataError: The suffix is none of these, or the file cannot be written.
    """
    try:
        if not path.suffix:
            _write_folder(x, path)
        else:
            found = _content(x, path)
            compressed = path.suffix.lower() == ".gz"
            path.write_bytes(gzip.compress(found, mtime=0) if compressed else found)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror})") from error


def _content(x: Crystals, path: Path) -> bytes:
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(_POSCARS):
        return writing.zip_file(x, writing.poscars, ".vasp")
    kind = Path(name).suffix
    if kind in _SINGLE:
        if len(x) != 1:
            raise DataError(
                f"{path}: a POSCAR holds one crystal, and these are {len(x)}: name a .vasp.zip"
            )
        return writing.poscars(x)[0].encode()
    if kind not in SUFFIXES:
        known = " ".join((*SUFFIXES, *_SINGLE, _POSCARS[0]))
        raise DataError(f"{path} is none of the known kinds of file: {known} (.gz), or a folder")
    return SUFFIXES[kind](x)


def _write_folder(x: Crystals, path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    width = len(str(len(x)))
    for k, (name, text) in enumerate(zip(writing.stems(x), writing.cifs(x), strict=True), 1):
        number = "" if name.startswith(f"{k:0{width}}") else f"{k:0{width}}-"
        (path / f"{number}{name}.cif").write_text(text)
