"""How an ensemble looks beside molecular dynamics: torsions, fluctuations, contacts, slow motions.

| figure | shows | file |
|---|---|---|
| `ramachandran` | where phi and psi of all residues lie | here |
| `rmsf` | how much each residue moves | here |
| `contacts` | which residues touch, and how often | here |
| `free_energy` | how the slow coordinates are filled | here |
| `strip` | conformers side by side | `traces.py` |

Sets are `[n, residues, 5, 3]` in angstrom, of one protein; conformers that are not finite are
left out.
"""

__all__ = ["contacts", "fluctuations", "free_energy", "ramachandran", "rmsf", "strip", "touching"]

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from torch import Tensor

from genmatter.domains.backbone import ensemble, kinetics
from genmatter.domains.backbone.observables import CONTACT, alphas, phi, psi
from genmatter.domains.backbone.traces import Backbones, strip
from genmatter.errors import DataError
from genmatter.maths.superpose import mean_cloud, superpose
from genmatter.reporting.style import INKS, SEQUENTIAL, WIDTH, figure, inks, legend, style

_BINS = 60
"""Cells of phi and of psi: six degrees."""
_NEAR = 3
"""Residues nearer than this along the chain all but always touch, and are not shown to."""
_MARGIN = torch.tensor([-0.05, 0.05], dtype=torch.float64)
_DEEP = 6.0
"""kT above which free energies are drawn alike."""
_MORE, _LESS = INKS["samples"].light, INKS["baseline-1"].light
_DIFFERENCE = LinearSegmentedColormap.from_list(
    "difference", [(0, _LESS), (0.5, f"{_LESS}00"), (0.5, f"{_MORE}00"), (1, _MORE)]
)
"""Clear in the middle, so that no difference is the paper's colour, be it white or dark."""


def _finite(x: Backbones, name: str) -> Float[Tensor, "_ residues 5 3"]:
    x = x.detach().cpu()
    x = x[x.isfinite().flatten(1).all(1)]
    if not len(x):
        raise DataError(f"a figure of {name} needs one finite conformer at least; there is none")
    return x


@style()
def ramachandran(samples: Backbones, md: Float[Tensor, "m residues 5 3"]) -> Figure:
    """Draws the densities of phi and psi, on one scale.

    Residues at the ends, which lack one of the two, are not counted.

    Raises:
        DataError: There are less than three residues, or no finite conformer.
    """
    if md.shape[1] < 3:
        raise DataError(f"phi and psi ask for three residues or more; given: {md.shape[1]}")
    sets = {"samples": _finite(samples, "samples"), "molecular dynamics": _finite(md, "md")}
    density = {name: _torsions(x) for name, x in sets.items()}
    most = max(d.max() for d in density.values())
    least = min(d[d > 0].min() for d in density.values())
    scale = LogNorm(max(least, most / 1e4) / 2, most)
    sheet, axes = _pair(3.6)
    images = []
    for ax, (name, d) in zip(axes, density.items(), strict=True):
        whole = (-180, 180, -180, 180)
        images.append(_image(ax, np.where(d > 0, d, np.nan), whole, SEQUENTIAL, scale))
        ax.set(title=name, xlabel="phi (°)", ylabel="psi (°)")
        ax.set(xticks=range(-180, 181, 90), yticks=range(-180, 181, 90))
    bar = _bar(sheet, images[0], axes, "density over that of an even spread")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    return sheet


def _torsions(x: Backbones) -> np.ndarray:
    """Returns the density of psi and phi on a grid, 1 on average."""
    a, b = phi(x)[:, :-1].rad2deg(), psi(x)[:, 1:].rad2deg()
    edges = np.linspace(-180, 180, _BINS + 1)
    counts = np.histogram2d(b.flatten().numpy(), a.flatten().numpy(), [edges, edges])[0]
    return counts / max(counts.mean(), 1e-12)


def fluctuations(x: Backbones) -> Float[Tensor, " residues"]:
    """Returns the root mean square fluctuation of each CA about the mean, in angstrom.

    Conformers are superposed on their own mean, which is found by iteration.
    """
    ca = alphas(x).double()
    return ensemble.rmsf(superpose(ca, mean_cloud(ca).expand_as(ca)))


@style()
def rmsf(
    samples: Backbones,
    md: Float[Tensor, "m residues 5 3"],
    train: Float[Tensor, "k residues 5 3"] | None = None,
    numbers: Sequence[int] = (),
) -> Figure:
    """Draws how much each CA moves, and says how samples agree with the MD, as the training does.

    Args:
        samples: Generated conformers.
        md: Held-out frames.
        train: Frames that were trained on.
        numbers: The residues' numbers; from 1 by default. The line is broken where they jump.
    """
    sets = {"test": md, "samples": samples} | ({} if train is None else {"train": train})
    moves = {k: fluctuations(_finite(x, k)).numpy() for k, x in sets.items()}
    colours = inks(sets)
    numbers = list(numbers) or list(range(1, md.shape[1] + 1))
    at, breaks = np.arange(len(numbers)), np.flatnonzero(np.diff(numbers) != 1) + 1
    sheet = figure(WIDTH, 2.6)
    ax = sheet.subplots()
    marker = "o" if len(numbers) <= 40 else ""
    for name, y in moves.items():
        for part in np.split(at, breaks):
            if name == "test":
                ax.fill_between(part, y[part], color=colours[name], alpha=0.25, lw=0)
            ls = "--" if name == "train" else "-"
            ax.plot(part, y[part], color=colours[name], ls=ls, marker=marker, ms=3.5)
    ax.set(xlabel="residue", ylabel="RMSF of CA (Å)", ylim=(0, None))
    ax.set_xlim(-0.5, len(numbers) - 0.5)
    _numbered(ax.xaxis, numbers)
    legend(sheet, [_entry(k, y, moves["test"], colours[k]) for k, y in moves.items()])
    return sheet


def _entry(name: str, y: np.ndarray, test: np.ndarray, colour: str) -> Line2D:
    """Returns the key of a curve, with its correlation with the test's and its amplitude."""
    line = Line2D([], [], color=colour, ls="--" if name == "train" else "-", label=name)
    if name != "test":
        flat = min(np.ptp(y), np.ptp(test)) < 1e-9
        r = "–" if flat else f"{np.corrcoef(y, test)[0, 1]:.2f}"
        line.set_label(f"{name}: r = {r}, amplitude × {y.mean() / max(test.mean(), 1e-12):.2f}")
    return line


def _numbered(axis: Any, numbers: Sequence[int]) -> None:
    """Puts residue numbers at some of the places 0, 1, ..."""
    axis.set_major_locator(MaxNLocator(min(10, len(numbers)), integer=True))
    known = dict(enumerate(numbers))
    axis.set_major_formatter(FuncFormatter(lambda at, _: str(known.get(round(at), ""))))


def touching(x: Backbones) -> Float[Tensor, "residues residues"]:
    """Returns the share of conformers in which the CA of two residues are within 8 angstrom."""
    ca = alphas(x).double()
    shares = [(torch.cdist(part, part) < CONTACT).double().sum(0) for part in ca.split(256)]
    return torch.stack(shares).sum(0) / len(ca)


@style()
def contacts(
    samples: Backbones, md: Float[Tensor, "m residues 5 3"], numbers: Sequence[int] = ()
) -> Figure:
    """Draws how often residues touch, samples above the diagonal and MD below, and the difference.

    Residues less than three apart along the chain are left out.

    Args:
        samples: Generated conformers.
        md: Held-out frames.
        numbers: The residues' numbers; from 1 by default.
    """
    ours = touching(_finite(samples, "samples")).numpy()
    theirs = touching(_finite(md, "md")).numpy()
    length = len(ours)
    both = np.tril(ours, -_NEAR) + np.triu(theirs, _NEAR)  # rows are drawn from below
    gap = np.tril(ours - theirs, -_NEAR) + np.triu(ours - theirs, _NEAR)
    most = max(float(np.abs(gap).max()), 0.05)
    sheet, axes = _pair(3.9)
    edges = (-0.5, length - 0.5, -0.5, length - 0.5)
    share = _image(axes[0], np.where(both > 0, both, np.nan), edges, SEQUENTIAL, Normalize(0, 1))
    _bar(sheet, share, [axes[0]], f"share with CA within {CONTACT:g} Å")
    shown = _image(axes[1], gap, edges, _DIFFERENCE, Normalize(-most, most))
    _bar(sheet, shown, [axes[1]], "samples − MD")
    axes[0].set_title("samples above, MD below the diagonal")
    axes[1].set_title("difference")
    for ax in axes:
        ax.plot(edges[:2], edges[:2], color=INKS["test"].light, lw=0.7)
        ax.set(xlabel="residue", ylabel="residue")
        for axis in (ax.xaxis, ax.yaxis):
            _numbered(axis, list(numbers) or list(range(1, length + 1)))
    return sheet


@style()
def free_energy(
    samples: Backbones,
    md: Sequence[Float[Tensor, "_ residues 5 3"]],
    lag: int,
    frame_ps: float = 0.0,
) -> Figure:
    """Draws free energies over the two slowest coordinates of the MD, on one scale and grid.

    Args:
        samples: Generated conformers.
        md: Trajectories, each in the order of time.
        lag: Frames after which slow coordinates are to remember themselves (TICA).
        frame_ps: Time between two frames, where it is known.

    Raises:
        DataError: No trajectory is longer than the lag, or nothing is finite.
    """
    series = [kinetics.features(_finite(x, "md")) for x in md]
    slow = kinetics.slow_components(series, lag)
    seen = slow.of(torch.cat(series))
    drawn = slow.of(kinetics.features(_finite(samples, "samples")))
    bins = int(np.clip(min(len(seen), len(drawn)) ** 0.5, 10, 40))
    limits = _limits(torch.cat([seen, drawn]))
    time = f"{lag} frames" + (f", {lag * frame_ps:g} ps" if frame_ps else "")
    sheet, axes = _pair(3.6)
    images = []
    sets = {"samples": drawn, "molecular dynamics": seen}
    for ax, (name, points) in zip(axes, sets.items(), strict=True):
        energy = kinetics.free_energy(points, bins, limits).energy.T.numpy()
        energy = np.where(np.isfinite(energy), energy, np.nan)
        colours, scale = SEQUENTIAL.reversed(), Normalize(0, _DEEP)
        images.append(_image(ax, energy, limits[0] + limits[1], colours, scale))
        ax.set_aspect("auto")
        ax.set(xlabel="slowest coordinate of the MD", ylabel="second slowest")
        ax.set_title(f"{name} (TICA, lag {time})")
    _bar(sheet, images[0], axes, "free energy (kT)")
    return sheet


def _limits(points: Float[Tensor, "n 2"]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns a range of each coordinate that all but a few points lie in."""
    low, high = points.quantile(0.002, 0), points.quantile(0.998, 0)
    (a, b), (c, d) = (torch.stack([low, high]) + torch.outer(_MARGIN, high - low)).T.tolist()
    return (a, b), (c, d)


def _pair(height: float) -> tuple[Figure, list[Axes]]:
    sheet = figure(WIDTH, height)
    return sheet, list(sheet.subplots(1, 2))


def _image(
    ax: Axes, values: np.ndarray, extent: tuple[float, float, float, float], colours: Any,
    scale: Normalize,
) -> AxesImage:  # fmt: skip
    """Draws a grid whose first row is the lowest; NaN is clear."""
    ax.grid(visible=False)
    return ax.imshow(
        values, cmap=colours, norm=scale, extent=extent, origin="lower", interpolation="nearest"
    )


def _bar(sheet: Figure, image: AxesImage, axes: Sequence[Axes], label: str) -> Colorbar:
    bar = sheet.colorbar(image, ax=list(axes), aspect=28, pad=0.02, shrink=0.9)
    bar.set_label(label, color=INKS["muted"].light)
    bar.ax.spines["outline"].set_visible(False)
    return bar
