"""Scaffolds of a set, and a split that deals them out whole."""

__all__ = ["deal", "scaffolds"]

from typing import Any

import numpy as np
import torch
from rdkit import rdBase

from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.murcko import scaffolds_of_split
from genmatter.errors import DataError
from genmatter.loading.cached import kept, key
from genmatter.loading.parallel import spread
from genmatter.loading.split import Rows

VERSION = 1
"""Of what is computed here; another one computes it anew."""


def scaffolds(molecules: Molecules, processes: int = 0) -> np.ndarray:
    """Returns the scaffold of each molecule as canonical SMILES without stereo, [n] objects.

    Molecules without rings have the scaffold "", which they share: as in DeepChem, they are one
    group. Scaffolds are kept in the cache.
    """
    texts = molecules.smiles.tolist()
    name = key("\n".join(texts).encode(), "scaffolds", VERSION, rdBase.rdkitVersion)

    def make() -> Any:
        import pyarrow as pa

        found = list(spread(scaffolds_of_split, {}, texts, "scaffolds", processes))
        return pa.table({"scaffold": pa.array(found, pa.string())})

    return kept(f"molecules/scaffolds-{name}", make)["scaffold"].to_numpy()


def deal(groups: np.ndarray, valid: float, test: float, seed: int) -> Rows:
    """Deals out rows so that those of one group are in one split.

    Groups that are more than half as large as the smallest share are trained on first, as they
    would fill a share alone; the others come in an order by chance. It is cut where the shares
    are met most closely, and where each split has a group.

    Args:
        groups: Which group each row is of, [n] objects.
        valid: Share of the rows that chooses the weights; 0 takes the rows of `test`.
        test: Share of the rows to score against.
        seed: Seed of the order.

    Returns:
        Increasing indices for each split.

    Raises:
        DataError: The shares are impossible, or a split would be empty.
    """
    if not (valid >= 0 and test > 0 and valid + test < 1):
        raise DataError(f"cannot validate on a share of {valid:g} and test on {test:g}")
    n, least = len(groups), 3 if valid else 2
    _, of, sizes = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    if len(sizes) < least:
        raise DataError(
            f"{n} molecules of {len(sizes)} scaffolds cannot be dealt out to {least} splits: "
            "split them at random"
        )
    small = sizes <= min(s for s in (valid, test) if s) * n / 2
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = np.concatenate([order[~small[order]], order[small[order]]])
    edges = np.concatenate([[0], np.cumsum(sizes[order])])
    stop, start = (
        int(np.abs(edges - share * n).argmin()) for share in (1 - valid - test, 1 - test)
    )
    stop = min(max(stop, 1), len(sizes) - 1 - (valid > 0))
    start = min(max(start, stop + (valid > 0)), len(sizes) - 1)
    place = np.empty(len(sizes), dtype=int)
    place[order] = np.searchsorted([stop, start], np.arange(len(order)), side="right")
    train, between, last = (torch.from_numpy(np.flatnonzero(place[of] == k)) for k in range(3))
    return Rows(train, between if valid else last, last)
