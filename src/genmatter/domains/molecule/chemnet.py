r"""The Fréchet ChemNet distance, by the optional package `fcd`.

ChemNet reads SMILES and predicts bioactivities; its last hidden layer has 512 numbers of each
molecule. The distance is :math:`W_2^2` between the normal laws that are fitted to those of two
sets. Its floor falls as the sets grow, so that n belongs to each value.

References:
    | Fréchet ChemNet distance: a metric for generative models for molecules in drug discovery
    | (Preuer et al., 2018) https://doi.org/10.1021/acs.jcim.8b00234
"""

__all__ = ["INSTALL", "installed", "numbers", "squared_distance"]

import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from genmatter.domains.molecule.memory import Memory
from genmatter.errors import MissingExtraError
from genmatter.evaluation.compare import normal_transport

INSTALL = "pip install 'genmatter[fcd]'"
"""What makes the distance known."""

_LONGEST = 349  # symbols; a longer one changes how all that are read with it are padded
_BATCH = 128
_FOUND: Memory[np.ndarray] = Memory(30_000)  # 60 MB


def installed() -> bool:
    """Says whether the package is there."""
    return importlib.util.find_spec("fcd") is not None


def numbers(smiles: Sequence[str]) -> Float[Tensor, "n 512"]:
    """Returns what ChemNet makes of each molecule; those of 350 symbols or more are left out.

    Raises:
        MissingExtraError: The package is not installed.
    """
    short = [s for s in smiles if len(s) <= _LONGEST]
    found = _FOUND.complete(short, _predicted)
    return torch.from_numpy(np.array([found[s] for s in short]).reshape(-1, 512))


def _predicted(smiles: list[str]) -> list[np.ndarray]:
    fcd = _package()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batches = [smiles[k : k + _BATCH] for k in range(0, len(smiles), _BATCH)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy and SciPy, about names that the package uses
        model = fcd.load_ref_model()
        return [
            row
            for batch in tqdm(batches, "ChemNet", unit="batch", disable=None, leave=False)
            for row in fcd.get_predictions(model, batch, n_jobs=0, device=device)
        ]


def _package() -> Any:
    try:
        import fcd
    except ImportError as error:
        raise MissingExtraError(
            f"the Fréchet ChemNet distance needs the package fcd: {INSTALL}"
        ) from error
    return fcd


def squared_distance(a: Float[Tensor, "n numbers"], b: Float[Tensor, "m numbers"]) -> float:
    """Returns the distance of two sets, with covariances over n - 1, as the package has them."""
    means, shapes = normal_transport(_widened(a.double()), _widened(b.double()))
    return (means + shapes).item()


def _widened(x: Float[Tensor, "n numbers"]) -> Float[Tensor, "n numbers"]:
    """Moves points from their mean, so that their covariance over n is that over n - 1."""
    mean = x.mean(0)
    return mean + (x - mean) * (len(x) / max(len(x) - 1, 1)) ** 0.5
