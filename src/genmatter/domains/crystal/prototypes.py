"""Structure types, drawn at unit scale: a space group, the shape of its cell, sites of its roles.

Which ions may take a role is told by how many neighbours it has and by a window of radius ratios;
perovskites and their kin have a window of the tolerance factor too.

References:
    | The principles determining the structure of complex ionic crystals (Pauling, 1929)
    | https://doi.org/10.1021/ja01379a006
    | Die Gesetze der Krystallochemie (Goldschmidt, 1926) https://doi.org/10.1007/BF01507527
    | The AFLOW library of crystallographic prototypes (Mehl et al., 2017)
    | https://doi.org/10.1016/j.commatsci.2017.01.017
"""

__all__ = ["PROTOTYPES", "Drawing", "Prototype", "Role", "drawing"]

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import sqrt

import gemmi
import numpy as np

from genmatter.domains.crystal.cells import Cell, parameters, primitive
from genmatter.domains.crystal.reading import expanded


@dataclass(frozen=True)
class Role:
    """What an ion does in a structure type."""

    sites: tuple[tuple[float, float, float], ...]
    """Where it is: one site of each orbit."""
    anion: bool = False
    neighbours: int = 0
    """How many anions it has around it, of a cation, or cations, of an anion with `to`."""
    ratio: tuple[float, float] = (0.0, 9.0)
    """Which share of the anion's radius its own may be."""
    to: str = "X"
    """The role to which its bonds lead."""


@dataclass(frozen=True)
class Prototype:
    """A structure type."""

    name: str
    group: int
    """Number of the space group."""
    shape: tuple[float, float, float]
    """a, b and c at unit scale; gamma is 120 degrees of trigonal and hexagonal groups."""
    roles: Mapping[str, Role]
    factor: tuple[float, float] = (0.0, 9.0)
    """Window of Goldschmidt's tolerance factor of the roles A, B and X."""
    order: tuple[str, str, float] | None = None
    """Two roles, and how many times larger the first one's ion has to be: they would mix."""
    most: int = 10**6
    """How many crystals of this type are kept."""
    scale: float = 1.0
    """By how much its cells are larger than radii say: bonds of four neighbours are shorter."""


_O, _H, _Q = (0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
_E = (0.625, 0.625, 0.625)
_T = 1 / 3
_OCTA, _TETRA, _CUBE = (0.40, 0.85), (0.20, 0.46), (0.70, 1.30)


def _anion(*sites: tuple[float, float, float]) -> Role:
    return Role(sites, anion=True)


PROTOTYPES: tuple[Prototype, ...] = (
    Prototype("rocksalt", 225, (1, 1, 1), dict(A=Role((_O,), False, 6, _OCTA), X=_anion(_H))),
    Prototype("caesium chloride", 221, (1, 1, 1),
              dict(A=Role((_O,), False, 8, _CUBE), X=_anion(_H))),
    Prototype("zincblende", 216, (1, 1, 1),
              dict(A=Role((_O,), False, 4, _TETRA), X=_anion(_Q)), scale=0.966),
    Prototype("wurtzite", 186, (1, 1, sqrt(8 / 3)),
              dict(A=Role(((_T, 2 * _T, 0.0),), False, 4, _TETRA),
                     X=_anion((_T, 2 * _T, 0.375))), scale=0.966),
    Prototype("fluorite", 225, (1, 1, 1),
              dict(A=Role((_O,), False, 8, (0.65, 1.30)), X=_anion(_Q))),
    Prototype("antifluorite", 225, (1, 1, 1),
              dict(A=Role((_Q,), False, 4, (0.20, 0.80)), X=_anion(_O))),
    Prototype("rutile", 136, (1, 1, 0.66),
              dict(A=Role((_O,), False, 6, _OCTA), X=_anion((0.305, 0.305, 0.0)))),
    Prototype("cadmium iodide", 164, (1, 1, 1.6),
              dict(A=Role((_O,), False, 6, _OCTA), X=_anion((_T, 2 * _T, 0.25)))),
    Prototype("corundum", 167, (1, 1, 2.73),
              dict(A=Role(((0.0, 0.0, 0.352),), False, 6, _OCTA),
                     X=_anion((0.306, 0.0, 0.25)))),
    Prototype("rhenium trioxide", 221, (1, 1, 1),
              dict(A=Role((_O,), False, 6, _OCTA), X=_anion((0.5, 0.0, 0.0)))),
    Prototype("perovskite", 221, (1, 1, 1),
              dict(A=Role((_H,), False, 12, (0.6, 1.6)), B=Role((_O,), False, 6, _OCTA),
                     X=_anion((0.5, 0.0, 0.0))), factor=(0.82, 1.06)),
    Prototype("antiperovskite", 221, (1, 1, 1),
              dict(A=Role(((0.5, 0.0, 0.0),), False, 2, (0.2, 1.0)), X=_anion(_O),
                     Y=Role((_H,), True, 12, (0.0, 9.0), "A"))),
    Prototype("sodium ferrite", 166, (1, 1, 5.2),
              dict(A=Role(((0.0, 0.0, 0.5),), False, 6, (0.40, 1.0)),
                     B=Role((_O,), False, 6, _OCTA), X=_anion((0.0, 0.0, 0.26))),
              order=("A", "B", 1.15)),
    Prototype("chalcopyrite", 122, (1, 1, 2),
              dict(A=Role((_O,), False, 4, _TETRA), B=Role(((0.0, 0.0, 0.5),), False, 4, _TETRA),
                     X=_anion((0.25, 0.25, 0.125))),
              order=("A", "B", 1.0), most=1500, scale=0.975),
    Prototype("spinel", 227, (1, 1, 1),
              dict(A=Role((_O,), False, 4, _TETRA), B=Role((_E,), False, 6, _OCTA),
                     X=_anion((0.3875, 0.3875, 0.3875))), most=3000),
    Prototype("elpasolite", 225, (1, 1, 1),
              dict(A=Role((_Q,), False, 12, (0.6, 1.6)), B=Role((_O,), False, 6, (0.35, 0.75)),
                     C=Role((_H,), False, 6, (0.40, 0.95)), X=_anion((0.24, 0.0, 0.0))),
              factor=(0.84, 1.05), order=("C", "B", 1.1), most=3000),
    Prototype("potassium hexachloroplatinate", 225, (1, 1, 1),
              dict(A=Role((_Q,), False, 12, (0.6, 1.6)), B=Role((_O,), False, 6, (0.3, 0.85)),
                     X=_anion((0.24, 0.0, 0.0))), factor=(0.85, 1.12), scale=1.026),
)  # fmt: skip
"""All seventeen."""


@dataclass(frozen=True)
class Drawing:
    """A structure type in its primitive cell at unit scale."""

    cell: Cell
    """Atomic numbers stand for roles here."""
    roles: np.ndarray
    """The name of each atom's role, [atoms] objects."""
    counts: Mapping[str, int]
    """How many atoms each role has."""
    bonds: tuple[tuple[str, str, int, float], ...]
    """Two roles, how many bonds lead from one to the other in a cell, and how long they are."""


@cache
def drawing(name: str) -> Drawing:
    """Returns the drawing of a structure type."""
    it = next(p for p in PROTOTYPES if p.name == name)
    hexagonal = 143 <= it.group <= 194
    corners = np.array([90.0, 90.0, 120.0 if hexagonal else 90.0])
    lattice = parameters(np.array(it.shape, dtype=float), corners)
    names = list(it.roles)
    numbers = [k + 1 for k, role in enumerate(names) for _ in it.roles[role].sites]
    sites = [x for role in it.roles.values() for x in role.sites]
    whole = expanded(
        Cell(np.array(numbers, dtype=np.int64), np.array(sites), 20 * lattice),
        list(gemmi.find_spacegroup_by_number(it.group).operations()),
    )
    cell = primitive(Cell(whole.numbers, whole.frac, lattice), symprec=1e-4)
    roles = np.array([names[z - 1] for z in cell.numbers], dtype=object)
    counts = {name: int((roles == name).sum()) for name in names}
    bonds = [
        (role, told.to, told.neighbours * counts[role],
         _bond(cell, roles == role, roles == told.to, told.neighbours))
        for role, told in it.roles.items()
        if told.neighbours
    ]  # fmt: skip
    return Drawing(cell, roles, counts, tuple(bonds))


def _bond(cell: Cell, of: np.ndarray, to: np.ndarray, count: int) -> float:
    """Returns the mean distance of the nearest so many atoms of another role."""
    shifts = np.array(list(product(range(-2, 3), repeat=3)))
    d = (cell.frac[to] - cell.frac[of][0])[:, None] + shifts
    far = np.sort(np.linalg.norm(d @ cell.lattice, axis=-1).ravel())
    return float(far[:count].mean())
