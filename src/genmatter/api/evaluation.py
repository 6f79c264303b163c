"""Scores of samples beside their floor and the simplest models, all by the same measure."""

__all__ = [
    "FLOOR",
    "TRAIN",
    "Table",
    "from_json",
    "references",
    "scores",
    "simple",
    "to_json",
]

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch

from genmatter.api.progress import bar
from genmatter.api.trained import Trained
from genmatter.spine import Domain, Latent, Score, Splits
from genmatter.training.processes import shared_out

Table = dict[str, dict[str, Score]]
"""Scores by name, for samples, floor and each baseline."""

FLOOR = "floor"
"""The row of held-out data: what another draw of the truth gets."""
TRAIN = "training set"
"""The row of a model that memorises.

Rows whose names begin so are made of the same data: a part of them, or all of them as a
representation sees them. They are no models that a recipe has to beat.
"""


def scores(it: Trained, samples: Any, name: str = "samples") -> Table:
    """Scores objects, and beside them what perfect and simple models would get.

    The rows are the samples, held-out data (the floor: what another draw of the truth gets; none
    where the validation split is the test split), the training data (what a model that
    memorises gets) and the domain's baselines. A model with a latent adds how well it
    reconstructs the test split to its row, and the floor what its representation loses.
    Processes share the rows out.
    """
    splits = it.splits
    rows = {name: samples}
    rows |= references(it.domain, splits, min(len(samples), len(splits.test)))
    shown = bar("evaluate", total=len(rows), unit="row")

    def score(row: str) -> dict[str, Score]:
        shown.update()
        return it.domain.score(rows[row], splits)

    table = dict(zip(rows, shared_out(score, list(rows)), strict=True))
    shown.close()
    if isinstance(it.model, Latent):
        test = splits.test
        again = it.representation.decode(it.representation.encode(test))
        table[FLOOR] = table.get(FLOOR, {}) | it.domain.match(test, again)
        table[name] |= it.reconstruct(test).scores
    return table


def simple(rows: Iterable[str]) -> list[str]:
    """Returns those that are simple models, and not data."""
    return [row for row in rows if row != FLOOR and not row.startswith(TRAIN)]


def references(domain: Domain, splits: Splits[Any], n: int) -> dict[str, Any]:
    """Returns the sets that samples stand beside: held-out data, training data, baselines.

    There is no held-out data where the validation split is the test split. Of the training data
    and each baseline there are `n` objects at most.
    """
    some = torch.linspace(0, len(splits.train) - 1, min(n, len(splits.train))).long()
    held = {} if splits.valid is splits.test else {FLOOR: splits.valid}
    return held | {TRAIN: splits.train[some]} | domain.baselines(splits.train, n)


def to_json(table: Table) -> dict[str, Any]:
    """Returns plain values, best ones and units included."""
    return {row: {k: dataclasses.asdict(s) for k, s in r.items()} for row, r in table.items()}


def from_json(plain: dict[str, Any]) -> Table:
    """Inverts `to_json`."""
    return {row: {k: Score(**s) for k, s in r.items()} for row, r in plain.items()}
