"""A molecule's SELFIES in other orders of its atoms.

A canonical string is one of very many that spell the same molecule. Networks that see others too
learn chemistry rather than the order, and do not know a small set by heart.

References:
    | Randomized SMILES strings improve the quality of molecular generative models
    | (Arús-Pous et al., 2019) https://doi.org/10.1186/s13321-019-0393-0
"""

__all__ = ["FEW", "MOST", "count", "orders"]

import json

import pyarrow as pa
import selfies
from rdkit import rdBase

from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.reorder import reordered
from genmatter.loading.cached import kept, key
from genmatter.loading.parallel import spread

MOST = 400_000
"""Strings, over all molecules, that are made: large sets have fewer of each molecule."""
FEW = 2000
"""Molecules that are written anew each time."""
_VERSION = 1


def count(wanted: int, n: int) -> int:
    """Returns how many orders each of n molecules is written in, at most `wanted`."""
    return min(wanted, MOST // max(n, 1))


def orders(molecules: Molecules, count: int) -> list[list[str]]:
    """Returns so many SELFIES of each molecule, kept on disk by what they are made of.

    Each is a function of the molecule. Molecules with fewer different ones have some repeated.
    """
    if not count:
        return [[] for _ in range(len(molecules))]
    texts = molecules.smiles.tolist()
    if len(texts) < FEW:
        return reordered({"count": count}, texts)
    facts = _VERSION, rdBase.rdkitVersion, selfies.__version__, count
    name = f"molecules/orders-{key(chr(10).join(texts).encode(), facts)}"

    def make() -> pa.Table:
        found = spread(reordered, {"count": count}, texts, "write in other orders")
        return pa.table({"orders": [json.dumps(row) for row in found]})

    return [json.loads(text) for text in kept(name, make)["orders"].to_pylist()]
