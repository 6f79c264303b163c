r"""How much each sequence of a family counts: one over how many are like it.

.. math:: w_i = \big|\{ j : m_{ij} > \theta\, \ell_i \}\big|^{-1}

:math:`m_{ij}` are the columns in which both have the same residue, and :math:`\ell_i` those in
which the first has one: a gap equals nothing. A sequence is like itself. The sum of all is the
effective number of sequences. Databases hold some branches of a family hundreds of times, by who
sequenced what; weights undo that.

References:
    | Identification of direct residue contacts in protein-protein interaction by message passing
    | (Weigt et al., 2009) https://doi.org/10.1073/pnas.0805923106
    | The rule for gaps and for short sequences is that of DeepSequence and EVE: Disease variant
    | prediction with deep generative models of evolutionary data (Frazer et al., 2021)
    | https://doi.org/10.1038/s41586-021-04043-8
"""

__all__ = ["balanced", "weights"]

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor

from genmatter.domains.protein.identity import alike, needed
from genmatter.domains.protein.sequences import GAP, Sequences
from genmatter.errors import DataError


def weights(
    residues: Int8[Tensor, "n sites"], identity: float = 0.8, threads: int = 0
) -> Float[Tensor, " n"]:
    """Returns the weight of each sequence, from 0 to 1, in double precision.

    Args:
        residues: Aligned sequences.
        identity: Share of a sequence's residues above which another one is like it.
        threads: How many compute; 0 takes all processors. The result is the same.

    Raises:
        DataError: The share is not between 0 and 1.
    """
    if not 0 < identity < 1:
        raise DataError(f"sequences are alike above a share between 0 and 1, got {identity:g}")
    x = residues.numpy()
    least = needed((x != GAP).sum(1), identity)
    count = np.ones(len(x), np.int64)
    for i, j, found in alike(x, least, threads):
        count += np.bincount(i[found >= least[i]], minlength=len(x))
        count += np.bincount(j[found >= least[j]], minlength=len(x))
    return torch.from_numpy(1.0 / count)


def balanced(sequences: Sequences, identity: float) -> Sequences:
    """Returns sequences with their weights within this set, of mean 1; without where it is 0."""
    if not identity or not len(sequences):
        return replace(sequences, weights=None)
    w = weights(sequences.residues, identity)
    return replace(sequences, weights=w / w.mean())
