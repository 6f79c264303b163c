"""Runs side by side: one measure for all, what differs is said, and what cannot be is refused."""

import dataclasses
import json
import math
import re
import shutil

import pytest

from genmatter import api
from genmatter import config as configs
from genmatter.api.comparing import compare
from genmatter.api.lineup import differing, load_all
from genmatter.api.trained import Trained
from genmatter.cli import main
from genmatter.errors import DataError, RecipeError, RunError
from genmatter.recipes import find

N = 60
SMALL = {"chains": 90, "valid_chains": 60, "test_chains": 60, "beads": 6, "epochs": 1}


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Measures likelihoods and seconds on fewer objects."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"TIMED": 20, "DRAWS": 2, "BOUNDED": 20}.items():
            patch.setattr(f"genmatter.api.comparing.{name}", value)
        yield


def trained(recipe, home, preset="tiny", **fields):
    api.train(
        recipe, configs.resolve(find(recipe), preset=preset, recipe=recipe, **fields), run=home
    )
    return home


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two settings of one recipe, and one with another representation, called as a baseline is."""
    home = tmp_path_factory.mktemp("runs")
    wide = trained("polymer/vae", home / "wide", **SMALL, latent_dim=4)
    trained("polymer/vae", home / "narrow", **SMALL)
    trained("polymer/vae", home / "gaussian", "gaussian", **SMALL, hidden_dim=16)
    return wide.parent


@pytest.fixture(scope="module")
def page(runs):
    return api.report(runs / "wide", runs / "narrow", n=N)


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    home = tmp_path_factory.mktemp("bags")
    trained("bag/vae", home / "vae")
    trained("bag/flow", home / "flow", parent=str(home / "vae"))
    return home


def kept(page):
    return json.loads(page.with_suffix(".json").read_text())


def test_the_page_lies_beside_the_runs_and_has_every_section(runs, page):
    assert page == runs / "comparison-wide-narrow.html"
    text = page.read_text()
    titles = re.findall(r"<h2 [^>]*>([^<]*)</h2>", text)
    assert titles == [
        "What is compared", "Samples", "Distributions", "Scores", "Training", "Likelihood", "Cost",
        "Verdict", "How to repeat this",
    ]  # fmt: skip
    assert not (runs / "wide" / "report.html").exists()
    assert f"genmatter report {runs / 'wide'} {runs / 'narrow'} -n {N}" in text


def test_every_row_is_scored_as_it_would_be_alone(runs, page):
    table = kept(page)["scores"]["table"]
    assert [*table] == [
        "wide", "narrow", "floor", "training set", "pca", "gaussian", "mixture", "bootstrap",
    ]  # fmt: skip
    for name in ("wide", "narrow"):
        it = api.load(runs / name)
        alone = it.domain.score(it.sample(N).objects, it.splits)
        assert {k: s["value"] for k, s in table[name].items()} == {
            k: s.value for k, s in alone.items()
        }


def test_the_order_of_the_runs_changes_no_value(bags, tmp_path):
    pages = [
        kept(api.report(*(bags / name for name in names), n=N, out=tmp_path / f"{i}.html"))
        for i, names in enumerate([("vae", "flow"), ("flow", "vae")])
    ]
    assert [page["data"] for page in pages] == ["vae", "flow"]
    for name in ("vae", "flow"):
        a, b = (page["scores"]["table"][name] for page in pages)
        assert a == b
    a, b = (page["scores"]["outcomes"]["width_gap"] for page in pages)
    assert (a["margin"], {*a["leaders"]}) == (b["margin"], {*b["leaders"]})


def test_only_leaves_that_differ_are_listed(page):
    assert kept(page)["differing"] == {"latent_dim": {"wide": 4, "narrow": 2}}
    a = configs.resolve(find("bag/vae"), seed=3)
    b = configs.resolve(find("bag/flow"), bags=7)
    rows = differing({"a": a, "b": b})
    assert rows == {"seed": {"a": 3, "b": 0}, "data.bags": {"a": 200, "b": 7}}


def test_a_run_ties_with_its_own_copy(bags, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(bags / "vae", tmp_path / name)
    found = kept(api.report(tmp_path / "one", tmp_path / "two", n=N))
    assert found["differing"] == {}
    for contest in (found["scores"], found["reconstruction"]):
        (outcome,) = contest["outcomes"].values()
        assert (outcome["leaders"], outcome["margin"]) == (["one", "two"], 0)
    text = (tmp_path / "comparison-one-two.html").read_text()
    assert "The configs are the same" in text
    assert "Of 1 score, <strong>one</strong> is nearer to the best value on 0" in text
    assert "the same value" in text


def test_the_data_beat_nonsense_and_a_simple_model_beats_two_of_it(runs, monkeypatch):
    loaded = load_all([runs / "wide", runs / "narrow"])
    wide, narrow = loaded.values()
    good, bad = wide.splits.valid, 3 * wide.splits.valid

    def outcome(of):
        monkeypatch.setattr(Trained, "fair", lambda self, n, seed=0: of[id(self)][:n])
        return compare(loaded, N).contest.outcome("w1_rg")

    clear = outcome({id(wide): good, id(narrow): bad})
    assert (clear.winner, clear.beaten_by) == ("wide", ())
    both = outcome({id(wide): bad, id(narrow): bad.flip(0)})
    assert not both.winner
    assert {"gaussian", "bootstrap"} <= {*both.beaten_by}


def test_three_runs_stand_side_by_side_on_the_command_line(capsys, runs, tmp_path):
    homes = [str(runs / name) for name in ("wide", "narrow", "gaussian")]
    out = str(tmp_path / "deep" / "three.html")
    assert main(["report", homes[0], "-n", str(N), *homes[1:], "--out", out]) == 0
    assert capsys.readouterr().out.strip() == f"report: {out}"
    found = kept(tmp_path / "deep" / "three.html")
    rows = found["scores"]["table"]
    assert rows["gaussian"] != rows["gaussian (baseline)"]
    text = (tmp_path / "deep" / "three.html").read_text()
    assert "Validation, per example: wide and narrow." in text  # one representation: one panel
    assert "<strong>gaussian</strong>: terms of its own objective" in text
    assert "do not rank the runs by these values" in text
    assert "gaussian (representation)" in found["reconstruction"]["table"]


def test_recipes_that_differ_in_what_they_can_do_are_compared(bags):
    text = api.report(bags / "vae", bags / "flow", n=N).read_text()
    assert "80 bags" not in text
    assert text.count("8 bags:") == 3
    found = kept(bags / "comparison-vae-flow.html")
    assert found["runs"]["flow"]["likelihood"] == {}
    assert found["runs"]["vae"]["likelihood"]["elbo"]
    assert [*found["reconstruction"]["table"]] == ["vae", "floor"]
    assert found["differing"]["parent"] == {"vae": None, "flow": str(bags / "vae")}


def test_what_sampling_costs_is_measured_and_network_calls_are_told(bags, monkeypatch):
    loaded = load_all([bags / "vae", bags / "flow"])
    loaded["flow"].model.network_calls = 4
    costs = compare(loaded, N).costs
    assert (costs["vae"].calls, costs["flow"].calls) == (None, 4)
    for name, cost in costs.items():
        it = loaded[name]
        assert cost.parameters == sum(p.numel() for p in it.model.parameters())
        assert cost.size == (bags / name / "model").stat().st_size
        assert cost.sampling > 0
        assert cost.epochs == 2
        assert cost.training == it.run.read_history()[-1]["seconds"]


def test_other_data_are_said_and_shapes_that_do_not_fit_are_refused(bags, runs, tmp_path):
    other = trained("bag/vae", tmp_path / "other", bags=100)
    text = api.report(bags / "vae", other, n=N).read_text()
    assert "did not learn from the same data, but from other <code>data.bags</code>." in text
    long = trained("polymer/vae", tmp_path / "long", **SMALL | {"beads": 7})
    with pytest.raises(DataError, match=r"'long' cannot be compared on .*wide.*7 beads"):
        api.report(runs / "wide", long, n=N)
    spins = [trained("spins/vae", tmp_path / f"{n}", spins=n, chains=80) for n in (8, 12)]
    with pytest.raises(DataError, match="'12' cannot be compared"):
        api.report(*spins, n=N)
    assert not (runs / "comparison-wide-long.html").exists()


def test_the_same_data_bring_no_warning(page):
    assert "did not learn from the same data" not in page.read_text()


@pytest.mark.parametrize("again", ["wide", "narrow/../wide"])
def test_a_run_is_not_compared_with_itself(capsys, runs, again):
    assert main(["report", str(runs / "wide"), str(runs / again)]) == 2
    assert "are the same run" in capsys.readouterr().err


def test_runs_of_different_domains_are_refused_by_name(runs, bags):
    with pytest.raises(RecipeError, match=r"wide.*polymer/vae.*flow.*bag/flow"):
        api.report(runs / "wide", bags / "flow")


def test_what_is_no_run_or_no_page_is_refused(runs, tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        api.report(runs / "wide", tmp_path)
    afloat = dataclasses.replace(api.load(runs / "narrow"), run=None)
    with pytest.raises(RunError, match="on disk"):
        api.report(runs / "wide", afloat)
    with pytest.raises(RunError, match=r"\.html"):
        api.report(runs / "wide", runs / "narrow", out=tmp_path / "page.json")


def test_runs_are_called_by_what_tells_them_apart(runs, tmp_path):
    for place in ("a/run", "b/run", "floor"):
        shutil.copytree(runs / "wide", tmp_path / place)
    assert [*load_all([tmp_path / "a/run", runs / "wide"])] == ["run", "wide"]
    assert [*load_all([tmp_path / "a/run", tmp_path / "b/run"])] == ["a/run", "b/run"]
    assert [*load_all([tmp_path / "a/run", tmp_path / "floor"])][1] == f"{tmp_path.name}/floor"


def test_one_run_is_reported_as_ever(bags, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(bags / "flow", home)
    assert api.report(home, n=N) == home / "report.html"
    assert api.report(home, out=tmp_path / "mine.html") == tmp_path / "mine.html"


def test_a_score_without_spread_is_a_number_in_the_file(page):
    errors = kept(page)["scores"]["errors"]["wide"]
    assert errors["finite"] == 0
    assert all(e > 0 for k, e in errors.items() if k not in {"finite", "energy_high"})
    assert all(math.isfinite(e) for e in errors.values())
    assert math.isclose(kept(page)["scores"]["needed"], 2.26, abs_tol=0.01)
