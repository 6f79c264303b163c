"""One crystal from the text of one record: a CIF, a POSCAR, or a cell that is written out.

What cannot be a crystal to learn from is refused with a reason, and never repaired: an atom that
is there by half, a cell without a volume, atoms in one place. Imports no torch: it is shared out.

References:
    | GEMMI: a library for structural biology (Wojdyr, 2022) https://doi.org/10.21105/joss.04200
"""

__all__ = ["READERS", "RefusedError", "cif", "expanded", "poscar", "read_cell", "sound", "written"]

import io
import json
import math
import re
import warnings
from collections.abc import Callable

import gemmi
import numpy as np

from genmatter.domains.crystal.cells import Cell, closest, parameters, volume
from genmatter.domains.crystal.elements import NUMBERS, SYMBOLS, reduced

LARGEST = 1000
"""Atoms of a cell at most: what is larger is no crystal of this kind, and takes long."""
NEAREST = 0.5
"""Atoms that are closer than this, in angstrom, are in one place."""
_SAME = 0.1  # angstrom, within which a symmetry gives an atom again
_FORMULA = re.compile(r"([A-Z][a-z]?)\s*([\d.]*)")


class RefusedError(ValueError):
    """A record that is no crystal to learn from; says why, the kind of reason before a colon."""


def read_cell(notation: str, text: str) -> Cell:
    """Returns the crystal of a record, as its file has it.

    Args:
        notation: `cif`, `poscar`, or `cell` for JSON of numbers, coordinates and lattice.
        text: What stands there.

    Raises:
        RefusedError: It is no crystal, or one with partly occupied sites.
    """
    found = READERS[notation](text)
    sound(found)
    return found


def sound(cell: Cell) -> None:
    """Refuses what is no crystal.

    Raises:
        RefusedError: Numbers are missing, the cell has no volume, or atoms are in one place.
    """
    if not len(cell.numbers):
        raise RefusedError("no atoms")
    if len(cell.numbers) > LARGEST:
        raise RefusedError(f"more than {LARGEST} atoms in a cell: {len(cell.numbers)}")
    if ((cell.numbers < 1) | (cell.numbers >= len(SYMBOLS))).any():
        raise RefusedError("unknown element")
    if not np.isfinite(cell.frac).all():
        raise RefusedError("coordinates that are no numbers")
    if not np.isfinite(cell.lattice).all() or volume(cell.lattice) < 1e-3:
        raise RefusedError("cell without a volume")
    near, _ = closest(cell)
    if near < NEAREST:
        raise RefusedError(f"overlapping atoms: {near:.3f} angstrom apart")


def cif(text: str) -> Cell:
    """Reads the first data block of a CIF that has atoms, and expands its symmetry.

    Raises:
        RefusedError: It cannot be read, or lacks what makes a crystal.
    """
    try:
        blocks = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        raise RefusedError(f"no CIF, or one that breaks off: {_line(error)}") from None
    block = next((b for b in blocks if b.find_loop("_atom_site_fract_x")), None)
    if block is None:
        raise RefusedError("no atoms")
    if not block.find_loop("_atom_site_label"):  # by which gemmi knows a list of atoms
        _label(block)
    try:
        small = gemmi.make_small_structure_from_block(block)
    except (ValueError, RuntimeError):  # angles of 0, say
        raise RefusedError("cell without a volume") from None
    lattice = _lattice(small.cell)
    for site in small.sites:
        _check(site)
    numbers = np.array([site.element.atomic_number for site in small.sites], dtype=np.int64)
    frac = np.array([site.fract.tolist() for site in small.sites]).reshape(-1, 3)
    if not np.isfinite(frac).all():
        raise RefusedError("coordinates that are no numbers")
    if not np.isfinite(lattice).all() or volume(lattice) < 1e-3:
        raise RefusedError("cell without a volume")
    found = expanded(Cell(numbers, frac, lattice), _operations(small))
    _compare(found, block)
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _lattice(cell: gemmi.UnitCell) -> np.ndarray:
    sides, corners = np.array(cell.parameters[:3]), np.array(cell.parameters[3:])
    if not ((sides > 0).all() and (corners > 0).all() and (corners < 180).all()):
        return np.full((3, 3), np.nan)
    return parameters(sides, corners)


def _label(block: gemmi.cif.Block) -> None:
    """Labels atoms by their elements, where a file names these alone."""
    column = block.find_loop("_atom_site_type_symbol")
    loop = column.get_loop()
    if loop is None:
        return
    kinds = list(column)
    loop.add_columns(["_atom_site_label"], "?", 0)
    for row, kind in zip(block.find(["_atom_site_label"]), kinds, strict=True):
        row[0] = kind


def _check(site: gemmi.SmallStructure.Site) -> None:
    told = site.type_symbol or site.label
    if not site.element.atomic_number:
        raise RefusedError(f"unknown element: {told}")
    if not math.isclose(site.occ, 1.0, abs_tol=1e-3):
        raise RefusedError(f"partial occupancy: {site.element.name} {site.occ:g}")
    if site.disorder_group:
        raise RefusedError(f"disorder: {told} in group {site.disorder_group}")


def _operations(small: gemmi.SmallStructure) -> list[gemmi.Op]:
    """Returns the operations that are listed, or else those of the space group that is named."""
    if small.symops:
        return [gemmi.Op(text) for text in small.symops]
    name = small.spacegroup_hm.strip()
    group = gemmi.find_spacegroup_by_name(name) if name else None
    if group is None and small.spacegroup_number:
        group = gemmi.find_spacegroup_by_number(small.spacegroup_number)
    if group is None:
        if name or small.spacegroup_number:
            raise RefusedError(f"unknown space group: {name or small.spacegroup_number}")
        return [gemmi.Op("x,y,z")]
    return list(group.operations())


def expanded(cell: Cell, operations: list[gemmi.Op]) -> Cell:
    """Returns all atoms of the cell, each once: on a special position several images are one."""
    if len(operations) == 1:
        return cell
    turns = np.array([op.rot for op in operations]) / gemmi.Op.DEN
    shifts = np.array([op.tran for op in operations]) / gemmi.Op.DEN
    kept = []
    for x in cell.frac:
        kept.append(_different(turns @ x + shifts, cell.lattice))
    counts = [len(x) for x in kept]
    return Cell(np.repeat(cell.numbers, counts), np.concatenate(kept), cell.lattice)


def _different(x: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    d = x[:, None] - x
    near = np.linalg.norm((d - np.round(d)) @ lattice, axis=-1) < _SAME
    first = near.argmax(1) == np.arange(len(x))
    return x[first]


def _compare(cell: Cell, block: gemmi.cif.Block) -> None:
    """Refuses a list of atoms that is not what the file's own formula says, up to a factor."""
    told = block.find_value("_chemical_formula_sum")
    text = gemmi.cif.as_string(told) if told else ""
    parts = [(NUMBERS.get(s, 0), float(n or 1)) for s, n in _FORMULA.findall(text)]
    if not parts or not all(z and n.is_integer() for z, n in parts):
        return
    wanted = reduced([z for z, n in parts for _ in range(int(n))])
    found = reduced(cell.numbers)
    if found != wanted:
        raise RefusedError(
            f"atoms that are not the formula: {found} are listed, {wanted} is told; "
            "the file breaks off, or lacks atoms"
        )


def poscar(text: str) -> Cell:
    """Reads a POSCAR or CONTCAR.

    Raises:
        RefusedError: It cannot be read.
    """
    from ase.io.vasp import read_vasp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            atoms = read_vasp(io.StringIO(text))
        except (ValueError, IndexError, KeyError, RuntimeError, TypeError) as error:
            raise RefusedError(
                f"no POSCAR, or one that breaks off: {_line(error) or type(error).__name__}"
            ) from None
    lattice = np.asarray(atoms.cell.array, dtype=float)
    if not np.isfinite(lattice).all() or volume(lattice) < 1e-3:
        raise RefusedError("cell without a volume")
    frac = np.linalg.solve(lattice.T, atoms.positions.T).T
    return Cell(np.asarray(atoms.numbers, dtype=np.int64), frac, lattice)


def written(text: str) -> Cell:
    """Reads JSON of atomic numbers, fractional coordinates and lattice vectors."""
    numbers, frac, lattice = json.loads(text)
    return Cell(
        np.array(numbers, dtype=np.int64),
        np.array(frac, dtype=float).reshape(-1, 3),
        np.array(lattice, dtype=float).reshape(3, 3),
    )


READERS: dict[str, Callable[[str], Cell]] = {"cif": cif, "poscar": poscar, "cell": written}
"""What reads each notation."""
