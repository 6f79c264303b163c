"""Properties of many molecules, each computed once: remembered in memory and on disk.

What lies on disk is a set's numbers in its order, under a name that tells the set, the order, the
property and RDKit's version. Any part of a set that was computed in this process is looked up.
"""

__all__ = ["PROPERTIES", "Property", "compute", "named", "table"]

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from rdkit import rdBase
from torch import Tensor

from genmatter.domains.molecule.descriptors import PROPERTIES, Property, named, rows
from genmatter.domains.molecule.memory import Memory
from genmatter.loading.cached import keep, key, recalled
from genmatter.loading.parallel import processors, spread

Numbers = Float[Tensor, " n"]

LARGE = 5000
"""Sets of at least so many molecules are kept on disk; smaller ones take seconds."""
_MOST = 300_000  # molecules whose numbers stay in memory: 40 MB for each property
_VERSION = 1  # of what is computed here: another one computes anew
_PATIENCE = 4.0  # seconds of work that are not worth other processes
_TRIAL = 100  # molecules whose time tells that of all

_MEMORIES: dict[str, Memory[float]] = defaultdict(lambda: Memory(_MOST))


def compute(smiles: np.ndarray, name: str, *, progress: bool = True) -> Numbers:
    """Returns a property of each molecule, in double precision; NaN of what is none.

    Args:
        smiles: SMILES, [n] objects; "" is no molecule.
        name: A property, by any name that `named` knows.
        progress: Whether a long computation shows how far it is.

    Raises:
        ConfigError: There is no such property.
    """
    return table(smiles, (name,), progress=progress)[name]


def table(
    smiles: np.ndarray, names: Sequence[str], *, progress: bool = True
) -> dict[str, Numbers]:
    """Returns properties by the names that they are asked for, and reads each molecule once.

    Raises:
        ConfigError: There is no such property.
    """
    texts: list[str] = smiles.tolist()
    asked = {name: named(name).name for name in names}
    found = {p: _known(texts, p) for p in asked.values()}
    lacking = [s for s in dict.fromkeys(texts) if s and any(s not in f for f in found.values())]
    if lacking:
        todo = [p for p, f in found.items() if any(s not in f for s in lacking)]
        numbers = np.array([*_worked(lacking, todo, "properties" if progress else "")])
        for p, column in zip(todo, numbers.T, strict=True):
            new = dict(zip(lacking, column.tolist(), strict=True))
            found[p] |= new
            _MEMORIES[p].keep(new)
            _keep(texts, p, _in_order(texts, found[p]))
    return {name: torch.from_numpy(_in_order(texts, found[p])) for name, p in asked.items()}


def _in_order(smiles: list[str], found: dict[str, float]) -> Float[np.ndarray, " n"]:
    return np.array([found.get(s, math.nan) for s in smiles], dtype=np.float64)


def _known(smiles: list[str], name: str) -> dict[str, float]:
    """Returns what is known of these, from memory or from disk."""
    memory = _MEMORIES[name]
    found = memory.recall(smiles)
    if len(smiles) >= LARGE and any(s and s not in found for s in smiles):
        read = _read(smiles, name)
        memory.keep(read)
        return read or found
    return found


def _worked(smiles: list[str], names: list[str], what: str) -> Iterator[list[float]]:
    """Yields rows; other processes help where the first of them show that it would take long."""
    told = {"names": names}
    rows(told, ["C"])  # tables are read the first time
    start = time.perf_counter()
    yield from rows(told, smiles[:_TRIAL])
    each, rest = (time.perf_counter() - start) / min(len(smiles), _TRIAL), smiles[_TRIAL:]
    count = processors() if each * len(rest) > _PATIENCE else 1
    yield from spread(rows, told, rest, what, count)


def _name(smiles: list[str], name: str) -> str:
    content = chr(10).join(smiles).encode()
    return f"molecules/{name}-{key(content, _VERSION, rdBase.rdkitVersion, name)}"


def _read(smiles: list[str], name: str) -> dict[str, float]:
    """Returns the numbers that lie on disk; none where they do not, or are damaged."""
    found = recalled(_name(smiles, name))
    return {} if found is None else dict(zip(smiles, found[name].to_pylist(), strict=True))


def _keep(smiles: list[str], name: str, numbers: Float[np.ndarray, " n"]) -> None:
    if len(smiles) >= LARGE:
        keep(_name(smiles, name), pa.table({name: numbers}))
