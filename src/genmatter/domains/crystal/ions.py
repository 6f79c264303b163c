"""Ions and how large they are, by their charge and by how many neighbours they have.

References:
    | Revised effective ionic radii and systematic studies of interatomic distances in halides and
    | chalcogenides (Shannon, 1976) https://doi.org/10.1107/S0567739476001551
"""

__all__ = ["ANIONS", "Ion", "cations", "electronegativity", "radius"]

import math
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from genmatter.domains.crystal.elements import NUMBERS, SYMBOLS

_ROMAN = {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII", 8: "VIII", 9: "IX",
          10: "X", 11: "XI", 12: "XII", 14: "XIV"}  # fmt: skip
_PLAIN = {text: count for count, text in _ROMAN.items()}


class Ion(NamedTuple):
    """An element with a charge."""

    number: int
    charge: int


ANIONS = tuple(
    Ion(NUMBERS[symbol], charge)
    for symbol, charge in [
        ("F", -1), ("Cl", -1), ("Br", -1), ("I", -1), ("O", -2), ("S", -2), ("Se", -2),
        ("Te", -2), ("N", -3),
    ]
)  # fmt: skip
"""The anions whose radii were measured."""
_ODD = {"Po", "At", "Rn", "Fr", "Ra", "Ac", "Pa", "Np", "Am", "Cm", "Bk", "Cf", "No"}


@cache
def cations() -> tuple[Ion, ...]:
    """Returns the cations that are common and whose radii were measured."""
    found = []
    for z in range(1, 95):
        symbol = SYMBOLS[z]
        if symbol in _ODD or electronegativity(z) is None:
            continue
        for charge in _usual(symbol):
            if charge > 0 and _measured(z, charge):
                found.append(Ion(z, charge))
    return tuple(found)


@cache
def electronegativity(number: int) -> float | None:
    """Returns Pauling's electronegativity; None of elements that have none."""
    value = _element(number).data.get("X")
    return None if value is None or math.isnan(value) else float(value)


@cache
def radius(ion: Ion, neighbours: int) -> float | None:
    """Returns the ionic radius in angstrom, with that many neighbours or about as many.

    None where it was measured with none that is within two; high spin where spins differ.
    """
    found = _measured(*ion)
    if not found:
        return None
    near = min(found, key=lambda n: (abs(n - neighbours), n))
    return found[near] if abs(near - neighbours) <= 2 or ion.charge < 0 else None


@cache
def _measured(number: int, charge: int) -> Mapping[int, float]:
    """Returns the radii of an ion by the number of its neighbours."""
    table = _element(number).data.get("Shannon radii") or {}
    found = {}
    for roman, spins in table.get(str(charge), {}).items():
        told = spins.get("High Spin") or spins.get("") or next(iter(spins.values()))
        if roman in _PLAIN and told["ionic_radius"] > 0:
            found[_PLAIN[roman]] = float(told["ionic_radius"])
    return found


def _element(number: int):  # noqa: ANN202
    from pymatgen.core import Element

    return Element.from_Z(number)


def _usual(symbol: str) -> tuple[int, ...]:
    from pymatgen.core import Element

    it = Element(symbol)
    return tuple(sorted({*it.common_oxidation_states, *it.icsd_oxidation_states}))
