"""What can be seen of crystals: measures of the cell, symmetry, and the columns of a file."""

__all__ = ["density", "observables", "of_elements", "volume_per_atom"]

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.elements import MASSES
from genmatter.domains.crystal.features import features
from genmatter.domains.crystal.symmetry import SYSTEMS
from genmatter.spine import Observable

_DALTON = 1.66053906660
"""Grams per cubic centimetre of one dalton in a cubic angstrom."""
UNITS = {
    "e_above_hull": "eV/atom", "formation_energy_per_atom": "eV/atom", "band_gap": "eV",
    "energy_per_atom": "eV/atom", "heat_all": "eV/atom", "heat_ref": "eV/atom", "dir_gap": "eV",
    "ind_gap": "eV", "bulk_modulus": "GPa", "shear_modulus": "GPa",
}  # fmt: skip
"""Units of columns that the data sets of the field have."""

SMOOTH = ("density", "volume_per_atom")
"""Observables through which gradients flow to the cells."""

Of = Callable[[Crystals], Tensor]


def density(x: Crystals) -> Float[Tensor, " n"]:
    """Returns masses over volumes, g/cm^3; NaN of a cell without a volume."""
    masses = torch.from_numpy(MASSES)[x.numbers.clamp(0, len(MASSES) - 1)]
    total = torch.zeros(len(x), dtype=torch.float64).index_add_(0, x.owner, masses)
    return _real(_DALTON * total / x.volumes)


def volume_per_atom(x: Crystals) -> Float[Tensor, " n"]:
    """Returns volumes over numbers of atoms, cubic angstrom."""
    return _real(x.volumes / x.counts)


def of_elements(x: Crystals) -> Float[Tensor, " n"]:
    """Returns how many elements there are."""
    sizes = [len(np.unique(z)) for z in x.each_numbers()]
    return torch.tensor(sizes, dtype=torch.float64)


def _real(values: Tensor) -> Float[Tensor, " n"]:
    return torch.where(values.isfinite() & (values > 0), values, torch.nan)


def _atoms(x: Crystals) -> Float[Tensor, " n"]:
    return x.counts.double()


def _feature(name: str, x: Crystals) -> Float[Tensor, " n"]:
    return features(x)[name]


def _system(x: Crystals) -> Float[Tensor, " n"]:
    groups = features(x)["space_group"]
    last = torch.tensor(list(SYSTEMS.values()), dtype=groups.dtype)
    return torch.where(groups > 0, (groups[:, None] > last).sum(1).double() + 1, torch.nan)


def _group(x: Crystals) -> Float[Tensor, " n"]:
    groups = features(x)["space_group"]
    return torch.where(groups > 0, groups, torch.nan)


def _length(which: str, x: Crystals) -> Float[Tensor, " n"]:
    found = x.lengths.sort(1).values
    return found[:, {"shortest": 0, "longest": 2}[which]]


def _angle(x: Crystals) -> Float[Tensor, " n"]:
    return (x.angles - 90).abs().amax(1)


SEEN: dict[str, tuple[str, Of]] = {
    "density": ("g/cm^3", density),
    "volume_per_atom": ("angstrom^3", volume_per_atom),
    "elements": ("", of_elements),
    "atoms": ("", _atoms),
    "space_group": ("", _group),
    "crystal_system": ("7 is cubic", _system),
    "closest_atoms": ("angstrom", partial(_feature, "closest")),
    "spacing": ("sum of radii", partial(_feature, "spacing")),
    "shortest_axis": ("angstrom", partial(_length, "shortest")),
    "longest_axis": ("angstrom", partial(_length, "longest")),
    "skew": ("degrees from 90", _angle),
}
"""The observables of every crystal: unit, and what computes it."""


def observables(columns: Iterable[str] = ()) -> tuple[Observable[Crystals], ...]:
    """Returns the numbers of each crystal: those of every crystal, then columns of a file.

    A column that has the name of one of these says what it is of its crystals; a set without the
    column, such as samples, has what is computed. Other columns are NaN of sets that lack them.
    """
    found = {name: Observable(name, unit, of, name in SMOOTH) for name, (unit, of) in SEEN.items()}
    for name in columns:
        unit, of = SEEN.get(name, (UNITS.get(name, ""), None))
        found[name] = Observable(name, unit, partial(_column, name, of))
    return tuple(found.values())


def _column(name: str, otherwise: Of | None, x: Crystals) -> Float[Tensor, " n"]:
    if name in x.columns:
        return x.columns[name]
    if otherwise is not None:
        return otherwise(x)
    return torch.full((len(x),), torch.nan, dtype=torch.float64)
