r"""A crystal as a few numbers that no choice of cell, origin, axes or order of atoms changes.

Of each atom the distances to its k nearest neighbours are sorted; their mean over the atoms of a
cell is the average minimum distance (AMD), a continuous invariant. Divided by
:math:`(V/N)^{1/3}` it does not see the scale. Elements are not in it. No torch: it is shared out.

References:
    | Average minimum distances of periodic point sets (Widdowson, Mosca, Pulido, Cooper & Kurlin,
    | 2022) https://doi.org/10.46793/match.87-3.529W
"""

__all__ = ["K", "amd", "neighbours"]

import numpy as np
from jaxtyping import Float

from genmatter.domains.crystal import symmetry
from genmatter.domains.crystal.cells import Cell, images, volume

K = 24
"""Neighbours that are looked at: two shells or so of most crystals."""


def neighbours(cell: Cell, k: int = K) -> Float[np.ndarray, "atoms k"]:
    """Returns the distances of each atom from its `k` nearest ones, sorted, in angstrom.

    Raises:
        ValueError: The cell has no volume.
    """
    lattice = symmetry.niggli(cell.lattice)
    if lattice is None or volume(lattice) < 1e-6:
        raise ValueError("a cell without a volume has no neighbours")
    x = cell.frac @ cell.lattice @ np.linalg.inv(lattice)
    x = x - np.floor(x)
    n = len(x)
    reach = 1.25 * (3 * k * volume(lattice) / (4 * np.pi * n)) ** (1 / 3)
    while True:
        shifts = images(lattice, reach) @ lattice
        at = x @ lattice
        d = (at[None] - at[:, None])[:, :, None] + shifts
        far = np.sqrt(np.einsum("ijks,ijks->ijk", d, d)).reshape(n, -1)
        if far.shape[1] > k:
            near = np.sort(np.partition(far, k, axis=1)[:, : k + 1], axis=1)[:, 1:]  # not itself
            if near[:, -1].max() <= reach:
                return near
        reach *= 1.3


def amd(cell: Cell, k: int = K) -> Float[np.ndarray, " k"]:
    r"""Returns the average minimum distances over :math:`(V/N)^{1/3}`; NaN of no crystal."""
    if not len(cell.numbers) or not np.isfinite(cell.lattice).all():
        return np.full(k, np.nan)
    if not np.isfinite(cell.frac).all() or volume(cell.lattice) / len(cell.numbers) < 0.1:
        return np.full(k, np.nan)
    scale = (volume(cell.lattice) / len(cell.numbers)) ** (1 / 3)
    try:
        return neighbours(cell, k).mean(0) / scale
    except ValueError:
        return np.full(k, np.nan)
