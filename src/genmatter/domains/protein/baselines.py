"""The simplest models that could do the job: sites by themselves, and sites in pairs."""

__all__ = ["LONGEST", "baselines", "potts", "site_samples"]

from functools import lru_cache

import torch
from jaxtyping import Int8
from torch import Tensor

from genmatter.domains.protein.pseudo import PseudoPotts, fit
from genmatter.domains.protein.sequences import Sequences
from genmatter.domains.protein.statistics import frequencies
from genmatter.maths.noise import generator

LONGEST = 400
"""Columns above which no Potts model is fitted: it takes minutes and gigabytes."""
_SWEEPS = 50


def baselines(train: Sequences, n: int) -> dict[str, Sequences]:
    """Returns `n` samples of each simple model.

    One draws each site by its own frequencies. The other is a Potts model fitted by
    pseudo-likelihood, whose Gibbs chains begin at training sequences; it is left out of
    alignments of more than 400 columns.
    """
    found = {"site frequencies": site_samples(train, n)}
    if train.sites <= LONGEST:
        found["Potts model"] = Sequences.of(_chains(train, n), train.numbering)
    return found


def site_samples(train: Sequences, n: int) -> Sequences:
    """Draws each site by itself, as often as the training set has each state there."""
    g = generator("protein", "sites")
    drawn = torch.multinomial(frequencies(train), n, replacement=True, generator=g)
    return Sequences.of(drawn.T.contiguous(), train.numbering)


@lru_cache(maxsize=2)
def potts(train: Sequences) -> PseudoPotts:
    """Returns the Potts model of a training set, fitted once."""
    return fit(train)


def _chains(train: Sequences, n: int) -> Int8[Tensor, "n sites"]:
    w = torch.ones(len(train)).double() if train.weights is None else train.weights
    rows = torch.multinomial(w, n, replacement=True, generator=generator("protein", "chains"))
    return potts(train).sample(train.residues[rows], _SWEEPS)
