"""The elements by atomic number: symbols, masses and radii. Imports no torch: it starts soon."""

__all__ = ["MASSES", "NUMBERS", "RADII", "SYMBOLS", "number", "reduced"]

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from ase.data import atomic_masses, chemical_symbols, covalent_radii

SYMBOLS: tuple[str, ...] = tuple(chemical_symbols)
"""Symbols by atomic number; number 0 is no element."""
NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS) if number} | {"D": 1, "T": 1}
"""Atomic numbers by symbol."""
MASSES = np.nan_to_num(np.array(atomic_masses), nan=0.0)
"""Mean masses of the atoms, in dalton."""
RADII = np.array(covalent_radii)
r"""Covalent radii, angstrom; those that nobody has measured are 0.2.

References:
    | Covalent radii revisited (Cordero et al., 2008) https://doi.org/10.1039/B801115J
"""
_SYMBOL = re.compile(r"[A-Z][a-z]?")


def number(text: str) -> int:
    """Returns the atomic number of `Fe`, `Fe3+` or `Fe1`; 0 of what names no element."""
    found = _SYMBOL.match(text.strip())
    if found is None:
        return 0
    return NUMBERS.get(found[0], NUMBERS.get(found[0][0], 0) if len(text.strip()) > 1 else 0)


def reduced(numbers: Iterable[Any]) -> str:
    """Returns a formula divided by its greatest common divisor, the most electropositive first."""
    kinds, counts = np.unique(np.fromiter(numbers, dtype=np.int64), return_counts=True)
    least = np.gcd.reduce(counts) if len(counts) else 1
    amounts = {z: n // int(least) for z, n in zip(kinds.tolist(), counts.tolist(), strict=True)}
    order = sorted(amounts, key=_pull)
    return "".join(f"{_symbol(z)}{amounts[z] if amounts[z] > 1 else ''}" for z in order)


@cache
def _pull(number: int) -> tuple[float, int]:
    """Returns by what elements of a formula are sorted: Pauling's electronegativity."""
    from pymatgen.core import Element

    value = Element.from_Z(number).data.get("X") if 0 < number < len(SYMBOLS) else None
    return (9.0 if value is None or np.isnan(value) else float(value)), number


def _symbol(number: int) -> str:
    return SYMBOLS[number] if 0 <= number < len(SYMBOLS) else f"({number})"
