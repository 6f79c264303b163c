"""How crystals look: drawn in rows, as points that show what they are, beside the data.

| figure | shows | file |
|---|---|---|
| `strip` | crystals in a row, under each its formula and title | here |
| `symmetries` | shares of crystal systems, of samples and data | here |
| `hover_map` | where crystals lie in a plane, and the one that is pointed at | here |
| `parity` | numbers of reconstructions beside those of the crystals | `reporting/parity.py` |
| `turned` | crystals to be turned by hand | `viewer.py` |

Rows and maps are HTML to be trusted, in which all text is escaped and nothing has an id.
"""

__all__ = ["hover_map", "strip", "symmetries"]

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.features import features
from genmatter.domains.crystal.sketch import drawing, style
from genmatter.domains.crystal.symmetry import SYSTEMS, crystal_system
from genmatter.errors import DataError
from genmatter.reporting.points import points
from genmatter.reporting.style import figure, inks, legend
from genmatter.reporting.style import style as styled

_TILES = 60
"""Crystals that a row shows; of the others it says how many there are."""
_POINTS = 1000
"""Points of a map: each brings its drawing, which takes one or two kilobytes."""


def strip(x: Crystals, titles: Sequence[str]) -> str:
    """Returns crystals in a row that wraps, under each its formula and its title, as HTML.

    Raises:
        DataError: There is not a title for each crystal.
    """
    if len(titles) != len(x):
        raise DataError(f"{len(x)} crystals need as many titles; given: {len(titles)}")
    shown = zip(drawings(x[:_TILES]), x.formulas, titles, strict=False)
    tiles = "".join(
        f"<li>{svg}<span><strong>{escape(formula)}</strong> {escape(title)}</span></li>"
        for svg, formula, title in shown
    )
    more = len(x) - _TILES
    rest = f'<li class="rest"><span>and {more:,} more</span></li>' if more > 0 else ""
    return f'<style>{style()}</style><ul class="crystals">{tiles}{rest}</ul>'


def drawings(x: Crystals) -> list[str]:
    """Returns a drawing of each crystal as an `<svg>` element."""
    parts = zip(x.each_numbers(), x.each_frac(), x.lattice.numpy(), strict=True)
    return [drawing(z, f, m) for z, f, m in parts]


@styled()
def symmetries(samples: Crystals, test: Crystals) -> Figure:
    """Draws the shares of the crystal systems in samples and in the test split."""
    sets = {"test": test, "samples": samples}
    sheet = figure(5.6, 2.7)
    ax = sheet.subplots()
    colours, width = inks(sets), 0.38
    names = ["none", *SYSTEMS]
    for k, (name, x) in enumerate(sets.items()):
        found = [crystal_system(int(g)) or "none" for g in features(x)["space_group"]]
        shares = [found.count(s) / max(len(found), 1) for s in names]
        at = np.arange(len(names)) + (k - 0.5) * width
        ax.bar(at, shares, width, color=colours[name])
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
    ax.set_ylabel("share")
    legend(sheet, [Patch(color=colours[name], label=name) for name in sets])
    return sheet


def hover_map(
    xy: Float[Tensor, "n 2"],
    x: Crystals,
    values: Mapping[str, Float[Tensor, " n"]],
    units: Mapping[str, str] = {},
) -> str:
    """Returns crystals as points in a plane, as HTML; the one that is pointed at is drawn.

    Of more than 1,000 so many are shown, taken evenly.

    Raises:
        DataError: There is no finite point, no property, or not a crystal for each point.
    """
    if len(xy) != len(x):
        raise DataError(f"{len(xy)} points need as many crystals; given: {len(x)}")
    some = torch.linspace(0, max(len(xy) - 1, 0), min(len(xy), _POINTS)).round().long()
    y = x[some]
    names = [
        f"{formula} {label}".strip() for formula, label in zip(y.formulas, y.labels, strict=True)
    ]
    shades = {name: v[some] for name, v in values.items()}
    return f"<style>{style()}</style>{points(xy[some], shades, units, names, drawings(y))}"
