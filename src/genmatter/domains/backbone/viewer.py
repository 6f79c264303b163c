"""Ensembles to be turned by hand: superposed conformers in a page, by scripts of our own.

Nothing is asked of a network. Without scripts a drawing stands in the viewer's place. Up to sixty
residues the chain N, CA, C and the oxygens are shown, of longer ones the CA atoms.
"""

__all__ = ["overlay"]

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.backbone.traces import LONGEST, laid
from genmatter.errors import DataError
from genmatter.reporting.style import INKS, inks
from genmatter.reporting.turning import hint, script

Ensemble = Float[Tensor, "_ _ 5 3"]

_POINTS = 4000
"""Points of each set at most: what a browser turns smoothly."""
_DRAWN = 300
"""Residues of each set in the drawing that is there without scripts, in a few conformers."""
_FEW = 12
_WIDE, _HIGH = 640, 400


@dataclass(frozen=True)
class _Cloud:
    """The conformers of a set that are shown, of how many, and in which colour."""

    name: str
    x: Float[Tensor, "n residues atoms 3"]
    total: int
    colour: str


def overlay(sets: Mapping[str, Ensemble], most: int = 40) -> str:
    """Returns a viewer of superposed conformers as HTML, which a page may hold several of.

    All are superposed on the mean of the last set by their CA. Those that are not finite are
    left out.

    Args:
        sets: `[n, residues, 5, 3]` in angstrom by name, of one protein. Names have the colours
            that they have in figures.
        most: Conformers of each set at most; they are taken evenly, and fewer of long chains.

    Raises:
        DataError: There is no set, one without a finite conformer, or two of unequal length.
    """
    clouds = _clouds(sets, most)
    reach = _reach(clouds)
    told = ", ".join(f"{len(c.x)} of {c.total:,} {c.name}" for c in clouds)
    label = f"Superposed conformers in space: {told}."
    return (
        f'<div class="overlay"><style>{_part("viewer.css")}</style>'
        f'<div class="stage">{_drawing(clouds, reach, label)}</div>'
        f'<div class="bar">{"".join(_key(c) for c in clouds)}</div>{_CONTROLS}'
        f'<p class="hint" hidden>{hint()}</p>'
        f'<script type="application/json">{_data(clouds, reach)}</script>'
        f"{script(_part('viewer.js'))}</div>"
    )


_CONTROLS = (
    '<div class="bar" hidden>'
    '<button type="button" class="play" aria-pressed="false">Play</button>'
    '<label>conformer <input type="range" min="0" max="1" value="0"></label><output>all</output>'
    '<label><input type="checkbox" class="turn">turn by itself</label></div>'
)


def _part(name: str) -> str:
    return files("genmatter.domains.backbone").joinpath(name).read_text("utf-8").strip()


def _clouds(sets: Mapping[str, Ensemble], most: int) -> list[_Cloud]:
    """Chooses conformers, superposes them, and keeps the points that are shown."""
    finite = {name: x[x.isfinite().flatten(1).all(1)] for name, x in sets.items()}
    sizes = {name: (len(x), x.shape[1]) for name, x in finite.items()}
    lengths = {length for _, length in sizes.values()}
    if len(lengths) != 1 or not all(n for n, _ in sizes.values()):
        told = ", ".join(f"{name!r} {n} of {k} residues" for name, (n, k) in sizes.items())
        raise DataError(
            f"a viewer shows sets of finite conformers of one length; given: {told or 'no set'}"
        )
    length = lengths.pop()
    slots = [0, 1, 2, 3] if length <= LONGEST else [1]
    count = max(1, min(most, _POINTS // (length * len(slots))))
    some = [x[_evenly(len(x), count)] for x in finite.values()]
    moved = laid(torch.cat(some), some[-1])[:, :, slots].split([len(x) for x in some])
    colours = inks(sets)
    return [
        _Cloud(name, x, sizes[name][0], _variable(colours[name]))
        for name, x in zip(sets, moved, strict=True)
    ]


def _evenly(n: int, count: int) -> Tensor:
    return torch.linspace(0, n - 1, min(n, count)).round().long()


def _variable(colour: str) -> str:
    """Returns the page's name of an ink, with the ink for pages that do not know it."""
    return next(f"var(--{k}, {colour})" for k, ink in INKS.items() if ink.light == colour)


def _reach(clouds: list[_Cloud]) -> tuple[float, float]:
    """Returns how far from the centre and how high points lie in angstrom, but for a hundredth."""
    x = torch.cat([cloud.x.flatten(0, 2) for cloud in clouds])
    far = max(float(x.norm(dim=1).quantile(0.99)), 1.0)
    return far, max(float(x[:, 1].abs().quantile(0.99)), far / 2)


def _data(clouds: list[_Cloud], reach: tuple[float, float]) -> str:
    """Writes coordinates as 16-bit numbers of hundredths of an angstrom, or coarser if large."""
    furthest = max(float(cloud.x.abs().max()) for cloud in clouds)
    unit = max(0.01, math.ceil(furthest / 32767 * 1000) / 1000)
    atoms = clouds[0].x.shape[2]
    sets = [
        {
            "n": len(c.x),
            "data": base64.b64encode(
                (c.x / unit).round().numpy().astype(np.dtype("<i2")).tobytes()
            ).decode(),
        }
        for c in clouds
    ]
    far, high = (round(r, 2) for r in reach)
    return json.dumps({"unit": unit, "atoms": atoms, "far": far, "high": high, "sets": sets})


def _key(cloud: _Cloud) -> str:
    shown = len(cloud.x)
    count = f"{shown} of {cloud.total:,}" if shown < cloud.total else f"{shown}"
    return (
        '<label class="set"><input type="checkbox" checked hidden>'
        f'<span class="swatch" style="color:{cloud.colour}"></span>'
        f"{escape(cloud.name)} ({count})</label>"
    )


def _drawing(clouds: list[_Cloud], reach: tuple[float, float], label: str) -> str:
    """Returns an SVG of some of the conformers as they first lie."""
    scale = min(0.47 * _WIDE / reach[0], 0.44 * _HIGH / reach[1])
    middle = np.array([_WIDE / 2, _HIGH / 2])
    lines = []
    for cloud in clouds:
        few = _evenly(len(cloud.x), min(_FEW, max(1, _DRAWN // cloud.x.shape[1])))
        for x in cloud.x[few, :, :3].flatten(1, 2).numpy():
            at = middle + x[:, :2] * [scale, -scale]
            way = " ".join(f"{u:.1f},{v:.1f}" for u, v in at)
            lines.append(f'<polyline style="stroke:{cloud.colour}" points="{way}"/>')
    return (
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{escape(label)}" '
        'fill="none" stroke-width="1.2" stroke-opacity="0.6" stroke-linejoin="round">'
        f"{''.join(lines)}</svg>"
    )
