"""The simplest models of crystals that could do the job: what a learned model has to beat.

prototypes                   structure types filled with ions, whatever the training set
shuffled elements            training crystals whose elements are exchanged for others, one by one
random coordinates           atoms anywhere in the cell of a training crystal
"""

__all__ = ["baselines"]

import torch

from genmatter.domains.crystal import filling
from genmatter.domains.crystal.crystals import Crystals
from genmatter.maths.noise import generator

SEED = 1
"""Of what is drawn here; the embedded data set has another one."""


def baselines(train: Crystals, n: int) -> dict[str, Crystals]:
    """Returns samples of each model by its name."""
    g = generator("crystal baselines")
    some = lambda: train[torch.randint(len(train), (n,), generator=g)]
    return {
        "prototypes": filling.made(n, SEED),
        "shuffled elements": _shuffled(some(), train, g),
        "random coordinates": _scattered(some(), g),
    }


def _shuffled(x: Crystals, train: Crystals, g: torch.Generator) -> Crystals:
    """Gives each element of a crystal the place of one that training has, as often as it does."""
    pool = torch.unique(train.numbers, return_counts=True)
    numbers = x.numbers.clone()
    for first, count in zip(x.starts.tolist(), x.counts.tolist(), strict=True):
        own = numbers[first : first + count]
        kinds, which = torch.unique(own, return_inverse=True)
        drawn = torch.multinomial(pool[1].double(), min(len(kinds), len(pool[0])), generator=g)
        others = pool[0][drawn]
        numbers[first : first + count] = others[which % len(others)]
    return Crystals(numbers, x.frac, x.counts, x.lattice)


def _scattered(x: Crystals, g: torch.Generator) -> Crystals:
    frac = torch.rand(x.frac.shape, generator=g, dtype=x.frac.dtype)
    return Crystals(x.numbers, frac, x.counts, x.lattice)
