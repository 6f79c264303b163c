"""Two ways to do the same thing, measured against each other in one process.

Runs are interleaved, so that a machine that is busy for a while slows both; what is told is
the ratio of medians and its range over the rounds, not seconds that only one machine has.
"""

__all__ = ["Ratio", "markdown", "race"]

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How much faster ours is than the plain way."""

    name: str
    plain: list[float]
    """Seconds of each round."""
    ours: list[float]
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.plain) / statistics.median(self.ours)

    @property
    def range(self) -> tuple[float, float]:
        each = [a / b for a, b in zip(self.plain, self.ours, strict=True)]
        return min(each), max(each)


def race(
    name: str, plain: Callable[[], object], ours: Callable[[], object], rounds: int, note: str = ""
) -> Ratio:
    """Runs both in turn, after one round that does not count."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds + 1):
        for way, found in zip((plain, ours), seconds, strict=True):
            start = time.perf_counter()
            way()
            if i:
                found.append(time.perf_counter() - start)
    return Ratio(name, *seconds, note)


def markdown(ratios: list[Ratio]) -> str:
    """Returns a table."""
    lines = [
        "| what | plain, ms | ours, ms | ratio | range | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for r in ratios:
        low, high = r.range
        plain, ours = (1e3 * statistics.median(s) for s in (r.plain, r.ours))
        lines.append(
            f"| {r.name} | {plain:.4g} | {ours:.4g} | **{r.median:.3g}x** "
            f"| {low:.3g}-{high:.3g} | {r.note} |"
        )
    return "\n".join(lines)
