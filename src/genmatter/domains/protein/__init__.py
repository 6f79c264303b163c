"""Proteins of one family: aligned amino-acid sequences.

One object is a row of an alignment: at each column one of twenty amino acids, or a gap. Columns
are counted as the residues of a focus sequence, where there is one. The names of the reference can
be imported from here.

Units: likelihoods in nats per sequence, or per residue where that is said; mass in g/mol.
"""

import importlib
from typing import Any

_NAMES = ("ProteinDecoder", "ProteinEncoder", "elbo_loss", "kl_divergence", "reparameterize")


def __getattr__(name: str) -> Any:
    # configs are read without torch, and they pass through here
    if name in _NAMES:
        return getattr(importlib.import_module("genmatter.domains.protein.reference"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES])
