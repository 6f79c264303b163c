r"""Crystals that come along: structure types filled with ions that balance, attract and fit.

Ions take the roles of a type if their charges add up to nothing, if cations are less
electronegative than anions, and if radii fit (`prototypes`). The scale is what brings the bonds
nearest to the sums of the radii: with n bonds of length d at unit scale that should be r,

.. math:: s = \sum n d r \,/\, \sum n d^2 .
"""

__all__ = ["made"]

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from math import sqrt
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.ions import ANIONS, Ion, cations, electronegativity, radius
from genmatter.domains.crystal.prototypes import PROTOTYPES, Drawing, Prototype, drawing
from genmatter.maths.noise import generator

Values = Mapping[str, np.ndarray]
"""A number for each filling, by role."""


def made(most: int = 10**6, seed: int = 0) -> Crystals:
    """Returns crystals of all types in an order that depends on the seed.

    Args:
        most: How many, at most.
        seed: Which ones are kept of types that are kept in part, and the order.
    """
    found = Crystals.cat([_filled(it, seed) for it in PROTOTYPES])
    order = torch.randperm(len(found), generator=generator("prototypes", seed))
    return found[order[:most]]


def _filled(it: Prototype, seed: int) -> Crystals:
    """Returns the crystals of one type."""
    at, found = drawing(it.name), _fillings(it.name)
    g = generator("prototypes", it.name, seed)
    some = torch.randperm(len(found.numbers), generator=g)[: it.most].sort().values
    names = list(it.roles)
    column = torch.tensor([names.index(role) for role in at.roles])
    n = len(some)
    scale = torch.from_numpy(found.scales)[some]
    return Crystals(
        torch.from_numpy(found.numbers)[some][:, column].flatten(),
        torch.from_numpy(at.cell.frac).repeat(n, 1),
        torch.full((n,), len(column)),
        torch.from_numpy(at.cell.lattice) * scale[:, None, None],
        names=np.full(n, it.name, dtype=object),
    )


class _Fillings(NamedTuple):
    numbers: Int[np.ndarray, "n roles"]
    scales: Float[np.ndarray, " n"]


@cache
def _fillings(name: str) -> _Fillings:
    """Returns the atomic numbers of each role, and the scale, of all crystals of a type.

    Of fillings with the same elements, which differ in how charges are shared, one is kept.
    """
    it, at = next(p for p in PROTOTYPES if p.name == name), drawing(name)
    positive = [k for k, role in it.roles.items() if not role.anion]
    negative = [k for k, role in it.roles.items() if role.anion]
    numbers, scales = [], []
    for anions in product(ANIONS, repeat=len(negative)):
        if len(set(anions)) == len(anions):
            some = dict(zip(negative, anions, strict=True))
            options = {k: _fitting(it, k, some) for k in positive}
            z, s = _balanced(it, at, options | {k: [ion] for k, ion in some.items()})
            numbers.append(z)
            scales.append(s)
    z, s = np.concatenate(numbers), np.concatenate(scales)
    _, first = np.unique(z, axis=0, return_index=True)
    first.sort()
    return _Fillings(z[first], s[first])


def _fitting(it: Prototype, name: str, anions: Mapping[str, Ion]) -> list[Ion]:
    """Returns the cations that are small enough, large enough, and give their electrons away."""
    role, around = it.roles[name], radius(anions["X"], 6) or np.nan
    least = min(electronegativity(ion.number) or 0.0 for ion in anions.values())
    low, high = role.ratio
    return [
        ion
        for ion in cations()
        if low <= (radius(ion, role.neighbours) or np.nan) / around <= high
        and (electronegativity(ion.number) or 9.0) < least
    ]


def _balanced(
    it: Prototype, at: Drawing, options: Mapping[str, Sequence[Ion]]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers and scales of the fillings whose charges add up to nothing, and that fit."""
    names = list(it.roles)
    charges = np.ix_(*(
        np.array([at.counts[k] * ion.charge for ion in options[k]], dtype=int) for k in names
    ))  # fmt: skip
    rows = np.argwhere(sum(charges[1:], charges[0]) == 0)
    of = lambda values: {k: values(k)[rows[:, j]] for j, k in enumerate(names)}
    z = of(lambda k: np.array([ion.number for ion in options[k]], dtype=np.int64))
    r = of(lambda k: np.array([_radius(it, k, ion) for ion in options[k]], dtype=float))
    table = np.stack([z[k] for k in names], 1)
    different = (np.sort(table, 1)[:, 1:] != np.sort(table, 1)[:, :-1]).all(1)
    kept = different & _fits(it, r)
    return table[kept], _scale(it, at, r)[kept]


def _radius(it: Prototype, name: str, ion: Ion) -> float:
    role = it.roles[name]
    return radius(ion, 6 if role.anion else role.neighbours) or np.nan


def _fits(it: Prototype, r: Values) -> np.ndarray:
    """Says which cations go together, by their radii."""
    good = np.ones(len(r["X"]), dtype=bool)
    if it.order:
        first, second, times = it.order
        good &= r[first] > times * r[second]
    if "B" in r:
        low, high = it.factor
        b = (r["B"] + r["C"]) / 2 if "C" in r else r["B"]
        factor = (r["A"] + r["X"]) / (sqrt(2) * (b + r["X"]))
        good &= (low <= factor) & (factor <= high)
    return good


def _scale(it: Prototype, at: Drawing, r: Values) -> Float[np.ndarray, " n"]:
    """Returns the scale at which bonds are nearest to the sums of the radii."""
    above = sum(count * length * (r[a] + r[b]) for a, b, count, length in at.bonds)
    below = sum(count * length * length for _, _, count, length in at.bonds)
    return np.asarray(it.scale * above / below)
