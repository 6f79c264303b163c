"""A run folder is claimed, described and never lost by mistake."""

import os
from pathlib import Path

import pytest

from genmatter.errors import RunError
from genmatter.run import Run, write_text


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for flag in ({}, {"overwrite": True}):
        with pytest.raises(RunError, match="not empty"):
            Run(tmp_path).claim(**flag)
    with pytest.raises(RunError, match="no run to resume"):
        Run(tmp_path / "nowhere").claim(resume=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_recipe_is_told_or_the_folder_is_refused(tmp_path):
    run = Run(tmp_path / "run")
    with pytest.raises(RunError, match="not a run folder"):
        _ = run.recipe
    run.describe("recipe: a/b\nx: 1\n", {"n": 1})
    assert run.recipe == "a/b"
    write_text(run.config, "x: 1\n")
    with pytest.raises(RunError, match="no recipe"):
        _ = run.recipe


def test_a_history_that_a_kill_cut_is_read_up_to_there(tmp_path):
    run = Run(tmp_path)
    for step in (1, 2, 3):
        run.append_history({"step": step, "best": float("inf")})
    with run.history.open("a") as file:
        file.write('{"step": 4, "be')
    assert [r["step"] for r in run.read_history()] == [1, 2, 3]
    run.write_history(run.read_history()[:2])
    run.append_history({"step": 3})
    assert [r["step"] for r in run.read_history()] == [1, 2, 3]


def test_a_history_that_cannot_be_written_is_told(tmp_path):
    run = Run(tmp_path)
    run.history.mkdir()
    with pytest.raises(RunError, match=r"cannot write '.*history.jsonl': Is a directory"):
        run.append_history({"step": 1})


def test_what_a_killed_beginning_leaves_is_no_run_and_not_in_the_way(tmp_path):
    run = Run(tmp_path / "run")
    (run.path / "checkpoints").mkdir(parents=True)
    run.config.with_name("config.yaml.new").write_text("rec")
    for flags in ({}, {"resume": True}, {"overwrite": True}):
        run.claim(**flags)
    run.last.parent.mkdir(exist_ok=True)
    run.last.write_text("a checkpoint without a config")
    for flags in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(RunError, match="not empty"):
            run.claim(**flags)


def test_a_model_of_another_config_goes(tmp_path):
    run = Run(tmp_path)
    run.describe("recipe: a/b\n", {})
    run.model.write_text("trained")
    run.describe("recipe: a/b\n", {})
    assert run.model.is_file()
    run.describe("recipe: a/b\nepochs: 2\n", {})
    assert not run.model.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot write"):
        Run(tmp_path / "run").claim()


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_text(path, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(RunError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_recipe_means_the_folder_that_it_trains_into(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Run.at("a/b").path == Path("a/b")
    (tmp_path / "runs" / "a-b").mkdir(parents=True)
    assert Run.at("a/b").path == Path("runs/a-b")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert Run.at("a/b").path == Path("a/b")
