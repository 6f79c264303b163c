"""Compositions as lists: what stands in them, and what is read of them up to each element."""

import torch

from genmatter.domains.crystal.listing import Listing, Number, listed, order
from genmatter.domains.crystal.represent import MOST_ELEMENT


def counts(*formulas):
    """Returns compositions of atomic numbers with their counts."""
    found = torch.zeros(len(formulas), MOST_ELEMENT, dtype=torch.long)
    place = {z: k for k, z in enumerate(order().tolist())}
    for row, formula in enumerate(formulas):
        for z, n in formula.items():
            found[row, place[z]] = n
    return found


def test_elements_are_listed_in_order_with_their_atoms():
    elements, numbers, many = listed(counts({8: 2, 3: 1, 26: 1}, {8: 3}))
    assert order()[elements[0]].tolist() == [3, 26, 8]
    assert numbers.tolist() == [[1, 1, 2], [3, 0, 0]]
    assert order()[elements[1, 0]] == 8
    assert many.tolist() == [3, 1]
    none = listed(counts())
    assert [x.shape for x in none] == [(0, 0), (0, 0), (0,)]


def read(it, *formulas, size=9, told=None):
    told = torch.zeros(len(formulas), 2) if told is None else told
    return it(counts(*formulas), torch.full((len(formulas),), size), told)


def test_what_is_read_depends_on_what_came_before_and_on_nothing_later():
    torch.manual_seed(0)
    it = Listing(8, 2, 0.0).eval()
    a = read(it, {3: 1, 26: 2, 8: 4})[0]
    assert a.shape == (4, 8)
    later = read(it, {3: 1, 26: 2, 7: 4})[0]
    number = read(it, {3: 1, 26: 3, 8: 3})[0]
    first = read(it, {11: 1, 26: 2, 8: 4})[0]
    for other, same in ((later, 3), (number, 2), (first, 1)):
        torch.testing.assert_close(a[:same], other[:same])
        assert (a[same:] - other[same:]).abs().amax(1).min() > 1e-3


def test_the_number_of_atoms_and_what_is_told_are_known_from_the_start():
    torch.manual_seed(0)
    it = Listing(8, 2, 0.0).eval()
    a = read(it, {3: 1, 8: 1})
    assert (a - read(it, {3: 1, 8: 1}, size=10)).abs().amax(2).min() > 1e-3
    assert (a - read(it, {3: 1, 8: 1}, told=torch.ones(1, 2))).abs().amax(2).min() > 1e-3


def test_numbers_are_told_apart_however_large():
    torch.manual_seed(0)
    it = Number(8)
    found = it(torch.arange(200))
    assert found.shape == (200, 8)
    gap = (found[1:] - found[:-1]).abs().amax(1)
    assert gap.min() > 1e-4
