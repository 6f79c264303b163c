r"""One cell, as arrays: its measures, its closest atoms, its Niggli-reduced primitive form.

Everything here is NumPy, so that processes that share the work out need no torch. Lattice vectors
are the rows of `lattice`, in angstrom; a point lies at :math:`f L`.
"""

__all__ = [
    "Cell",
    "angles",
    "closest",
    "images",
    "lengths",
    "parameters",
    "primitive",
    "volume",
    "wrapped",
]

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from genmatter.domains.crystal import symmetry
from genmatter.domains.crystal.elements import RADII

MOST = 4000
"""Images of a cell that are looked at, at most: what no cell of a crystal needs."""


class Cell(NamedTuple):
    """A crystal."""

    numbers: Int[np.ndarray, " atoms"]
    frac: Float[np.ndarray, "atoms 3"]
    lattice: Float[np.ndarray, "3 3"]


def volume(lattice: Float[np.ndarray, "3 3"]) -> float:
    """Returns the volume of a cell, cubic angstrom; NaN of what has no numbers."""
    with np.errstate(invalid="ignore"):
        return abs(float(np.linalg.det(lattice)))


def lengths(lattice: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """Returns a, b and c, angstrom."""
    return np.linalg.norm(lattice, axis=1)


def angles(lattice: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """Returns alpha, beta and gamma, degrees."""
    u = lattice / np.linalg.norm(lattice, axis=1, keepdims=True)
    cosines = np.array([u[1] @ u[2], u[0] @ u[2], u[0] @ u[1]])
    return np.degrees(np.arccos(cosines.clip(-1, 1)))


def parameters(
    lengths: Float[np.ndarray, "3"], angles: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """Returns lattice vectors of given lengths and angles: a along x, b in the plane of x and y.

    The cell is right-handed. Angles between which no cell lies give NaN.
    """
    (a, b, c), (x, y, z) = lengths, np.cos(np.radians(angles))
    sine = np.sqrt(1 - z * z)
    across = (x - y * z) / sine
    with np.errstate(invalid="ignore"):
        up = np.sqrt(1 - y * y - across * across)
    return np.array([[a, 0, 0], [b * z, b * sine, 0], [c * y, c * across, c * up]])


def wrapped(frac: Float[np.ndarray, "atoms 3"]) -> Float[np.ndarray, "atoms 3"]:
    """Returns coordinates from 0 to below 1; what is 1 up to rounding is 0."""
    x = frac - np.floor(frac)
    return np.where(x > 1 - 1e-8, 0.0, x)


def primitive(cell: Cell, symprec: float = 0.01) -> Cell:
    """Returns the Niggli-reduced primitive cell of a crystal, in one orientation.

    Positions are those that were given, not averaged, where the cell is primitive already. The
    lattice is right-handed, with a along x and b in the plane of x and y.

    Args:
        cell: Any cell with a volume, and atoms apart from each other.
        symprec: How far atoms may be from where a translation puts them, angstrom.

    References:
        | Numerically stable algorithms for the computation of reduced unit cells
        | (Grosse-Kunstleve, Sauter & Adams, 2004) https://doi.org/10.1107/S010876730302186X
    """
    numbers, frac, lattice = _primitive(cell, symprec)
    found = symmetry.niggli(lattice)
    vectors = lattice if found is None or _alike(found, lattice) else found
    if np.linalg.det(vectors) < 0:
        vectors = -vectors
    frac = frac @ lattice @ np.linalg.inv(vectors)
    return Cell(numbers, wrapped(frac), parameters(lengths(vectors), angles(vectors)))


def _alike(a: Float[np.ndarray, "3 3"], b: Float[np.ndarray, "3 3"]) -> bool:
    """Says whether two cells have the same lengths and angles, so that one is as good."""
    same = np.allclose(lengths(a), lengths(b), rtol=1e-4, atol=0)
    return same and np.allclose(angles(a), angles(b), rtol=0, atol=1e-2)


def _primitive(cell: Cell, symprec: float) -> Cell:
    """Returns a primitive cell; the cell itself where it is one, or no smaller one is found."""
    counts = np.unique(cell.numbers, return_counts=True)[1]
    if np.gcd.reduce(counts) == 1:  # a smaller cell would have a part of an atom
        return cell
    found = symmetry.smaller((cell.lattice, cell.frac, cell.numbers), symprec)
    if found is None or len(found[2]) == len(cell.numbers):
        return cell
    lattice, frac, numbers = found
    return Cell(np.asarray(numbers, dtype=np.int64), frac, lattice)


def images(lattice: Float[np.ndarray, "3 3"], reach: float) -> Int[np.ndarray, "images 3"]:
    """Returns the shifts by whole cells within which every atom closer than `reach` lies.

    Between two points of a cell the distance along a reciprocal axis is below one layer, so that
    layers up to `reach` over their spacing, and one more, suffice.
    """
    heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)  # spacing of the layers
    far = np.ceil(reach / heights).astype(int) + 1
    far = np.minimum(far, 40)
    while np.prod(2 * far + 1) > MOST:
        far[far.argmax()] -= 1
    return np.array(list(product(*(range(-k, k + 1) for k in far))))


def closest(cell: Cell) -> tuple[float, float]:
    """Returns the distance of the closest two atoms, and the least share of their radii's sum.

    The distance is in angstrom, the share one of the sum of both covalent radii. An atom and its
    own images are a pair too. Both are 0 of a cell that has no volume, or no numbers.
    """
    n = len(cell.numbers)
    finite = np.isfinite(cell.lattice).all() and np.isfinite(cell.frac).all()
    vectors = symmetry.niggli(cell.lattice) if n and finite and volume(cell.lattice) > 0 else None
    if vectors is None:
        return 0.0, 0.0
    x = cell.frac @ cell.lattice @ np.linalg.inv(vectors)
    d = x[:, None] - x
    # in a Niggli-reduced cell the nearest image is among the 27 around
    far = np.linalg.norm(((d - np.round(d))[..., None, :] + _AROUND) @ vectors, axis=-1)
    far[np.arange(n), np.arange(n), len(_AROUND) // 2] = np.inf
    least = far.min(-1)
    radii = RADII[cell.numbers.clip(0, len(RADII) - 1)]
    return float(least.min()), float((least / (radii[:, None] + radii)).min())


_AROUND = np.array(list(product(range(-1, 2), repeat=3)), dtype=float)
