"""Crystals as texts and as the bytes of a file of each kind.

Lengths have 10 decimals, and what is no number is written as CIF does, `?`, or as `nan`, so that
a set of samples keeps its length.
"""

__all__ = [
    "cif_file",
    "cifs",
    "csv_file",
    "extxyz_file",
    "parquet_file",
    "poscars",
    "stems",
    "zip_file",
]

import csv
import io
import math
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.elements import SYMBOLS

Texts = Callable[[Crystals], list[str]]
_PARAMETERS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
_SITES = ("type_symbol", "label", "fract_x", "fract_y", "fract_z", "occupancy")


def stems(x: Crystals) -> list[str]:
    """Returns a name for the file of each: its own, or its number and formula; all different."""
    width, found, taken = len(str(len(x))), [], set()
    for k, (label, formula) in enumerate(zip(x.labels, x.formulas, strict=True), 1):
        own = re.sub(r"[^\w.+-]+", "_", str(label)).strip("._")
        stem = own if own and own not in taken else f"{k:0{width}}-{own or formula}"
        found.append(re.sub(r"[^\w.+-]+", "_", stem))
        taken.add(found[-1])
    return found


def cifs(x: Crystals) -> list[str]:
    """Returns a CIF of each, without symmetry."""
    rows = zip(stems(x), _cells(x), x.lengths.tolist(), x.angles.tolist(), strict=True)
    return [_cif(name, z, frac, [*a, *b]) for name, (z, frac, _), a, b in rows]


def _cif(name: str, numbers: list[int], frac: list[list[float]], cell: list[float]) -> str:
    kinds = dict.fromkeys(numbers)
    formula = " ".join(f"{_symbol(z)}{numbers.count(z)}" for z in kinds)
    measures = "".join(f"_cell_{k} {_number(v)}\n" for k, v in zip(_PARAMETERS, cell, strict=True))
    sites = "".join(
        f" {_symbol(z)} {_symbol(z)}{k} {' '.join(map(_number, at))} 1\n"
        for k, (z, at) in enumerate(zip(numbers, frac, strict=True), 1)
    )
    return (
        f"data_{name}\n_chemical_formula_sum '{formula}'\n{measures}"
        "_space_group_name_H-M_alt 'P 1'\n_space_group_IT_number 1\n"
        "loop_\n _space_group_symop_operation_xyz\n 'x, y, z'\n"
        f"loop_\n{''.join(f' _atom_site_{k}{chr(10)}' for k in _SITES)}{sites}"
    )


def poscars(x: Crystals) -> list[str]:
    """Returns a POSCAR of each, with atoms of one element together."""
    return [_poscar(name, *cell) for name, cell in zip(stems(x), _cells(x), strict=True)]


def _poscar(
    name: str, numbers: list[int], frac: list[list[float]], lattice: list[list[float]]
) -> str:
    kinds = list(dict.fromkeys(numbers))
    rows = [at for kind in kinds for z, at in zip(numbers, frac, strict=True) if z == kind]
    head = [name, "1.0", *(" ".join(f"{v:.10f}" for v in vector) for vector in lattice)]
    head += [" ".join(map(_symbol, kinds)), " ".join(str(numbers.count(z)) for z in kinds)]
    sites = [" ".join(f"{v:.10f}" for v in at) for at in rows]
    return "\n".join([*head, "Direct", *sites]) + "\n"


def cif_file(x: Crystals) -> bytes:
    """Returns one CIF with a data block for each."""
    return "\n".join(cifs(x)).encode()


def zip_file(x: Crystals, texts: Texts = cifs, suffix: str = ".cif") -> bytes:
    """Returns a zip with a file for each, the same bytes whenever it is made."""
    file = io.BytesIO()
    width = len(str(len(x)))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, (name, text) in enumerate(zip(stems(x), texts(x), strict=True), 1):
            # numbered, so that a folder has the order of the set
            number = "" if name.startswith(f"{k:0{width}}") else f"{k:0{width}}-"
            archive.writestr(zipfile.ZipInfo(f"{number}{name}{suffix}"), text)
    return file.getvalue()


def extxyz_file(x: Crystals) -> bytes:
    """Returns a frame for each, with its columns."""
    columns = {k: v.tolist() for k, v in x.columns.items()}
    frames = []
    cartesian = np.split((x.frac[:, None] @ x.lattice[x.owner])[:, 0].numpy(), x.starts[1:])
    for k, (name, (numbers, _, lattice), at) in enumerate(
        zip(stems(x), _cells(x), cartesian, strict=True)
    ):
        vectors = " ".join(f"{v:.10f}" for vector in lattice for v in vector)
        told = "".join(
            f" {_key(key)}={v[k]!r}" for key, v in columns.items() if not math.isnan(v[k])
        )
        sites = "".join(
            f"{_symbol(z)} {' '.join(f'{v:.10f}' for v in place)}\n"
            for z, place in zip(numbers, at.tolist(), strict=True)
        )
        frames.append(
            f'{len(numbers)}\nLattice="{vectors}" Properties=species:S:1:pos:R:3 pbc="T T T" '
            f"name={name}{told}\n{sites}"
        )
    return "".join(frames).encode()


def _key(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def csv_file(x: Crystals) -> bytes:
    """Returns a table with a column of CIFs, as the data sets of the field have it."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["material_id", "formula", *x.columns, "cif"])
    numbers = [["" if math.isnan(v) else repr(v) for v in c.tolist()] for c in x.columns.values()]
    table.writerows(zip(stems(x), x.formulas, *numbers, cifs(x), strict=True))
    return text.getvalue().encode()


def parquet_file(x: Crystals, more: dict[str, Any] | None = None) -> bytes:
    """Returns the same table as Parquet, with further columns where there are any."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {k: v.numpy() for k, v in x.columns.items()}
    named = {"material_id": stems(x), "formula": x.formulas, **columns, "cif": cifs(x)}
    file = io.BytesIO()
    parquet.write_table(pa.table(named | (more or {})), file, compression="zstd")
    return file.getvalue()


def _cells(x: Crystals) -> Iterator[tuple[list[int], list[list[float]], list[list[float]]]]:
    for z, f, m in zip(x.each_numbers(), x.each_frac(), x.lattice.tolist(), strict=True):
        yield z.tolist(), f.tolist(), m


def _symbol(number: int) -> str:
    return SYMBOLS[number] if 0 <= number < len(SYMBOLS) else "X"


def _number(value: float) -> str:
    return f"{value:.10f}" if math.isfinite(value) else "?"
