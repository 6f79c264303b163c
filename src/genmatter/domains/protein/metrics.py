"""How good sequences are: what they have in common with a family, and what they copy of it.

| score | compares | perfect |
|---|---|---|
| `site_r` | how often each site has each residue | 1 |
| `pair_r`, `pair_slope` | what two sites have in common beyond that | 1 |
| `triplet_r`, `triplet_slope` | what three sites have in common beyond pairs | 1 |
| `site_entropy` | how much a site varies | the test set's |
| `conserved` | how often sites that hardly vary have their residue | the test set's |
| `motif` | how often all residues of the motif are there | the test set's |
| `identity_w1`, `hamming_w1` | how alike two sequences are; in how many columns they differ | 0 |
| `length_w1`, `gap_runs_w1` | residues of a sequence, and runs of gaps, if any are there | 0 |
| `pca_overlap` | where sequences lie in the plane of the two main components | 1 |
| `nearest_identity` | how alike the nearest training sequence is | the test set's |
| `novelty`, `unique` | sequences that are no copies of training ones, or of each other | 1 |

Test and training sequences count by their weights, samples alike. Triplets are those that have
most in common in the training set. Chance keeps r of few sequences below 1: the floor says how
far.
"""

__all__ = ["MOST", "match", "score", "spearman"]

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from torch import Tensor

from genmatter.domains.protein.identity import matches, nearest
from genmatter.domains.protein.sequences import GAP, Sequences
from genmatter.domains.protein.statistics import (
    frequencies,
    one_hot,
    pairs_agree,
    strongest,
    triplets_agree,
)
from genmatter.errors import DataError
from genmatter.evaluation.compare import wasserstein
from genmatter.evaluation.sets import novel, unique
from genmatter.maths.noise import generator
from genmatter.spine import Score

MOST = 1000
"""Sequences of each set of which each two are compared."""
_CONSERVED, _CELLS = 0.9, 6


def score(
    samples: Sequences, test: Sequences, train: Sequences, motif: Mapping[int, int] = {}
) -> dict[str, Score]:
    """Compares sequences with the test set; novelty is against the training set.

    Args:
        samples: Any sequences of the same columns.
        test: Sequences that no model has seen.
        train: Sequences to be no copies of.
        motif: The residue that each of some columns should have.

    Raises:
        DataError: A set is empty, or has other columns.
    """
    for name, s in {"samples": samples, "test": test, "training": train}.items():
        if not len(s):
            raise DataError(f"the {name} set holds no sequence to compare")
        if s.sites != test.sites:
            raise DataError(f"the {name} sequences have {s.sites} columns, not {test.sites}")
    return (
        _sites(samples, test, train, motif)
        | _together(samples, test, train)
        | _alike(samples, test)
        | _lengths(samples, test)
        | {"pca_overlap": Score(_overlap(samples, test, train), 1.0, "share")}
        | _copies(samples, test, train)
    )


def _weights(s: Sequences) -> Float[Tensor, " n"]:
    w = torch.ones(len(s), dtype=torch.float64) if s.weights is None else s.weights
    return w / w.sum()


def _share(s: Sequences, there: Bool[Tensor, " n"]) -> float:
    return float(_weights(s) @ there.double())


def _sites(
    samples: Sequences, test: Sequences, train: Sequences, motif: Mapping[int, int]
) -> dict[str, Score]:
    a, b, c = (frequencies(s) for s in (samples, test, train))
    r = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()
    entropy = [torch.special.entr(f).sum(1).mean().item() for f in (a, b)]
    found = {
        "site_r": Score(r, 1.0),
        "site_entropy": Score(entropy[0], entropy[1], "nats/site"),
    }
    most = c[:, 1:].max(1)
    held = (most.values > _CONSERVED).nonzero()[:, 0]
    if len(held):
        kept = [f[held, most.indices[held] + 1].mean().item() for f in (a, b)]
        found["conserved"] = Score(kept[0], kept[1], f"{len(held)} sites")
    if motif:
        whole = [_share(s, _has(s, motif)) for s in (samples, test)]
        found["motif"] = Score(whole[0], whole[1], "share")
    return found


def _has(s: Sequences, motif: Mapping[int, int]) -> Bool[Tensor, " n"]:
    """Returns which sequences have all residues of a motif."""
    columns = torch.tensor([*motif])
    return (s.residues[:, columns] == torch.tensor([*motif.values()])).all(1)


def _together(samples: Sequences, test: Sequences, train: Sequences) -> dict[str, Score]:
    pairs = pairs_agree(samples, test)
    found = {"pair_r": Score(pairs.r, 1.0), "pair_slope": Score(pairs.slope, 1.0)}
    if test.sites > 2:
        some = triplets_agree(samples, test, _strongest(train))
        found |= {"triplet_r": Score(some.r, 1.0), "triplet_slope": Score(some.slope, 1.0)}
    return found


@lru_cache(maxsize=2)
def _strongest(train: Sequences) -> Tensor:
    return strongest(train)  # the same of every set that is compared


def _some(s: Sequences, key: str) -> Sequences:
    """Returns some sequences, those that count more with more chance."""
    n = min(len(s), MOST)
    rows = torch.multinomial(_weights(s), n, generator=generator("protein", key))
    return replace(s[rows], weights=None)


def _alike(samples: Sequences, test: Sequences) -> dict[str, Score]:
    a, b = _some(samples, "samples"), _some(test, "test")
    if min(len(a), len(b)) < 2:
        return {}
    (one, two), (three, four) = _identities(a), _identities(b)
    return {
        "identity_w1": Score(wasserstein(one, three), 0.0, "sd"),
        "hamming_w1": Score(wasserstein(two, four), 0.0, "sd"),
    }


def _identities(s: Sequences) -> tuple[Tensor, Tensor]:
    """Returns the identity of each two sequences, and the columns in which they differ.

    The first is of columns in which both have a residue; the second takes a gap for a state.
    """
    x = s.residues.numpy()
    there = (x != GAP).astype(np.float32)
    same, both = torch.from_numpy(matches(x, x)), torch.from_numpy(there @ there.T)
    none = torch.from_numpy((1 - there) @ (1 - there).T)
    i, j = torch.triu_indices(len(x), len(x), 1)
    share = same[i, j] / both[i, j].clamp_min(1)
    return share.double(), (s.sites - same[i, j] - none[i, j]).double()


def _lengths(samples: Sequences, test: Sequences) -> dict[str, Score]:
    if not (test.residues == GAP).any():
        return {}
    (one, two), (three, four) = map(_gaps, (_some(samples, "samples"), _some(test, "test")))
    return {
        "length_w1": Score(wasserstein(one, three), 0.0, "sd"),
        "gap_runs_w1": Score(wasserstein(two, four), 0.0, "sd"),
    }


def _gaps(s: Sequences) -> tuple[Tensor, Tensor]:
    gap = s.residues == GAP
    begins = gap & ~torch.nn.functional.pad(gap, (1, 0))[:, :-1]
    return (~gap).sum(1).double(), begins.sum(1).double()


def _overlap(samples: Sequences, test: Sequences, train: Sequences) -> float:
    """Returns how much of two histograms over the plane is common to both.

    The plane is that of the two main components of the training set. Its cells are bounded by
    quantiles of the test set, six of each axis.
    """
    mean, axes = plane(train)
    (a, b), (u, v) = (
        [(one_hot(s) - mean) @ axes for s in (samples, test)],
        map(_weights, (samples, test)),
    )
    steps = torch.arange(1, _CELLS) / _CELLS
    edges = torch.quantile(b[:: max(1, len(b) // 100_000)], steps, dim=0)
    counts = []
    for x, w in ((a, u), (b, v)):
        cell = [torch.bucketize(x[:, k].contiguous(), edges[:, k].contiguous()) for k in range(2)]
        empty = torch.zeros(_CELLS**2, dtype=torch.float64)
        counts.append(empty.index_add_(0, cell[0] * _CELLS + cell[1], w))
    return torch.minimum(*counts).sum().item()


@lru_cache(maxsize=2)
def plane(train: Sequences) -> tuple[Tensor, Tensor]:
    """Returns the mean of a set and its two main components, weights counted."""
    x, w = one_hot(train), _weights(train).float()
    mean = w @ x
    y = (x - mean) * w.sqrt()[:, None]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        axes = torch.svd_lowrank(y, q=6, niter=4)[2][:, :2]
    top = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return mean, axes * top.sign()  # of the two signs that are as good, one


def _copies(samples: Sequences, test: Sequences, train: Sequences) -> dict[str, Score]:
    near = nearest_identity(_some(samples, "samples"), train).median().item()
    best = _natural(test, train)
    return {
        "nearest_identity": Score(near, best, "share"),
        "novelty": Score(novel(samples.texts, set(train.texts)), 1.0, "share"),
        "unique": Score(unique(samples.texts), 1.0, "share"),
    }


@lru_cache(maxsize=2)
def _natural(test: Sequences, train: Sequences) -> float:
    return nearest_identity(_some(test, "test"), train).median().item()


def nearest_identity(s: Sequences, train: Sequences) -> Float[Tensor, " n"]:
    """Returns the share of a sequence's residues that the nearest training sequence has too."""
    x = s.residues.numpy()
    most = nearest(x, train.residues.numpy())[1]
    return torch.from_numpy(most / np.maximum((x != GAP).sum(1), 1))


def match(objects: Sequences, copies: Sequences) -> dict[str, Score]:
    """Compares sequences with their reconstructions, one to one.

    `recovered` is the share of residues that are there again, `gaps` that of gaps.

    Raises:
        DataError: There are not as many copies as objects.
    """
    if len(objects) != len(copies):
        raise DataError(
            f"{len(copies)} reconstructions cannot be matched with {len(objects)} sequences: "
            "expected one to one"
        )
    gap, same = objects.residues == GAP, objects.residues == copies.residues
    found = {
        "exact": Score(same.all(1).double().mean().item(), 1.0, "share"),
        "recovered": Score(same[~gap].double().mean().item(), 1.0, "share"),
    }
    if gap.any():
        found["gaps"] = Score(same[gap].double().mean().item(), 1.0, "share")
    return found


def spearman(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float:
    """Returns Spearman's rank correlation over what both know; ties have their mean rank.

    It is NaN where fewer than two values are known, or one of both never varies.
    """
    known = a.isfinite() & b.isfinite()
    ranks = [torch.from_numpy(rankdata(x[known].double().numpy())) for x in (a, b)]
    u, v = (x - x.mean() for x in ranks)
    return (u @ v / (u.norm() * v.norm())).item() if int(known.sum()) > 1 else float("nan")
