"""What was wanted and what was reached: samples asked for values, searches for the best one."""

__all__ = ["search", "steered"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from torch import Tensor

from genmatter.reporting.spread import WANTED, density
from genmatter.reporting.style import INKS, WIDTH, dashes, figure, inks, legend, panels, style

Numbers = np.ndarray | Tensor | Sequence[Any]

_BINS = 60
_FILL = 0.35
_OURS, _DATA = INKS["samples"].light, INKS["test"].light


@style()
def steered(
    reached: Mapping[float, Numbers], name: str, unit: str = "", data: Numbers = ()
) -> Figure:
    """Draws what samples reached, a panel for each value that was wanted, and all against it.

    The error is the mean of |reached - wanted|, the bias that of reached - wanted. What lies
    outside the data's range is said to.

    Args:
        reached: wanted value -> `[n]`; NaN is left out, and counted.
        name: the property.
        unit: its unit.
        data: the property in the data, drawn behind.
    """
    known = {float(t): _finite(x) for t, x in reached.items()}
    there = _finite(data)
    bins = _bins([*known.values(), there], list(known))
    sheet, axes = panels(len(known) + 1, columns=4, height=2.0)
    for ax, (wanted, values) in zip(axes, reached.items(), strict=False):
        _reached(ax, wanted, known[float(wanted)], there, bins)
        ax.set_title(f"{wanted:g} {unit} wanted".replace("  ", " "))
        ax.set_xlabel("\n".join(_words(wanted, values, there)), fontsize=7.5)
    _parity(axes[-1], known, there)
    axes[-1].set(xlim=(bins[0], bins[-1]), ylim=(bins[0], bins[-1]))
    axes[-1].set(title=f"{name} ({unit})" if unit else name, xlabel="wanted", ylabel="reached")
    shown: list[Artist] = [Line2D([], [], color=_OURS, label="samples")]
    if there.size:
        shown.append(Patch(color=_DATA, alpha=_FILL, lw=0, label="data"))
    shown.append(Line2D([], [], color=INKS["ink"].light, ls=WANTED, label="wanted"))
    dot = Line2D([], [], color=_OURS, marker="o", ms=4, label="median, and nine in ten samples")
    legend(sheet, [*shown, dot])
    return sheet


def _finite(x: Numbers) -> np.ndarray:
    x = np.asarray(x, float).ravel()
    return x[np.isfinite(x)]


def _bins(sets: Sequence[np.ndarray], wanted: Sequence[float]) -> np.ndarray:
    """Returns edges over all values but the outermost, and over all that were wanted."""
    ends = [np.quantile(x, [0.002, 0.998]) for x in sets if x.size]
    both = np.concatenate([*ends, np.asarray(wanted, float)])
    low, high = (both.min(), both.max()) if both.size else (0.0, 1.0)
    room = 0.03 * (high - low) or 0.5
    return np.linspace(low - room, high + room, _BINS + 1)


def _reached(ax: Axes, wanted: float, x: np.ndarray, data: np.ndarray, bins: np.ndarray) -> None:
    peak = density(ax, x, bins, _OURS, "-", filled=False)
    if data.size:
        peak = max(peak, density(ax, data, bins, _DATA, "-", filled=True))
    ax.set(yticks=[], ylim=(0, 1.15 * peak or 1), xlim=(bins[0], bins[-1]))
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.axvline(wanted, color=INKS["ink"].light, ls=WANTED, lw=1.3)


def _words(wanted: float, values: Numbers, data: np.ndarray) -> list[str]:
    """Says how far samples are from what was wanted, and what to know of that."""
    x = _finite(values)
    gap = x - wanted
    error = f"error {np.abs(gap).mean():.3g}, bias {gap.mean():+.2g}" if x.size else "no values"
    missing = np.asarray(values).size - x.size
    said = [f"{missing:,} without a value"] if missing and x.size else []
    outside = bool(data.size) and not data.min() <= wanted <= data.max()
    return [error.replace("-", "−"), *said, *(["beyond the data"] if outside else [])]


def _parity(ax: Axes, reached: Mapping[float, np.ndarray], data: np.ndarray) -> None:
    """Draws the median of what was reached and where nine in ten lie, by what was wanted."""
    if data.size:
        ax.axvspan(data.min(), data.max(), color=_DATA, alpha=0.15, lw=0)
    ax.axline((0, 0), slope=1, color=INKS["ink"].light, ls=WANTED, lw=1.3)
    for wanted, x in reached.items():
        if x.size:
            low, middle, high = np.quantile(x, [0.05, 0.5, 0.95])
            ax.plot([wanted, wanted], [low, high], color=_OURS)
            ax.plot(wanted, middle, "o", color=_OURS, ms=4)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))


@style()
def search(
    curves: Mapping[str, Numbers],
    unit: str = "",
    best_training: float = np.nan,
    name: str = "best so far",
) -> Figure:
    """Draws the best value that each method had found, by how often it asked for one.

    Args:
        curves: method -> `[calls]`, or `[calls, repeats]` for the median and all between the
            extremes.
        unit: unit of the value.
        best_training: the best value in the training split, to compare with.
        name: what the value is.
    """
    colours, lines = inks(curves), dashes(curves)
    sheet = figure(WIDTH, 3.0)
    ax = sheet.subplots()
    for method, values in curves.items():
        _best(ax, np.asarray(values, float), colours[method], lines[method])
    shown = [Line2D([], [], color=colours[k], ls=lines[k], label=k) for k in curves]
    if np.isfinite(best_training):
        how = {"color": INKS["warning"].light, "lw": 0.9}
        ax.axhline(best_training, **how)
        shown.append(Line2D([], [], **how, label="best in the training split"))
    ax.set(xlabel="how often the property was asked for", xscale="log")
    ax.set_ylabel(f"{name} ({unit})" if unit else name)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    legend(sheet, shown)
    return sheet


def _best(ax: Axes, y: np.ndarray, colour: str, line: Any) -> None:
    y = y[:, None] if y.ndim == 1 else y
    calls = np.arange(1, len(y) + 1)
    if y.shape[1] > 1:
        ends = (y.min(1), y.max(1))
        ax.fill_between(calls, *ends, step="post", color=colour, alpha=0.15, lw=0)
    mark = "." if len(y) < 3 else ""
    ax.plot(calls, np.median(y, 1), color=colour, ls=line, drawstyle="steps-post", marker=mark)
