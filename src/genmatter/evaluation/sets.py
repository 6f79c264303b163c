"""What a set of samples is made of: sound, distinct, and not copied from the training set.

Objects that can be named by a key (a canonical string) are counted. Shapes that differ
continuously are never equal, so their novelty is a distance.
"""

__all__ = ["nearest", "novel", "novelty", "subset", "unique", "valid"]

from collections.abc import Collection, Hashable, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from genmatter.maths.noise import generator

_PAIRS = 2**22
"""Distances held at once by `nearest`: 32 MB."""


def valid(faults: Sequence[str]) -> float:
    """Returns the share of samples without a fault; NaN of no samples."""
    return _share(sum(fault == "" for fault in faults), len(faults))


def unique(keys: Collection[Hashable]) -> float:
    """Returns how many different samples there are, over all samples; NaN of no samples."""
    return _share(len(set(keys)), len(keys))


def novel(keys: Collection[Hashable], known: Collection[Hashable]) -> float:
    """Returns the share of the different samples that are not known; NaN of no samples."""
    different = set(keys)
    return _share(len(different - set(known)), len(different))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def subset(x: Shaped[Tensor, "n *rest"], n: int, *key: int | str) -> Shaped[Tensor, "k *rest"]:
    """Returns `n` rows at random, without replacement; all, shuffled, if there are no more.

    The choice is a function of the key alone.
    """
    rows = torch.randperm(len(x), generator=generator(*key))[:n]
    return x[rows.to(x.device)]


def nearest(a: Float[Tensor, "n features"], b: Float[Tensor, "m features"]) -> Float[Tensor, " n"]:
    """Returns the Euclidean distance of each row of `a` from the closest row of `b`."""
    chunks = a.split(max(1, _PAIRS // len(b)))
    return torch.cat([torch.cdist(chunk, b).amin(1) for chunk in chunks])


def novelty(
    samples: Float[Tensor, "n features"],
    test: Float[Tensor, "m features"],
    train: Float[Tensor, "k features"],
) -> float:
    """Returns how far samples are from the training set, relative to the test set; 1 is perfect.

    It is the ratio of the median distances from the nearest training example: near 0 for
    memorised samples, above 1 for samples off the distribution. Not finite where the
    test set repeats the training set.
    """
    return (nearest(samples, train).median() / nearest(test, train).median()).item()
