"""What a domain shows beside its data stands on the pages, and its figures are kept."""

from collections import Counter

import pytest

from genmatter import api
from genmatter.api.draws import draws
from genmatter.api.results import Samples
from genmatter.domains.bag.domain import Bag
from genmatter.reporting.style import figure

WORDS = "Widths of both."


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    home = tmp_path_factory.mktemp("bags")
    for name in ("one", "two"):
        api.train("bag/vae", preset="tiny", run=home / name)
    return home


@pytest.fixture(autouse=True)
def _beside(monkeypatch, short_walks):
    def pictures(self, samples, splits):
        counts = f"<p>{len(samples)} samples, {len(splits.test)} tested</p>"
        return {WORDS: figure(2, 2), "Counted.": counts}

    monkeypatch.setattr(Bag, "pictures", pictures)


def test_a_report_shows_them_after_the_observables_and_keeps_the_figures(runs):
    text = api.report(runs / "one", n=8).read_text()
    places = [text.index(f">{s}") for s in ("Observables of", WORDS, "Counted.", "Scores</h2>")]
    assert places == sorted(places)
    assert "tested</p>" in text
    kept = [p.name for p in (runs / "one" / "pictures").iterdir() if "beside" in p.name]
    assert kept == ["beside_0.png"]


def test_a_comparison_shows_those_of_every_run(runs):
    text = api.report(runs / "one", runs / "two", n=20).read_text()
    for name in ("one", "two"):
        assert f"<strong>{name}</strong>: {WORDS}" in text
    assert text.count("tested</p>") == 2


def test_a_map_of_a_domains_own_follows_the_plain_one(runs, monkeypatch):
    seen = []

    def drawn(self, objects, xy, values):
        seen.append((len(objects), xy.shape, {k: v.shape for k, v in values.items()}))
        return "<p>a richer map</p>"

    monkeypatch.setattr(Bag, "map", drawn)
    text = api.report(runs / "one", n=8).read_text()
    n = len(api.load(runs / "one").splits.test)
    assert seen == [(n, (n, 2), {"width": (n,), "charge": (n,)})]
    assert text.index("Latents of the test") < text.index("a richer map") < text.index("across ")
    monkeypatch.setattr(Bag, "map", lambda *given: figure(2, 2))
    api.report(runs / "one", n=8)
    kept = {p.name for p in (runs / "one" / "pictures").iterdir()}
    assert {"latent_map.png", "latent_map_richer.png"} <= kept
    monkeypatch.setattr(Bag, "map", lambda *given: None)
    assert "across " not in api.report(runs / "one", n=8).read_text()


def test_a_report_says_what_became_of_draws():
    bags = [None] * 6
    (all_kept,) = draws(Samples(bags, 6, Counter()))
    assert "6 samples in as many draws" in all_kept.html("")
    (table,) = draws(Samples(bags, 10, Counter({"drawn before": 1, "too wide": 3})))
    assert [list(row) for row in table.rows] == [
        ["kept", 6, "60.0%"], ["too wide", 3, "30.0%"], ["drawn before", 1, "10.0%"],
        ["all draws", 10, "100.0%"],
    ]  # fmt: skip


def test_what_is_drawn_as_markup_is_written_as_a_page(runs):
    api.interpolate(runs / "one", "test:0", "test:0", steps=3, out=runs / "path.npz")
    text = (runs / "path.html").read_text()
    assert text.startswith("<!doctype html>")
    assert '<meta charset="utf-8">' in text
    assert "<p>3 bags: alpha 0.00, alpha 0.50, alpha 1.00</p>" in text
