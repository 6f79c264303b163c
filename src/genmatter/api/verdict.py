"""The verdict: who is nearer to the data at what, and at what cost, in words."""

__all__ = ["headline", "verdict"]

import math
from collections import Counter

from genmatter.api.comparing import Comparison
from genmatter.api.contest import SURE, Contest, Outcome
from genmatter.reporting.page import Block, Note, Table, Text
from genmatter.reporting.words import number


def headline(contest: Contest) -> str:
    """Says in a sentence who is nearer on how many scores."""
    found = contest.outcomes()
    if not found:
        return "No score is known of two runs."
    alone = Counter(o.winner for o in found.values())
    ties = alone[""]
    nearer = "nearer" if len(contest.runs) == 2 else "nearest"
    first, *others = contest.runs
    scores = "1 score" if len(found) == 1 else f"{len(found)} scores"
    wins = ", ".join(f"**{run}** on {alone[run]}" for run in others)
    return (
        f"Of {scores}, **{first}** is {nearer} to the best value on {alone[first]}, "
        f"{wins}; {ties} {'is a tie' if ties == 1 else 'are ties'}."
    )


def verdict(it: Comparison) -> list[Block]:
    """Says who is nearer score by score, how that was judged, and what it costs."""
    found = it.contest.outcomes()
    rows = [[name, o.winner or "tie", o.margin, _why(o, it.contest)] for name, o in found.items()]
    header = ["score", "nearer", "lead, standard errors", ""]
    lost = {
        row: [name for name, o in found.items() if row in o.beaten_by] for row in it.contest.simple
    }
    said = "; ".join(f"**{row}** on {', '.join(names)}" for row, names in lost.items() if names)
    blocks: list[Block] = [Text(headline(it.contest)), Table(header, rows), Text(_method(it))]
    if said:
        note = f"Beyond chance, a simple model is nearer than every run: {said}."
        blocks.insert(1, Note("warning", note))
    if it.reconstruction.outcomes():
        blocks.append(Text(f"Reconstruction, judged the same way. {headline(it.reconstruction)}"))
    blocks.append(Text(_prices(it)))
    caution = (
        "Each run is one training. Under another seed the same config may end elsewhere by more "
        "than these errors, which are those of the samples alone: train several seeds before "
        "calling one recipe better. With many scores, one difference in twenty is chance."
    )
    return [*blocks, Note("info", caution)]


def _why(o: Outcome, contest: Contest) -> str:
    if o.winner:
        return ""
    who = "" if len(o.leaders) == len(contest.runs) else f"{' and '.join(o.leaders)}: "
    if o.margin == 0:
        return f"{who}the same value"
    return who + ("nearer than the floor" if o.at_floor else "no more than chance")


def _method(it: Comparison) -> str:
    needed = it.contest.needed
    if math.isnan(needed):
        return "There are too few objects to tell a difference from chance, so that all are ties."
    parts = len(it.contest.pieces[next(iter(it.runs))])
    return (
        f"Samples and test split were cut into {parts} parts, each scored by itself; standard "
        "errors are those of the differences between these. A difference is called one above "
        f"{needed:.2f} standard errors ({SURE:.0%} of Student's t, score by score). Runs that are "
        "all nearer to the best value than the floor are called a tie whatever their lead."
    )


def _prices(it: Comparison) -> str:
    """Says what each other run costs, beside the first."""
    (first, base), *others = it.costs.items()
    said = [
        f"Beside **{first}**, **{name}** has {_times(c.parameters, base.parameters)} the "
        f"parameters, was trained {_times(c.training, base.training)} as long, and takes "
        f"{_times(c.sampling, base.sampling)} as long to sample."
        for name, c in others
    ]
    return " ".join(said)


def _times(a: float, b: float) -> str:
    return f"{number(a / b if b else math.nan)} times"
