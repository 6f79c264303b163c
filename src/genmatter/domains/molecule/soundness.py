"""Whether a SELFIES is written as SELFIES writes its molecule.

Every string of symbols is a molecule, since symbols that do not fit mean less, or nothing: a bond
becomes a single one, a branch ends early, a ring stays open. The data have no such strings, so one
that a model writes is a slip, as a SMILES with an open ring is one, though it goes unseen. The
molecules of such strings are odd, and to draw them again makes samples more like the data, as
rejecting invalid SMILES does.

References:
    | Invalid SMILES are beneficial rather than detrimental to chemical language models
    | (Skinnider, 2024) https://doi.org/10.1038/s42256-024-00821-x
"""

__all__ = ["reads_back", "sound"]

from functools import lru_cache

import numpy as np
import selfies

from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.smiles import decoded


@lru_cache(maxsize=200_000)
def reads_back(text: str) -> bool:
    """Says whether the molecule that a SELFIES spells is written by the same SELFIES again."""
    try:
        return selfies.encoder(decoded(text)) == text
    except (selfies.DecoderError, selfies.EncoderError):
        return False


def sound(objects: Molecules) -> Molecules:
    """Returns molecules, where those that a model wrote by a string that is a slip are none."""
    if objects.drawn is None:
        return objects
    there = np.array([bool(text) and reads_back(text) for text in objects.drawn], dtype=bool)
    smiles, drawn = (np.where(there, x, "") for x in (objects.smiles, objects.drawn))
    return Molecules(smiles.astype(object), objects.columns, None, drawn.astype(object))
