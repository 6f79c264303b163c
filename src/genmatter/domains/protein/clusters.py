"""Clusters of similar sequences, and a split that deals them out whole.

Two sequences are in one cluster where a chain of sequences leads from one to the other, of which
each two neighbours are alike. So no sequence to test on is alike to any that is trained on.
"""

__all__ = ["clusters", "deal"]

import numpy as np
import torch
from jaxtyping import Int8
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from genmatter.domains.protein.identity import alike, needed
from genmatter.domains.protein.sequences import GAP
from genmatter.errors import DataError
from genmatter.loading.split import Rows

_EDGES = 2**20
"""Pairs that are kept before clusters are joined."""


def clusters(
    residues: Int8[Tensor, "n sites"], identity: float, threads: int = 0
) -> NDArray[np.intp]:
    """Returns the cluster of each sequence, numbered in the order of their first sequences.

    Args:
        residues: Aligned sequences.
        identity: Share of the residues of the shorter one of two sequences, above which they are
            alike. A gap equals nothing.
        threads: How many compute; 0 takes all processors. The result is the same.

    Raises:
        DataError: The share is not between 0 and 1.
    """
    if not 0 < identity < 1:
        raise DataError(f"sequences are alike above a share between 0 and 1, got {identity:g}")
    x = residues.numpy()
    of, edges = np.arange(len(x)), [np.empty((2, 0), np.intp)]
    for i, j, _ in alike(x, needed((x != GAP).sum(1), identity), threads):
        both = np.stack([of[i], of[j]])
        edges.append(both[:, both[0] != both[1]])
        if sum(e.shape[1] for e in edges) > _EDGES:
            of, edges = _joined(of, np.concatenate(edges, 1)), edges[:1]
    return _joined(of, np.concatenate(edges, 1))


def _joined(of: NDArray[np.intp], edges: NDArray[np.intp]) -> NDArray[np.intp]:
    """Joins clusters that edges connect, and numbers them in order."""
    n = len(of)
    graph = coo_array((np.ones(edges.shape[1], bool), (edges[0], edges[1])), shape=(n, n))
    found = connected_components(graph, directed=False)[1][of]
    _, first, at = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[at]


def deal(of: NDArray[np.intp], valid: float, test: float, seed: int) -> Rows:
    """Deals out sequences so that those of one cluster are in one split.

    Clusters that are more than half as large as the smallest share are trained on; the others
    come in an order by chance, and are cut where the shares are met most closely.

    Args:
        of: The cluster of each sequence.
        valid: Share of the sequences that chooses the weights; 0 takes those of `test`.
        test: Share of the sequences to score against.
        seed: Seed of the order.

    Returns:
        Increasing indices for each split.

    Raises:
        DataError: The shares are impossible, or there are too few small clusters for them.
    """
    if not (valid >= 0 and test > 0 and valid + test < 1):
        raise DataError(f"cannot validate on a share of {valid:g} and test on {test:g}")
    n, sizes = len(of), np.bincount(of)
    small = np.flatnonzero(sizes <= max(min(s for s in (valid, test) if s) * n / 2, 1))
    order = np.random.default_rng(seed).permutation(small)
    edges = np.cumsum(sizes[order])
    wanted = [test * n, (test + valid) * n]
    stop, end = (int(np.abs(edges - w).argmin()) + 1 if len(edges) else 0 for w in wanted)
    got = [edges[stop - 1], edges[end - 1]] if len(edges) else [0, 0]
    if len(sizes) < 3 or got[0] < wanted[0] / 2 or (valid and got[1] - got[0] < valid * n / 2):
        raise DataError(
            f"{n} sequences are in {len(sizes)} clusters, the largest of {sizes.max()}: these are "
            f"too few small ones for shares of {valid:g} and {test:g}; ask for a higher "
            "--cluster_identity, or for --split random, whose test sequences have near copies "
            "among the training ones"
        )
    whose = np.zeros(len(sizes), int)
    whose[order[stop:end]], whose[order[:stop]] = 1, 2
    train, between, last = (torch.from_numpy(np.flatnonzero(whose[of] == k)) for k in range(3))
    return Rows(train, between if valid else last, last)
