"""Which draws are kept, and that all of them are accounted for."""

import dataclasses
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genmatter import api
from genmatter.api.drawing import Chunk, Rule, kept
from genmatter.domains.words.vae import WordBatch, Words
from genmatter.errors import ConfigError, DataError


def chunk(faults, names=None, costs=None):
    rows = torch.arange(len(faults))[:, None].expand(-1, 5)
    return Chunk(WordBatch(rows), faults, names, costs)


def test_what_was_kept_before_is_not_kept_again():
    known = set()
    rule = Rule(unique=True)
    first = chunk(["", "broken", "", ""], ["a", "b", "a", "b"])
    assert first.reasons(rule, known) == ["", "broken", "drawn before", ""]
    assert chunk(["", ""], ["b", "c"]).reasons(rule, known) == ["drawn before", ""]


def test_the_cheapest_sound_one_of_each_group_is_kept():
    nan = float("nan")
    costs = [3.0, 1.0, 0.0, nan, nan, nan, 2.0, 1.0, 1.0]
    why = chunk(["", "", "broken", "", "", "", *["broken"] * 3], None, costs)
    worse = "not the best of 3"
    found = why.reasons(Rule(best_of=3), set())
    assert found == [worse, "", "broken", "", worse, worse, *["broken"] * 3]


def test_a_cost_that_is_not_known_is_the_highest():
    nan = float("nan")
    why = chunk([""] * 4, None, [nan, 5.0, 5.0, nan]).reasons(Rule(best_of=2), set())
    assert why == ["not the best of 2", "", "", "not the best of 2"]


def test_the_next_best_is_kept_where_the_best_was_kept_before():
    draws = chunk([""] * 4, ["a", "b", "a", "b"], [0.0, 1.0, 0.0, 1.0])
    found = draws.reasons(Rule(unique=True, best_of=2), set())
    assert found == ["", "not the best of 2", "drawn before", ""]


@given(
    names=st.lists(st.sampled_from("abcdefgh"), min_size=40, max_size=80),
    cuts=st.lists(st.integers(1, 9), min_size=80, max_size=80),
    group=st.sampled_from([1, 2, 4]),
)
def test_chunks_change_nothing_and_every_draw_is_accounted_for(names, cuts, group):
    names = names[: len(names) // 4 * 4]
    costs = [float(ord(c)) for c in names] if group > 1 else None
    rule, wanted = Rule(unique=True, best_of=group), 3
    faults = ["broken" if c == "h" else "" for c in names]

    def parts():
        at = 0
        for size in cuts:
            rows = slice(at, at + size * group)
            yield chunk(faults[rows], names[rows], costs and costs[rows])
            at = rows.stop
            if at >= len(names):
                return

    def whole():
        yield chunk(faults, names, costs)

    if len(set(names) - {"h"}) < wanted + group:
        return
    (_, drawn, rejected), (_, again, why) = kept(3, rule, parts(), 0), kept(3, rule, whole(), 0)
    assert (drawn, rejected) == (again, why)
    assert drawn - sum(rejected.values()) == wanted
    assert drawn % group == 0


def test_a_sample_holds_nothing_twice_and_says_so(spoken, monkeypatch):
    monkeypatch.setattr("genmatter.api.trained.CHUNK", 64)
    found = spoken.sample(600)
    assert len(set(found.objects.texts)) == len(found.objects) == 600
    assert found.rejected["drawn before"] > 0
    assert found.drawn - sum(found.rejected.values()) == 600
    raw = spoken.draw(found.drawn)
    fresh = Counter(
        w for w, why in zip(raw.texts, spoken.domain.faults(raw), strict=True) if not why
    )
    assert set(fresh) == set(found.objects.texts)
    assert found.rejected["drawn before"] == sum(fresh.values()) - len(fresh)


def test_a_model_that_repeats_itself_gives_up_with_words(spoken, monkeypatch):
    monkeypatch.setattr("genmatter.api.trained.CHUNK", 16)
    monkeypatch.setattr(spoken.domain, "identities", lambda x: ["the same"] * len(x))
    with pytest.raises(DataError, match=r"only 1 of 1602 draws were sound: .* x drawn before"):
        spoken.sample(2)


def test_the_best_of_several_is_nearer_to_the_target(spoken):
    home = spoken.run.path
    plain = api.load(home, target=("vowels=1",), unique=False)
    best = api.load(home, target=("vowels=1",), unique=False, best_of=8)
    cost = [it.domain.cost(it.sample(150).objects).mean() for it in (plain, best)]
    assert cost[1] < 0.5 * cost[0]
    found = best.sample(150)
    assert found.drawn == 1200
    assert sum(found.rejected.values()) == 1050
    assert found.rejected["not the best of 8"] > 900


def test_nothing_asked_for_has_no_best(spoken):
    found = api.load(spoken.run.path, best_of=8).sample(20)
    assert len(found.objects) == 20
    assert found.drawn < 40
    with pytest.raises(ConfigError, match="at least 1"):
        api.load(spoken.run.path, best_of=0).sample(1)


def test_a_group_shares_its_prompt(spoken, monkeypatch):
    seen = []
    it = api.load(spoken.run.path, target=("vowels=1",), best_of=4)
    counted = lambda self, n, config: WordBatch(torch.arange(n)[:, None].expand(-1, 5))
    monkeypatch.setattr(type(it.representation), "prompt", counted)
    plain = it.model.sample
    monkeypatch.setattr(it.model, "sample", lambda given: seen.append(given.x) or plain(given))
    it.sample(6)
    assert seen[0][:, 0].tolist() == torch.arange(6).repeat_interleave(4).tolist()


def test_scores_are_of_draws_among_which_nothing_was_chosen(spoken, monkeypatch):
    it = api.load(spoken.run.path, target=("vowels=1",), best_of=8)
    monkeypatch.setattr("genmatter.api.trained.CHUNK", 50)
    raw, fair = it.draw(130), it.fair(130)
    assert len(raw) == 130
    assert fair.texts[:130] == raw.texts
    faults = it.domain.faults(fair)
    assert faults.count("") == 130 < len(fair)
    assert faults[-1] == ""
    table = api.evaluate(dataclasses.replace(it), 130)
    assert table["samples"]["valid"].value == pytest.approx(130 / len(fair))
    monkeypatch.setattr(type(it.domain), "counts_failures", False)
    sound = it.fair(130)
    assert it.domain.faults(sound) == [""] * 130
    assert len(set(sound.texts)) < 130
    assert (
        sound.texts[:50]
        == tuple(w for w in it.draw(200).texts if not it.domain.faults(Words((w,)))[0])[:50]
    )
    with pytest.raises(DataError, match="positive"):
        it.draw(0)


def test_samples_are_fair_where_nothing_is_chosen(spoken, monkeypatch):
    assert spoken.is_choosy
    plain = api.load(spoken.run.path, unique=False)
    assert plain.is_choosy
    monkeypatch.setattr(type(plain.domain), "counts_failures", False)
    assert not plain.is_choosy
    assert plain.fair(60).texts == plain.sample(60).objects.texts
    assert api.load(spoken.run.path, unique=False, best_of=2).is_choosy
