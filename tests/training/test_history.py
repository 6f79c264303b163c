"""What each epoch puts on record beside the terms of the loss."""

import math

import pytest
import torch

from genmatter import api
from genmatter.cli import main
from genmatter.domains.words.vae import Speaker
from genmatter.maths.noise import stream
from genmatter.reporting import plots
from genmatter.training import validation

TINY = {"preset": "tiny"}


def test_clocks_and_diagnostics_stand_in_the_history(tmp_path):
    it = api.train("words/vae", run=tmp_path / "run", keep="last", epochs=3, **TINY)
    rows = it.run.read_history()
    per_epoch = rows[0]["step"]
    for row in rows:
        assert row["forcing"] == pytest.approx(1 / (1 + (row["step"] - 1) / per_epoch))
        assert {"valid/active_units", "valid/mutual_information"} < row.keys()
        assert not any("unit_" in k for k in row)
    valid = it.representation.encode(it.splits.valid)
    with stream(it.config.seed, "watch"):
        known = it.model.diagnostics(valid)
    assert rows[-1]["valid/mutual_information"] == pytest.approx(known["mutual_information"])


def test_a_term_goes_before_a_diagnostic_of_its_name(tmp_path, monkeypatch):
    plain = Speaker.diagnostics
    monkeypatch.setattr(Speaker, "diagnostics", lambda *a: plain(*a) | {"kl": -7.0, "total": -8.0})
    rows = api.train("words/vae", run=tmp_path / "run", **TINY).run.read_history()
    assert all(row["valid/kl"] > 0 < row["valid/total"] for row in rows)


def test_only_a_model_that_asks_is_watched_and_it_learns_the_same(tmp_path, monkeypatch):
    watched = api.train("words/vae", run=tmp_path / "a", **TINY)
    monkeypatch.setattr(Speaker, "watched", False)
    plain = api.train("words/vae", run=tmp_path / "b", **TINY)
    assert "valid/active_units" in watched.run.read_history()[0]
    assert "valid/active_units" not in plain.run.read_history()[0]
    for a, b in zip(watched.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_as_many_examples_are_watched_as_are_enough(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(validation, "WATCHED", 7)
    monkeypatch.setattr(Speaker, "diagnostics", lambda self, batch: seen.append(len(batch)) or {})
    api.train("words/vae", run=tmp_path / "run", **TINY)
    assert seen == [7, 7]


def test_the_curves_show_them(tmp_path):
    rows = api.train("words/vae", run=tmp_path / "run", **TINY).run.read_history()
    titles = [ax.get_title(loc="left") for ax in plots.curves(rows).axes]
    assert {"forcing", "mutual_information", "active_units"} < set(titles)


def test_every_epoch_is_one_line_and_resuming_tells_the_new_ones(tmp_path, capsys):
    home = str(tmp_path / "run")
    argv = ["train", "words/vae", "--preset", "tiny", "--run", home]
    assert main([*argv, "--verbose"]) == 0
    lines = [s for s in capsys.readouterr().out.splitlines() if s.startswith("epoch ")]
    rows = api.load(home).run.read_history()
    assert len(lines) == len(rows) == 2
    for line, row in zip(lines, rows, strict=True):
        said = dict(part.rsplit(" ", 1) for part in line.split(", "))
        assert said.keys() == row.keys()
        assert all(math.isclose(float(said[k]), v, rel_tol=1e-4) for k, v in row.items())
    again = ["train", "words/vae", "--run", home, "--resume", "--epochs", "3", "--verbose"]
    assert main(again) == 0
    lines = [s for s in capsys.readouterr().out.splitlines() if s.startswith("epoch ")]
    assert [line.split(",")[0] for line in lines] == ["epoch 3"]
    assert main(["train", "words/vae", "--preset", "tiny", "--run", f"{home}2"]) == 0
    assert "epoch 1," not in capsys.readouterr().out


def test_a_domain_leaves_its_record_in_the_run_and_beside_its_data(tmp_path):
    api.train("words/vae", run=tmp_path / "run", **TINY)
    assert (tmp_path / "run" / "left_out.txt").is_file()
    api.data("words/vae", out=tmp_path / "data" / "w.txt")
    names = {p.name for p in (tmp_path / "data").iterdir()}
    assert names == {"w_train.txt", "w_valid.txt", "w_test.txt", "left_out.txt"}
