"""Charges that balance: what a search through all of them says."""

from itertools import product

import numpy as np
import pytest

from genmatter.domains.crystal import balance, smact
from genmatter.domains.crystal.balance import Balance
from genmatter.domains.crystal.listing import order

CHARGES = ((1,), (2, 3), (), (-3, 4), (-2, 3), (-1, 5))
"""Of six elements, in the order in which they give."""
IT = Balance(CHARGES)


def balanced(state):
    """Says by search whether a composition has charges that add up to 0, takers behind givers."""
    for charges in product(*(CHARGES[e] for e, _ in state)):
        signs = [q > 0 for q in charges]
        total = sum(q * n for q, (_, n) in zip(charges, state, strict=True))
        if total == 0 and signs == sorted(signs, reverse=True):
            return bool(state)
    return False


STATES = [
    (),
    ((0, 1),),
    ((0, 4), (3, 1)),
    ((0, 2), (1, 1)),
    ((1, 2),),
    ((1, 1), (3, 2)),
    ((2, 1),),
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("left", [1, 2, 3, 6, 9])
def test_elements_balance_as_a_search_finds(state, left):
    last = state[-1][0] if state else -1
    found = IT.elements(state, left)
    assert found.shape == (len(CHARGES), 2)
    for e in range(last + 1, len(CHARGES)):
        assert found[e, 0] == balanced((*state, (e, left)))
        after = [(e, n, f) for n in range(1, left) for f in range(e + 1, len(CHARGES))]
        assert found[e, 1] == any(balanced((*state, (e, n), (f, left - n))) for _, n, f in after)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("left", [1, 2, 3, 6, 9])
def test_numbers_balance_as_a_search_finds(state, left):
    last = state[-1][0] if state else -1
    for e in range(last + 1, len(CHARGES)):
        found = IT.numbers(state, left, e)
        assert found.shape == (left + 1, 2)
        assert not found[0].any()
        for n in range(1, left + 1):
            rest = [(*state, (e, n), (f, left - n)) for f in range(e + 1, len(CHARGES))]
            assert found[n, 0] == (n == left and balanced((*state, (e, n))))
            assert found[n, 1] == (n < left and any(balanced(s) for s in rest))


def test_what_balances_by_known_charges_nearly_always_keeps_the_rules_of_smact():
    """Tables differ a little: pymatgen's are not SMACT's of 2014."""
    rows, rng = order().tolist(), np.random.default_rng(0)
    same = []
    for _ in range(300):
        a, b = sorted(rng.choice(80, 2, replace=False).tolist())
        n, m = rng.integers(1, 5, 2).tolist()
        known = balance.of_elements([((a, n),)], [m])[0, b, 2].item()
        kept = smact.balanced(tuple(sorted(((rows[a], n), (rows[b], m)))))
        alloy = smact.balanced(((rows[a], 1), (rows[b], 1))) and not known
        same.append(alloy or known == kept)
    assert np.mean(same) > 0.8


def test_facts_of_many_states_are_those_of_each():
    states, left = [(), ((3, 1),), ((3, 2), (50, 1))], [4, 3, 7]
    many = balance.of_elements(states, left)
    for row, step in enumerate(zip(states, left, strict=True)):
        assert (many[row] == balance.of_elements([step[0]], [step[1]])[0]).all()
    numbers = balance.of_numbers(states, left, [80, 80, 80])
    assert numbers.shape == (3, 8, balance.FACTS)
    assert not numbers[1, 4:].any()  # no more than are left
    assert balance.of_elements([], []).shape == (0, len(order()), balance.FACTS)
