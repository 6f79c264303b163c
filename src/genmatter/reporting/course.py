"""How numbers run: over the epochs of a training, over the steps of an optimisation."""

__all__ = ["courses", "curves", "trace"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from torch import Tensor

from genmatter.reporting.style import INKS, dashes, inks, legend, panels, style

Numbers = np.ndarray | Tensor | Sequence[Any]

_DASHED = (0, (4, 2))
_DOTTED = (0, (1.5, 2))
_LINES = 50_000
"""Values above which a bundle of lines is drawn as pixels, not as shapes."""
_PIN: dict[str, Any] = {"marker": "o", "ms": 5, "ls": ""}
_PIN |= {"mfc": INKS["paper"].light, "mec": INKS["ink"].light}


@style()
def curves(history: Sequence[Mapping[str, float | None]], units: Mapping[str, str] = {}) -> Figure:
    """Draws what a training recorded, a panel for each term, with the best epoch marked.

    The first tenth of the epochs may lie beyond a panel, if showing it would press the rest flat.

    Args:
        history: rows as in `history.jsonl`: `epoch`, `step`, `train/<term>`, `valid/<term>`
            and settings such as `lr`. The best row is the one with the lowest `valid/total`.
        units: unit of each term, without its prefix.
    """
    rows = _columns(history)
    epoch = rows.get("epoch", np.arange(1.0, len(history) + 1))
    best = _lowest(rows.get("valid/total", np.array([])))
    names = _names(rows)
    sheet, axes = panels(max(len(names), 1))
    for ax, name in zip(axes, names, strict=False):
        known = {s: rows[f"{s}/{name}"] for s in ("train", "valid") if f"{s}/{name}" in rows}
        _term(ax, epoch, known or {"setting": rows[name]}, best)
        ax.set_title(f"{name} ({units[name]})" if units.get(name) else name)
        _number_axes(ax, "epoch")
    if not names:
        axes[0].text(0, 0.5, "Nothing was recorded.", transform=axes[0].transAxes)
        axes[0].set_axis_off()
    shown = [Line2D([], [], color=INKS["train"].light, label="train")]
    shown += [Line2D([], [], color=INKS["samples"].light, label="validation")]
    if best is not None:
        shown += [Line2D([], [], **_PIN, label=f"best epoch ({epoch[best]:g})")]
    legend(sheet, shown if names else [])
    return sheet


def _columns(history: Sequence[Mapping[str, float | None]]) -> dict[str, np.ndarray]:
    """Returns each recorded quantity over the rows, NaN where it is not a finite number."""
    keys = dict.fromkeys(key for row in history for key in row)
    rows = {k: np.array([row.get(k, np.nan) for row in history], float) for k in keys}
    return {k: np.where(np.isfinite(v), v, np.nan) for k, v in rows.items()}


def _names(rows: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the total, the terms, and the settings that change."""
    terms = dict.fromkeys(k.split("/", 1)[1] for k in rows if k.startswith(("train/", "valid/")))
    plain = [k for k in rows if "/" not in k and k not in {"epoch", "step"} and k not in terms]
    moving = [k for k in plain if np.unique(rows[k][np.isfinite(rows[k])]).size > 1]
    return sorted(terms, key=lambda name: name != "total") + moving


def _lowest(values: np.ndarray) -> int | None:
    return int(np.nanargmin(values)) if np.isfinite(values).any() else None


def _term(ax: Axes, epoch: np.ndarray, lines: Mapping[str, np.ndarray], best: int | None) -> None:
    """Draws one term of the loss, or one setting, over the epochs."""
    colours = {"train": INKS["train"], "valid": INKS["samples"], "setting": INKS["muted"]}
    for split, values in lines.items():
        ax.plot(epoch, values, color=colours[split].light, marker="." if len(epoch) < 3 else "")
    if best is not None and "setting" not in lines:
        ax.axvline(epoch[best], color=INKS["muted"].light, lw=0.8, ls=_DOTTED)
    if best is not None and "valid" in lines:
        ax.plot(epoch[best], lines["valid"][best], **_PIN)
    if len(epoch) >= 10:
        _look_late(ax, np.stack(list(lines.values())))


def _look_late(ax: Axes, values: np.ndarray) -> None:
    late = values[:, values.shape[1] // 10 :]
    if np.isfinite(late).any() and _span(values) > 4 * _span(late) > 0:
        pad = 0.15 * _span(late)
        ax.set_ylim(np.nanmin(late) - pad, np.nanmax(late) + pad)


def _span(x: np.ndarray) -> float:
    return float(np.nanmax(x) - np.nanmin(x))


def _number_axes(ax: Axes, x: str) -> None:
    ax.set_xlabel(x)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}".replace("-", "−")))


@style()
def courses(
    histories: Mapping[str, Sequence[Mapping[str, float | None]]],
    names: Sequence[str],
    units: Mapping[str, str] = {},
) -> Figure:
    """Overlays what validation recorded in several trainings, a panel for each term.

    Args:
        histories: training -> rows as in `history.jsonl`.
        names: the terms to show, without their prefix; the caller answers for their meaning the
            same in each training.
        units: unit of each term.
    """
    colours, lines = inks(histories), dashes(histories)
    sheet, axes = panels(max(len(names), 1), columns=3, height=2.2)
    columns = {k: _columns(rows) for k, rows in histories.items()}
    for ax, name in zip(axes, names, strict=False):
        known = {k: c[f"valid/{name}"] for k, c in columns.items() if f"valid/{name}" in c}
        for k, values in known.items():
            epoch = columns[k].get("epoch", np.arange(1.0, len(values) + 1))
            mark = "." if len(values) < 3 else ""
            ax.plot(epoch, values, color=colours[k], ls=lines[k], marker=mark)
        longest = max(map(len, known.values()), default=0)
        if longest >= 10:
            gaps = {"mode": "constant", "constant_values": np.nan}
            rows = [np.pad(v, (0, longest - len(v)), **gaps) for v in known.values()]
            _look_late(ax, np.stack(rows))
        ax.set_title(f"{name} ({units[name]})" if units.get(name) else name)
        _number_axes(ax, "epoch")
    legend(sheet, [Line2D([], [], color=colours[k], ls=lines[k], label=k) for k in histories])
    return sheet


@style()
def trace(
    values: Mapping[str, Numbers],
    units: Mapping[str, str] = {},
    best: int | None = None,
    marks: Mapping[str, Mapping[str, float]] = {},
) -> Figure:
    """Draws quantities over the steps of an optimisation from many starts.

    Args:
        values: name -> `[steps]` or `[steps, starts]`.
        units: unit of each quantity.
        best: the start to bring out.
        marks: name -> label -> value to compare with, such as the lowest value in the data.
    """
    sheet, axes = panels(len(values), columns=3, height=2.2)
    for ax, (name, rows) in zip(axes, values.items(), strict=True):
        y = np.asarray(rows, float)
        _starts(ax, y[:, None] if y.ndim == 1 else y, best)
        for label, value in marks.get(name, {}).items():
            _mark(ax, label, value)
        ax.set_title(f"{name} ({units[name]})" if units.get(name) else name)
        _number_axes(ax, "step")
    shown = [Line2D([], [], color=INKS["train"].light, lw=0.8, label="each start")]
    shown += [Line2D([], [], color=INKS["ink"].light, ls=_DASHED, label="median")]
    if best is not None:
        shown += [Line2D([], [], color=INKS["samples"].light, lw=1.8, label="best")]
    legend(sheet, shown)
    return sheet


def _starts(ax: Axes, y: np.ndarray, best: int | None) -> None:
    middle = np.ma.median(np.ma.masked_invalid(y), axis=1).filled(np.nan)
    ax.plot(y, color=INKS["train"].light, lw=0.7, alpha=0.7, rasterized=y.size > _LINES)
    ax.plot(middle, color=INKS["ink"].light, lw=1.3, ls=_DASHED)
    if best is not None:
        ax.plot(y[:, best], color=INKS["samples"].light, lw=1.8)


def _mark(ax: Axes, label: str, value: float) -> None:
    """Draws a value to compare with, and its name at the right edge."""
    ax.axhline(value, color=INKS["warning"].light, lw=0.9)
    ax.annotate(
        label, (1, value), xycoords=("axes fraction", "data"), xytext=(0, 4), ha="right",
        textcoords="offset points", color=INKS["warning"].light, fontsize=7.5,
        bbox={"fc": INKS["paper"].light, "lw": 0, "pad": 0.8, "alpha": 0.85},
    )  # fmt: skip
