"""What the periodic table says of elements, as numbers."""

__all__ = ["charges", "rank", "states", "table"]

from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

_LAST = 118
_NONE = 9.0  # above every electronegativity that there is


@cache
def rank() -> Int[np.ndarray, " elements"]:
    """Returns the place of each element, by atomic number, in the order of electronegativity.

    Pauling's; elements that have none come last. 0, which is no element, is the very last.
    """
    values = [np.inf, *np.nan_to_num(_pauling(), nan=_NONE)]
    found = np.empty(_LAST + 1, dtype=np.int64)
    found[np.argsort(values, kind="stable")] = np.arange(_LAST + 1)
    return found


@cache
def table() -> Float[np.ndarray, "elements 7"]:
    """Returns numbers of each element, by atomic number, of mean 0 and spread 1 over elements.

    They are electronegativity (the mean where there is none), group, period and the place in the
    f-block, by which elements that are alike are near each other; and three that tell neighbours
    apart: the last two binary digits of the atomic number and whether the period is even.
    0, which is no element, has zeros.
    """
    from pymatgen.core.periodic_table import Element

    elements = [Element.from_Z(z) for z in range(1, _LAST + 1)]
    z = np.arange(1, _LAST + 1)
    pauling = _pauling()
    period = np.array([e.row for e in elements])
    block = np.where((z >= 57) & (z <= 71), z - 56, np.where((z >= 89) & (z <= 103), z - 88, 0))
    columns = [
        np.where(np.isnan(pauling), np.nanmean(pauling), pauling),
        [e.group for e in elements], period, block, z % 2, z // 2 % 2, period % 2,
    ]  # fmt: skip
    found = np.array(columns, dtype=float).T
    found = (found - found.mean(0)) / found.std(0)
    return np.concatenate([np.zeros((1, found.shape[1])), found])


CHARGES = range(-4, 8)
"""Charges that any element commonly has."""


@cache
def charges() -> Float[np.ndarray, "elements 12"]:
    """Says of each element, by atomic number, which charges from -4 to 7 it commonly has."""
    return np.array([[q in some for q in CHARGES] for some in states("common")], dtype=float)


@cache
def states(which: Literal["common", "known"]) -> tuple[tuple[int, ...], ...]:
    """Returns the charges of each element, by atomic number: the usual ones, or all known ones.

    They are pymatgen's. An element without any has none, and so has 0, which is no element.
    """
    from pymatgen.core.periodic_table import Element

    every = [Element.from_Z(z) for z in range(1, _LAST + 1)]
    told = [e.common_oxidation_states if which == "common" else e.oxidation_states for e in every]
    return ((), *(tuple(int(q) for q in some if q) for some in told))


@cache
def _pauling() -> Float[np.ndarray, " elements"]:
    """Returns electronegativities from hydrogen on; NaN where there is none."""
    from pymatgen.core.periodic_table import Element

    told = [Element.from_Z(z).data.get("X") for z in range(1, _LAST + 1)]
    return np.array([np.nan if x is None else float(x) for x in told])
