"""What is true of objects, told once for each different one, and counted."""

__all__ = ["Found", "Oracle"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmatter.api.objective import Assessed, Objective
from genmatter.api.progress import bar
from genmatter.api.trained import Trained
from genmatter.errors import DataError

MISSED, UNSOUND = 1e6, 1e9
"""Scores from which objects miss a bound, and from which they are none."""
PATIENCE = 20
"""How many times as many objects as calls are looked at before a search ends for want of new."""


@dataclass(frozen=True)
class Found:
    """What a search came upon."""

    method: str
    objects: Any
    """The best different ones that keep every bound, the best first."""
    values: Mapping[str, Float[Tensor, " k"]]
    """Their properties."""
    cost: Float[Tensor, " k"]
    """The weighted sum of what was to become small, in standard deviations of the data."""
    history: Mapping[str, Float[Tensor, " calls"]]
    """Properties and `cost` of the best object so far, after each call; NaN before the first."""

    @property
    def calls(self) -> int:
        """How many different objects were measured."""
        return len(self.history["cost"])

    def best(self, name: str) -> float:
        """Returns a property of the best object; NaN where none keeps every bound."""
        values = self.values[name]
        return float(values[0]) if len(values) else float("nan")


class Oracle:
    """Measures objects: each different one once, until so many calls are spent.

    An object that something speaks against is not measured.
    """

    def __init__(self, it: Trained, objective: Objective, calls: int) -> None:
        self.it, self.objective, self.calls = it, objective, calls
        self.scores: dict[str, float] = {}
        self.told: list[Assessed] = []
        self.rows: list[int] = []
        self.looked_at = 0
        self.shown = bar("search", total=calls, unit="call")

    @property
    def left(self) -> int:
        return self.calls - len(self.rows)

    @property
    def is_spent(self) -> bool:
        """Whether no call is left, or hardly anything new turns up."""
        return self.left <= 0 or self.looked_at >= PATIENCE * self.calls

    def __call__(self, objects: Any) -> tuple[Float[Tensor, " n"], Int[Tensor, " new"]]:
        """Returns a score of each, the less the better, and the rows that were measured now.

        A score is the cost of an object that keeps every bound; all others are above.
        """
        names = self._names(objects)
        doubts = self.it.domain.doubts(objects, self.it.splits.train)
        fresh: dict[str, int] = {}
        for row, (name, why) in enumerate(zip(names, doubts, strict=True)):
            if not why and name not in self.scores and len(fresh) < self.left:
                fresh.setdefault(name, row)
        new = torch.tensor(list(fresh.values()), dtype=torch.long)
        if fresh:
            told = self.objective.assess(objects[new])
            score = torch.where(told.miss == 0, told.cost, MISSED + told.miss)
            self.scores |= zip(fresh, score.clamp(max=UNSOUND).tolist(), strict=True)
            self.told.append(told)
        self.rows += [self.looked_at + row for row in fresh.values()]
        self.looked_at += len(names)
        self.shown.update(len(fresh))
        return torch.tensor([self.scores.get(name, UNSOUND) for name in names]), new

    def found(self, method: str, k: int, take: Callable[[Tensor], Any]) -> Found:
        """Sums up.

        Args:
            method: Whose search it was.
            k: How many of the best to return.
            take: Returns the objects of some calls, counted from 0.

        Raises:
            DataError: Nothing was measured.
        """
        self.shown.close()
        if not self.told:
            raise DataError(f"none of {self.looked_at} objects that {method} came upon is sound")
        values = {
            name: torch.cat([t.values[name] for t in self.told]) for name in self.objective.of
        }
        values["cost"] = torch.cat([t.cost for t in self.told])
        feasible = torch.cat([t.feasible for t in self.told])
        cost = values["cost"].masked_fill(~feasible, torch.inf)
        lowest, at = cost.cummin(0)
        history = {n: v[at].masked_fill(lowest.isinf(), torch.nan) for n, v in values.items()}
        order = cost.argsort(stable=True)[: min(k, int(feasible.sum()))]
        best = {name: v[order] for name, v in values.items()}
        return Found(method, take(order), best, best.pop("cost"), history)

    def _names(self, objects: Any) -> list[str]:
        """Returns what tells objects apart; where nothing does, all differ."""
        names = self.it.domain.identities(objects)
        return names or [str(self.looked_at + i) for i in range(len(objects))]
