"""Scaffolds of a set, by which a split may deal molecules out."""

__all__ = ["scaffolds"]

from typing import Any

import numpy as np
from rdkit import rdBase

from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.murcko import scaffolds_of_split
from genmatter.loading.cached import kept, key
from genmatter.loading.parallel import spread

VERSION = 1
"""Of what is computed here; another one computes it anew."""


def scaffolds(molecules: Molecules, processes: int = 0) -> np.ndarray:
    """Returns the scaffold of each molecule as canonical SMILES without stereo, [n] objects.

    Molecules without rings have the scaffold "", which they share: as in DeepChem, they are one
    group. Scaffolds are kept in the cache.
    """
    texts = molecules.smiles.tolist()
    name = key("\n".join(texts).encode(), "scaffolds", VERSION, rdBase.rdkitVersion)

    def make() -> Any:
        import pyarrow as pa

        found = list(spread(scaffolds_of_split, {}, texts, "scaffolds", processes))
        return pa.table({"scaffold": pa.array(found, pa.string())})

    return kept(f"molecules/scaffolds-{name}", make)["scaffold"].to_numpy()
