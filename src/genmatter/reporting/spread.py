"""How objects spread: over the values of an observable, over the points of a latent space."""

__all__ = ["WANTED", "density", "distributions", "latent_map", "order", "plane", "scale"]

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from genmatter.reporting.style import INKS, SEQUENTIAL, dashes, inks, legend, panels, style

Numbers = np.ndarray | Tensor | Sequence[Any]

WANTED: Any = (0, (3, 1.5))
"""How the line of a value that was wanted is broken."""

_CROWD = 300
"""Points above which a cloud is drawn as pixels, not as shapes."""
_ENDS = {(True, True): "both", (True, False): "min", (False, True): "max"}
_FILL = 0.35
_REFERENCES = ("test", "train", "floor")
_TAIL = 0.002


@style()
def distributions(
    values: Mapping[str, Mapping[str, Numbers]],
    units: Mapping[str, str] = {},
    samples: Collection[str] = ("samples",),
    targets: Mapping[str, float] = {},
) -> Figure:
    """Overlays the densities of each observable in several sets of objects.

    The bins of a panel are shared. They cover the reference (the first of test, train and floor
    that is there) and half of its width to each side; what lies beyond is said in words. Peaks
    of baselines may be cut off.

    Args:
        values: set name -> observable name -> `[n]`. The names samples, test, train and floor
            have their own ink, any other name is a baseline's.
        units: unit of each observable.
        samples: sets that the others are there for, drawn on top and in full.
        targets: values of observables that were wanted, which become lines.
    """
    names = list(dict.fromkeys(name for of in values.values() for name in of))
    colours, lines = inks(values), dashes(values)
    sheet, axes = panels(len(names), height=1.7)
    for ax, name in zip(axes, names, strict=True):
        known = {k: _known(of[name]) for k, of in values.items() if name in of}
        bins = _edges(known)
        heights = {
            k: density(ax, known[k], bins, colours[k], lines[k], filled=k == "test")
            for k in sorted(known, key=lambda k: k in samples)
        }
        main = [h for k, h in heights.items() if k in {*samples, *_REFERENCES}]
        ax.set(yticks=[], ylim=(0, 1.5 * max(main) if any(main) else None))
        ax.set_xlim(bins[0], bins[-1])
        if name in targets:
            _target(ax, targets[name])
        ax.set_xlabel(_beyond(known, bins), fontsize=7.5)
        ax.set_title(f"{name} ({units[name]})" if units.get(name) else name)
        ax.spines["left"].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    shown = [_entry(k, colours[k], lines[k]) for k in values]
    wanted = [Line2D([], [], color=INKS["ink"].light, ls=WANTED, label="wanted")]
    legend(sheet, shown + (wanted if targets else []))
    return sheet


def _target(ax: Axes, value: float) -> None:
    """Marks a value that was wanted, and makes room for it."""
    ax.axvline(value, color=INKS["ink"].light, ls=WANTED, lw=1.3)
    low, high = ax.get_xlim()
    room = 0.03 * (high - low)
    ax.set_xlim(min(low, value - room), max(high, value + room))


def _known(values: Numbers) -> np.ndarray:
    """Returns values without NaN. An infinite energy is a value, and lies beyond every bin."""
    x = np.asarray(values, float).ravel()
    return x[~np.isnan(x)]


def _range(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, [_TAIL, 1 - _TAIL])


def _edges(sets: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the shared edges of the bins."""
    finite = {k: v[np.isfinite(v)] for k, v in sets.items()}
    finite = {k: v for k, v in finite.items() if v.size}
    if not finite:
        return np.linspace(0, 1, 3)
    pooled = np.stack([_range(v) for v in finite.values()])
    low, high = pooled[:, 0].min(), pooled[:, 1].max()
    reference = next((finite[k] for k in _REFERENCES if k in finite), None)
    if reference is not None and np.ptp(_range(reference)) > 0:
        a, b = _range(reference)
        low, high = max(low, a - (b - a) / 2), min(high, b + (b - a) / 2)
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    most = max(v.size for v in finite.values())
    return np.linspace(low, high, int(np.clip(most**0.4, 10, 48)) + 1)


def density(
    ax: Axes, v: np.ndarray, edges: np.ndarray, colour: str, line: Any, *, filled: bool
) -> float:
    """Draws a density over all values, those beyond the bins included, and returns its peak."""
    density = np.histogram(v, edges)[0] / (max(v.size, 1) * np.diff(edges))
    if filled:
        ax.stairs(density, edges, fill=True, color=colour, alpha=_FILL, lw=0)
    else:
        ax.stairs(density, edges, baseline=None, color=colour, ls=line, lw=1.4)
    return float(density.max())


def _beyond(sets: Mapping[str, np.ndarray], edges: np.ndarray) -> str:
    """Says how much of each set the bins miss, where that is more than one object in 50."""
    missed = {k: np.mean((v < edges[0]) | (v > edges[-1])) for k, v in sets.items() if v.size}
    words = [f"{k} {m:.0%}" for k, m in missed.items() if m > 0.02]
    lines = [f"beyond: {', '.join(words)}"] if words else []
    return "\n".join(lines + [f"{k}: no values" for k in sets if k not in missed])


def _entry(name: str, colour: str, line: Any) -> Line2D | Patch:
    if name == "test":
        return Patch(color=colour, alpha=_FILL, lw=0, label=name)
    return Line2D([], [], color=colour, ls=line, label=name)


@style()
def latent_map(
    z: Numbers, colours: Mapping[str, Numbers], units: Mapping[str, str] = {}
) -> Figure:
    """Draws the latent space in two dimensions, once for each observable.

    Two latents are shown as they are; of more, the two principal components with the largest
    variance; a single one against the observable itself.

    Args:
        z: latent coordinates, `[n, latents]`.
        colours: observable name -> `[n]`. Objects without a value are grey.
        units: unit of each observable.
    """
    points, labels = plane(np.asarray(z, float))
    sheet, axes = panels(len(colours), columns=3, height=2.6)
    for ax, (name, values) in zip(axes, colours.items(), strict=True):
        title = f"{name} ({units[name]})" if units.get(name) else name
        _cloud(ax, points, np.asarray(values, float), title)
        place = ax.get_subplotspec()
        first = place is None or place.is_first_col()
        ax.set(xlabel=labels[0], ylabel=name if len(labels) == 1 else labels[1] if first else "")
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.yaxis.set_major_locator(MaxNLocator(4))
    return sheet


def plane(z: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Returns one or two coordinates of each point, and what they are."""
    latents = z.shape[1]
    if latents <= 2:
        return z, [f"latent {i + 1}" for i in range(latents)]
    known = z[np.isfinite(z).all(1)]
    mean = known.sum(0) / max(len(known), 1)
    variance, axes = np.linalg.eigh((known - mean).T @ (known - mean))
    share = np.flip(variance) / max(float(variance.sum()), np.finfo(float).tiny)
    labels = [f"component {i + 1} of {latents} latents ({share[i]:.0%})" for i in (0, 1)]
    axes = np.flip(axes, 1)[:, :2]
    signs = np.sign(axes[np.abs(axes).argmax(0), (0, 1)])  # any other sign would do as well
    return (z - mean) @ (axes * signs), labels


def _cloud(ax: Axes, points: np.ndarray, values: np.ndarray, label: str) -> None:
    """Draws points in the colour of their values, with the bar that explains it."""
    known, among = np.isfinite(values), scale(values)
    shades = np.tile(to_rgba(INKS["train"].light), (len(values), 1))
    shades[known] = SEQUENTIAL(among(values[known]))
    xy = points if points.shape[1] == 2 else np.column_stack([points[:, 0], values])
    drawn = order(known)
    size = float(np.clip(2.5e4 / max(len(xy), 1), 2.5, 16))
    crowd = len(xy) > _CROWD
    ax.scatter(*xy[drawn].T, c=shades[drawn], s=size, lw=0, alpha=0.85, rasterized=crowd)
    ends = bool((values < among.vmin).any()), bool((values > among.vmax).any())
    beyond = _ENDS.get(ends, "neither")
    bar = ax.figure.colorbar(
        ScalarMappable(among, SEQUENTIAL), ax=ax, extend=beyond, extendfrac=0.03, aspect=28,
        pad=0.02, location="top",
    )  # fmt: skip
    bar.set_label(label, color=INKS["ink"].light, weight="bold", loc="left")
    bar.ax.spines["outline"].set_visible(False)
    bar.ax.xaxis.set_major_locator(MaxNLocator(5))


def scale(values: np.ndarray) -> Normalize:
    """Returns the scale of colours: from end to end, but for a fiftieth of the values at each."""
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, [0.02, 0.98]).tolist() if known.size else (0.0, 1.0)
    return Normalize(low, high if high > low else low + 1)


def order(known: np.ndarray) -> np.ndarray:
    """Returns in which order to draw: unknown ones first, and no part of a sorted file on top."""
    shuffled = np.random.default_rng(0).permutation(len(known))
    return np.concatenate([shuffled[~known[shuffled]], shuffled[known[shuffled]]])
