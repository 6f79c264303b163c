"""Compositions: probabilities that add up, draws that follow them, and wishes that are kept."""

from itertools import combinations, product

import pytest
import torch

from genmatter.domains.crystal.composition import GROUPS, Composition
from genmatter.domains.crystal.represent import MOST_ELEMENT, CrystalBatch, elements_of
from genmatter.domains.crystal.space_groups import SpaceGroups
from genmatter.maths.noise import stream

SYSTEM = (3, 26, 8)
NAN = float("nan")


@pytest.fixture(scope="module")
def it():
    torch.manual_seed(0)
    return lively(Composition(16, 0.0, where=[0]))


@pytest.fixture(scope="module")
def groups():
    torch.manual_seed(0)
    return lively(SpaceGroups(16, 0.0, where=[0]))


def lively(made):
    for p in made.parameters():  # far from even
        torch.nn.init.normal_(p, std=0.3)
    return made.eval()


def asking(n, size, system=(), group=0, wanted=NAN):
    elements = torch.full((n, MOST_ELEMENT + 1), NAN)
    if system:
        elements[:] = 0.0
        elements[:, list(system)] = 1.0
    mask = torch.ones(n, size, dtype=torch.bool)
    return CrystalBatch(
        atom_types=torch.zeros(n, size, dtype=torch.long),
        frac_coords=torch.zeros(n, size, 3),
        lattice=torch.zeros(n, 3, 3),
        lengths=torch.zeros(n, 3),
        angles=torch.zeros(n, 3),
        num_atoms=torch.full((n,), size),
        mask=mask,
        elements=elements,
        space_group=torch.full((n,), group),
        properties=torch.zeros(n, 1),
        wanted=torch.full((n, 1), wanted),
    )


def far(n):
    """Returns what templates say where there are none."""
    return torch.zeros(n, GROUPS)


def every(it, size, system):
    """Returns all compositions of exactly these elements."""
    some = [c for c in product(range(1, size), repeat=len(system)) if sum(c) == size]
    types = [[z for z, k in zip(system, c, strict=True) for _ in range(k)] for c in some]
    return it.counts(torch.tensor(types))


@pytest.mark.parametrize("size", [3, 4, 7])
def test_compositions_of_asked_elements_add_up_to_one(it, size):
    some = every(it, size, SYSTEM)
    log_p = it.log_prob(some, it.wish(asking(len(some), size, SYSTEM)))
    assert log_p.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    assert (log_p < 0).all() or len(some) == 1


def test_all_compositions_of_two_atoms_add_up_to_one(it):
    pairs = [[a, a] for a in range(1, MOST_ELEMENT + 1)]
    pairs += [[a, b] for a, b in combinations(range(1, MOST_ELEMENT + 1), 2)]
    some = it.counts(torch.tensor(pairs))
    total = it.log_prob(some, it.wish(asking(len(some), 2))).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-4)


def test_a_probability_is_the_product_of_its_steps(it):
    """Of LiFeO2: lithium, then iron, then oxygen, which takes the rest."""
    counts = it.counts(torch.tensor([[8, 26, 3, 8]]))
    wish = it.wish(asking(1, 4))
    state, total = torch.zeros_like(counts), 0.0
    for element in counts[0].nonzero()[:, 0].tolist():
        step = it.step(state, wish)
        number = int(counts[0, element])
        total += it._which(step)[0, element]
        total += it._many(step, torch.tensor([element]))[0, number]
        state = state.clone()
        state[0, element] = number
    assert it.order[counts[0] > 0].tolist() == [3, 26, 8]
    torch.testing.assert_close(it.log_prob(counts, wish)[0], total)


def test_draws_are_as_frequent_as_they_are_probable(it):
    size, n = 5, 4000
    some = every(it, size, SYSTEM)
    p = it.log_prob(some, it.wish(asking(len(some), size, SYSTEM))).exp()
    with stream("draws"):
        found = it.draw(it.wish(asking(n, size, SYSTEM)))
    share = (found[:, None] == some).all(2).float().mean(0)
    assert share.sum() == 1
    assert ((share - p).abs() < 4 * (p * (1 - p) / n).sqrt() + 1e-9).all()


def test_what_is_not_asked_for_has_no_probability(it):
    wish = it.wish(asking(3, 4, SYSTEM))
    types = torch.tensor([[3, 26, 8, 8], [3, 3, 8, 8], [3, 26, 8, 7]])
    found = it.log_prob(it.counts(types), wish)
    assert found.isfinite().tolist() == [True, False, False]


@pytest.mark.parametrize("size", [1, 2, 9, 40])
def test_atoms_are_used_up_by_elements_that_there_are(it, size):
    torch.manual_seed(0)
    few = Composition(8, 0.0, where=[0], elements=SYSTEM).eval()
    found = few.draw(few.wish(asking(50, size)))
    assert (found.sum(1) == size).all()
    assert set(few.order[(found > 0).any(0)].tolist()) <= set(SYSTEM)


def test_types_stand_in_the_order_of_the_setting(it):
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    counts = it.counts(torch.tensor([[8, 26, 3, 8], [8, 12, 0, 0]]))
    assert it.types(counts, mask).tolist() == [[3, 26, 8, 8], [12, 8, 0, 0]]
    assert (elements_of(it.types(counts, mask)).sum(1) == torch.tensor([3, 2])).all()


def test_guidance_moves_what_is_told_away_from_what_is_not(it):
    """With weight 0 nothing is told, with 1 all; above, what it favours is more so."""
    size, n = 4, 2000
    some = every(it, size, SYSTEM)
    told, blank = (asking(len(some), size, SYSTEM, wanted=w) for w in (4.0, NAN))
    with_, without = (it.log_prob(some, it.wish(x)) for x in (told, blank))
    best = int((with_ - without).argmax())
    share = {}
    for w in (0.0, 1.0, 3.0):
        with stream("draws"):
            rows = torch.zeros(n, dtype=torch.long)
            found = it.draw(it.wish(told[rows]), it.wish(blank[rows]), w)
        share[w] = float((found == some[best]).all(1).float().mean())
    assert share[0.0] == pytest.approx(without[best].exp().item(), abs=0.05)
    assert share[1.0] == pytest.approx(with_[best].exp().item(), abs=0.05)
    assert share[3.0] > share[1.0] > share[0.0]


def test_space_groups_add_up_to_one_and_none_is_no_group(it, groups):
    some = every(it, 5, SYSTEM)
    p = groups.log_prob(some, asking(len(some), 5), far(len(some))).exp()
    torch.testing.assert_close(p.sum(1), torch.ones(len(some)))
    assert (p[:, 0] == 0).all()
    with stream("groups"):
        many = 200 * len(some)
        found = groups.draw(some.repeat(200, 1), asking(many, 5), far(many))
    assert found.min() >= 1
    assert found.max() < GROUPS


def test_what_is_told_changes_the_probabilities(it):
    some = every(it, 5, SYSTEM)
    each = [
        it.log_prob(some, it.wish(asking(len(some), 5, SYSTEM, **told)))
        for told in ({}, {"group": 225}, {"wanted": 1.0})
    ]
    assert (each[0] - each[1]).abs().max() > 1e-4
    assert (each[0] - each[2]).abs().max() > 1e-4


def test_space_groups_depend_on_the_composition_and_on_what_is_wanted(it, groups):
    """On what is there, each time with the same elements, and in which order it stands."""
    some = every(it, 5, SYSTEM)
    p = groups.log_prob(some, asking(len(some), 5), far(len(some))).exp()
    assert (p[0] - p[1:]).abs().amax(1).min() > 1e-4
    other = groups.log_prob(some, asking(len(some), 5, wanted=1.0), far(len(some))).exp()
    assert (p - other).abs().amax(1).min() > 1e-4


def test_templates_speak_for_their_space_groups(it, groups):
    some, near = every(it, 5, SYSTEM)[:1], far(1)
    near[0, 62] = 100.0
    before, after = (groups.log_prob(some, asking(1, 5), x)[0] for x in (far(1), near))
    odds = torch.log((groups.floor.exp() + 100) / groups.floor.exp())
    moved = (after[62] - after[61]) - (before[62] - before[61])
    torch.testing.assert_close(moved, odds)


def test_nothing_behind_a_composition_changes_what_is_read_of_it(it, groups):
    """A short list beside a long one is what it is alone."""
    counts = it.counts(torch.tensor([[3, 3, 3, 8], [3, 26, 15, 8]]))
    both, alone = asking(2, 4), asking(1, 4)
    for found, one in (
        (it.log_prob(counts, it.wish(both)), it.log_prob(counts[:1], it.wish(alone))),
        (groups.log_prob(counts, both, far(2)), groups.log_prob(counts[:1], alone, far(1))),
    ):
        torch.testing.assert_close(found[:1], one)


def test_steps_know_which_choices_balance_charges(it):
    """Where only that counts, lithium and oxygen are Li2O, and iron may be of two or three."""
    made = Composition(16, 0.0)
    for p in made.parameters():
        torch.nn.init.zeros_(p)
    for layer in (made.count_which, made.count_many):
        layer.bias.data[0] = 50.0  # the usual charges, at once
    made.count_many.bias.data[1] = 50.0  # and by one other element
    some = every(it, 3, (3, 8))
    p = made.eval().log_prob(some, made.wish(asking(len(some), 3, (3, 8)))).exp()
    assert some[p.argmax()].tolist() == it.counts(torch.tensor([[3, 3, 8]]))[0].tolist()
    assert p.max() > 0.99
    some = every(it, 5, (26, 8))
    p = made.log_prob(some, made.wish(asking(len(some), 5, (26, 8)))).exp()
    assert some[p.argmax()].tolist() == it.counts(torch.tensor([[26, 26, 8, 8, 8]]))[0].tolist()
