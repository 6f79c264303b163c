"""The verb `search`: objects with wished properties, and files of them."""

__all__ = ["search"]

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from genmatter.api.files import RunLike, _loaded, _place, _write
from genmatter.api.naming import one
from genmatter.api.objective import Objective
from genmatter.api.oracle import Found
from genmatter.api.searching import compare
from genmatter.spine import Domain
from genmatter.training.processes import once


def search(
    run: RunLike,
    wishes: Sequence[str],
    method: str = "cma",
    *,
    start: str = "",
    out: str | Path | None = None,
    seed: int = 0,
    calls: int = 2000,
    population: int = 0,
    k: int = 20,
    **sampling: Any,
) -> dict[str, Found]:
    """Searches the latent space for objects with wished properties, and writes the best.

    Beside the objects lies a table (.csv) of their properties. Where objects are written as text
    it holds them, and is all there is for an `out` that ends so.

    Args:
        run: Which model.
        wishes: Such as `qed=max`, `sa=min`, `tpsa=60`, `sa<=3`, `similarity>=0.4` to the start,
            or `FILE.py:FUNCTION=max`.
        method: `gradient`, `cma`, `greedy` or `random`.
        start: The object to begin from, named as in `interpolate`.
        out: Where to write the objects.
        seed: Of everything that is drawn.
        calls: Different objects that may be measured.
        population: Walks or points at once; 0 leaves it to the method.
        k: How many objects to write.
        **sampling: Other sampling options than the run's.

    Returns:
        What was found by the method, by small changes (`greedy`, where there are such), by plain
        samples (`random`), among as many training objects (`training`) and among all of them
        (`all training`).
    """
    it = _loaded(run, **sampling)
    begun = one(it, start) if start else None
    objective = Objective.make(it, wishes, begun)
    simple = ["greedy"] if type(it.domain).changed is not Domain.changed else []
    methods = dict.fromkeys([method, *simple, "random"])
    found = compare(
        it, objective, methods=list(methods), calls=calls, start=begun, population=population,
        seed=seed, k=k,
    )  # fmt: skip
    best = found[method]
    place = _place(it, out, "found.csv")
    names = it.domain.identities(best.objects)
    columns = {**best.values, **(it.bound(best.objects) if it.bears else {}), "cost": best.cost}
    to = it.representation.wild() if begun is None else begun
    changes = None if to is None or not len(best.cost) else it.domain.changes(best.objects, to)
    once(lambda: _write_found(place.with_suffix(".csv"), columns, it.domain.noun, names, changes))
    if place.suffix != ".csv" or names is None:
        kind = it.domain.formats[0] if place.suffix == ".csv" else place.suffix
        _write(it.domain, it.told(best.objects), place.with_suffix(kind))
    return found


def _write_found(
    path: Path, columns: Mapping[str, Tensor], noun: str, names: list[str] | None,
    changes: list[str] | None,
) -> None:  # fmt: skip
    """Writes the objects of a search as text, where there is one, with what is true of them."""
    count = len(columns["cost"])
    texts = [str(i) for i in range(count)] if names is None else names
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        head = ["index" if names is None else noun, *columns]
        writer.writerow(head if changes is None else [*head, "changes"])
        rows = zip(texts, *(c.tolist() for c in columns.values()), strict=True)
        for k, (text, *row) in enumerate(rows):
            told = [] if changes is None else [changes[k]]
            writer.writerow([text, *(f"{v:.7g}" for v in row), *told])
