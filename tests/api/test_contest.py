"""Who is nearer: real differences are called, and chance is not, at the rate that is promised."""

import math

import pytest
import torch

from genmatter.api import evaluation
from genmatter.api.contest import PARTS, SMALLEST, Contest, parts
from genmatter.maths.noise import generator
from genmatter.spine import Score, Splits


def normal(n, *key, mean=0.0):
    return torch.randn(n, generator=generator(*key)) + mean


def apart(samples, splits):
    return {"mean": Score(float((samples.mean() - splits.test.mean()).abs()), 0.0)}


def signed(samples, splits):
    return {"mean": Score(float(samples.mean() - splits.test.mean()), 0.0)}


def played(score, sets, test, **rows):
    splits = Splits(test, test, test)
    table = {name: score(x, splits) for name, x in sets.items()}
    return Contest(table, parts(score, sets, splits), ["a", "b"], **rows)


def said(values, pieces, floor=None, simple=(), runs=("a", "b")):
    """A contest of given values, and given values of their parts."""
    table = {row: {"s": Score(value, 0.0)} for row, value in values.items()}
    if floor is not None:
        table["floor"] = {"s": Score(floor, 0.0)}
    own = {row: [{"s": Score(v, 0.0)} for v in row_values] for row, row_values in pieces.items()}
    return Contest(table, own, list(runs), simple).outcome("s")


@pytest.mark.parametrize("score", [apart, signed])
def test_chance_is_called_a_difference_once_in_twenty_at_most(score):
    rounds = 200
    sets = [{k: normal(200, k, i) for k in "ab"} for i in range(rounds)]
    called = [played(score, s, normal(200, "t", i)).outcome("mean") for i, s in enumerate(sets)]
    share = sum(bool(outcome.winner) for outcome in called) / rounds
    assert share < 0.05 + 3 * math.sqrt(0.05 * 0.95 / rounds)


def test_a_real_difference_is_called():
    sets = [{"a": normal(400, "a", i, mean=0.5), "b": normal(400, "b", i)} for i in range(20)]
    called = [played(apart, s, normal(400, "t", i)).outcome("mean") for i, s in enumerate(sets)]
    assert sum(outcome.winner == "b" for outcome in called) >= 19


def test_the_standard_error_is_that_of_fresh_draws():
    found = [played(signed, {"a": normal(400, "a", i)}, normal(400, "t", i)) for i in range(60)]
    spread = torch.tensor([c.table["a"]["mean"].value for c in found]).std()
    told = torch.tensor([c.error("a", "mean") for c in found]).mean()
    assert math.isclose(told, math.sqrt(2 / 400), rel_tol=0.1)
    assert math.isclose(told, spread, rel_tol=0.3)


def test_what_a_part_of_the_test_split_has_of_its_own_cancels():
    """Both runs miss each part by as much as it is odd; one is nearer in all of them."""
    test = normal(400, "t") + torch.linspace(-3, 3, 400)
    sets = {"a": torch.full((400,), 10.0), "b": torch.full((400,), 10.1)}
    contest = played(apart, sets, test)
    assert contest.outcome("mean").winner == "a"
    assert contest.error("a", "mean") > 0.1


def test_a_score_that_happens_to_be_perfect_keeps_its_spread():
    around = [-1.0, 1.0] * 5
    assert not said({"a": 0.0, "b": 0.5}, {"a": around, "b": around[::-1]}).winner
    assert said({"a": 0.0, "b": 0.5}, {"a": [0.0] * 10, "b": [0.4, 0.6] * 5}).winner == "a"


def test_noise_in_common_does_not_cancel_across_the_best_value():
    """One run lies below and one above, so that what moves both towards one moves off another."""
    noise = [-0.1, 0.1] * 5
    pieces = {"a": [-0.2 + e for e in noise], "b": [0.1 + e for e in noise]}
    assert not said({"a": -0.2, "b": 0.1}, pieces).winner
    assert said({"a": 0.2, "b": 0.1}, pieces | {"a": [0.2 + e for e in noise]}).winner == "b"


def test_leads_are_antisymmetric():
    contest = played(apart, {"a": normal(90, "a", mean=1.0), "b": normal(90, "b")}, normal(90, 0))
    assert contest.lead("a", "b", "mean") == -contest.lead("b", "a", "mean") < 0
    assert contest.outcome("mean").margin == contest.lead("b", "a", "mean")


def test_both_below_the_floor_is_a_tie_however_sure():
    sure = {"a": [0.01] * 10, "b": [0.02] * 10}
    assert said({"a": 0.01, "b": 0.02}, sure).winner == "a"
    tie = said({"a": 0.01, "b": 0.02}, sure, floor=0.03)
    assert (tie.leaders, tie.at_floor, tie.margin) == (("a", "b"), True, math.inf)
    assert said({"a": 0.01, "b": 0.02}, sure, floor=0.015).winner == "a"


def test_of_three_runs_the_leaders_are_those_that_chance_does_not_part():
    values = {"a": 0.9, "b": 0.1, "c": 0.11}
    noise = [-0.05, 0.05] * 5
    pieces = {k: [v + e for e in (noise if k == "b" else noise[::-1])] for k, v in values.items()}
    found = said(values, pieces, runs=("a", "b", "c"))
    assert found.leaders == ("b", "c")
    assert not found.winner


def test_a_simple_model_beats_only_if_it_beats_every_run():
    values = {"a": 0.5, "b": 0.3, "good": 0.1, "middling": 0.4}
    pieces = {k: [v] * 10 for k, v in values.items()}
    assert said(values, pieces, simple=("good", "middling")).beaten_by == ("good",)


def test_few_objects_tell_nothing():
    n = SMALLEST * SMALLEST - 1
    contest = played(apart, {"a": normal(n, 0), "b": normal(n, 1, mean=9.0)}, normal(900, 2))
    assert contest.pieces == {"a": [], "b": []}
    assert math.isnan(contest.needed)
    assert contest.outcome("mean").leaders == ("a", "b")


def test_parts_are_as_many_as_the_smallest_set_allows():
    sets = {"a": normal(900, 0), "b": normal(6 * SMALLEST, 1)}
    assert {len(p) for p in played(apart, sets, normal(900, 2)).pieces.values()} == {6}
    sets["b"] = normal(900, 1)
    assert {len(p) for p in played(apart, sets, normal(900, 2)).pieces.values()} == {PARTS}


def test_what_is_no_number_does_not_win():
    fine = {"a": [0.5] * 10, "b": [math.nan] * 10}
    assert said({"a": 0.5, "b": math.nan}, fine) is None
    three = said({"a": 0.5, "b": math.nan, "c": 0.7}, fine | {"c": [0.7] * 10}, runs=tuple("abc"))
    assert three.winner == "a"


def test_rows_of_data_are_no_models():
    rows = ["samples", "floor", "training set", "training set, replica 1", "gaussian"]
    assert evaluation.simple(rows) == ["samples", "gaussian"]
