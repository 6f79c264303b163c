"""Two ways to do the same thing, measured against each other in one process.

Runs are interleaved, so that a machine that is busy for a while slows both; what is told is
the ratio of medians and its range over the rounds, not seconds that only one machine has.
"""

__all__ = ["Ratio", "Way", "laps", "markdown", "race"]

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Way = Callable[[], object]


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


def race(name: str, plain: Way, ours: Way, rounds: int, note: str = "") -> Ratio:
    """Runs both in turn, after one round that does not count."""
    slow, fast = laps((plain, ours), rounds)
    return Ratio(name, slow, fast, note)


def laps(
    ways: Sequence[Way], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> list[list[float]]:
    """Returns the seconds of each way, which take turns, after one round that does not count.

    `time.process_time` for a clock counts those of this process alone, on a machine that is busy.
    """
    seconds: list[list[float]] = [[] for _ in ways]
    for i in range(rounds + 1):
        for way, found in zip(ways, seconds, strict=True):
            start = clock()
            way()
            if i:
                found.append(clock() - start)
    return seconds


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
