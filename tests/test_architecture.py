"""The architecture, as tests."""

import subprocess
import sys

import pytest

LIGHT = [["list"], ["show", "polymer/vae", "--beta", "0.01"], ["--help"], ["train", "--help"]]


@pytest.mark.parametrize("argv", LIGHT, ids=" ".join)
def test_reading_configs_imports_no_torch(argv):
    code = (
        "import sys\nfrom genmatter.cli import main\n"
        f"try: main({argv})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'matplotlib'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_verb_is_a_function_of_the_package_even_when_all_of_it_is_imported():
    import importlib
    import pkgutil

    import genmatter
    from genmatter.cli import VERBS

    for module in pkgutil.walk_packages(genmatter.__path__, "genmatter."):
        if "domains" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert all(callable(getattr(genmatter, verb)) for verb in VERBS.keys() - {"list", "show"})
