"""How chains look: side by side and at one scale, coloured from head to tail.

Chains in space are seen along their smallest principal axis, so that they spread out as far as
they can; beads further away are paler. Beads that clash are ringed.
"""

__all__ = ["duel", "gallery", "strip"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.path import Path
from torch import Tensor

from genmatter.domains.polymer.metrics import CLASH
from genmatter.maths.geometry import align_principal, centre
from genmatter.reporting.style import INKS, SEQUENTIAL, WIDTH, style

_BEAD = 1.3
"""Diameter of a bead in clash distances: about the Lennard-Jones one of simulated chains."""
_SMALLEST = 0.027
"""Inches of a bead's radius where the true one could not be seen."""
_RING = 0.022
_TITLE = 0.22
_MANY = 4000
_WARNING = tuple(int(INKS["warning"].light[i : i + 2], 16) / 255 for i in (1, 3, 5))
_FOG = np.array([0.62, 0.66, 0.70])
_K = 4 / 3 * (2**0.5 - 1)  # handles of the cubic curve nearest to a quarter of a circle
_CIRCLE = np.array(
    [
        (1, 0), (1, _K), (_K, 1), (0, 1), (-_K, 1), (-1, _K), (-1, 0),
        (-1, -_K), (-_K, -1), (0, -1), (_K, -1), (1, -_K), (1, 0),
    ]
)  # fmt: skip
Chains = Float[Tensor, "n beads dim"]


@dataclass(frozen=True)
class _Shape:
    """A filled outline in inches; shapes are painted in the order of their depth."""

    depth: float
    path: Path
    colour: tuple[float, ...]
    edged: bool = False


def strip(chains: Chains, titles: Sequence[str] = (), *, clash: float = CLASH) -> Figure:
    """Draws chains in one row, such as the steps of an interpolation.

    Args:
        chains: beads in 2D or 3D. All are turned together by a right angle if they are larger so.
        titles: what stands over each chain.
        clash: distance below which beads at least two bonds apart are ringed, in the unit of the
            chains. Beads are drawn in proportion to it.
    """
    return _sheet(chains, clash, titles, max(len(chains), 1), 2.2)


def gallery(
    chains: Chains, titles: Sequence[str] = (), columns: int = 6, *, clash: float = CLASH
) -> Figure:
    """Draws chains in rows of `columns`; the rest is as in `strip`."""
    return _sheet(chains, clash, titles, columns, 1.7)


def duel(
    first: Float[Tensor, "beads dim"],
    second: Float[Tensor, "beads dim"],
    titles: Sequence[str] = (),
    *,
    clash: float = CLASH,
) -> Figure:
    """Draws two chains large and side by side, such as the best found and the best known."""
    return _sheet(torch.stack([first, second]), clash, titles, 2, 3.0)


def _flat(chains: Chains) -> np.ndarray:
    """Returns chains in the plane of the paper, and how near each bead is: `[n, beads, 3]`."""
    x = chains.detach().double().cpu()
    finite = x.isfinite().all(-1).all(-1)
    if x.shape[-1] == 3:
        x = torch.where(finite[:, None, None], x, 0.0)
        x = align_principal(centre(x))
    else:
        x = torch.cat([x, torch.zeros_like(x[..., :1])], -1)
    x[~finite] = torch.nan
    middle = (x.amax(-2, keepdim=True) + x.amin(-2, keepdim=True)) / 2
    return (x - middle).numpy()


def _clashes(chains: Chains, distance: float) -> np.ndarray:
    """Returns which pairs of beads at least two bonds apart are too near."""
    x = chains.detach().double().cpu()
    return np.triu((torch.cdist(x, x) < distance).numpy(), 2)


def _extent(flat: np.ndarray) -> tuple[float, float]:
    """Returns the largest width and height of any chain; 1 where there is nothing to measure."""
    finite = flat[np.isfinite(flat).all((1, 2))]
    if not len(finite):
        return 1.0, 1.0
    size = np.ptp(finite, axis=1).max(0)
    least = float(size.max()) * 0.02 or 1.0
    return max(float(size[0]), least), max(float(size[1]), least)


@style()
def _sheet(
    chains: Chains, clash: float, titles: Sequence[str], columns: int, tallest: float
) -> Figure:
    """Draws chains in a grid and at one scale, with the bar that tells it."""
    flat, scale = _fitted(_flat(chains), WIDTH / columns * 0.9, tallest)
    radius = max(_BEAD * clash / 2 * scale, _SMALLEST)
    rows = max(-(-len(flat) // columns), 1)
    highs = [_extent(flat[r * columns : (r + 1) * columns])[1] * scale for r in range(rows)]
    cells = [max(high, 0.2) + 2.5 * radius + 0.08 for high in highs]
    floors = np.cumsum([cell + _TITLE for cell in cells])
    height = float(floors[-1]) + 0.28
    sheet = Figure(figsize=(WIDTH, height))
    ax = sheet.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    ax.set_axis_off()
    shapes: list[_Shape] = []
    for i, (chain, near) in enumerate(zip(flat, _clashes(chains, clash), strict=True)):
        row, column = divmod(i, columns)
        x, low = (column + 0.5) * WIDTH / columns, height - float(floors[row])
        place = np.array([x, low + cells[row] / 2, 0.0])
        shapes += _shapes(chain * scale + place, near, radius)
        if i < len(titles):
            ax.text(x, low + cells[row] + 0.03, titles[i], ha="center", color=INKS["muted"].light)
    ax.add_collection(_painted(shapes), autolim=False)
    _ruler(ax, _round(1 / scale), scale)
    return sheet


def _ruler(ax: Axes, length: float, scale: float) -> None:
    """Draws the bar that shows a length."""
    end, grey = 0.1 + length * scale, INKS["muted"].light
    ax.plot([0.1, end], [0.13, 0.13], color=grey, lw=1.5, solid_capstyle="butt")
    ax.text(end + 0.07, 0.13, f"{length:g} length", va="center", color=grey, size=8)


def _fitted(flat: np.ndarray, width: float, height: float) -> tuple[np.ndarray, float]:
    """Returns chains lying or upright, whichever can be larger, and inches per unit of length."""
    wide, high = _extent(flat)
    lying, upright = min(width / wide, height / high), min(width / high, height / wide)
    if upright > lying:
        return flat[..., [1, 0, 2]] * np.array([-1.0, 1.0, 1.0]), upright
    return flat, lying


def _round(x: float) -> float:
    """Returns the largest of 1, 2, 5 times a power of ten that is not above `x`."""
    power = 10.0 ** np.floor(np.log10(x))
    return float(max(m for m in (1, 2, 5) if m <= x / power * (1 + 1e-9)) * power)


def _painted(shapes: Sequence[_Shape]) -> PathCollection:
    edges = [INKS["paper"].light if shape.edged else "none" for shape in shapes]
    painted = PathCollection(
        [shape.path for shape in shapes],
        facecolors=[shape.colour for shape in shapes],
        edgecolors=edges,
        linewidths=0.4,
    )
    painted.set_clip_on(False)
    painted.set_rasterized(len(shapes) > _MANY)
    return painted


def _shapes(chain: np.ndarray, clashes: np.ndarray, radius: float) -> list[_Shape]:
    """Returns the shapes of one chain, in inches, from the furthest to the nearest."""
    if not np.isfinite(chain).all():
        return []
    n = len(chain)
    colours = _faded(SEQUENTIAL(np.linspace(0, 1, n))[:, :3], chain[:, 2])
    drawn: list[_Shape] = []
    for i, j in np.argwhere(clashes):
        drawn.append(_Shape(-np.inf, _bar(chain[i], chain[j], radius), _WARNING))
        rings = (_disc(chain[k], radius + max(_RING, radius / 5)) for k in (i, j))
        drawn += [_Shape(-np.inf, ring, _WARNING) for ring in rings]
    for a, b in zip(range(n - 1), range(1, n), strict=True):
        behind = min(chain[a, 2], chain[b, 2]) - 1e-6
        colour = tuple((colours[a] + colours[b]) / 2)
        drawn.append(_Shape(behind, _bar(chain[a], chain[b], radius * 0.55), colour))
    for bead, colour in zip(chain, colours, strict=True):
        drawn.append(_Shape(bead[2], _disc(bead, radius), tuple(colour), edged=True))
    return sorted(drawn, key=lambda shape: shape.depth)


def _faded(colours: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Returns colours that go grey with the distance from the reader."""
    away = (depth.max() - depth) / max(float(np.ptp(depth)), 1e-9)
    return colours + (_FOG - colours) * 0.6 * away[:, None]


def _disc(at: np.ndarray, radius: float) -> Path:
    """Returns a circle made of four cubic curves."""
    return Path(_CIRCLE * radius + at[:2], [Path.MOVETO] + [Path.CURVE4] * 12)


def _bar(a: np.ndarray, b: np.ndarray, width: float) -> Path:
    """Returns the rectangle around the line from `a` to `b`."""
    along = b[:2] - a[:2]
    side = np.array([-along[1], along[0]]) * (width / 2 / max(float(np.hypot(*along)), 1e-12))
    return Path(np.stack([a[:2] + side, b[:2] + side, b[:2] - side, a[:2] - side]), closed=False)
