"""What a domain shows beside its data stands on the pages, and its figures are kept."""

import pytest

from genmatter import api
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
