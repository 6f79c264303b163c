"""Samples of which something is wanted."""

import pytest
import torch

from genmatter import api
from genmatter.api import wishes
from genmatter.cli import main
from genmatter.errors import ConfigError, RecipeError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("steering") / "run"
    return api.train(
        "polymer/diffusion", run=path, beads=5, chains=2000, valid_chains=100, test_chains=500,
        epochs=12, batch_size=128, lr=8e-3, hidden_dim=32, layers=2, steps=30,
        conditions=("end_to_end",),
    )  # fmt: skip


def test_samples_are_steered_to_a_value_and_closely(run):
    of = {o.name: o.of for o in run.domain.observables}["radius_of_gyration"]
    plain = of(run.sample(500).objects)
    wanted = float(plain.quantile(0.3))
    found = of(run.steer("radius_of_gyration", wanted, 300).objects)
    assert abs(found.median() - wanted) < 0.1 * plain.std()
    assert found.std() < 0.3 * plain.std()
    loose = of(run.steer("radius_of_gyration", wanted, 300, width=float(plain.std())).objects)
    assert loose.std() > 1.5 * found.std()


def test_steering_depends_on_the_seed_and_leaves_the_weights_free_to_learn(run):
    a, b, c = (run.steer("end_to_end", 1.0, 5, seed=s).objects for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert all(p.requires_grad for p in run.model.parameters())


def test_the_command_says_what_came_of_it(run, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "def first(x):\n    return (x[:, 1] - x[:, 0]).norm(dim=-1)\n"
    )
    place, out = str(run.run.path), str(tmp_path / "s.npz")
    steered = ["sample", place, "-n", "50", "--out", out, "--steer"]
    assert main([*steered, f"{tmp_path}/mine.py:first=0.7"]) == 0
    said = capsys.readouterr().out
    assert "mine.py:first: wanted 0.7, got" in said
    assert "sound beside the training data" in said
    assert main(["sample", place, "-n", "50", "--out", out, "--condition", "end_to_end=1.5"]) == 0
    assert "end_to_end: wanted 1.5, got" in capsys.readouterr().out
    assert main([*steered, "end_to_en=1"]) == 2
    assert "did you mean 'end_to_end'" in capsys.readouterr().err
    assert main([*steered, "end_to_end"]) == 2
    assert "NAME=NUMBER" in capsys.readouterr().err
    assert main(["sample", place, "--out", out, "--condition", "asphericity=1"]) == 2
    assert "no condition 'asphericity'" in capsys.readouterr().err


def test_what_cannot_be_steered_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="above 0"):
        run.steer("end_to_end", 1.0, width=-1.0)
    vae = api.train("polymer/vae", preset="tiny", run=tmp_path / "vae", epochs=1)
    with pytest.raises(RecipeError, match=r"cannot steer; .*polymer/diffusion can"):
        vae.steer("end_to_end", 1.0)


def test_wishes_are_read():
    assert wishes.read("a.py:f = 2") == ("a.py:f", 2.0)
    with pytest.raises(ConfigError, match="NAME=NUMBER"):
        wishes.read("a")
    assert wishes.conditions(None) == {}


def test_a_linear_start_is_there_before_the_first_step_and_not_again(tmp_path, monkeypatch):
    """At a step size of nothing, a training ends where it began."""
    how = {"preset": "gaussian", "linear_start": True, "chains": 500, "valid_chains": 100}
    how |= {"test_chains": 50, "lr": 0.0, "prior_parts": 0, "weight_decay": 0.0}
    it = api.train("polymer/vae", run=tmp_path / "a", epochs=1, **how)
    begun = []
    monkeypatch.setattr(type(it.model), "begin", lambda self, batches: begun.append(1))
    cold = api.train("polymer/vae", run=tmp_path / "b", epochs=1, **how)
    first, last = (i.run.read_history()[-1]["valid/total"] for i in (it, cold))
    assert first < last - 5
    api.train("polymer/vae", run=tmp_path / "a", resume=True, epochs=2)
    assert begun == [1]
