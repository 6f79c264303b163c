"""How molecules look: drawn in rows, as points that show what they are, as properties.

| figure | shows | file |
|---|---|---|
| `strip` | molecules in a row, under each its title | here |
| `grid` | molecules, under each some of its properties | here |
| `histograms` | properties of samples beside those of the data, and what was wanted | here |
| `hover_map` | where molecules lie in a plane, and the one that is pointed at | here |
| `steered` | what samples reached, where a value was wanted | `reporting/wanted.py` |

The first two and the map are HTML to be trusted, in which all text is escaped and nothing has an
id, so that a page may hold many.
"""

__all__ = ["grid", "histograms", "hover_map", "steered", "strip"]

from collections.abc import Mapping, Sequence
from html import escape

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.sketch import drawing, style
from genmatter.errors import DataError
from genmatter.reporting.plots import distributions, steered
from genmatter.reporting.points import points
from genmatter.reporting.words import decimals, number

_TILES = 100
"""Molecules that a row shows; of the others it says how many there are."""
_POINTS = 1500
"""Points of a map: each brings its drawing, which takes about half a kilobyte."""


def strip(molecules: Molecules, titles: Sequence[str]) -> str:
    """Returns molecules in a row that wraps, under each its title, as HTML.

    Raises:
        DataError: There is not a title for each molecule.
    """
    if len(titles) != len(molecules):
        raise DataError(f"{len(molecules)} molecules need as many titles; given: {len(titles)}")
    shown = zip(molecules.smiles[:_TILES], titles, strict=False)
    tiles = "".join(f"<li>{drawing(s)}<span>{escape(t)}</span></li>" for s, t in shown)
    more = len(molecules) - _TILES
    rest = f'<li class="rest"><span>and {more:,} more</span></li>' if more > 0 else ""
    return f'<style>{style()}</style><ul class="molecules">{tiles}{rest}</ul>'


def grid(
    molecules: Molecules,
    values: Mapping[str, Float[Tensor, " n"]],
    units: Mapping[str, str] = {},
) -> str:
    """Returns molecules as a row does, under each its properties, by name."""
    lines = [_told(name, v, units.get(name, "")) for name, v in values.items()]
    each = zip(*lines, strict=True) if lines else [()] * len(molecules)
    return strip(molecules, [", ".join(parts) for parts in each])


def _told(name: str, values: Tensor, unit: str) -> list[str]:
    places = decimals(values.tolist())
    words = [number(v, places) for v in values.tolist()]
    return [f"{name} {word}{f' {unit}' if unit and word != '–' else ''}" for word in words]


def histograms(
    samples: Mapping[str, Float[Tensor, " n"]],
    data: Mapping[str, Float[Tensor, " m"]],
    targets: Mapping[str, float] = {},
    units: Mapping[str, str] = {},
) -> Figure:
    """Draws how properties of samples and of the test split are distributed, by name.

    Args:
        samples: The properties of samples.
        data: Those of the test split.
        targets: What was wanted of samples, where it was.
        units: The unit of each property.
    """
    return distributions({"test": data, "samples": samples}, units, targets=targets)


def hover_map(
    xy: Float[Tensor, "n 2"],
    molecules: Molecules,
    values: Mapping[str, Float[Tensor, " n"]],
    units: Mapping[str, str] = {},
) -> str:
    """Returns molecules as points in a plane, as HTML; the one that is pointed at is drawn.

    Of more than 1,500 so many are shown, taken evenly.

    Args:
        xy: Where each lies.
        molecules: What each is.
        values: Properties to colour by; NaN is unknown.
        units: The unit of each property.

    Raises:
        DataError: There is no finite point, no property, or not a molecule for each point.
    """
    if len(xy) != len(molecules):
        raise DataError(f"{len(xy)} points need as many molecules; given: {len(molecules)}")
    some = torch.linspace(0, max(len(xy) - 1, 0), min(len(xy), _POINTS)).round().long()
    names = molecules[some].smiles.tolist()
    shades = {name: v[some] for name, v in values.items()}
    shown = points(xy[some], shades, units, names, [drawing(s) for s in names])
    return f"<style>{style()}</style>{shown}"
