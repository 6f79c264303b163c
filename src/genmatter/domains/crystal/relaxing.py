"""Crystals at rest: moved to the nearest minimum of CHGNet's energy, where it is installed.

References:
    | CHGNet as a pretrained universal neural network potential for charge-informed atomistic
    | modelling (Deng et al., 2023) https://doi.org/10.1038/s42256-023-00716-3
"""

__all__ = ["Relaxed", "installed", "relaxed", "require"]

import contextlib
import io
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.validity import faults
from genmatter.errors import MissingExtraError

FORCE = 0.1
"""eV/angstrom, below which atoms are at rest."""
STEPS = 200
"""Steps after which a crystal is given up."""


@dataclass(frozen=True)
class Relaxed:
    """Crystals at rest, and what it took."""

    crystals: Crystals
    """What is no crystal, or falls apart, is as it was; of the others old columns are not told."""
    energy: Float[Tensor, " n"]
    """eV per atom, at rest; NaN of what is no crystal."""
    gain: Float[Tensor, " n"]
    """By how much it was above that before, eV per atom; NaN likewise."""
    displacement: Float[Tensor, " n"]
    """Root mean square of the ways of the atoms, angstrom, but for a way of all; NaN likewise."""
    converged: Bool[Tensor, " n"]


def installed() -> bool:
    """Says whether crystals can be relaxed."""
    return find_spec("chgnet") is not None


def require() -> None:
    """Refuses to go on where crystals cannot be relaxed.

    Raises:
        MissingExtraError: CHGNet is not installed.
    """
    if not installed():
        raise MissingExtraError(
            "relaxation needs CHGNet, which is not installed: pip install 'genmatter[relax]'"
        )


def relaxed(x: Crystals, steps: int = STEPS, force: float = FORCE, what: str = "") -> Relaxed:
    """Moves atoms and cells to rest, from 0.02 s a step of a small crystal on a processor.

    Args:
        x: Any crystals.
        steps: When to give up.
        force: Below which all atoms are at rest, eV/angstrom.
        what: Says what is done, on the progress bar.

    Raises:
        MissingExtraError: CHGNet is not installed.
    """
    model = _model()
    rows, energy, gain, way, rest = [], [], [], [], []
    bar = tqdm(faults(x), desc=what, disable=None if what else True, leave=False)
    for k, fault in enumerate(bar):
        found = None if fault else _one(model, x[k : k + 1].structures()[0], steps, force)
        name = None if x.names is None else [str(x.names[k])]
        rows.append(x[k : k + 1] if found is None else Crystals.of_structures([found[0]], name))
        energy.append(found[1] if found else np.nan)
        gain.append(found[2] if found else np.nan)
        way.append(found[3] if found else np.nan)
        rest.append(bool(found and found[4]))
    e, g, d = (torch.tensor(v, dtype=torch.float64) for v in (energy, gain, way))
    return Relaxed(Crystals.cat(rows), e, g, d, torch.tensor(rest, dtype=torch.bool))


@cache
def _model() -> Any:
    require()
    with _quiet():
        from chgnet.model.dynamics import (  # pyright: ignore[reportMissingImports]
            StructOptimizer,
        )
        from chgnet.model.model import CHGNet  # pyright: ignore[reportMissingImports]

        return StructOptimizer(CHGNet.load(use_device="cpu", verbose=False), use_device="cpu")


def _one(
    model: Any, structure: Any, steps: int, force: float
) -> tuple[Any, float, float, float, bool] | None:
    """Returns a structure at rest, its energy, what it gained, its way, and whether it rests."""
    with _quiet():
        try:
            found = model.relax(structure, fmax=force, steps=steps, verbose=False)
        except (ValueError, RuntimeError, IndexError, ArithmeticError):  # it fell apart
            return None
    end, path = found["final_structure"], found["trajectory"]
    energy, before = (float(path.energies[k]) / len(structure) for k in (-1, 0))
    pushed = float(np.abs(path.forces[-1]).max())
    if not np.isfinite(energy) or not np.isfinite(end.frac_coords).all():
        return None
    rests = pushed < 2 * force and len(path.energies) < steps
    return end, energy, before - energy, _way(structure, end), rests


def _way(begin: Any, end: Any) -> float:
    d = end.frac_coords - begin.frac_coords
    d = d - np.round(d)
    moved = (d - d.mean(0)) @ end.lattice.matrix
    return float(np.sqrt((moved**2).sum(1).mean()))


@contextlib.contextmanager
def _quiet() -> Any:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
