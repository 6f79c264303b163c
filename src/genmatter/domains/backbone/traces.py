"""How conformers look: superposed, side by side and at one scale, coloured from N to C terminus.

Up to sixty residues the chain N, CA, C is drawn, with a spoke to each oxygen; of longer ones a
curve through the CA atoms. All are seen along the smallest principal axis of their mean, so that
they spread out as far as they can; what is further away is paler.
"""

__all__ = ["LONGEST", "Backbones", "laid", "strip"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from genmatter.maths.geometry import align_principal
from genmatter.maths.superpose import mean_cloud, rotation_onto
from genmatter.reporting.style import INKS, SEQUENTIAL, WIDTH, style

Backbones = Float[Tensor, "n residues 5 3"]

LONGEST = 60
"""Residues up to which the whole backbone is shown."""
_BOND, _STEP = 2.5, 6.0
"""Angstrom above which two atoms, or two CA, are not joined: there the chain is broken."""
_TALLEST = 2.2
_TITLE, _FOOT = 0.24, 0.3
_TUBE = 0.55
"""Diameter of the chain in angstrom."""
_EDGED = 8000
"""Coordinates up to which lines are set apart from those behind them."""
_MANY = 5000
"""Lines above which they are drawn as pixels."""
_FOG = np.array([0.62, 0.66, 0.70])
_OXYGEN, _NITROGEN = INKS["warning"].light, INKS["ink"].light


def laid(x: Backbones, onto: Float[Tensor, "m residues 5 3"]) -> Float[Tensor, "n residues 4 3"]:
    """Superposes conformers by their CA on the mean of some, with its long axis along x.

    Returns:
        N, CA, C and O, around the centre of the mean. The z axis is the mean's shortest.
    """
    mean = align_principal(mean_cloud(onto[:, :, 1].double()))
    centred = x[:, :, :4].double() - x[:, :, 1].double().mean(1)[:, None, None]
    return centred @ rotation_onto(centred[:, :, 1], mean)[:, None]


@dataclass(frozen=True)
class _Line:
    """A straight line in inches; lines are painted in the order of their depth."""

    depth: float
    ends: np.ndarray
    width: float
    colour: Any


@style()
def strip(conformers: Backbones, titles: Sequence[str] = ()) -> Figure:
    """Draws conformers of one protein in a row; those that are not finite are left out.

    Args:
        conformers: N, CA, C, O and CB of each residue in angstrom.
        titles: what stands over each conformer.
    """
    finite = conformers.detach().cpu().isfinite().flatten(1).all(1)
    known = conformers.detach().cpu()[finite]
    flat = laid(known, known).numpy() if len(known) else np.zeros((0, 1, 4, 3))
    cell = WIDTH / max(len(conformers), 1)
    flat, scale = _fitted(flat, cell * 0.88)
    tall = (float(np.ptp(flat[..., 1])) if len(flat) else 0.0) + 0.25
    sheet = Figure(figsize=(WIDTH, tall + _TITLE + _FOOT))
    ax = sheet.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, tall + _TITLE + _FOOT))
    ax.set_axis_off()
    lines: list[_Line] = []
    for column, x in zip(finite.nonzero()[:, 0].tolist(), flat, strict=True):
        place = np.array([(column + 0.5) * cell, _FOOT + tall / 2, 0.0])
        lines += _lines(x + place, scale, edged=flat.size <= _EDGED)
    for column, title in enumerate(titles[: len(conformers)]):
        at = (column + 0.5) * cell, _FOOT + tall + 0.04
        ax.text(*at, title, ha="center", color=INKS["muted"].light)
    ax.add_collection(_painted(lines), autolim=False)
    _ruler(ax, scale)
    _key(ax, spokes=conformers.shape[1] <= LONGEST)
    return sheet


def _fitted(flat: np.ndarray, width: float) -> tuple[np.ndarray, float]:
    """Returns conformers in inches, lying or upright, and inches per angstrom."""
    if not len(flat):
        return flat, 1.0
    middle = (flat.max((0, 1, 2)) + flat.min((0, 1, 2))) / 2
    flat = flat - middle
    wide, high, _ = np.maximum(2 * np.abs(flat).max((0, 1, 2)), 1.0)
    lying, upright = min(width / wide, _TALLEST / high), min(width / high, _TALLEST / wide)
    if upright > lying:
        return flat[..., [1, 0, 2]] * np.array([-1.0, 1.0, 1.0]) * upright, upright
    return flat * lying, lying


def _lines(x: np.ndarray, scale: float, *, edged: bool) -> list[_Line]:
    """Returns the lines of one conformer in inches, from the furthest to the nearest."""
    whole = len(x) <= LONGEST
    way = x[:, :3].reshape(-1, 3) if whole else _curve(x[:, 1])
    reach = (_BOND if whole else _STEP) * scale
    width = float(np.clip(_TUBE * scale, 0.012, 0.07))
    shades = SEQUENTIAL(np.linspace(0, 1, len(way)))[:, :3]
    shades = _faded(shades, way[:, 2])
    drawn: list[_Line] = []
    for a, b, colour in zip(way, way[1:], shades, strict=False):
        if np.linalg.norm(b - a) > reach:
            continue
        ends, depth = np.stack([a, b])[:, :2], float((a + b)[2] / 2)
        drawn.append(_Line(depth, ends, width, tuple(colour)))
        if edged:
            drawn += _edge(ends, depth - width, width * 1.8)
    if whole:
        drawn += _spokes(x, width)
    return sorted(drawn, key=lambda line: line.depth)


def _edge(ends: np.ndarray, depth: float, width: float) -> list[_Line]:
    """Returns what cuts off the lines behind one, but not its neighbours along the chain."""
    long = float(np.linalg.norm(ends[1] - ends[0]))
    if long <= 1.5 * width:
        return []
    short = ends.mean(0) + (ends - ends.mean(0)) * (1 - 1.5 * width / long)
    return [_Line(depth, short, width, INKS["paper"].light)]


def _curve(ca: np.ndarray) -> np.ndarray:
    """Returns a smooth way through points (Catmull & Rom, 1974), in four steps from each."""
    padded = np.concatenate([2 * ca[:1] - ca[1:2], ca, 2 * ca[-1:] - ca[-2:-1]])
    p, q, r, s = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.arange(4)[:, None, None] / 4
    bend = (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * (q - r) + s - p) * t**3
    way = (2 * q + (r - p) * t + bend) / 2
    return np.concatenate([way.swapaxes(0, 1).reshape(-1, 3), ca[-1:]])


def _spokes(x: np.ndarray, width: float) -> list[_Line]:
    """Returns a thin line from each C to its O, and a dot on each N."""
    dot = np.array([[0.0, 0.0], [1e-3, 0.0]])
    found: list[_Line] = []
    for n, _, c, o in x:
        found.append(_Line(float((c + o)[2] / 2), np.stack([c, o])[:, :2], width / 2, _OXYGEN))
        found.append(_Line(float(o[2]), o[:2] + dot, width * 1.1, _OXYGEN))
        found.append(_Line(float(n[2]) + width, n[:2] + dot, width * 0.7, _NITROGEN))
    return found


def _faded(colours: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Returns colours that go grey with the distance from the reader."""
    away = (depth.max() - depth) / max(float(np.ptp(depth)), 1e-9)
    return colours + (_FOG - colours) * 0.55 * away[:, None]


def _painted(lines: Sequence[_Line]) -> LineCollection:
    painted = LineCollection(
        [line.ends for line in lines],
        colors=[to_rgb(line.colour) for line in lines],
        linewidths=[72 * line.width for line in lines],
        capstyle="round",
    )
    painted.set_clip_on(False)
    painted.set_rasterized(len(lines) > _MANY)
    return painted


def _ruler(ax: Axes, scale: float) -> None:
    """Draws the bar that shows a length."""
    length = next((a for a in (1, 2, 5, 10, 20, 50) if a * scale > 0.3), 100)
    end, grey = 0.1 + length * scale, INKS["muted"].light
    ax.plot([0.1, end], [0.13, 0.13], color=grey, lw=1.5, solid_capstyle="butt")
    ax.text(end + 0.07, 0.13, f"{length} Å", va="center", color=grey, size=8)


def _key(ax: Axes, *, spokes: bool) -> None:
    """Says what colours mean, at the right of the foot."""
    says = {"va": "center", "color": INKS["muted"].light, "size": 8}
    right = WIDTH - 0.1
    ax.text(right, 0.13, "C-terminus", ha="right", **says)
    steps = np.linspace(right - 1.7, right - 0.72, 25)
    bar = np.stack([np.stack([steps[:-1], steps[1:]], 1), np.full((24, 2), 0.13)], -1)
    ax.add_collection(LineCollection(list(bar), colors=SEQUENTIAL(np.linspace(0, 1, 24)), lw=3))
    ax.text(right - 1.78, 0.13, "N-terminus", ha="right", **says)
    if spokes:
        for shift, name, colour in ((3.3, "N", _NITROGEN), (2.9, "O", _OXYGEN)):
            ax.plot(right - shift, 0.13, "o", color=colour, ms=4)
            ax.text(right - shift + 0.07, 0.13, name, **says)
