import math

import pytest
import torch

from genmatter.evaluation import sets
from genmatter.evaluation.sets import nearest, novel, novelty, subset, unique, valid
from genmatter.maths.noise import generator


def normal(*shape, key=0):
    return torch.randn(shape, generator=generator("sets", key), dtype=torch.float64)


def test_shares_of_named_objects():
    assert valid(["", "too short", "", ""]) == 0.75
    assert unique(["C", "CC", "C", "CCC"]) == 0.75
    assert novel(["C", "CC", "C", "CCC"], {"C", "N"}) == pytest.approx(2 / 3)


def test_the_share_of_nothing_is_unknown():
    assert all(math.isnan(share) for share in (valid([]), unique([]), novel([], {"C"})))


def test_nearest_finds_the_closest_row_whatever_the_chunks(monkeypatch):
    a, b = normal(23, 3), normal(17, 3, key=1)
    expected = (a[:, None] - b).square().sum(-1).amin(1).sqrt()
    torch.testing.assert_close(nearest(a, b), expected)
    monkeypatch.setattr(sets, "_PAIRS", 40)
    torch.testing.assert_close(nearest(a, b), expected)


def test_novelty_tells_copies_from_samples_from_strangers():
    train, test = normal(2000, 4), normal(500, 4, key=1)
    assert novelty(train[:500], test, train) == pytest.approx(0, abs=1e-6)
    assert novelty(train[:500] + 0.01 * test, test, train) < 0.2
    assert novelty(normal(500, 4, key=2), test, train) == pytest.approx(1, abs=0.1)
    assert novelty(test + 5, test, train) > 3


def test_a_subset_is_a_function_of_its_key_without_repeats():
    x = torch.arange(100)
    assert torch.equal(subset(x, 10, "a"), subset(x, 10, "a"))
    assert not torch.equal(subset(x, 10, "a"), subset(x, 10, "b"))
    assert len(subset(x, 10, "a").unique()) == 10
    assert torch.equal(subset(x, 1000, "a").sort().values, x)
