"""What can be seen of molecules: RDKit's properties, and the columns of a file."""

__all__ = ["SHOWN", "observables"]

from collections.abc import Iterable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.properties import compute, named
from genmatter.errors import ConfigError
from genmatter.spine import Observable

SHOWN = (
    "tpsa", "logp", "qed", "sa", "mw", "hbd", "hba", "rotatable_bonds", "rings",
    "aromatic_rings", "fraction_csp3", "heavy_atoms",
)  # fmt: skip
"""The properties that every report shows."""


def observables(
    columns: Iterable[str] = (), more: Iterable[str] = ()
) -> tuple[Observable[Molecules], ...]:
    """Returns the numbers of each molecule: the properties that are shown, then columns.

    A column that has the name of a property, or a usual one for it, says what the property of its
    molecules is; a set without that column, such as samples, has RDKit's. Of other columns a set
    that lacks them has NaN.

    Args:
        columns: Columns of a file.
        more: Properties beside those that are shown anyway.

    Raises:
        ConfigError: There is no property of a name in `more`.
    """
    found: dict[str, Observable[Molecules]] = {}
    for p in map(named, (*SHOWN, *more)):
        found[p.name] = Observable(p.name, p.unit, partial(_property, p.name))
    for column in columns:
        name, unit = _known(column)
        of = partial(_column, column, name if unit is not None else "")
        found[name] = Observable(name, unit or "", of)
    return tuple(found.values())


def _known(column: str) -> tuple[str, str | None]:
    """Returns the name and the unit of the property that a column is of, if there is one."""
    try:
        return named(column).name, named(column).unit
    except ConfigError:
        return column, None


def _property(name: str, x: Molecules) -> Float[Tensor, " n"]:
    return compute(x.smiles, name)


def _column(column: str, property: str, x: Molecules) -> Float[Tensor, " n"]:
    if column in x.columns:
        return x.columns[column]
    if property:
        return compute(x.smiles, property)
    return torch.full((len(x),), torch.nan, dtype=torch.float64)
