"""What it takes longest to know of a crystal, computed once: symmetry, spacings, fingerprint.

No torch: it is shared out among processes.
"""

__all__ = ["FIELDS", "described"]

from collections.abc import Sequence
from typing import Any

import numpy as np

from genmatter.domains.crystal.cells import Cell, closest, volume
from genmatter.domains.crystal.fingerprint import K, amd
from genmatter.domains.crystal.symmetry import space_group

FIELDS = ("space_group", "closest", "spacing", *(f"amd_{k}" for k in range(K)))
"""What is told of each crystal, in this order."""
SYMPREC = 0.1
"""Angstrom that atoms may be off their symmetry: what is drawn or relaxed is never exact."""


def described(told: dict[str, Any], cells: Sequence[list[Any]]) -> list[list[float]]:
    """Returns the fields of each cell `[numbers, coordinates, lattice]`.

    The space group is a number, 0 where there is none; `closest` the distance of the nearest two
    atoms in angstrom, and `spacing` the least share of the sum of the covalent radii; the rest
    are average minimum distances over :math:`(V/N)^{1/3}`, NaN of what is no crystal.
    """
    return [_one(told, *cell) for cell in cells]


def _one(told: dict[str, Any], numbers: list[int], frac: list[Any], lattice: Any) -> list[float]:
    cell = Cell(
        np.array(numbers, dtype=np.int64),
        np.array(frac, dtype=float).reshape(-1, 3),
        np.array(lattice, dtype=float),
    )
    near, share = closest(cell)
    sound = near > 0.1 and volume(cell.lattice) > 0.1 * len(numbers)
    group = space_group((cell.lattice, cell.frac, cell.numbers), told["symprec"]) if sound else 0
    print_ = amd(cell) if sound else np.full(K, np.nan)
    return [float(group), near, share, *print_.tolist()]
