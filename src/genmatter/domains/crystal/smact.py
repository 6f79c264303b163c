r"""Whether a composition could be: charges that balance, cations that give and anions that take.

The rules are SMACT's, with its oxidation states of 2014, as the field reports them: an element
alone is valid, and so are metals together; else there have to be oxidation states :math:`q_i` with
:math:`\sum n_i q_i = 0` such that no cation is as electronegative as an anion or more. SMACT goes
through every combination, which takes for ever of many elements. Here cations are those below
some electronegativity and anions those above, and which sums of charges can be reached is a set
that grows element by element.

References:
    | Computational screening of all stoichiometric inorganic materials (Davies et al., 2016)
    | https://doi.org/10.1016/j.chempr.2016.09.010
    | SMACT: semiconducting materials by analogy and chemical theory (Davies et al., 2019)
    | https://doi.org/10.21105/joss.01361
"""

__all__ = ["balanced", "valid"]

from collections import Counter
from collections.abc import Iterable
from functools import cache
from math import gcd
from typing import Any

from genmatter.domains.crystal.elements import SYMBOLS


def valid(numbers: Iterable[Any]) -> bool:
    """Says whether atoms of these numbers make a valid composition."""
    counts = Counter(int(z) for z in numbers)
    if any(not 0 < z < len(SYMBOLS) for z in counts):
        return False
    least = gcd(*counts.values()) if counts else 1
    return bool(counts) and balanced(tuple(sorted((z, n // least) for z, n in counts.items())))


@cache
def balanced(formula: tuple[tuple[int, int], ...]) -> bool:
    """Says whether a reduced formula, of atomic numbers and counts, is valid."""
    if len(formula) == 1 or all(z in _metals() for z, _ in formula):
        return True
    told = [(_electronegativity(z), n, _states(z)) for z, n in formula]
    if not all(states and pull is not None for pull, _, states in told):
        return False
    borders = {pull for pull, _, _ in told if pull is not None}
    return any(_reaches(told, border) for border in borders)


def _reaches(told: list[tuple[float | None, int, tuple[int, ...]]], border: float) -> bool:
    """Says whether charges can add up to 0 where only what is up to the border is positive."""
    sums = {0}
    for pull, n, states in told:
        below = pull is not None and pull <= border
        some = [q for q in states if (q >= 0 if below else q <= 0)]
        sums = {s + n * q for s in sums for q in some}
    return 0 in sums


@cache
def _metals() -> frozenset[int]:
    import smact

    return frozenset(z for z, symbol in enumerate(SYMBOLS) if symbol in set(smact.metals))


@cache
def _states(number: int) -> tuple[int, ...]:
    element = _element(number)
    return tuple(element.oxidation_states_smact14 or ()) if element else ()


@cache
def _electronegativity(number: int) -> float | None:
    element = _element(number)
    return element.pauling_eneg if element else None


def _element(number: int):  # noqa: ANN202
    import smact

    try:
        return smact.Element(SYMBOLS[number])
    except (NameError, KeyError):  # beyond what SMACT knows
        return None
