r"""Which of several sets of samples is nearer to the data, beyond what chance does.

A score of n samples against m test objects is a random number. Its spread is taken from k parts,
each of n/k consecutive samples against m/k consecutive test objects: the standard error of the
whole is the standard deviation over the parts, divided by :math:`\sqrt k` (batch means, which also
hold where neighbours in a trajectory resemble each other). All sets meet the same part of the
test split, so that what this part has of its own cancels in differences.

References:
    Statistical methods in Markov chain Monte Carlo: batch means (Flegal & Jones, 2010).
    https://doi.org/10.1214/09-AOS735
"""

__all__ = ["Contest", "Outcome", "Parts", "parts"]

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from scipy.stats import t as student

from genmatter.api.evaluation import FLOOR, Table
from genmatter.spine import Score, Splits

PARTS = 10
"""Parts that sets are cut into, where they are large enough."""
SMALLEST = 4
"""Objects that a part has at least, and parts that make a standard deviation."""
SURE = 0.95
"""Confidence at which a difference is called one, score by score."""

Scores = dict[str, Score]
Parts = Sequence[Scores]
"""The scores of each part of a set; empty where it is too small to be cut."""


@dataclass(frozen=True)
class Outcome:
    """Who is nearest to the best value of one score."""

    leaders: tuple[str, ...]
    """The run that is nearest, and all runs that are it but for chance, or below the floor."""
    margin: float
    """Standard errors from the nearest run to the next; NaN if unknown."""
    at_floor: bool
    """Whether it is a tie because several are nearer than other held-out data are."""
    beaten_by: tuple[str, ...]
    """Simple models that are nearer than every run, beyond chance."""

    @property
    def winner(self) -> str:
        """The run that is nearest alone; "" where it is a tie."""
        return "" if len(self.leaders) > 1 else next(iter(self.leaders))


def parts(
    score: Callable[[Any, Splits[Any]], Scores], sets: Mapping[str, Any], splits: Splits[Any]
) -> dict[str, Parts]:
    """Scores each part of each set against its part of the test split.

    Sets are cut into as many parts as the smallest of them allows.
    """
    smallest = min(len(x) for x in [*sets.values(), splits.test])
    k = min(PARTS, smallest // SMALLEST)
    if k < SMALLEST:
        return {name: [] for name in sets}
    tests = _cut(splits.test, k)
    return {
        name: [
            score(part, replace(splits, test=test))
            for part, test in zip(_cut(objects, k), tests, strict=True)
        ]
        for name, objects in sets.items()
    }


def _cut(objects: Any, k: int) -> list[Any]:
    return [objects[rows] for rows in torch.arange(len(objects)).tensor_split(k)]


@dataclass(frozen=True)
class Contest:
    """Rows of scores, and what is known of their spread."""

    table: Table
    pieces: Mapping[str, Parts]
    runs: Sequence[str]
    """The rows that compete."""
    simple: Collection[str] = ()
    """The rows of simple models."""
    floor: str = FLOOR
    """The row of held-out data against held-out data."""

    def error(self, row: str, name: str) -> float:
        """Returns the standard error of a score; NaN if unknown."""
        return _error([part[name].value for part in self.pieces.get(row, ()) if name in part])

    def errors(self) -> dict[str, dict[str, float]]:
        """Returns the standard error of every score of every row."""
        return {
            row: {name: self.error(row, name) for name in of} for row, of in self.table.items()
        }

    def lead(self, a: str, b: str, name: str) -> float:
        r"""Returns by how many standard errors row `a` is nearer to the best value than row `b`.

        The distance :math:`|v - v^*|` bends at the best value, which would hide the spread of a
        score that lies there; so each part's value is counted on the side of the whole set's.
        """
        mine, other = self.table[a][name], self.table[b][name]
        ahead = other.gap - mine.gap
        if math.isnan(ahead) or ahead == 0:
            return ahead
        side, across = _side(mine), _side(other)
        both = zip(self.pieces.get(a, ()), self.pieces.get(b, ()), strict=True)
        spread = _error(
            [across * q[name].value - side * p[name].value for p, q in both if name in {*p} & {*q}]
        )
        return math.copysign(math.inf, ahead) if spread == 0 else ahead / spread

    @property
    def names(self) -> list[str]:
        """The scores, in the order in which rows bring them up."""
        return list(dict.fromkeys(name for row in self.table.values() for name in row))

    @property
    def needed(self) -> float:
        """The lead from which on a difference is called one (Student's t); NaN if unknown."""
        count = min((len(pieces) for pieces in self.pieces.values()), default=0)
        return float(student.ppf((1 + SURE) / 2, count - 1)) if count else math.nan

    def outcomes(self) -> dict[str, Outcome]:
        """Judges every score that two runs or more have."""
        found = {name: self.outcome(name) for name in self.names}
        return {name: outcome for name, outcome in found.items() if outcome}

    def outcome(self, name: str) -> Outcome | None:
        """Judges one score; None where fewer than two runs have it.

        A difference is one if chance gives it less than once in twenty, and not both are nearer
        than the floor, which is all that so many objects can resolve.
        """
        gaps = {r: self.table[r][name].gap for r in self.runs if name in self.table[r]}
        gaps = {r: gap for r, gap in gaps.items() if math.isfinite(gap)}
        if len(gaps) < 2:
            return None
        nearest = min(gaps, key=gaps.__getitem__)
        leads = {r: self.lead(nearest, r, name) for r in gaps if r != nearest}
        chance = {r for r, lead in leads.items() if not lead > self.needed}
        floor = self.table.get(self.floor, {}).get(name)
        fine = {r for r in gaps if floor and max(gaps[r], gaps[nearest]) <= floor.gap}
        leaders = {nearest} | chance | fine
        return Outcome(
            leaders=tuple(r for r in self.runs if r in leaders),
            margin=min(leads.values(), key=lambda lead: -1.0 if math.isnan(lead) else lead),
            at_floor=bool(fine - chance - {nearest}),
            beaten_by=tuple(
                row
                for row in self.simple
                if name in self.table[row]
                and all(self.lead(row, run, name) > self.needed for run in gaps)
            ),
        )


def _side(score: Score) -> float:
    return -1.0 if score.value < score.best and not score.unbiased else 1.0


def _error(values: Sequence[float]) -> float:
    if len(values) < SMALLEST or not all(map(math.isfinite, values)):
        return math.nan
    return float(torch.tensor(values, dtype=torch.float64).std()) / math.sqrt(len(values))
