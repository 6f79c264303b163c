"""Numbers of copies beside those of what was copied."""

__all__ = ["parity"]

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from genmatter.reporting.style import INKS, panels, style
from genmatter.reporting.words import number

Pair = tuple[np.ndarray, np.ndarray]


@style()
def parity(
    values: Mapping[str, Pair],
    units: Mapping[str, str] = {},
    names: tuple[str, str] = ("object", "copy"),
) -> Figure:
    """Draws a panel for each number: of objects across, of their copies up; the line is equality.

    What is not a number in one of both is left out; the mean error is of the others.

    Args:
        values: Two arrays of one length by the name of a number.
        units: The unit of each number.
        names: What the two are called.
    """
    sheet, axes = panels(len(values), 3, 2.6)
    for ax, (name, both) in zip(axes, values.items(), strict=True):
        a, b = (np.asarray(v, float) for v in both)
        known = np.isfinite(a) & np.isfinite(b)
        a, b = a[known], b[known]
        ends = [min(a.min(), b.min()), max(a.max(), b.max())] if len(a) else [0.0, 1.0]
        ax.plot(ends, ends, color=INKS["muted"].light, lw=0.8)
        ax.scatter(a, b, s=7, lw=0, alpha=0.6, color=INKS["samples"].light)
        ax.set_title(f"{name} ({units[name]})" if units.get(name) else name)
        ax.set(xlabel=names[0], ylabel=names[1])
        error = number(float(np.abs(a - b).mean()) if len(a) else None)
        ax.text(0.04, 0.95, f"mean error {error}", transform=ax.transAxes, va="top")
    return sheet
