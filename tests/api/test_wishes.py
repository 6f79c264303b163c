"""What is wanted of samples, and what came of it."""

import math
from types import SimpleNamespace

import pytest
import torch

from genmatter.api.wishes import conditions, outcome
from genmatter.cli import main
from genmatter.errors import ConfigError


def asked(**sampling):
    return conditions(SimpleNamespace(sampling=SimpleNamespace(**sampling)))


def test_conditions_and_targets_are_read_alike():
    assert asked(condition="a=1, b=2") == {"a": 1, "b": 2}
    assert asked(target=("a=1", "b=2,c=-3")) == {"a": 1, "b": 2, "c": -3}
    assert asked(condition="a=1", target=("b=2",)) == {"a": 1, "b": 2}
    assert asked(condition="", target=()) == asked() == {}
    with pytest.raises(ConfigError, match="NAME=NUMBER"):
        asked(target=("a=much",))


def test_an_outcome_is_of_those_that_are_known():
    found = outcome("a", 2.0, torch.tensor([1.0, 2.0, 6.0, math.nan]))
    assert (found.mean, found.error) == (3.0, pytest.approx(5 / 3))
    assert found.std == pytest.approx(math.sqrt(7))
    assert math.isnan(outcome("a", 2.0, torch.tensor([1.0])).std)


def test_the_command_says_how_far_off_samples_are(spoken, tmp_path, capsys):
    argv = ["sample", str(spoken.run.path), "-n", "30", "--out", str(tmp_path / "s.txt")]
    assert main([*argv, "--target", "vowels=2"]) == 0
    assert "vowels: wanted 2, got" in (said := capsys.readouterr().out)
    assert "mean absolute error" in said
