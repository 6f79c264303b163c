"""Where real processes are started, and killed."""

import pytest
from killing import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    workshop = Workshop(tmp_path_factory.mktemp("workshop"))
    assert workshop.run("list")[0] == 0  # its imports are over
    yield workshop
    workshop.close()
