"""Scores by fragments, from the tables that come with RDKit: synthetic access, natural products.

The Python files beside the tables are RDKit's own, outside its package, and are loaded by path.

References:
    | Estimation of synthetic accessibility score of drug-like molecules based on molecular
    | complexity and fragment contributions (Ertl & Schuffenhauer, 2009)
    | https://doi.org/10.1186/1758-2946-1-8
    | Natural product-likeness score and its application for prioritization of compound libraries
    | (Ertl, Roggo & Schuffenhauer, 2008) https://doi.org/10.1021/ci700286x
"""

__all__ = ["natural_product_likeness", "synthetic_accessibility"]

import gzip
import importlib.util
import pickle
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from rdkit import Chem, RDConfig

from genmatter.errors import MissingExtraError


def synthetic_accessibility(mol: Chem.Mol) -> float:
    """Returns the SA score, from 1 (easy to make) to 10 (hard).

    Raises:
        MissingExtraError: RDKit was installed without its contributions.
    """
    return _accessibility().calculateScore(mol)


def natural_product_likeness(mol: Chem.Mol) -> float:
    """Returns the NP score, from -5 (as synthetic molecules) to 5 (as natural products).

    Raises:
        MissingExtraError: RDKit was installed without its contributions.
    """
    module, fragments = _likeness()
    return module.scoreMol(mol, fragments)


@cache
def _accessibility() -> ModuleType:
    module = _contribution("SA_Score", "sascorer.py")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its file to be closed
        module.readFragmentScores()
    return module


@cache
def _likeness() -> tuple[ModuleType, Any]:
    module = _contribution("NP_Score", "npscorer.py")  # its own reader writes to the terminal
    with gzip.open(_place("NP_Score", "publicnp.model.gz")) as file:
        return module, pickle.load(file)


def _place(*parts: str) -> Path:
    path = Path(RDConfig.RDContribDir, *parts)
    if not path.is_file():
        raise MissingExtraError(
            f"RDKit has no {'/'.join(parts)} in {RDConfig.RDContribDir}: it was installed without "
            "its contributions; the package `rdkit` from PyPI or conda-forge has them"
        )
    return path


def _contribution(*parts: str) -> ModuleType:
    path = _place(*parts)
    spec = importlib.util.spec_from_file_location(f"rdkit_contrib_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
