"""What every test shares."""

import dataclasses
import functools
import os
import re
import tempfile
from pathlib import Path

import matplotlib as mpl
import pytest
import torch

import genmatter.domains
from genmatter import api
from genmatter.api.trained import Trained
from genmatter.recipes import find_all

mpl.use("Agg")
torch.set_num_threads(1)

HERE = Path(__file__).parent


def _documented_domain() -> Path:
    """Puts the domain that the documentation shows into a folder."""
    page = (HERE.parent / "docs" / "adding-a-domain.md").read_text()
    home = Path(tempfile.mkdtemp(prefix="genmatter-documented-"))
    found = re.findall(r"^`(spins/\w+\.py)`.*?```python\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    assert len(found) == 4, "the page shows four files"
    for name, code in found:
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(code)
    return home


# a new kind of matter is a new folder and no other edit: these two are found, not registered
genmatter.domains.__path__.append(str(HERE / "toys"))
genmatter.domains.__path__.append(str(_documented_domain()))


@pytest.fixture
def short_walks(monkeypatch):
    """Walks of a few steps, where a test looks at what becomes of them rather than at them."""
    short = functools.partialmethod(Trained.optimise, starts=4, steps=3)
    monkeypatch.setattr(Trained, "optimise", short)


RECIPES = find_all()


@pytest.fixture(params=RECIPES, scope="module")
def recipe(request):
    """Each recipe in turn."""
    return request.param


@pytest.fixture(scope="module")
def config(recipe, tmp_path_factory):
    """The recipe's tiny preset, and the run that it starts from where it has a stage."""
    config = RECIPES[recipe].presets["tiny"]
    if config.stage:
        parent = tmp_path_factory.mktemp("parent") / "run"
        api.train(config.stage, preset="tiny", run=parent)
        config = dataclasses.replace(config, parent=parent)
    return config


@pytest.fixture
def real_data() -> Path:
    """Where real data lie; the test is skipped where it is not said."""
    if "GENMATTER_REAL_DATA" not in os.environ:
        pytest.skip("GENMATTER_REAL_DATA is not set")
    return Path(os.environ["GENMATTER_REAL_DATA"])
