import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from genmatter.domains.protein import statistics
from genmatter.domains.protein.family import simulated
from genmatter.domains.protein.sequences import Sequences
from genmatter.domains.protein.statistics import (
    frequencies,
    halves,
    pairs_agree,
    strengths,
    strongest,
    triplets_agree,
)

LAW = simulated(24, 0)


def drawn(n, key="x"):
    return Sequences.of(LAW.sample(n, key)[0])


def weighted(s, seed=0):
    g = torch.Generator().manual_seed(seed)
    return replace(s, weights=torch.rand(len(s), generator=g).double() + 0.1)


def plain_connected(s, i, j):
    """C of two sites by counting, sequence by sequence."""
    w = torch.ones(len(s)).double() if s.weights is None else s.weights
    w = w / w.sum()
    two = torch.zeros(21, 21).double()
    for row, mass in zip(s.residues.long(), w, strict=True):
        two[row[i], row[j]] += mass
    return two - two.sum(1)[:, None] * two.sum(0)


def plain_triplet(s, i, j, k):
    """The third cumulant of three sites' states: the mean product of deviations."""
    w = torch.ones(len(s)).double() if s.weights is None else s.weights
    w = w / w.sum()
    x = torch.nn.functional.one_hot(s.residues.long(), 21).double()
    away = x - torch.einsum("n,nsa->sa", w, x)
    return torch.einsum("n,na,nb,nc->abc", w, away[:, i], away[:, j], away[:, k])


def test_frequencies_count_weights():
    s = weighted(drawn(50))
    f = frequencies(s)
    torch.testing.assert_close(f.sum(1), torch.ones(24).double())
    a = int(s.residues[0, 3])
    expected = s.weights[s.residues[:, 3] == a].sum() / s.weights.sum()
    assert f[3, a] == pytest.approx(expected.item())


def test_what_two_sites_have_in_common_is_counted():
    s = weighted(drawn(60))
    found = statistics.connected(s, slice(2, 5))
    for i, j in itertools.product((2, 4), (0, 9, 23)):
        part = found[(i - 2) * 21 : (i - 1) * 21, j * 21 : (j + 1) * 21]
        torch.testing.assert_close(part.double(), plain_connected(s, i, j), atol=1e-6, rtol=0)
    norms = strengths(s)
    assert norms[4, 9] == pytest.approx(plain_connected(s, 4, 9).norm().item(), abs=1e-5)
    assert torch.equal(norms.diagonal(), torch.zeros(24))


def test_what_three_sites_have_in_common_is_the_third_cumulant():
    s = weighted(drawn(60))
    at = torch.tensor([1, 7, 20])
    found = statistics._triplet(s, at, frequencies(s)).view(21, 21, 21)
    torch.testing.assert_close(found, plain_triplet(s, 1, 7, 20), atol=1e-12, rtol=0)


def test_blocks_do_not_matter(monkeypatch):
    a, b = drawn(200, "a"), drawn(200, "b")
    whole, norms = pairs_agree(a, b), strengths(a)
    monkeypatch.setattr(statistics, "_BLOCK", 1)
    assert pairs_agree(a, b).r == pytest.approx(whole.r)
    assert pairs_agree(a, b).slope == pytest.approx(whole.slope)
    torch.testing.assert_close(strengths(a), norms)


def test_r_is_that_of_all_pairs():
    a, b = weighted(drawn(80, "a")), weighted(drawn(90, "b"), 1)
    pairs = [*itertools.combinations(range(24), 2)]
    x, y = (torch.cat([plain_connected(s, i, j).flatten() for i, j in pairs]) for s in (a, b))
    assert pairs_agree(a, b).r == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-5)
    some = torch.tensor([[0, 5, 9], [3, 4, 20]])
    x, y = (torch.cat([plain_triplet(s, *t).flatten() for t in some.tolist()]) for s in (a, b))
    assert triplets_agree(a, b, some).r == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


def test_the_slope_of_the_law_is_one_however_few_sequences_there_are():
    for n, room in ((300, 0.15), (3000, 0.06)):
        slopes = [pairs_agree(drawn(n, f"a{k}"), drawn(n, f"b{k}")).slope for k in range(6)]
        assert sum(slopes) / 6 == pytest.approx(1, abs=room)


def test_what_is_half_of_chance_has_half_the_slope():
    """Half of the sequences with each site drawn by itself: every correlation is halved."""
    s = drawn(6000, "a")
    half = s.residues[:3000].clone()
    for i in range(24):
        half[:, i] = half[torch.randperm(3000, generator=torch.Generator().manual_seed(i)), i]
    mixed = Sequences.of(torch.cat([s.residues[3000:], half]))
    agreed = pairs_agree(mixed, drawn(6000, "b"))
    assert agreed.slope == pytest.approx(0.5, abs=0.05)
    assert agreed.r < pairs_agree(s, drawn(6000, "b")).r
    alone = pairs_agree(Sequences.of(half), drawn(6000, "b"))
    assert abs(alone.slope) < 0.05


def test_copies_of_sequences_are_in_one_half():
    s = drawn(40)
    twice = Sequences.of(s.residues.repeat_interleave(2, 0))
    a, b = halves(twice)
    assert len(a) == len(b) == 40
    assert not {*a.texts} & {*b.texts}
    like = Sequences.of(s.residues[:1].repeat(6, 1))
    assert [len(h) for h in halves(like)] == [3, 3]


def test_triplets_are_those_with_most_in_common():
    s = drawn(2000)
    found = strongest(s, 10)
    assert found.shape == (10, 3)
    assert (found[:, 0] < found[:, 1]).all()
    assert (found[:, 1] < found[:, 2]).all()
    norms = strengths(s)
    of = lambda t: sum(norms[a, b] for a, b in itertools.combinations(t, 2)).item()
    every = sorted((of(t) for t in itertools.combinations(range(24), 3)), reverse=True)
    assert [of(t) for t in found.tolist()] == pytest.approx(every[:10])
    assert len(strongest(s[:50], 10**6)) == math.comb(24, 3)


def test_nothing_in_common_is_no_error():
    same = Sequences.of(torch.ones(8, 5, dtype=torch.int8))
    assert pairs_agree(same, same) == statistics.Agreement(0.0, 0.0)
