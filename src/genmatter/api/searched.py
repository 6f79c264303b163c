"""The report's section on a search for what the domain is after."""

__all__ = ["searched"]

from genmatter.api.gallery import gallery
from genmatter.api.objective import Objective
from genmatter.api.oracle import Found
from genmatter.api.searching import compare
from genmatter.api.trained import Trained
from genmatter.reporting import plots
from genmatter.reporting.page import Block, Picture, Table, Text

CALLS = 500
"""Objects that each search may measure."""
SHOWN = 8
"""Of the best objects."""
NAMES = {
    "gradient": "gradient of what the model predicts",
    "cma": "CMA-ES",
    "greedy": "small changes, the best of some each time",
    "random": "random samples",
    "training": "as many training objects",
    "all training": "all training objects",
}


def searched(it: Trained) -> list[Block]:
    """Compares searches with each other, with plain samples, and with the training objects."""
    objective = Objective.make(it, it.domain.quest)
    found = compare(it, objective, calls=CALLS)
    name, whole = objective.leading, found["all training"]
    ways = {NAMES[k]: f for k, f in found.items() if f is not whole}
    curves = {k: f.history[name] for k, f in ways.items()}
    names = ["", *objective.of, "measured"]
    rows = [
        [way, *(f.best(n) for n in objective.of), f.calls]
        for way, f in {**ways, NAMES["all training"]: whole}.items()
    ]
    words = (
        f"Wished: **{', '.join(map(str, objective.wishes))}**. Each search may measure {CALLS:,} "
        "different objects by what is true of them, and all begin with the same samples. One "
        "that comes upon nothing new for long ends before. The training objects are what there "
        "was before."
    )
    sheet = plots.search(curves, objective.units[name], whole.best(name), name)
    return [
        Text(words),
        Table(names, rows),
        Picture(sheet, "The best so far over the objects that were measured."),
        *_best(it, ways, name),
    ]


def _best(it: Trained, ways: dict[str, Found], name: str) -> list[Block]:
    """Shows the best objects of the search that went farthest, of those by the model."""
    made = {k: f for k, f in ways.items() if k != NAMES["training"] and len(f.cost)}
    if not made:
        return []
    way, found = min(made.items(), key=lambda pair: float(pair[1].cost[0]))
    titles = [f"{v:.4g}" for v in found.values[name][:SHOWN].tolist()]
    words = f"The best by {way}. Above each: {name}."
    return gallery(it.domain, found.objects[:SHOWN], words, titles)
