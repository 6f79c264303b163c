"""The command line: every verb once, as a user types it, and errors in one line."""

import re

import pytest

from genmatter.cli import VERBS, main
from genmatter.errors import RecipeError
from genmatter.recipes import find, named

TINY = ["--preset", "tiny", "--epochs", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = str(tmp_path_factory.mktemp("cli") / "run")
    assert main(["train", "polymer/vae", *TINY, "--run", home]) == 0
    return home


def said(capsys, *argv):
    assert main(list(argv)) == 0
    return capsys.readouterr().out


def test_every_verb_is_listed_and_has_help(capsys):
    assert all(verb in said(capsys) for verb in VERBS)
    for verb in VERBS:
        with pytest.raises(SystemExit) as stop:
            main([verb, "--help"])
        assert stop.value.code == 0
    assert capsys.readouterr().out.count("usage: genmatter") == len(VERBS)


def test_the_help_of_a_recipe_shows_its_flags_and_presets(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "polymer/vae", "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    for word in ("--resume", "--preset", "walkthrough", "--latent-dim", "--lj-sigma", "--epochs"):
        assert word in out


def test_recipes_and_configs_are_shown(capsys):
    assert "polymer/vae" in said(capsys, "list")
    assert "recipe: polymer/vae" in said(capsys, "show", "polymer/vae")
    assert re.search(r"^beta: 0.25$", said(capsys, "show", "polymer/vae", "--beta=0.25"), re.M)


def test_a_run_is_used(capsys, run, tmp_path, short_walks):
    out = tmp_path / "x"
    assert "7 samples of 7 drawn" in said(capsys, "sample", run, "-n", "7", "--out", f"{out}.npz")
    assert "7 samples" in said(capsys, "sample", run, "-n", "7", "--temperature", "0.5")
    table = said(capsys, "evaluate", run, "-n", "50")
    assert all(row in table for row in ("samples", "floor", "training set", "w1_bond"))
    assert "x.npz" in said(capsys, "evaluate", run, "--samples", f"{out}.npz")
    assert "elbo" in said(capsys, "score", run)
    assert "iwae" in said(capsys, "score", run, f"{out}.npz", "--importance", "3")
    assert "rmsd" in said(capsys, "reconstruct", run, f"{out}.npz")
    assert "latents" in said(capsys, "encode", run, "valid", "--out", f"{out}_z.npz")
    line = said(
        capsys, "interpolate", run, "test:3", f"{out}.npz:2", "--steps", "3", "--path", "spherical"
    )
    assert "alpha 0.00, 0.50, 1.00" in line
    for goal in (["--minimise"], ["--maximise"], ["--target", "1.0"]):
        said(capsys, "optimise", run, "radius_of_gyration", *goal, "--starts", "4", "--steps", "3")
    page = said(capsys, "report", run).removeprefix("report: ").strip()
    assert page.endswith("report.html")


def test_own_functions_are_optimised(capsys, run, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def span(x):\n    return (x[:, -1] - x[:, 0]).norm(dim=-1)\n")
    argv = ["optimise", run, f"{mine}:span", "--starts", "4", "--steps", "2"]
    assert "of 4 walks" in said(capsys, *argv)
    assert main(["optimise", run, f"{mine}:nothing"]) == 2


def test_data_are_described_and_written(capsys, tmp_path):
    argv = ["data", "polymer/vae", "--preset", "tiny", "--out", str(tmp_path / "c.npz")]
    assert "radius of gyration" in said(capsys, *argv)
    assert {p.name for p in tmp_path.iterdir()} == {"c_train.npz", "c_valid.npz", "c_test.npz"}


def test_a_kind_of_matter_with_one_recipe_needs_no_more_name(capsys, tmp_path):
    argv = ["--preset", "tiny", "--out", str(tmp_path / "arrays")]
    assert "AGA" in said(capsys, "data", "backbone", *argv)
    assert {"atlas.csv", "frame_splits.csv"} < {p.name for p in (tmp_path / "arrays").iterdir()}
    with pytest.raises(RecipeError, match="polymer"):
        find(named("polymer"))


def test_a_folder_is_no_file_of_chains(capsys, tmp_path):
    argv = ["data", "polymer/vae", "--preset", "tiny", "--out", str(tmp_path / "c")]
    assert main(argv) == 2
    assert ".npz" in capsys.readouterr().err


def test_a_run_is_resumed_with_more_epochs(capsys, tmp_path):
    home = str(tmp_path / "run")
    said(capsys, "train", "polymer/vae", *TINY, "--run", home)
    out = said(capsys, "train", "polymer/vae", "--run", home, "--resume", "--epochs", "3")
    assert "3 epochs" in out


def test_the_doctor_finds_the_installation_well(capsys):
    out = said(capsys, "doctor")
    assert "torch" in out
    assert "passed" in out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "polymer/vea"], "did you mean 'polymer/vae'"),
        (["train"], "required: recipe"),
        (["train", "polymer/vae", "--epoch", "3"], "did you mean 'epochs'"),
        (["train", "polymer/vae", "--epochs", "many"], "many"),
        (["train", "polymer/vae", "--data", "nowhere.npz"], "nowhere.npz"),
        (["train", "polymer/vae", "--run", "{tmp}/mistyped", "--resume"], "no run to resume"),
        (["sample", "{tmp}"], "not a run folder"),
        (["sample", "{run}", "-n", "0"], "positive"),
        (["sample", "{run}", "--temprature", "1"], "did you mean 'temperature'"),
        (["evaluate", "{run}", "--samples", "nowhere.npz"], "nowhere.npz"),
        (["optimise", "{run}", "radius"], "did you mean 'radius_of_gyration'"),
        (["interpolate", "{run}", "test:99999"], "99999"),
        (["train", "polymer/vae", "--run", "{run}"], "--overwrite"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(capsys, tmp_path, run, argv, words):
    argv = [a.replace("{tmp}", str(tmp_path)).replace("{run}", run) for a in argv]
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert re.search(words, said)
    assert said.count("\n") == 1
