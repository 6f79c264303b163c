"""How far from perfect: scores of samples and of simple models, beside what data reach."""

__all__ = ["scores"]

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from genmatter.reporting.style import INKS, WIDTH, figure, inks, legend, style
from genmatter.spine import Score

_COLUMNS = 5
_DASHED = (0, (3, 1.5))
_RATIO = 30
"""From worst to best row; a score with a larger one is stretched like a logarithm."""
_ROOM = 0.22
"""Share of a panel that lies between two ticks at least."""


@style()
def scores(
    table: Mapping[str, Mapping[str, Score]], samples: Collection[str] = ("samples",)
) -> Figure:
    """Draws each score of each row, a panel for each score, with the best value and the floor.

    An axis is linear near the best value, and logarithmic away from it where distances from it
    differ by more than a factor of 30.

    Args:
        table: row name -> score name -> score. The row `floor` becomes a line.
        samples: rows that the others are there for, drawn as diamonds.
    """
    names = list(dict.fromkeys(name for row in table.values() for name in row))
    colours = inks(table)
    if len(samples) > 1:  # there are not inks for all rows: the others stand back
        colours = dict.fromkeys(table, INKS["muted"].light) | inks(samples)
    rows = [row for row in table if row != "floor"]
    lines = max(-(-len(names) // _COLUMNS), 1)
    columns = max(-(-len(names) // lines), 2)
    sheet = figure(WIDTH, lines * (0.19 * max(len(rows), 1) + 0.68) + 0.3)
    sheet.get_layout_engine().set(h_pad=0.08)  # pyright: ignore
    grid = sheet.subplots(lines, columns, squeeze=False, sharey=True).flatten().tolist()
    for spare in grid[len(names) :]:
        spare.set_axis_off()
    for ax, name in zip(grid, names, strict=False):
        column = {k: row[name] for k, row in table.items() if name in row}
        _panel(ax, column, rows, samples, colours)
        ax.set_title(name)
    grid[0].set_yticks(range(len(rows)), rows)
    grid[0].set_ylim(len(rows) - 0.4, -0.6)
    shown = [Line2D([], [], color=INKS["floor"].light, ls=_DASHED, label="floor")]
    legend(sheet, [*shown, Line2D([], [], color=INKS["ink"].light, lw=0.8, label="perfect")])
    return sheet


def _panel(
    ax: Axes,
    column: Mapping[str, Score],
    rows: Sequence[str],
    samples: Collection[str],
    colours: Mapping[str, str],
) -> None:
    """Draws one score of every row."""
    best = next(iter(column.values())).best
    known = {k: score.value for k, score in column.items() if np.isfinite(score.value)}
    ax.axvline(best, color=INKS["ink"].light, lw=0.8)
    if "floor" in known:
        ax.axvline(known["floor"], color=INKS["floor"].light, lw=1.2, ls=_DASHED)
    for i, row in enumerate(rows):
        if row in known:
            mark = "D" if row in samples else "o"
            ax.plot(known[row], i, mark, color=colours[row], ms=5.5, clip_on=False)
    _stretch(ax, best, [abs(v - best) for v in known.values() if v != best])
    ax.grid(visible=False, axis="x")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _stretch(ax: Axes, best: float, gaps: Sequence[float]) -> None:
    """Chooses the scale of an axis, and its ticks."""
    if not gaps or max(gaps) <= _RATIO * min(gaps):
        ax.xaxis.set_major_locator(MaxNLocator(3))
        return
    unit = max(min(gaps), max(gaps) * 1e-4)

    def place(x: Any) -> Any:
        return np.arcsinh((np.asarray(x) - best) / unit)

    def value(y: Any) -> Any:
        return np.sinh(y) * unit + best

    ax.set_xscale("function", functions=(place, value))
    low, high = place(ax.get_xlim())
    decades = 10.0 ** np.arange(np.floor(np.log10(unit)), np.log10(max(gaps)) + 1)
    ticks = [best]  # and, from the outside in, the powers of ten away from it that have room
    for tick in sorted([*(best + decades), *(best - decades)], key=lambda t: -abs(t - best)):
        room = abs(place(ticks) - place(tick)).min()
        if low <= place(tick) <= high and room > _ROOM * (high - low):
            ticks.append(tick)
    ax.set_xticks(ticks, [f"{t:.3g}".replace("-", "−") for t in ticks])
