r"""Tokens: SELFIES symbols, and pieces of several that are merged by how often they meet.

Byte-pair encoding joins the pair of neighbouring tokens that is most frequent, again and again.
A text is then written by making the same merges in the same order. Pieces are strings of symbols,
so every sequence of them is a SELFIES, and writing is undone by writing them out.

All texts of a set are one array of numbers with a gap between texts, and a merge is one pass over
it. No merge makes a pair that an earlier one would join, so passes in the order of learning give
what joining the earliest pair first gives.

References:
    | Neural machine translation of rare words with subword units (Sennrich et al., 2016)
    | https://doi.org/10.18653/v1/P16-1162
"""

__all__ = ["BLANK", "END", "PAD", "SPECIAL", "START", "Flat", "learn", "merged", "pieces"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PAD, START, END, BLANK = range(4)
"""What fills up a row, begins and ends a molecule, and stands for a symbol that is not shown."""
SPECIAL = ("[PAD]", "[START]", "[END]", "[BLANK]")
"""What these are called."""
_GAP = -1

Pair = tuple[int, int]


@dataclass(frozen=True)
class Flat:
    """Texts of tokens, one behind the other."""

    ids: np.ndarray
    """Tokens, with a gap (-1) behind each text."""

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Flat":
        """Joins texts."""
        parts = [np.asarray([*row, _GAP], dtype=np.int32) for row in rows]
        return cls(np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32))

    def rows(self) -> list[np.ndarray]:
        """Returns the texts."""
        ends = np.flatnonzero(self.ids == _GAP)
        return [part[part != _GAP] for part in np.split(self.ids, ends + 1)[: len(ends)]]

    def join(self, pair: Pair, new: int) -> "Flat":
        """Writes `new` for each pair, from the left."""
        x = self.ids
        at = np.flatnonzero((x[:-1] == pair[0]) & (x[1:] == pair[1]))
        if not len(at):
            return self
        if pair[0] == pair[1]:
            at = _every_other(at)
        x = x.copy()
        x[at] = new
        return Flat(np.delete(x, at + 1))

    def most_frequent(self, size: int) -> tuple[Pair, int]:
        """Returns the pair that is met most often, the first of several, and how often.

        Args:
            size: Tokens are below it.
        """
        x = self.ids.astype(np.int64)
        inside = (x[:-1] != _GAP) & (x[1:] != _GAP)
        counts = np.bincount(x[:-1][inside] * size + x[1:][inside], minlength=1)
        code = int(counts.argmax())
        return (code // size, code % size), int(counts[code])


def _every_other(at: np.ndarray) -> np.ndarray:
    """Returns the first, third ... of each run of neighbours, which do not overlap."""
    begins = np.diff(at, prepend=at[0] - 2) > 1
    run = np.maximum.accumulate(np.where(begins, at, 0))
    return at[(at - run) % 2 == 0]


def learn(rows: Sequence[Sequence[int]], size: int, count: int, least: int = 2) -> list[Pair]:
    """Returns merges, the first made first; the k-th makes token `size + k`.

    Args:
        rows: Texts of tokens.
        size: How many tokens there are before.
        count: How many merges, at most.
        least: Pairs that are met less often than this are left apart.
    """
    flat, pairs = Flat.of(rows), []
    while len(pairs) < count:
        pair, times = flat.most_frequent(size + len(pairs))
        if times < least:
            break
        flat = flat.join(pair, size + len(pairs))
        pairs.append(pair)
    return pairs


def merged(rows: Sequence[Sequence[int]], size: int, pairs: Sequence[Pair]) -> list[np.ndarray]:
    """Returns texts with all merges made in them."""
    flat = Flat.of(rows)
    for k, pair in enumerate(pairs):
        flat = flat.join(pair, size + k)
    return flat.rows()


def pieces(symbols: Sequence[str], pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Returns the symbols that each token stands for, special tokens first, as none."""
    found: list[tuple[str, ...]] = [() for _ in SPECIAL]
    found += [(s,) for s in symbols]
    for a, b in pairs:
        found.append(found[a] + found[b])
    return found
