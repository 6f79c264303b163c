"""Variants of one object, scored by how much likelier each is than the object itself."""

__all__ = ["Assay", "Scored", "score_variants"]

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from genmatter.api.files import RunLike, _loaded, _place
from genmatter.api.naming import one
from genmatter.api.trained import Trained
from genmatter.config import closest
from genmatter.errors import ConfigError, RunError
from genmatter.maths.noise import stream
from genmatter.reporting.page import Html, Page, Section, write
from genmatter.reporting.picture import png
from genmatter.spine import Variants
from genmatter.training.processes import once

FEWEST = 3
"""Variants of which a rank correlation is told, at least."""


@dataclass(frozen=True)
class Assay:
    """How scores rank variants beside what was measured of them."""

    name: str
    """The column of the measurement."""
    count: int
    """Variants that have both."""
    spearman: Mapping[str, float]
    """The rank correlation, of the runs' mean, of each run, and of the simplest models."""


@dataclass(frozen=True)
class Scored:
    """Variants and their scores; those that can be scored, in their order."""

    variants: Variants
    score: Float[Tensor, " n"]
    """Nats by which each is likelier than the wild type, the mean over the runs."""
    runs: Mapping[str, Float[Tensor, " n"]]
    """The same of each run."""
    simplest: Mapping[str, Float[Tensor, " n"]]
    """The same of the simplest models."""
    assays: tuple[Assay, ...]


def score_variants(
    run: RunLike,
    table: str | Path | None = None,
    *,
    others: Sequence[RunLike] = (),
    wild: str = "",
    draws: int = 64,
    measured: str = "",
    out: str | Path | None = None,
) -> Scored:
    """Scores variants of an object by several runs, and writes them as a CSV file and a picture.

    Args:
        run: Which model.
        table: A file of variants; all of one change without it.
        others: More runs, on the same data, whose scores are averaged with the first one's.
        wild: The object that changes, named as in `interpolate`; what the data are of by default.
        draws: Draws of its latent.
        measured: The column of measurements to compare with; all of them by default.
        out: The CSV file; `variants.csv` in the run by default.

    Raises:
        RecipeError: A model cannot.
        ConfigError: Nobody says which object changes, or there is no such column.
        DataError: The file asks for what there is not.
        RunError: Runs differ in what they are of.
    """
    its = [_loaded(r) for r in (run, *others)]
    for it in its:
        it.require("score variants")
    it = its[0]
    origin = _wild(it, wild)
    variants = it.domain.variants(origin, None if table is None else Path(table))
    if measured and measured not in variants.measured:
        near = closest(measured, variants.measured) if variants.measured else ": it has none"
        raise ConfigError(f"{str(table)!r} has no numbers {measured!r}{near}")
    runs = dict(zip(_names(its), (_contrast(i, it, variants, draws) for i in its), strict=True))
    mean = torch.stack([*runs.values()]).mean(0)
    simplest = it.domain.simplest(it.splits.train, variants)
    assays = tuple(
        _assay(name, variants, {"mean of the runs": mean, **runs, **simplest}, alone=len(runs) < 2)
        for name in variants.measured
        if measured in ("", name)
    )
    found = Scored(variants, mean, runs, simplest, assays)
    place = _place(it, out, "variants.csv")
    once(lambda: _write(place, found))
    once(lambda: _draw(it, found, place))
    return found


def _wild(it: Trained, text: str) -> Any:
    found = one(it, text) if text else it.representation.wild()
    if found is None:
        raise ConfigError(
            "say which object changes, with --wild: test:5, FILE, or as text; these data were not "
            "said to be of one"
        )
    return found


def _names(its: Sequence[Trained]) -> list[str]:
    """Returns a name for each run: its folder's, or its number where that is not its own."""
    names = [it.run.path.name if it.run else "run" for it in its]
    return names if len({*names}) == len(names) else [f"run {k + 1}" for k in range(len(names))]


def _contrast(it: Trained, first: Trained, variants: Variants, draws: int) -> Tensor:
    """Scores variants by one run.

    Raises:
        RunError: It is of other columns than the first one.
    """
    model: Any = it.model
    if it.recipe.split("/")[0] != first.recipe.split("/")[0]:
        raise RunError(f"{it.recipe} and {first.recipe} are not of the same kind of matter")
    wild = next(it.batches(variants.wild))
    found = [torch.zeros(0)]
    for number, batch in enumerate(it.batches(variants.objects)):
        with stream(0, "variants", number):
            found.append(model.contrast(batch, wild, draws).cpu())
    return torch.cat(found).double()


def _assay(name: str, variants: Variants, scores: Mapping[str, Tensor], *, alone: bool) -> Assay:
    """Compares ranks; of one run alone its mean is not told twice."""
    y = variants.measured[name][variants.rows]
    known = y.isfinite()
    count = int(known.sum())
    told = {k: v for k, v in scores.items() if not (alone and k == "mean of the runs")}
    return Assay(name, count, {k: _spearman(v[known], y[known]) for k, v in told.items()})


def _spearman(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float:
    """Returns the correlation of ranks; NaN of fewer than three, or where one never varies."""
    if len(x) < FEWEST:
        return math.nan
    ranks = torch.stack([torch.from_numpy(rankdata(v.numpy())) for v in (x, y)])
    return float(torch.corrcoef(ranks)[0, 1])


def _write(path: Path, found: Scored) -> None:
    """Writes a line for each variant that is asked for."""
    v = found.variants
    several = found.runs if len(found.runs) > 1 else {}
    columns = {"score": found.score, **several, **found.simplest}
    at = {row: k for k, row in enumerate(v.rows.tolist())}
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["mutant", *columns, *v.measured, "not scored because"])
        for row, (name, why) in enumerate(zip(v.names, v.reasons, strict=True)):
            scores = [f"{c[at[row]]:.6g}" if row in at else "" for c in columns.values()]
            known = [f"{m[row]:.7g}" if m[row].isfinite() else "" for m in v.measured.values()]
            table.writerow([name, *scores, *known, why])


def _draw(it: Trained, found: Scored, place: Path) -> None:
    """Writes a picture beside the table, where the domain has one."""
    picture = it.domain.landscape(found.variants, found.score)
    if isinstance(picture, str):
        page = Page(place.stem, it.recipe, [Section("Variants", [Html(picture)])])
        write(page, place.with_suffix(".html"))
    elif picture is not None:
        place.with_suffix(".png").write_bytes(png(picture))
