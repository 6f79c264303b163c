"""The comparison: one page that sets runs of one domain side by side, and says who is nearer."""

__all__ = ["versus"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from genmatter.api import evaluation
from genmatter.api.comparing import (
    BOUNDED,
    DRAWS,
    REPEATS,
    SEED,
    TIMED,
    Comparison,
    compare,
    to_json,
)
from genmatter.api.contest import Contest
from genmatter.api.files import RunLike, _make_room
from genmatter.api.gallery import gallery, shown
from genmatter.api.lineup import TEST, load_all
from genmatter.api.verdict import headline, verdict
from genmatter.errors import RunError
from genmatter.reporting import plots
from genmatter.reporting.page import (
    Block,
    Code,
    Note,
    Page,
    Picture,
    ScoreTable,
    Section,
    Table,
    Text,
    write,
)
from genmatter.run import write_json

SHOWN = 8
"""Objects in a row."""


def versus(places: Sequence[RunLike], n: int, out: str | Path | None) -> Path:
    """Writes the page of a comparison, and what was measured as JSON beside it.

    Args:
        places: Two runs at least, of one domain; the data are those of the first.
        n: Samples to score.
        out: The page; `comparison-A-B.html` beside the first run's folder by default.

    Raises:
        GenmatterError: A run is not on disk or named twice, or they cannot be compared.
    """
    runs = load_all(places)
    page = Path(out) if out else _usual(runs)
    if page.suffix not in {".html", ".htm"}:
        raise RunError(f"a report is a page: expected a name in .html, got {str(out)!r}")
    _make_room(page)
    it = compare(runs, n)
    write_json(page.with_suffix(".json"), to_json(it))
    sections = [
        Section("What is compared", _facts(it)),
        Section("Samples", _samples(it)),
        Section("Distributions", _distributions(it)),
        Section("Scores", _scores(it)),
        Section("Training", _training(it)),
        *([Section("Likelihood", _likelihood(it))] if any(it.likelihoods.values()) else []),
        Section("Cost", _cost(it)),
        Section("Verdict", verdict(it)),
        Section("How to repeat this", _repetition(it, page)),
    ]
    title = f"{it.first.recipe.split('/')[0]}: {' and '.join(it.runs)}"
    write(Page(title, headline(it.contest), sections), page)
    return page


def _usual(runs: dict[str, Any]) -> Path:
    """Returns where the page lies if nobody says: in the folder that holds the first run."""
    first: Path = next(iter(runs.values())).run.path
    names = "-".join(name.replace("/", "-") for name in runs)
    return (first if first.name else first.resolve()).parent / f"comparison-{names}.html"


def _facts(it: Comparison) -> list[Block]:
    rows = [
        [name, run.recipe, c.parameters, c.epochs, c.training]
        for (name, run), c in zip(it.runs.items(), it.costs.values(), strict=True)
    ]
    header = ["run", "recipe", "parameters", "epochs", "training, s"]
    blocks: list[Block] = [Table(header, rows)]
    if it.data_leaves:
        blocks.append(Note("warning", _foreign(it)))
    blocks += [Note("warning", text) for text in it.first.domain.cautions(it.splits)]
    if it.leaves:
        cells = [[path, *(_told(of[name]) for name in it.runs)] for path, of in it.leaves.items()]
        caption = "Where the configs differ; all else that the recipes share was the same."
        return [*blocks, Table(["", *it.runs], cells, caption=caption)]
    return [*blocks, Text("The configs are the same in all that the recipes share.")]


def _foreign(it: Comparison) -> str:
    first = next(iter(it.runs))
    names = ", ".join(f"`{leaf}`" for leaf in it.data_leaves)
    return (
        f"These runs did not learn from the same data, but from other {names}. All are compared "
        f"on the data of **{first}**, which favours it: the others learned another distribution, "
        "or may have seen in training what here is held out."
    )


def _told(value: object) -> str:
    return "–" if value is None else str(value)


def _samples(it: Comparison) -> list[Block]:
    domain = it.first.domain
    sets = {TEST: it.splits.test} | it.drawn
    words = "raw samples, the first ones drawn: none was chosen."
    return [
        Text("Rows need not be of one scale: see the bar or axes, where there are any."),
        *(
            block
            for name, objects in sets.items()
            for block in gallery(
                domain,
                objects[torch.arange(min(SHOWN, len(objects)))],
                f"**{name}**: {words if name != TEST else 'objects of the test split.'}",
            )
        ),
    ]


def _distributions(it: Comparison) -> list[Block]:
    known = it.first.domain.observables
    values = {
        name: {o.name: o.of(objects).numpy() for o in known}
        for name, objects in ({TEST: it.splits.test} | it.drawn).items()
    }
    sheet = plots.distributions(values, {o.name: o.unit for o in known}, samples=[*it.runs])
    words = f"Observables of {it.n:,} samples of each run, and of the test split."
    beside = [
        block
        for name, objects in it.drawn.items()
        for caption, drawn in it.first.domain.pictures(objects, it.splits).items()
        for block in shown(drawn, f"**{name}**: {caption}")
    ]
    return [Picture(sheet, words), *beside]


def _scores(it: Comparison) -> list[Block]:
    table = it.contest.table
    words = (
        f"{it.n:,} raw samples of each run against the test split of **{next(iter(it.runs))}**, "
        f"under the same seed ({SEED}) and by the same measure. The **floor** is held-out data "
        "scored the same way: what another draw of the truth gets. The **training set** is what "
        "a model that memorises would get. The other rows are the simplest models that could do "
        "the job. Behind ± stands the standard error."
    )
    if it.splits.valid is it.splits.test:
        words += " Here nothing was held out but the test split, so there is no floor."
    blocks: list[Block] = [
        Text(words),
        _score_table(it.contest, tuple(it.runs)),
        Picture(plots.scores(table, [*it.runs]), "How far each row is from perfect."),
    ]
    again = it.reconstruction
    if again.names:
        words = "Reconstructions of the test split. Other rows: what a representation alone loses."
        blocks += [_score_table(again, tuple(again.runs), words)]
    return blocks


def _score_table(contest: Contest, runs: tuple[str, ...], caption: str = "") -> ScoreTable:
    apart = [r for r in contest.table if r not in {*runs, *contest.simple, evaluation.FLOOR}]
    return ScoreTable(
        contest.table, samples=runs, apart=apart, caption=caption, errors=contest.errors()
    )


def _training(it: Comparison) -> list[Block]:
    """Shows what was recorded; only what means the same is drawn over each other."""
    blocks: list[Block] = [
        Text(
            "Losses of different recipes, or over different representations, are not comparable: "
            "only runs that share both are drawn into one panel, term by term, and their total "
            "is left out, for the weights of terms may differ. Validation is computed with the "
            "averaged weights and every schedule at its end."
        )
    ]
    groups: list[list[str]] = []
    for name, run in it.runs.items():
        akin = (g for g in groups if _same_terms(it.runs[g[0]], run))
        if (group := next(akin, None)) is None:
            groups.append([name])
        else:
            group.append(name)
    for group in groups:
        rows = {name: _history(it.runs[name]) for name in group}
        first = rows[group[0]]
        terms = {k.removeprefix("valid/") for row in first for k in row if k.startswith("valid/")}
        if len(group) > 1 and terms - {"total"}:
            sheet = plots.courses(rows, sorted(terms - {"total"}))
            blocks.append(Picture(sheet, f"Validation, per example: {' and '.join(group)}."))
        else:
            blocks += [
                Picture(plots.curves(of), f"**{name}**: terms of its own objective, per example.")
                for name, of in rows.items()
            ]
    return blocks


def _same_terms(a: Any, b: Any) -> bool:
    return a.recipe == b.recipe and a.representation == b.representation


def _history(run: Any) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.run.read_history()]


def _likelihood(it: Comparison) -> list[Block]:
    names = list(dict.fromkeys(k for own in it.likelihoods.values() for k in own))
    cells = [[run, *(_pair(own.get(k)) for k in names)] for run, own in it.likelihoods.items()]
    bridges = [run.representation for name, run in it.runs.items() if it.likelihoods[name]]
    measure = "Their densities are with respect to the same numbers, as comparing them needs."
    if not _one_measure(bridges):
        measure = (
            "**These runs write objects as numbers in different ways, and nothing says that their "
            "densities share a measure: do not rank the runs by these values.**"
        )
    words = (
        f"What each model says of log p(x), in nats per object, over {BOUNDED} objects of the "
        "test split at most; higher is better. A `log_likelihood` is exact, up to the solver's "
        "error. `elbo` and `iwae` are lower bounds, not the "
        f"likelihood itself: `iwae` is tighter, of {DRAWS} draws of the latent. A bound may be "
        f"loose by more than runs differ. {measure} This has no part in the verdict."
    )
    return [Text(words), Table(["run", *(f"{k}, nats" for k in names)], cells)]


def _one_measure(bridges: list[Any]) -> bool:
    """Says whether densities of what several representations write can be compared."""
    alike = all(bridge == bridges[0] for bridge in bridges)
    return alike or len({bridge.measure or id(bridge) for bridge in bridges}) == 1


def _pair(told: tuple[float, float] | None) -> str:
    return "–" if told is None else f"{told[0]:.2f} ± {told[1]:.2f}".replace("-", "−")


def _cost(it: Comparison) -> list[Block]:
    first = next(iter(it.costs.values()))
    rows = [
        [
            name, c.parameters, c.training, c.sampling, c.sampling / first.sampling, c.calls,
            c.size / 1e6,
        ]
        for name, c in it.costs.items()
    ]  # fmt: skip
    header = [
        "run", "parameters", "training, s", f"{TIMED:,} samples, s", "ratio to the first",
        "network calls per sample", "model file, MB",
    ]  # fmt: skip
    words = (
        f"Sampling was timed here, on {it.first.device.type}, the runs in turn, "
        f"{REPEATS} times; the median is shown. Seconds depend on the machine and on what else "
        "it does, ratios less so; training may have happened elsewhere. Where the draws of a "
        "model are refused, drawing again is part of its time."
    )
    return [Text(words), Table(header, rows)]


def _repetition(it: Comparison, page: Path) -> list[Block]:
    homes = [str(run.run and run.run.path) for run in it.runs.values()]
    trainings = [
        f"genmatter train {run.recipe} --config {home}/config.yaml --run {home}-again"
        for home, run in zip(homes, it.runs.values(), strict=True)
    ]
    words = f"The values, their errors and the outcomes lie in `{page.with_suffix('.json').name}`."
    command = f"genmatter report {' '.join(homes)} -n {it.n} --out {page}"
    again = f"genmatter report {' '.join(f'{h}-again' for h in homes)} -n {it.n}"
    return [Code("\n".join([command, "", *trainings, again])), Text(words)]
