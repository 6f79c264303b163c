import math
import random
from collections import Counter
from itertools import product

import pytest

from genmatter.domains.molecule.baselines import NGram, baselines
from genmatter.domains.molecule.drugs import DRUGS
from genmatter.domains.molecule.molecules import Molecules, canonical
from genmatter.domains.molecule.soundness import sound
from genmatter.errors import DataError

WORDS = ["abab", "abc", "b", "", "ccab"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def train():
    return Molecules.of([canonical(s) for s in DRUGS.values()] + [""])


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_sum_to_one_after_anything(order):
    model = NGram.of(WORDS, order)
    assert set(model.symbols) == {"a", "b", "c", ""}
    for length in range(4):
        for before in product("abcx", repeat=length):
            total = sum(model.probability(s, before) for s in model.symbols)
            assert total == pytest.approx(1, abs=1e-12)
            assert all(model.probability(s, before) > 0 for s in model.symbols)


def test_a_bigram_by_hand():
    model = NGram.of(["ab", "b"], 2)  # ends: a b end, b end
    one = {"a": (1 + 3 / 3) / 8, "b": (2 + 3 / 3) / 8, "": (2 + 3 / 3) / 8}  # of 5, 3 kinds
    for symbol, p in one.items():
        assert model.probability(symbol, "x") == pytest.approx(p)  # a context never seen
    assert model.probability("b", "a") == pytest.approx((1 + one["b"]) / 2)
    assert model.probability("a", "") == pytest.approx((1 + 2 * one["a"]) / 4)  # a or b begin
    expected = [(1 + 2 * one["a"]) / 4, (1 + one["b"]) / 2, (2 + one[""]) / 3]
    assert model.log_prob("ab") == pytest.approx(sum(map(math.log, expected)))


def test_all_sequences_together_have_probability_one():
    model = NGram.of(["a", "ab", ""], 3)
    total = sum(math.exp(model.log_prob(w)) for n in range(12) for w in product("ab", repeat=n))
    assert 0.99 < total < 1


def test_unknown_symbols_are_impossible():
    assert NGram.of(WORDS, 3).log_prob("axb") == -math.inf


def test_samples_follow_the_probabilities():
    model, stream = NGram.of(WORDS, 3), random.Random(1)
    drawn = Counter("".join(model.sample(stream)) for _ in range(20_000))
    for word, times in drawn.most_common(12):
        p = math.exp(model.log_prob(word))
        assert times / 20_000 == pytest.approx(p, abs=5 * math.sqrt(p / 20_000))


def test_longer_contexts_tell_more_of_what_was_seen():
    short, long = (NGram.of(WORDS, order) for order in (1, 3))
    assert sum(map(long.log_prob, WORDS)) > sum(map(short.log_prob, WORDS)) + 1


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(DataError, match="there are none"):
        NGram.of([], 2)


def test_each_baseline_makes_n_molecules_of_its_own(train):
    made = baselines(train, 60)
    assert list(made) == [
        "BRICS grammar", "BRICS grammar of the training set", "character n-gram", "n-gram",
    ]  # fmt: skip
    for name, molecules in made.items():
        assert len(molecules) == 60 or name == "n-gram"
        assert all(canonical(s) == s for s in molecules.smiles)
        good = sum(map(bool, molecules.smiles))
        assert good > (12 if name == "character n-gram" else 55)
        assert len(set(molecules.smiles)) > 10
    assert sum(map(bool, sound(made["n-gram"]).smiles)) == 60 < len(made["n-gram"])
    again = baselines(train, 60)
    assert all((made[k].smiles == again[k].smiles).all() for k in made)


def test_a_training_set_that_says_little_has_fewer_baselines():
    made = baselines(Molecules.of(["CCO", ""]), 5)
    assert list(made) == ["BRICS grammar", "character n-gram", "n-gram"]
