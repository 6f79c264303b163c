"""Draws: one chunk after the other, each judged, until enough of them are kept.

A draw is kept or has a reason why not. It is kept if it is an object, was not kept before where
objects should differ, and is the nearest of its group to what is asked where several are drawn
for each that is wanted.
"""

__all__ = ["Chunk", "Rule", "kept"]

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from genmatter.api.progress import bar
from genmatter.api.results import counted, used
from genmatter.errors import ConfigError, DataError
from genmatter.loading.batch import Batch
from genmatter.spine import Domain

MOST = 100
"""How many times as many objects as wanted are drawn before sampling gives up."""
BEFORE, WORSE = "drawn before", "not the best of {}"
"""Why an object that is one is not kept."""


@dataclass(frozen=True)
class Rule:
    """Which of the sound objects are kept."""

    unique: bool = False
    """Whether none is kept twice."""
    best_of: int = 1
    """How many are drawn for each that is kept, if they can be told apart by their cost."""

    @classmethod
    def of(cls, config: Any) -> "Rule":
        """Reads it from the sampling options, of those who have them.

        Raises:
            ConfigError: Fewer than one are to be drawn for each.
        """
        sampling = getattr(config, "sampling", None)
        best_of = getattr(sampling, "best_of", 1)
        if best_of < 1:
            raise ConfigError(f"best_of should be at least 1, got {best_of}")
        return cls(getattr(sampling, "unique", False), best_of)


@dataclass(frozen=True)
class Chunk:
    """Some draws, and what their domain says of each."""

    batch: Batch
    faults: list[str]
    names: list[str] | None = None
    costs: list[float] | None = None

    @classmethod
    def judged(cls, batch: Batch, domain: Domain, objects: Any, rule: Rule) -> "Chunk":
        """Asks of objects what the rule needs to know."""
        names = domain.identities(objects) if rule.unique else None
        costs = domain.cost(objects) if rule.best_of > 1 else None
        plain = None if costs is None else costs.tolist()
        return cls(batch, domain.faults(objects), names, plain)

    def group(self, rule: Rule) -> int:
        """Returns how many rows in a row are drawn for one that is kept."""
        return 1 if self.costs is None else rule.best_of

    def reasons(self, rule: Rule, known: set[str]) -> list[str]:
        """Says why each is not kept; "" where it is, and then its name is known."""
        why, size = list(self.faults), self.group(rule)
        for start in range(0, len(why), size):
            rows = range(start, min(start + size, len(why)))
            if self.names is not None:
                for i in rows:
                    why[i] = why[i] or (BEFORE if self.names[i] in known else "")
            sound = [i for i in rows if not why[i]]
            best = min(sound, key=self._cost, default=None)
            for i in sound:
                why[i] = "" if i == best else WORSE.format(size)
            if best is not None and self.names is not None:
                known.add(self.names[best])
        return why

    def _cost(self, row: int) -> float:
        """Returns how far a draw is from what is asked; what is not known is the farthest."""
        cost = 0.0 if self.costs is None else self.costs[row]
        return math.inf if math.isnan(cost) else cost


def kept(
    n: int, rule: Rule, draws: Iterator[Chunk], least: int
) -> tuple[Batch, int, Counter[str]]:
    """Takes draws until `n` are kept; returns those, how many it took, and why others are not.

    It gives up after 100 times as many as wanted, but for `least` if that is more.

    Raises:
        DataError: Fewer than `n` of 100 times as many draws were kept.
    """
    batches: list[Batch] = []
    rejected: Counter[str] = Counter()
    known: set[str] = set()
    found = drawn = 0
    with bar("sample", total=n, unit="object") as shown:
        for chunk in draws:
            why, size = chunk.reasons(rule, known), chunk.group(rule)
            took = min(math.ceil(used(why, n - found) / size) * size, len(why))
            drawn += took
            rejected.update(w for w in why[:took] if w)
            good = [i for i, w in enumerate(why[:took]) if not w]
            batches.append(chunk.batch[torch.tensor(good, dtype=torch.long)])
            found += len(good)
            shown.update(len(good))
            if found >= n:
                break
            if drawn >= MOST * max(n * size, least):
                said = counted(rejected)
                raise DataError(f"only {found} of {drawn} draws were sound: {said}")
    return type(batches[0]).cat(batches), drawn, rejected
