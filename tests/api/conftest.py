"""A run of words, which the tests of what is done with objects share and leave as it is."""

import pytest

from genmatter import api


@pytest.fixture(scope="session")
def spoken(tmp_path_factory):
    place = tmp_path_factory.mktemp("words") / "run"
    return api.train("words/vae", run=place, epochs=60, lr=6e-3)
