r"""One setting of each crystal, whatever its origin, the order of its atoms and the axes' names.

A cell with lattice vectors L (rows) and fractional coordinates f is the same crystal as
:math:`ML` and :math:`f M^{-1} + t` for every integer M of determinant 1. Of those M that keep the
shape of the cell (the rotations of its lattice), and of those t that put an atom of the rarest
element at the origin, the setting is the one whose sorted coordinates come first. Atoms stand in
the order of their electronegativity, and then of their coordinates.

Which cell a crystal has is not decided here: data are read as Niggli-reduced primitive cells.
"""

__all__ = ["Setting", "setting"]

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from genmatter.domains.crystal.chemistry import rank

GRID = 1200
"""Coordinates are compared in steps of this part of a cell. It is a multiple of 2, 3, 5 and 16, so
that special positions lie in the middle of a step and not at its border."""
ALIKE = 2e-3
"""Two cells have the same shape where no entry of their metrics differs by more than this share
of the metric's trace."""

Rows = Shaped[np.ndarray, "atoms 3"]


class Setting(NamedTuple):
    """A crystal as it is written."""

    numbers: Int[np.ndarray, " atoms"]
    frac: Float[np.ndarray, "atoms 3"]
    lattice: Float[np.ndarray, "3 3"]


def setting(
    numbers: Int[np.ndarray, " atoms"],
    frac: Float[np.ndarray, "atoms 3"],
    lattice: Float[np.ndarray, "3 3"],
) -> Setting:
    """Returns the setting of a crystal; its lattice is right-handed.

    Vectors that are left-handed are turned round, and coordinates with them, which is the same
    crystal again. Coordinates lie between half a step of the grid below 0 and below 1.
    """
    if np.linalg.det(lattice) < 0:
        lattice, frac = -lattice, -frac
    order = rank()[numbers.clip(0, 118)]
    turns = _turns(lattice)
    moved = frac @ np.linalg.inv(turns).round()  # [turns, atoms, 3]
    moved = moved[:, None] - moved[:, _origins(order)][:, :, None]  # [turns, origins, atoms, 3]
    cells = np.floor(moved * GRID + 0.5).astype(np.int64) % GRID
    keys = ((order * GRID + cells[..., 0]) * GRID + cells[..., 1]) * GRID + cells[..., 2]
    flat = np.sort(keys, -1).reshape(-1, len(numbers))
    turn, origin = divmod(_first(flat), keys.shape[1])
    places = np.argsort(keys[turn, origin], kind="stable")
    x = moved[turn, origin][places]
    half = 0.5 / GRID
    return Setting(numbers[places], (x + half) % 1 - half, turns[turn] @ lattice)


def _origins(order: Int[np.ndarray, " atoms"]) -> Int[np.ndarray, " origins"]:
    """Returns the atoms of the rarest element, the first of those that are as rare."""
    kinds, counts = np.unique(order, return_counts=True)
    return np.flatnonzero(order == kinds[counts.argmin()])


def _first(rows: Int[np.ndarray, "rows atoms"]) -> int:
    """Returns the row that comes first; of equal ones the one that stands first."""
    left = np.arange(len(rows))
    for column in rows.T:
        values = column[left]
        left = left[values == values.min()]
        if len(left) == 1:
            break
    return int(left[0])


def _turns(lattice: Float[np.ndarray, "3 3"]) -> Int[np.ndarray, "turns 3 3"]:
    """Returns the integer matrices that leave the metric as it is, the identity first."""
    metric = (lattice @ lattice.T).ravel()
    every, forms = _unimodular()
    apart = np.abs((forms @ metric).reshape(-1, 9) - metric).max(1)
    return every[apart <= ALIKE * metric[::4].sum()]


@lru_cache(1)
def _unimodular() -> tuple[Int[np.ndarray, "matrices 3 3"], Float[np.ndarray, "entries 9"]]:
    """Returns the matrices of entries -1, 0 and 1 with determinant 1, the identity first.

    Of a reduced cell these hold all that keep its shape. Beside them stands what each makes of a
    metric, as a linear map: 9 rows for each matrix.
    """
    every = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    every = every[np.linalg.det(every).round() == 1]
    away = np.abs(every - np.eye(3, dtype=np.int64)).sum((1, 2))
    every = every[np.argsort(away, kind="stable")]
    forms = np.einsum("mik,mjl->mijkl", every, every).reshape(-1, 9).astype(np.float64)
    return every, forms
