"""How many residues each two of many sequences have in common: bits, exclusive or, counts.

A column's residue is five bits, which lie in five planes: 64 columns are one word of each. Two
sequences differ where any plane does, so that a few operations on words compare 64 columns. A gap
is one number in the first sequence and another one in the second, and so equals nothing. The
columns that vary most come first: of most pairs the first word says already that they are not
alike. All numbers are whole, so results are the same on any machine and however work is shared.
"""

__all__ = ["alike", "matches", "nearest", "needed"]

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from genmatter.domains.protein.sequences import GAP

Residues = NDArray[np.int8]
Found = TypeVar("Found")

_PLANES, _WORD = 5, 64
_BLOCK = 256
"""Sequences of a side of a block: its pairs fit into a processor's cache."""
_SPARSE = 16
"""From which pair in so many on the rest of the columns is compared pair by pair."""
_NO_RESIDUE = 21  # a gap of the first sequence; one of the second is 0


class _Planes(NamedTuple):
    first: NDArray[np.uint64]
    """[words, planes, n] of sequences as the first of a pair."""
    second: NDArray[np.uint64]


class Alike(NamedTuple):
    """Pairs that have enough in common."""

    i: NDArray[np.intp]
    j: NDArray[np.intp]
    """Rows, i < j."""
    matches: NDArray[np.intp]
    """Columns in which they have the same residue."""


def needed(lengths: NDArray[np.intp], identity: float) -> NDArray[np.intp]:
    """Returns the fewest matches that are more than a share of so many residues."""
    most = int(lengths.max(initial=0))
    table = np.ones(most + 1, np.intp)
    for n in range(1, most + 1):
        table[n] = np.argmax(np.append(np.arange(n + 1) / n, np.inf) > identity)
    return table[lengths]


def alike(x: Residues, least: NDArray[np.intp], threads: int = 0) -> Iterator[Alike]:
    """Yields all pairs whose matches reach what either of both needs, in some order.

    Memory is bounded whatever the number of sequences: pairs come in blocks.

    Args:
        x: Sequences, [n, sites].
        least: How many matches each needs, [n].
        threads: How many compute; 0 takes all processors that there are.
    """
    short = np.min_scalar_type(-x.shape[1] - 1)  # narrow numbers are compared faster
    planes, most = _planes(x, _order(x)), (x.shape[1] - least).astype(short)
    starts = range(0, len(x), _BLOCK)
    blocks = ((i, j) for i in starts for j in starts if i <= j)
    yield from _spread(partial(_block, planes, x.shape[1], most), blocks, threads)


def _spread(
    compute: Callable[[tuple[int, int]], Found], tasks: Iterator[tuple[int, int]], threads: int
) -> Iterator[Found]:
    """Computes in threads, of which none is far ahead of who takes the results."""
    count = threads or len(os.sched_getaffinity(0))
    if count == 1:
        yield from map(compute, tasks)
        return
    with ThreadPoolExecutor(count) as pool:
        while some := list(islice(tasks, 64 * count)):
            yield from pool.map(compute, some)


def _order(x: Residues) -> NDArray[np.intp]:
    """Returns the columns in which two sequences agree most seldom, first."""
    counts = np.stack([(x == a).sum(0) for a in range(1, x.max(initial=0) + 1)] or [x.sum(0)])
    return np.argsort((counts.astype(float) ** 2).sum(0), kind="stable")


def _planes(x: Residues, order: NDArray[np.intp]) -> _Planes:
    codes = x[:, order].astype(np.uint8)
    return _Planes(_bits(np.where(codes == GAP, _NO_RESIDUE, codes)), _bits(codes))


def _bits(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    n, sites = codes.shape
    words = max(-(-sites // _WORD), 1)
    wide = np.zeros((n, words * _WORD), np.uint8)
    wide[:, :sites] = codes
    planes = [np.packbits((wide >> k) & 1, axis=1).view(np.uint64) for k in range(_PLANES)]
    return np.ascontiguousarray(np.stack(planes).transpose(2, 0, 1))


def _differing(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Returns in how many of 64 columns words [planes, ...] differ, which are broadcast."""
    found = a[0] ^ b[0]
    scratch = np.empty_like(found)
    for k in range(1, _PLANES):
        np.bitwise_xor(a[k], b[k], out=scratch)
        np.bitwise_or(found, scratch, out=found)
    return np.bitwise_count(found)


def _block(planes: _Planes, sites: int, most: NDArray[Any], at: tuple[int, int]) -> Alike:
    rows, columns = (slice(k, k + _BLOCK) for k in at)
    a, b = planes.first[:, :, rows, None], planes.second[:, :, None, columns]
    far = np.maximum(most[rows, None], most[None, columns])
    if at[0] == at[1]:
        far = np.where(
            np.tri(*far.shape, dtype=bool), far.dtype.type(-1), far
        )  # each pair once, none with itself
    differ = np.zeros_like(far)
    for word in range(len(a)):
        np.add(differ, _differing(a[word], b[word]), out=differ, casting="unsafe")
        near = differ <= far
        if np.count_nonzero(near) * _SPARSE < near.size or word == len(a) - 1:
            i, j = near.nonzero()
            return _rest(planes, sites, word + 1, differ[i, j], far[i, j], i + at[0], j + at[1])
    raise AssertionError("a sequence has at least one word")


def _rest(
    planes: _Planes, sites: int, word: int, differ: NDArray[Any], far: NDArray[Any],
    i: NDArray[np.intp], j: NDArray[np.intp],
) -> Alike:  # fmt: skip
    """Compares the columns from a word on of pairs that may still be near."""
    for k in range(word, len(planes.first)):
        differ = differ + _differing(planes.first[k][:, i], planes.second[k][:, j])
        near = differ <= far
        differ, far, i, j = differ[near], far[near], i[near], j[near]
    return Alike(i, j, sites - differ.astype(np.intp))


def matches(a: Residues, b: Residues) -> NDArray[np.int32]:
    """Returns in how many columns each of `a` has the residue of each of `b`, [n, m]."""
    order = np.arange(a.shape[1])
    first, second = _planes(a, order).first, _planes(b, order).second
    found = np.empty((len(a), len(b)), np.int32)
    for i in range(0, len(a), _BLOCK):
        for j in range(0, len(b), _BLOCK):
            rows, columns = slice(i, i + _BLOCK), slice(j, j + _BLOCK)
            words = zip(first[:, :, rows, None], second[:, :, None, columns], strict=True)
            differ = sum(_differing(*word).astype(np.int32) for word in words)
            found[rows, columns] = a.shape[1] - differ
    return found


def nearest(
    a: Residues, b: Residues, threads: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Returns which of `b` has most residues in common with each of `a`, and how many.

    Memory is bounded whatever the number of `b`.
    """
    part = max(_BLOCK, 2**24 // max(len(b), 1))

    def best(at: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        found = matches(a[slice(*at)], b)
        where = found.argmax(1)
        return where, found[np.arange(len(where)), where]

    tasks = ((k, k + part) for k in range(0, len(a), part))
    parts = list(_spread(best, tasks, threads))
    if not parts:
        return np.empty(0, np.intp), np.empty(0, np.int32)
    where, most = zip(*parts, strict=True)
    return np.concatenate(where), np.concatenate(most)
