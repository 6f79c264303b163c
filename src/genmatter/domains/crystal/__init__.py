"""Crystals: periodic arrangements of atoms, as unit cells.

One object is a crystal: lattice vectors, and atoms with their fractional coordinates; any choice
of the cell, its origin and its orientation, and any order of the atoms is the same crystal. The
names of the reference can be imported from here.

Units: angstrom, degrees, eV; in batches and networks angles are in radian; likelihoods in nats per
crystal.
"""

import importlib
from typing import Any

_NAMES = (
    "CrystalBatch", "DiagonalGaussianDistribution", "TransformerDecoder", "TransformerEncoder",
    "VAEModule",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    # configs are read without torch, and they pass through here
    if name in _NAMES:
        return getattr(importlib.import_module("genmatter.domains.crystal.reference"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES])
