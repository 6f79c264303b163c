"""Which rows a model learns from, and which it is judged by."""

__all__ = ["Rows", "autocorrelation", "blocks", "leak", "random", "whole"]

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmatter.errors import DataError


class Rows(NamedTuple):
    """Indices of the rows of each split."""

    train: Int[Tensor, " n_train"]
    valid: Int[Tensor, " n_valid"]
    test: Int[Tensor, " n_test"]


def blocks(n: int, count: int, gap: int, valid: float, test: float) -> Rows:
    """Splits a time series such that neighbours in time do not fall into different splits.

    Each block is dealt out to all three splits, in proportion and in one piece each, so that
    every split sees the whole series even where it drifts. Every other block is dealt out in
    reverse, which saves a third of the seams. At each seam some rows are dropped.

    Args:
        n: Rows in the order of time.
        count: Number of blocks along the series.
        gap: Rows dropped between neighbouring pieces of different splits: at least the time in
            which the series forgets itself (see `autocorrelation`).
        valid: Share of the kept rows that chooses the weights; 0 takes the rows of `test`.
        test: Share of the kept rows to score against.

    Returns:
        Increasing indices for each split.

    Raises:
        DataError: The shares are impossible, or the series is too short for so many seams.
    """
    _check(valid, test)
    if count < 1 or gap < 0:
        raise DataError(f"cannot split into {count} blocks with gaps of {gap} rows")
    shares = {"train": 1 - valid - test, "valid": valid, "test": test}
    owners, widths = zip(*_pieces(count, shares), strict=True)
    kept = max(n - gap * (len(widths) - 1), 0)
    edges = np.rint(np.cumsum([0, *widths]) / sum(widths) * kept).astype(int)
    if np.diff(edges).min() == 0:
        raise DataError(
            f"{n} frames are too few for {count} blocks with gaps of {gap} frames "
            f"({len(widths)} pieces): ask for fewer blocks or a smaller gap"
        )
    found: dict[str, list[Tensor]] = {name: [] for name in shares}
    for seams, (owner, (start, stop)) in enumerate(zip(owners, pairwise(edges), strict=True)):
        found[owner].append(torch.arange(start, stop) + seams * gap)
    return Rows(*(torch.cat(found[name] or found["test"]) for name in shares))


def _pieces(count: int, shares: dict[str, float]) -> list[tuple[str, float]]:
    """Returns whose each piece along the series is, and how long, in some unit."""
    order = [name for name, share in shares.items() if share > 0]
    dealt = [name for block in range(count) for name in order[:: 1 - 2 * (block % 2)]]
    return [(name, len(list(same)) * shares[name]) for name, same in groupby(dealt)]


def random(n: int, valid: float, test: float, seed: int, what: str = "frames") -> Rows:
    """Splits rows by chance, which is right for independent rows and leaks for a time series.

    The order is that of `np.random.seed(seed); np.random.permutation(n)`, of which the first
    rows are for training and the last for testing, so that published splits can be repeated.

    Args:
        n: Number of rows.
        valid: Share of the rows that chooses the weights; 0 takes the rows of `test`.
        test: Share of the rows to score against.
        seed: Seed of the permutation.
        what: Rows are called so where they are too few.

    Raises:
        DataError: The shares are impossible, a split would be empty, or there is no such seed.
    """
    _check(valid, test)
    if not 0 <= seed < 2**32:
        raise DataError(f"cannot split by the seed {seed}: NumPy's lie between 0 and 2^32 - 1")
    legacy = np.random.RandomState(seed)  # the generator of published splits
    order = torch.from_numpy(legacy.permutation(n))
    # The tiny term undoes that 1 - 0.9 is a little less than 0.1.
    stop, start = (int(n * share + 1e-9) for share in (1 - valid - test, 1 - test))
    if not 0 < stop < n or (valid > 0 and start == stop) or start == n:
        raise DataError(f"{n} {what} are too few for shares of {valid:g} and {test:g}")
    train, between, last = order[:stop], order[stop:start], order[start:]
    return Rows(train, between if valid > 0 else last, last)


def whole(
    groups: Sequence[str] | np.ndarray, valid: float, test: float, seed: int,
    what: str = "molecules of scaffolds",
) -> Rows:  # fmt: skip
    """Deals out rows so that those of one group are in one split.

    Groups that are more than half as large as the smallest share are trained on first, as they
    would fill a share alone; the others come in an order by chance. It is cut where the shares
    are met most closely, and where each split has a group.

    Args:
        groups: Which group each row is of, [n] objects.
        valid: Share of the rows that chooses the weights; 0 takes the rows of `test`.
        test: Share of the rows to score against.
        seed: Seed of the order.
        what: What rows and groups are called where there are too few.

    Returns:
        Increasing indices for each split.

    Raises:
        DataError: The shares are impossible, or a split would be empty.
    """
    _check(valid, test)
    rows, kinds = what.split(" of ")
    n, least = len(groups), 3 if valid else 2
    _, of, sizes = np.unique(
        np.asarray(groups).astype(str), return_inverse=True, return_counts=True
    )
    if len(sizes) < least:
        raise DataError(
            f"{n} {rows} of {len(sizes)} {kinds} cannot be dealt out to {least} splits: split "
            "them at random"
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


def _check(valid: float, test: float) -> None:
    if not (valid >= 0 and test > 0 and valid + test < 1):
        raise DataError(
            f"cannot validate on a share of {valid:g} and test on {test:g}: shares are at least "
            "0, that to test on is more, and something has to remain to train on"
        )


def autocorrelation(values: Float[Tensor, " n"], lags: int) -> Float[Tensor, " lags_and_0"]:
    r"""Returns how well a series remembers itself, from lag 0 (where it is 1) to lag `lags`.

    .. math:: \rho_k = \sum_t (a_t - \bar a)(a_{t+k} - \bar a) \,/\, \sum_t (a_t - \bar a)^2

    A constant series gives NaN. The spread of :math:`\rho` over an unrelated series of n rows is
    :math:`n^{-1/2}` (Priestley, Spectral Analysis and Time Series, 1981, section 5.3).
    """
    a = values.double() - values.double().mean()
    sums = [a[k:] @ a[: len(a) - k] for k in range(min(lags, len(a) - 1) + 1)]
    return (torch.stack(sums) / sums[0]).to(values)


def leak(train: Int[Tensor, " n"], test: Int[Tensor, " m"], reach: int = 1) -> float:
    """Returns the share of test rows that have a training row within `reach` in time.

    Of a time series such rows are near copies of what the model has seen, so that its test score
    is too good. A gapped split has none, a random one nearly only such.
    """
    ahead = torch.searchsorted(train.sort().values, test - reach)
    nearest = torch.cat([train.sort().values, torch.tensor([torch.iinfo(train.dtype).max])])
    return float((nearest[ahead] <= test + reach).double().mean())
