"""Several runs of one domain, measured side by side on the data of the first."""

__all__ = ["Comparison", "Cost", "compare", "to_json"]

import dataclasses
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genmatter.api import evaluation
from genmatter.api.contest import Contest, parts
from genmatter.api.lineup import Leaves, differing
from genmatter.api.progress import bar
from genmatter.api.trained import Trained
from genmatter.errors import DataError, GenmatterError
from genmatter.spine import Latent, Likelihood, Splits

SEED = 0
"""Seed of the samples that are scored."""
FEW = 16
"""Objects that are tried first, where runs may not be of one shape."""
TIMED = 1000
"""Objects that are drawn to measure the time it takes."""
REPEATS = 3
"""How often, of which the median counts."""
BOUNDED = 500
"""Objects of the test split whose likelihood is bounded."""
DRAWS = 64
"""Draws of the latent in the tighter bound."""


@dataclass(frozen=True)
class Cost:
    """What a run took, and takes."""

    parameters: int
    epochs: int
    training: float
    """Seconds, as the history has them; of the machine that trained."""
    sampling: float
    """Seconds to draw 1,000 sound objects on this machine, the median of several."""
    calls: int | None
    """Calls of the network for a sample, where the model says so."""
    size: int
    """Bytes of the model file."""


@dataclass(frozen=True)
class Comparison:
    """What was measured of several runs, each by its name."""

    runs: dict[str, Trained]
    splits: Splits[Any]
    """The data of the first run."""
    n: int
    drawn: dict[str, Any]
    """The objects that each run sampled."""
    contest: Contest
    """Scores of samples, and beside them floor, training set and baselines."""
    reconstruction: Contest
    """Scores of reconstructions of the test split, of the runs that have a latent."""
    likelihoods: dict[str, dict[str, tuple[float, float]]]
    """Run -> name of the bound -> mean over test objects and its standard error, in nats."""
    costs: dict[str, Cost]
    leaves: Leaves
    """The leaves of the configs that differ."""

    @property
    def first(self) -> Trained:
        return next(iter(self.runs.values()))

    @property
    def data_leaves(self) -> list[str]:
        """The leaves of the data that differ; none where all runs learned from the same."""
        return [leaf for leaf in self.leaves if leaf.startswith("data.")]


def compare(runs: dict[str, Trained], n: int) -> Comparison:
    """Measures runs on the data of the first, by the measure of its domain.

    Args:
        runs: Two at least, of one domain, by their names.
        n: Samples to draw of each run and baseline.

    Raises:
        DataError: What a run samples cannot be scored on those data.
    """
    first = next(iter(runs.values()))
    splits, domain = first.splits, first.domain
    drawn = {name: it.fair(n, seed=SEED) for name, it in runs.items()}
    leaves = differing({name: it.config for name, it in runs.items()})
    if any(leaf.startswith("data.") for leaf in leaves):
        for name, it in runs.items():
            _check(name, it, drawn[name], first)
    beside = {  # a run may well be called as a baseline is
        f"{row} (baseline)" if row in runs else row: objects
        for row, objects in evaluation.references(domain, splits, n).items()
    }
    sets = drawn | beside
    table = {
        row: domain.score(objects, splits)
        for row, objects in bar("compare", sets.items(), len(sets), "row")
    }
    simple = evaluation.simple(beside)
    return Comparison(
        runs=runs,
        splits=splits,
        n=n,
        drawn=drawn,
        contest=Contest(table, parts(domain.score, sets, splits), list(runs), simple),
        reconstruction=_reconstruction(runs, first),
        likelihoods={name: _bounds(it, splits.test) for name, it in runs.items()},
        costs=_costs(runs),
        leaves=leaves,
    )


def _check(name: str, it: Trained, samples: Any, first: Trained) -> None:
    """Refuses a run that cannot take the first run's data, or whose samples do not match them.

    Raises:
        DataError: It cannot, as where objects differ in shape.
    """
    try:
        it.observe(first.splits.test[:FEW])
        if isinstance(it.model, Latent):
            it.reconstruct(first.splits.test[:FEW])
        it.representation.encode(first.splits.test[:FEW])
        first.domain.score(samples[:FEW], first.splits)
    except (GenmatterError, RuntimeError) as error:
        raise DataError(
            f"{name!r} cannot be compared on the data of {first.run and str(first.run.path)!r}: "
            f"{error}"
        ) from None


def _reconstruction(runs: Mapping[str, Trained], first: Trained) -> Contest:
    """Scores what becomes of the test split, in the model and in its representation alone."""
    test, match = first.splits.test, first.domain.match
    able = {name: it for name, it in runs.items() if isinstance(it.model, Latent)}
    copies = {name: it.reconstruct(test).copies for name, it in able.items()}
    bridges = {name: it.representation for name, it in able.items()}
    alike = all(bridge == first.representation for bridge in bridges.values())
    for name, bridge in list(bridges.items())[: 1 if alike else None]:
        row = evaluation.FLOOR if alike else f"{name} (representation)"
        copies[row] = bridge.decode(bridge.encode(test))
    table = {row: match(test, again) for row, again in copies.items()}
    pieces = parts(lambda again, splits: match(splits.test, again), copies, first.splits)
    return Contest(table, pieces, list(able))


def _bounds(it: Trained, test: Any) -> dict[str, tuple[float, float]]:
    """Returns the mean of what the model's likelihood adds to the observables, and its error."""
    if not isinstance(it.model, Likelihood):
        return {}
    few = test[: min(BOUNDED, len(test))]
    found = it.observe(few) | it.observe(few, DRAWS)
    own = {k: v for k, v in found.items() if k not in {o.name for o in it.domain.observables}}
    return {k: (float(v.mean()), float(v.std()) / len(v) ** 0.5) for k, v in own.items()}


def _costs(runs: Mapping[str, Trained]) -> dict[str, Cost]:
    """Times the runs in turn, so that what else the machine does falls on all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(1, REPEATS + 1):
        for name, it in runs.items():
            start = time.perf_counter()
            it.sample(TIMED, seed=SEED + repeat)
            seconds[name].append(time.perf_counter() - start)
    return {name: _cost(it, statistics.median(seconds[name])) for name, it in runs.items()}


def _cost(it: Trained, seconds: float) -> Cost:
    assert it.run is not None, "runs that are compared lie on disk"
    last = (it.run.read_history() or [{}])[-1]
    return Cost(
        parameters=sum(p.numel() for p in it.model.parameters()),
        epochs=int(last.get("epoch", 0)),
        training=last.get("seconds", math.nan),
        sampling=seconds,
        calls=getattr(it.model, "network_calls", None),
        size=it.run.model.stat().st_size,
    )


def to_json(it: Comparison) -> dict[str, Any]:
    """Returns what was measured as plain values."""
    of = {
        name: {
            "path": str(run.run and run.run.path),
            "recipe": run.recipe,
            "cost": dataclasses.asdict(it.costs[name]),
            "likelihood": it.likelihoods[name],
        }
        for name, run in it.runs.items()
    }
    leaves = {k: {r: _plain(v) for r, v in row.items()} for k, row in it.leaves.items()}
    kept = {"runs": of, "data": next(iter(it.runs)), "n": it.n, "seed": SEED, "differing": leaves}
    for what, contest in {"scores": it.contest, "reconstruction": it.reconstruction}.items():
        kept[what] = {
            "table": evaluation.to_json(contest.table),
            "errors": contest.errors(),
            "needed": contest.needed,
            "outcomes": {k: dataclasses.asdict(v) for k, v in contest.outcomes().items()},
        }
    return kept


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
