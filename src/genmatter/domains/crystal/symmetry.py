"""What spglib knows of a cell: its space group, a smaller cell, a reduced lattice. No torch.

References:
    | Spglib: a software library for crystal symmetry search (Togo, Shinohara & Tanaka, 2024)
    | https://doi.org/10.1080/27660400.2024.2384822
"""

__all__ = [
    "SYSTEMS",
    "Described",
    "crystal_system",
    "niggli",
    "operations",
    "smaller",
    "space_group",
]

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import spglib
from jaxtyping import Float, Int
from spglib.error import SpglibError

Described = tuple[
    Float[np.ndarray, "3 3"], Float[np.ndarray, "atoms 3"], Int[np.ndarray, " atoms"]
]

SYSTEMS = {
    "triclinic": 2, "monoclinic": 15, "orthorhombic": 74, "tetragonal": 142, "trigonal": 167,
    "hexagonal": 194, "cubic": 230,
}  # fmt: skip
"""The crystal systems, and the number of the last space group of each."""


def crystal_system(number: int) -> str:
    """Returns the crystal system of a space group; "" of what is none."""
    if number < 1:
        return ""
    return next((name for name, last in SYSTEMS.items() if number <= last), "")


def space_group(cell: Described, symprec: float) -> int:
    """Returns the number of the space group; 0 where none can be found, as of coinciding atoms."""
    found = _asked(spglib.get_symmetry_dataset, cell, symprec=symprec)
    return int(found.number) if found is not None else 0


def operations(
    cell: Described, symprec: float
) -> tuple[Int[np.ndarray, "ops 3 3"], Float[np.ndarray, "ops 3"]] | None:
    """Returns the operations of a cell, which take f to W f + w; None where none is found."""
    found = _asked(spglib.get_symmetry_dataset, cell, symprec=symprec)
    return None if found is None else (found.rotations, found.translations)


def niggli(lattice: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"] | None:
    """Returns Niggli-reduced vectors of the same lattice; None where it has no volume."""
    if not np.isfinite(lattice).all() or abs(np.linalg.det(lattice)) < 1e-9:
        return None
    return _asked(spglib.niggli_reduce, lattice)


def smaller(cell: Described, symprec: float) -> Any:
    """Returns lattice, coordinates and numbers of a primitive cell, in the same orientation.

    None where none is found.
    """
    return _asked(
        spglib.standardize_cell, cell, to_primitive=True, no_idealize=True, symprec=symprec
    )


def _asked(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Returns what spglib does; None where it cannot, in its old and its new way to say so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return function(*args, **kwargs)
        except SpglibError:
            return None
