"""What the crystal recipes can be told."""

__all__ = ["CrystalDataConfig"]

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg


@dataclass(frozen=True, kw_only=True)
class CrystalDataConfig:
    """Crystals to learn from: files, a data set by name, or the prototypes that come along."""

    source: Annotated[str, arg(name="data")] = ""
    """File, folder or zip (.cif .vasp .extxyz .csv .parquet), `mp_20` or `perov_5`; prototypes
    are filled with ions when empty."""
    cif_column: str = "cif"
    """Which column of a table holds CIFs."""
    columns: tuple[str, ...] = ()
    """Columns of the table to take for properties; empty takes all that hold numbers."""
    crystals: int = 12_000
    """How many crystals are made of prototypes, at most."""
    data_seed: int = 0
    """Seed of the prototypes and of the split."""
    split: Literal["composition", "random", "given"] = "composition"
    """Keep crystals of one reduced formula together, deal them out one by one, or take what the
    column `split` of the file says."""
    valid_fraction: float = 0.1
    """Share of the crystals that chooses the best weights."""
    test_fraction: float = 0.1
    """Share of the crystals to score against."""
    max_atoms: int = 20
    """Crystals of more atoms in the primitive cell are left out."""
    elements: tuple[str, ...] = ()
    """Crystals of other elements are left out; empty keeps all."""
    max_volume: float = 0.0
    """Crystals of more cubic angstrom per atom are left out; 0 keeps any."""
    duplicates: Literal["drop", "keep"] = "drop"
    """Leave out structures that match an earlier one of the same composition, or keep them."""


RECIPES = {}
"""The recipes of this domain, by the name that follows `crystal/`."""
