"""SELFIES of a SMILES whose atoms are taken in random orders; imports no torch."""

__all__ = ["reordered"]

import hashlib
from itertools import cycle, islice

import selfies
from rdkit import Chem


def reordered(told: dict[str, int], texts: list[str]) -> list[list[str]]:
    """Returns SELFIES of each SMILES, in `told["count"]` orders; a function of each SMILES.

    A molecule with fewer different ones has some repeated.
    """
    return [_reordered(text, told["count"]) for text in texts]


def _reordered(smiles: str, count: int) -> list[str]:
    mol = Chem.MolFromSmiles(smiles)
    seed = int.from_bytes(hashlib.blake2b(smiles.encode(), digest_size=4).digest()) // 2
    found = {}
    for text in Chem.MolToRandomSmilesVect(mol, count, randomSeed=seed):
        try:
            found[str(selfies.encoder(text))] = None
        except selfies.EncoderError:
            continue
    return [*islice(cycle(found or [str(selfies.encoder(smiles))]), count)]
