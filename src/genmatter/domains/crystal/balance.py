r"""Which steps of a composition can still end in charges that balance.

Elements come in the order of their electronegativity, so those that give electrons come before
those that take them. What the first elements of a composition can have given in all is a set of
totals: each element has one of its charges :math:`q`, all its n atoms the same, which adds
:math:`n q`. A total below 0 is lost, since what follows can only take more. Sets are the bits of
an integer, so that adding is shifting.

References:
    | Computational screening of all stoichiometric inorganic materials (Davies et al., 2016)
    | https://doi.org/10.1016/j.chempr.2016.09.010
"""

__all__ = ["FACTS", "Balance", "State", "of_elements", "of_numbers"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, reduce
from operator import or_

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from genmatter.domains.crystal.chemistry import states
from genmatter.domains.crystal.listing import order

FACTS = 4
"""What is said of a choice: whether charges balance at once, and whether one other element can
balance them; by the usual charges of elements, and by all that are known."""
KEPT = 1 << 16
"""So many answers are remembered."""

Charges = tuple[int, ...]
State = tuple[tuple[int, int], ...]
"""Elements, by their place in the order, and how many atoms they have."""


@dataclass(frozen=True)
class Totals:
    """Totals that there can be: of elements that all gave, and of those of which some took."""

    gave: int = 1
    took: int = 0

    @property
    def any(self) -> int:
        """All of them."""
        return self.gave | self.took

    def plus(self, number: int, charges: Charges) -> "Totals":
        """Returns the totals with so many atoms more, of an element of these charges."""
        return Totals(
            _union(self.gave << number * q for q in charges if q > 0),
            _union(self.any >> number * -q for q in charges if q < 0),
        )


@dataclass(frozen=True, eq=False)
class Balance:
    """What can follow so that charges balance.

    Args:
        charges: Of each element, in the order of electronegativity.
    """

    charges: tuple[Charges, ...]

    def totals(self, state: State) -> Totals:
        """Returns what the elements of a state can have given in all."""
        return reduce(lambda t, step: t.plus(step[1], self.charges[step[0]]), state, Totals())

    def elements(self, state: State, left: int) -> Bool[np.ndarray, "elements 2"]:
        """Says of each element whether charges balance where it takes all atoms that are left.

        And whether they can where one other element comes after it.
        """
        totals = self.totals(state)
        alone = [totals.plus(left, q).took & 1 for q in self.charges]
        two = [totals.gave & a | totals.took & b for a, b in self._two(left)]
        return np.array([alone, two]).T > 0

    def numbers(self, state: State, left: int, element: int) -> Bool[np.ndarray, "numbers 2"]:
        """Says the same of 0, 1, .. atoms of one element, up to all that are left."""
        totals, charges = self.totals(state), self.charges[element]
        after = [totals.plus(n, charges) for n in range(left + 1)]
        found = np.zeros((left + 1, 2), dtype=bool)
        found[left, 0] = after[left].took & 1
        later = self._later[element]
        for n in range(1, left):
            found[n, 1] = bool(after[n].any & _scaled(later, left - n))
        return found

    @cached_property
    def _later(self) -> list[Charges]:
        """What atoms of elements after each can take."""
        every = [{-q for q in some if q < 0} for some in self.charges]
        return [tuple(set().union(*every[k + 1 :])) for k in range(len(every))]

    def _two(self, left: int) -> Sequence[tuple[int, int]]:
        return _two(self.charges, tuple(self._later), left)


@cache
def _two(
    charges: tuple[Charges, ...], later: tuple[Charges, ...], left: int
) -> Sequence[tuple[int, int]]:
    """Returns of each element the totals from which it and one other can balance.

    They are two sets: where all so far gave, and where some took.
    """
    found = []
    for own, after in zip(charges, later, strict=True):
        rest = [(n, _scaled(after, left - n)) for n in range(1, left)]
        gives = _union(to >> n * q for n, to in rest for q in own if q > 0)
        takes = _union(to << n * -q for n, to in rest for q in own if q < 0)
        found.append((gives | takes, takes))
    return found


def of_elements(
    begun: Sequence[State], left: Sequence[int]
) -> Bool[Tensor, "steps elements facts"]:
    """Says what each element does to the balance of a state with so many atoms left."""
    each = [_of_elements(*step) for step in zip(begun, left, strict=True)]
    return torch.from_numpy(np.stack(each)) if each else torch.zeros(0, len(order()), FACTS).bool()


def of_numbers(
    begun: Sequence[State], left: Sequence[int], elements: Sequence[int]
) -> Bool[Tensor, "steps numbers facts"]:
    """Says what 0, 1, .. atoms of an element do to it, up to the most that are left anywhere."""
    found = torch.zeros(len(begun), max(left, default=0) + 1, FACTS, dtype=torch.bool)
    for row, step in enumerate(zip(begun, left, elements, strict=True)):
        found[row, : left[row] + 1] = torch.from_numpy(_of_numbers(*step))
    return found


@cache
def _known() -> tuple[Balance, Balance]:
    rows = order().tolist()
    common, known = (tuple(states(k)[z] for z in rows) for k in ("common", "known"))
    return Balance(common), Balance(known)


@lru_cache(KEPT)
def _of_elements(state: State, left: int) -> Bool[np.ndarray, "elements facts"]:
    return np.concatenate([b.elements(state, left) for b in _known()], 1)


@lru_cache(KEPT)
def _of_numbers(state: State, left: int, element: int) -> Bool[np.ndarray, "numbers facts"]:
    return np.concatenate([b.numbers(state, left, element) for b in _known()], 1)


def _scaled(charges: Charges, number: int) -> int:
    """Returns the totals that so many atoms of one of these charges have."""
    return _union(1 << number * q for q in charges)


def _union(sets: Iterable[int]) -> int:
    return reduce(or_, sets, 0)
