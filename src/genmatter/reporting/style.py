"""How figures look: inks with fixed meanings, and one set of rules to draw by.

Every ink has two shades. Figures are drawn in the light ones, on white paper; a page swaps them
for its own (`genmatter.reporting.picture`), so that a figure follows the reader's light or dark
theme. Inks start from Okabe and Ito's, and were moved until any two of them differ by 16 units
of CIELAB to trichromats, protanopes and deuteranopes alike.

References:
    | Color Universal Design (Okabe & Ito, 2008)
    | https://jfly.uni-koeln.de/color/
    | A physiologically-based model for simulation of color vision deficiency
    | (Machado, Oliveira & Fernandes, 2009)
"""

__all__ = [
    "INKS", "SEQUENTIAL", "WIDTH", "Ink", "dashes", "figure", "inks", "legend", "panels", "style",
]  # fmt: skip

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

WIDTH = 9.2
"""Inches that a figure has across a page."""


_KEY, _LETTER = 0.45, 0.07
"""Inches that a key of a legend takes beside its text, and a letter of it."""


@dataclass(frozen=True)
class Ink:
    """A colour on white paper, and the shade that does its work on dark paper."""

    light: str
    dark: str


INKS: dict[str, Ink] = {
    "ink": Ink("#1b2530", "#e4e9ef"),
    "muted": Ink("#5b6877", "#9ba7b4"),
    "hairline": Ink("#dbe1e8", "#303944"),
    "paper": Ink("#ffffff", "#14191f"),
    "samples": Ink("#0068b5", "#5fb0f0"),
    "test": Ink("#7d8997", "#8b98a7"),
    "train": Ink("#aeb7c1", "#5d6977"),
    "floor": Ink("#019d62", "#39f6b9"),
    "warning": Ink("#d1402a", "#f36b65"),
    "baseline-1": Ink("#e28b0d", "#f3a71c"),
    "baseline-2": Ink("#9c3165", "#dc60c8"),
    "baseline-3": Ink("#621f0a", "#bb5f1e"),
    "baseline-4": Ink("#36b2ea", "#c5dbf1"),
    "baseline-5": Ink("#511bcd", "#b255f5"),
}
"""What each colour means; the names are those of CSS variables on a page."""

_ROLES = {"data": "train", "valid": "floor", "samples": "samples", "test": "test"}
_ROLES |= {"train": "train", "floor": "floor"}
_BASELINES = [ink.light for name, ink in INKS.items() if name.startswith("baseline")]
_DASHES: list[Any] = ["-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (2.5, 1))]

SEQUENTIAL = LinearSegmentedColormap.from_list(
    "genmatter", ["#4a5cc4", "#2a8abc", "#25a58a", "#82bd42", "#dbc51c"]
)
"""Order by colour: from blue to yellow as viridis, lighter at each step, and without the ends of
viridis, which vanish on dark and on white paper."""

_RULES: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 6,
    "axes.labelsize": 8.5,
    "axes.labelcolor": INKS["muted"].light,
    "axes.labelpad": 3,
    "axes.facecolor": "none",
    "axes.edgecolor": INKS["test"].light,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.use_mathtext": False,
    "axes.prop_cycle": cycler(color=[INKS["samples"].light, *_BASELINES]),
    "grid.color": INKS["hairline"].light,
    "grid.linewidth": 0.6,
    "xtick.color": INKS["test"].light,
    "ytick.color": INKS["test"].light,
    "xtick.labelcolor": INKS["muted"].light,
    "ytick.labelcolor": INKS["muted"].light,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "text.color": INKS["ink"].light,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "path.simplify_threshold": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.6,
    "figure.facecolor": INKS["paper"].light,
    "figure.dpi": 100,
    "savefig.facecolor": "auto",
    "savefig.dpi": 160,
    "svg.fonttype": "none",
    "svg.hashsalt": "genmatter",
    "text.usetex": False,
    "text.parse_math": False,  # a dollar sign in somebody's label is a dollar sign
}


@contextmanager
def style() -> Iterator[None]:
    """Draws by our rules inside the block, and leaves everybody else's as they were."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update(_RULES)
        yield


def figure(width: float, height: float) -> Figure:
    """Returns an empty figure of that size in inches, which belongs to no window."""
    return Figure(figsize=(width, height), layout="constrained")


def panels(n: int, columns: int = 4, height: float = 1.75) -> tuple[Figure, list[Axes]]:
    """Returns a figure with `n` panels in even rows of at most `columns`, `height` inches high."""
    rows = max(-(-n // columns), 1)
    columns = max(-(-n // rows), 2)  # a lone panel keeps half of the page
    sheet = figure(WIDTH, rows * height + 0.35)
    sheet.get_layout_engine().set(h_pad=0.06, w_pad=0.06)  # pyright: ignore
    grid = sheet.subplots(rows, columns, squeeze=False).flatten().tolist()
    for spare in grid[n:]:
        spare.set_axis_off()
    return sheet, grid[:n]


def legend(sheet: Figure, handles: Sequence[Artist]) -> None:
    """Puts keys above all panels, in one line if they fit, else in columns."""
    widths = [_KEY + _LETTER * len(str(handle.get_label())) for handle in handles] or [WIDTH]
    columns = len(widths) if sum(widths) <= WIDTH else max(int(WIDTH / max(widths)), 1)
    sheet.legend(handles=handles, loc="outside upper left", ncols=columns, borderpad=0.1)


def inks(names: Iterable[str]) -> dict[str, str]:
    """Returns the colour of each named set: its own if the name has one, else a baseline's."""
    names = list(names)
    others = [name for name in names if name not in _ROLES]
    colours = {name: _BASELINES[i % len(_BASELINES)] for i, name in enumerate(others)}
    return {n: colours[n] if n in colours else INKS[_ROLES[n]].light for n in names}


def dashes(names: Iterable[str]) -> dict[str, Any]:
    """Returns the line style of each named set, so that colour is not the only difference."""
    names = list(names)
    others = [name for name in names if name not in _ROLES]
    shifted = [i + i // len(_DASHES) for i in range(len(others))]  # colours repeat, pairs do not
    lines = {n: _DASHES[i % len(_DASHES)] for i, n in zip(shifted, others, strict=True)}
    return {n: lines.get(n, (0, (3, 1.5)) if _ROLES.get(n) == "floor" else "-") for n in names}
