r"""How stable crystals are beside those of a file: energies above a convex hull.

The hull at a composition x is the least energy that known crystals can have together,

.. math:: e_h(x) = \min_{w \ge 0} \sum_i w_i e_i \quad\text{with}\quad \sum_i w_i x_i = x,

per atom. Energies of the file and of the crystals have to be of one level of theory: nobody can
check that, so who gives the file answers for it.

References:
    | Li-Fe-P-O2 phase diagram from first principles calculations (Ong, Wang, Kang & Ceder, 2008)
    | https://doi.org/10.1021/cm702327g
"""

__all__ = ["Hull"]

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linprog
from torch import Tensor

from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.wishes import composition
from genmatter.errors import ConfigError, DataError

_SIZE = 119


@dataclass(frozen=True)
class Hull:
    """Compositions and energies of known crystals."""

    shares: Float[np.ndarray, "known elements"]
    """The share of each element, by atomic number."""
    energies: Float[np.ndarray, " known"]
    """eV per atom."""

    @classmethod
    def read(cls, path: Path) -> "Hull":
        """Reads a table with the columns `formula` and `energy_per_atom` (CSV), or a JSON list.

        Raises:
            DataError: There is no such file, or it holds something else.
        """
        if not path.is_file():
            raise DataError(f"there is no file {path}; a hull needs reference energies")
        try:
            text = path.read_text()
            rows = json.loads(text) if path.suffix == ".json" else list(
                csv.DictReader(text.splitlines())
            )  # fmt: skip
            told = [(str(r["formula"]), float(r["energy_per_atom"])) for r in rows]
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} cannot be read ({type(error).__name__}: {error}): it should have rows of "
                "`formula` and `energy_per_atom`, in eV"
            ) from None
        if not told:
            raise DataError(f"{path} has no rows")
        try:
            shares = np.array([_shares(composition(formula)) for formula, _ in told])
        except ConfigError as error:
            raise DataError(f"{path}: {error}") from None
        return cls(shares, np.array([energy for _, energy in told]))

    def above(self, x: Crystals, energy: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Returns energies above the hull, eV per atom; below 0 is below all that is known.

        NaN where the energy is unknown, or the file lacks an element.
        """
        found = []
        for numbers, e in zip(x.each_numbers(), energy.tolist(), strict=True):
            counts = np.bincount(numbers.clip(0, _SIZE - 1), minlength=_SIZE)
            found.append(e - self.at(counts / max(counts.sum(), 1)))
        return torch.tensor(found, dtype=torch.float64)

    def at(self, shares: Sequence[float] | np.ndarray) -> float:
        """Returns the hull at a composition; NaN where it has none."""
        wanted = np.asarray(shares, dtype=float)
        inside = (self.shares[:, wanted == 0] == 0).all(1)
        if not inside.any():
            return float("nan")
        kinds = wanted > 0
        found = linprog(
            self.energies[inside], A_eq=self.shares[inside][:, kinds].T, b_eq=wanted[kinds],
            method="highs",
        )  # fmt: skip
        return float(found.fun) if found.success else float("nan")


def _shares(formula: dict[int, int]) -> np.ndarray:
    found = np.zeros(_SIZE)
    for number, count in formula.items():
        found[number] = count
    return found / found.sum()
