"""What molecules are made of, and how alike they are by it.

Fingerprints are Morgan's of radius 2 in 1024 bits, scaffolds have two rings or more, fragments are
what BRICS bonds hold together: each as MOSES takes them.

References:
    | Molecular Sets (MOSES): a benchmarking platform for molecular generation models
    | (Polykovskiy et al., 2020) https://arxiv.org/abs/1811.12823
    | Extended-connectivity fingerprints (Rogers & Hahn, 2010) https://doi.org/10.1021/ci100050t
    | On the art of compiling and using 'drug-like' chemical fragment spaces
    | (Degen et al., 2008) https://doi.org/10.1002/cmdc.200800178
"""

__all__ = ["Parts", "cosine", "fingerprints", "parts", "tanimoto"]

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.rdmolops import FragmentOnBRICSBonds
from torch import Tensor
from tqdm import tqdm

from genmatter.domains.molecule.memory import Memory
from genmatter.domains.molecule.murcko import scaffold_of_score

BITS = 1024
_ROWS = 2048  # similarities to all others that are held at once


@dataclass(frozen=True)
class Parts:
    """What one molecule is made of; its scaffold is "" where it has none."""

    bits: bytes
    scaffold: str
    fragments: tuple[str, ...]


_FOUND: Memory[Parts] = Memory(100_000)  # 60 MB


def parts(smiles: Sequence[str]) -> list[Parts]:
    """Returns what each molecule is made of."""
    found = _FOUND.complete(smiles, lambda new: [_parts(s) for s in _shown(new)])
    return [found[s] for s in smiles]


def _shown(smiles: list[str]) -> Iterable[str]:
    return tqdm(smiles, "fragments", unit="molecule", disable=None, leave=False)


def _parts(smiles: str) -> Parts:
    mol = Chem.MolFromSmiles(smiles)
    bits = np.packbits(_morgan().GetFingerprintAsNumPy(mol)).tobytes()
    pieces = Chem.MolToSmiles(FragmentOnBRICSBonds(mol)).split(".")
    return Parts(bits, scaffold_of_score(mol), tuple(pieces))


@cache
def _morgan() -> rdFingerprintGenerator.FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)


def fingerprints(found: Sequence[Parts]) -> Float[Tensor, "n bits"]:
    """Returns the bits of molecules as zeros and ones."""
    packed = np.frombuffer(b"".join(p.bits for p in found), dtype=np.uint8)
    bits = np.unpackbits(packed).reshape(len(found), BITS)
    return torch.from_numpy(bits).float()


def tanimoto(
    a: Float[Tensor, "n bits"], b: Float[Tensor, "m bits"]
) -> Iterator[Float[Tensor, "rows m"]]:
    """Yields the similarities of some rows of `a` to all of `b`: shared bits over bits of either.

    Two empty fingerprints are alike.
    """
    size = b.sum(1)
    for rows in a.split(_ROWS):
        both = rows @ b.mT  # counts below 2^24: exact in single precision
        either = rows.sum(1)[:, None] + size - both
        yield torch.where(either > 0, both / either.clamp_min(1), 1.0)


def cosine(a: Counter[str], b: Counter[str]) -> float:
    """Returns the cosine of two vectors of counts; 1 where both are empty, 0 where one is."""
    if not a or not b:
        return float(not a and not b)
    size = lambda c: math.sqrt(sum(n * n for n in c.values()))
    return min(sum(n * b[k] for k, n in a.items()) / (size(a) * size(b)), 1.0)
