"""The verb `search`: objects with wished properties, and files of them."""

__all__ = ["search"]

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genmatter.api.files import RunLike, _loaded, _place, _write
from genmatter.api.naming import one
from genmatter.api.objective import Objective
from genmatter.api.oracle import Found
from genmatter.api.searching import compare
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
        method: `gradient`, `cma` or `random`.
        start: The object to begin from, named as in `interpolate`.
        out: Where to write the objects.
        seed: Of everything that is drawn.
        calls: Different objects that may be measured.
        population: Walks or points at once; 0 leaves it to the method.
        k: How many objects to write.
        **sampling: Other sampling options than the run's.

    Returns:
        What was found by the method, by plain samples (`random`), among as many training objects
        (`training`) and among all of them (`all training`).
    """
    it = _loaded(run, **sampling)
    begun = one(it, start) if start else None
    objective = Objective.make(it, wishes, begun)
    methods = dict.fromkeys([method, "random"])
    found = compare(
        it, objective, methods=list(methods), calls=calls, start=begun, population=population,
        seed=seed, k=k,
    )  # fmt: skip
    best = found[method]
    place = _place(it, out, "found.csv")
    names = it.domain.identities(best.objects)
    once(lambda: _write_found(place.with_suffix(".csv"), best, it.domain.noun, names))
    if place.suffix != ".csv" or names is None:
        kind = it.domain.formats[0] if place.suffix == ".csv" else place.suffix
        _write(it.domain, best.objects, place.with_suffix(kind))
    return found


def _write_found(path: Path, found: Found, noun: str, names: list[str] | None) -> None:
    """Writes the objects of a search as text, where there is one, with what is true of them."""
    columns = {**found.values, "cost": found.cost}
    texts = [str(i) for i in range(len(found.cost))] if names is None else names
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index" if names is None else noun, *columns])
        rows = zip(texts, *(c.tolist() for c in columns.values()), strict=True)
        writer.writerows([text, *(f"{v:.7g}" for v in row)] for text, *row in rows)
