r"""Crystals that come along: seventeen structure types, filled with ions that balance.

Every type is a drawing at unit scale: a space group, the shape of its cell, the sites of its
roles. Ions take the roles if their charges add up to nothing, if cations are less electronegative
than anions, and if their radii fit: each cation has a window of radius ratios, perovskites and
their kin a window of the tolerance factor. The scale is what brings the bonds nearest to the sums
of the radii: with n bonds of length d at unit scale that should be r,

.. math:: s = \sum n d r \,/\, \sum n d^2 .

References:
    | The principles determining the structure of complex ionic crystals (Pauling, 1929)
    | https://doi.org/10.1021/ja01379a006
    | Die Gesetze der Krystallochemie (Goldschmidt, 1926) https://doi.org/10.1007/BF01507527
    | The AFLOW library of crystallographic prototypes (Mehl et al., 2017)
    | https://doi.org/10.1016/j.commatsci.2017.01.017
"""

__all__ = ["PROTOTYPES", "Prototype", "made"]

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import sqrt

import numpy as np
import torch

from genmatter.domains.crystal.cells import Cell, primitive
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.elements import SYMBOLS
from genmatter.domains.crystal.ions import ANIONS, Ion, cations, electronegativity, radius
from genmatter.maths.noise import generator


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
    alike: bool = False
    """Whether A and B can change places, so that the larger one is A."""
    most: int = 10**6
    """How many crystals of this type are kept."""
    scale: float = 1.0
    """By how much its cells are larger than radii say."""


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
              dict(A=Role((_O,), False, 4, _TETRA), X=_anion(_Q))),
    Prototype("wurtzite", 186, (1, 1, sqrt(8 / 3)),
              dict(A=Role(((_T, 2 * _T, 0.0),), False, 4, _TETRA),
                     X=_anion((_T, 2 * _T, 0.375)))),
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
                     B=Role((_O,), False, 6, _OCTA), X=_anion((0.0, 0.0, 0.26)))),
    Prototype("chalcopyrite", 122, (1, 1, 2),
              dict(A=Role((_O,), False, 4, _TETRA), B=Role(((0.0, 0.0, 0.5),), False, 4, _TETRA),
                     X=_anion((0.25, 0.25, 0.125))), alike=True, most=1500),
    Prototype("spinel", 227, (1, 1, 1),
              dict(A=Role((_O,), False, 4, _TETRA), B=Role((_E,), False, 6, _OCTA),
                     X=_anion((0.3875, 0.3875, 0.3875))), most=3000),
    Prototype("elpasolite", 225, (1, 1, 1),
              dict(A=Role((_Q,), False, 12, (0.6, 1.6)), B=Role((_O,), False, 6, (0.35, 0.75)),
                     C=Role((_H,), False, 6, (0.40, 0.95)), X=_anion((0.24, 0.0, 0.0))),
              factor=(0.84, 1.05), most=3000),
    Prototype("potassium hexachloroplatinate", 225, (1, 1, 1),
              dict(A=Role((_Q,), False, 12, (0.6, 1.6)), B=Role((_O,), False, 6, (0.3, 0.85)),
                     X=_anion((0.24, 0.0, 0.0))), factor=(0.85, 1.12)),
)  # fmt: skip
"""All seventeen."""


@dataclass(frozen=True)
class _Drawing:
    """A structure type in its primitive cell at unit scale."""

    cell: Cell
    roles: np.ndarray
    """The name of each atom's role."""
    counts: Mapping[str, int]
    bonds: tuple[tuple[str, str, int, float], ...]
    """Two roles, how many bonds lead from one to the other in a cell, and how long they are."""


@cache
def _drawing(name: str) -> _Drawing:
    from pymatgen.core import Lattice, Structure

    it = next(p for p in PROTOTYPES if p.name == name)
    a, b, c = it.shape
    hexagonal = 143 <= it.group <= 194
    lattice = Lattice.from_parameters(a, b, c, 90, 90, 120 if hexagonal else 90)
    names = list(it.roles)
    species = [SYMBOLS[k + 1] for k, role in enumerate(names) for _ in it.roles[role].sites]
    sites = [x for role in it.roles.values() for x in role.sites]
    found = Structure.from_spacegroup(it.group, lattice, species, sites)
    numbers = np.array(found.atomic_numbers, dtype=np.int64)
    cell = primitive(Cell(numbers, found.frac_coords, found.lattice.matrix), symprec=1e-4)
    roles = np.array([names[z - 1] for z in cell.numbers], dtype=object)
    counts = {name: int((roles == name).sum()) for name in names}
    bonds = []
    for role, told in it.roles.items():
        if told.neighbours:
            length = _bond(cell, roles == role, roles == told.to, told.neighbours)
            bonds.append((role, told.to, told.neighbours * counts[role], length))
    return _Drawing(cell, roles, counts, tuple(bonds))


def _bond(cell: Cell, of: np.ndarray, to: np.ndarray, count: int) -> float:
    """Returns the mean distance of the nearest so many atoms of another role."""
    shifts = np.array(list(product(range(-2, 3), repeat=3)))
    d = (cell.frac[to] - cell.frac[of][0])[:, None] + shifts
    far = np.sort(np.linalg.norm(d @ cell.lattice, axis=-1).ravel())
    return float(far[:count].mean())


def made(most: int = 10**6, seed: int = 0) -> Crystals:
    """Returns crystals of all types in an order that depends on the seed.

    Args:
        most: How many, at most.
        seed: Which ones are kept of types that are kept in part, and the order.
    """
    parts = [_filled(it, seed) for it in PROTOTYPES]
    found = Crystals.cat(parts)
    order = torch.randperm(len(found), generator=generator("prototypes", seed))
    return found[order[:most]]


def _filled(it: Prototype, seed: int) -> Crystals:
    """Returns the crystals of one type."""
    drawing = _drawing(it.name)
    kept: dict[tuple[int, ...], float] = {}
    for ions in _fillings(it, drawing):
        kept.setdefault(tuple(ion.number for ion in ions.values()), _scale(it, drawing, ions))
    numbers = torch.tensor(list(kept), dtype=torch.long)
    scales = torch.tensor(list(kept.values()), dtype=torch.float64)
    g = generator("prototypes", it.name, seed)
    some = torch.randperm(len(kept), generator=g)[: it.most].sort().values
    names = list(it.roles)
    column = torch.tensor([names.index(role) for role in drawing.roles])
    n, atoms = len(some), len(column)
    return Crystals(
        numbers[some][:, column].flatten(),
        torch.from_numpy(drawing.cell.frac).repeat(n, 1),
        torch.full((n,), atoms),
        torch.from_numpy(drawing.cell.lattice) * scales[some][:, None, None],
        names=np.full(n, it.name, dtype=object),
    )


def _fillings(it: Prototype, drawing: _Drawing) -> Iterator[dict[str, Ion]]:
    """Yields the ions of each role that balance, attract and fit."""
    positive = [name for name, role in it.roles.items() if not role.anion]
    negative = [name for name, role in it.roles.items() if role.anion]
    for anions in product(ANIONS, repeat=len(negative)):
        if len(set(anions)) < len(anions):
            continue
        some = dict(zip(negative, anions, strict=True))
        charge = sum(drawing.counts[k] * ion.charge for k, ion in some.items())
        least = min(electronegativity(ion.number) or 0.0 for ion in anions)
        options = [_fitting(it, role, some, least) for role in positive]
        for ions in product(*options):
            found = dict(zip(positive, ions, strict=True))
            total = charge + sum(drawing.counts[k] * ion.charge for k, ion in found.items())
            if total or len({ion.number for ion in ions}) < len(ions):
                continue
            whole = {name: (found | some)[name] for name in it.roles}
            if _fits(it, whole):
                yield whole


def _fitting(it: Prototype, name: str, anions: Mapping[str, Ion], least: float) -> list[Ion]:
    """Returns the cations that are small enough, large enough, and give their electrons away."""
    role = it.roles[name]
    low, high = role.ratio
    around = radius(anions["X"], 6)
    assert around, "anions have radii"
    found = []
    for ion in cations():
        r = radius(ion, role.neighbours)
        if r and low <= r / around <= high and (electronegativity(ion.number) or 9.0) < least:
            found.append(ion)
    return found


def _fits(it: Prototype, ions: Mapping[str, Ion]) -> bool:
    """Says whether the cations go together."""
    if "B" not in ions:
        return True
    a, b, x = (_radius(it, k, ions) for k in ("A", "B", "X"))
    if it.alike:
        return (a, ions["A"].number) > (b, ions["B"].number)
    if it.name == "sodium ferrite":
        return a / b > 1.15  # or the layers would mix
    if "C" in ions:
        c = _radius(it, "C", ions)
        if c / b < 1.1:  # or B and C would mix
            return False
        b = (b + c) / 2
    low, high = it.factor
    return low <= (a + x) / (sqrt(2) * (b + x)) <= high


def _scale(it: Prototype, drawing: _Drawing, ions: Mapping[str, Ion]) -> float:
    """Returns the scale at which bonds are nearest to the sums of the radii."""
    above = below = 0.0
    for one, other, count, length in drawing.bonds:
        wanted = _radius(it, one, ions) + _radius(it, other, ions)
        above += count * length * wanted
        below += count * length * length
    return it.scale * above / below


def _radius(it: Prototype, name: str, ions: Mapping[str, Ion]) -> float:
    role = it.roles[name]
    found = radius(ions[name], 6 if role.anion else role.neighbours)
    assert found, "ions that fill a role have a radius"
    return found
