"""How sequences look: letters in the colours of their chemistry, logos, covariances, maps.

| figure | shows |
|---|---|
| `strip` | sequences, one below the other, as HTML |
| `logos` | which residues each site has, of several sets |
| `covariances` | what each two sites have in common, of samples and of the data |
| `planes` | where sequences lie in the plane of the two main components |
| `identities` | how alike sequences are to each other and to the nearest training one |
| `heat_map` | a number for each residue at each site, such as the effect of a mutation |
| `hover_map` | sequences as points in a plane, and the one that is pointed at, as HTML |

HTML is to be trusted: all text in it is escaped, and nothing has an id.
"""

__all__ = [
    "covariances", "heat_map", "hover_map", "identities", "logos", "planes", "strip",
]  # fmt: skip

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from genmatter.domains.protein.identity import matches
from genmatter.domains.protein.metrics import nearest_identity, plane
from genmatter.domains.protein.sequences import ALPHABET, GAP, Sequences
from genmatter.domains.protein.statistics import frequencies, one_hot, strengths
from genmatter.errors import DataError
from genmatter.reporting.plots import distributions
from genmatter.reporting.points import points
from genmatter.reporting.style import INKS, SEQUENTIAL, WIDTH, figure, inks, style

KINDS = {"AVLIMC": "ink", "FWYH": "baseline-1", "KR": "samples", "DE": "warning"}
KINDS |= {"STNQ": "floor", "GP": "baseline-2"}
"""Which ink residues of a kind have: oily, aromatic, of either charge, polar, and odd ones."""
_INK = {one: ink for some, ink in KINDS.items() for one in some}
_TILES, _ROW, _POINTS, _WIDE = 60, 60, 1500, 100
_THIN = 0.06
"""Bits below which a letter of a logo is thinner than a line."""
_ORDER = "GPAVLIMCFWYHKRDESTNQ"
"""Residues of a kind beside each other."""
DIVERGING = LinearSegmentedColormap.from_list(
    "genmatter_diverging", [INKS["warning"].light, "#f4f4f2", INKS["samples"].light]
)
"""Below 0 to above it."""


def strip(sequences: Sequences, titles: Sequence[str]) -> str:
    """Returns sequences with their titles, residues in the colours of their kinds, as HTML.

    Raises:
        DataError: There is not a title for each sequence.
    """
    if len(titles) != len(sequences):
        raise DataError(f"{len(sequences)} sequences need as many titles; given: {len(titles)}")
    texts = sequences[:_TILES].texts
    rows = "".join(
        f"<li><span>{escape(title)}</span><code>{coloured(text)}</code></li>"
        for title, text in zip(titles, texts, strict=False)
    )
    more = len(sequences) - _TILES
    rest = f"<li><span>and {more:,} more</span></li>" if more > 0 else ""
    return f'<style>{_css()}</style><ul class="sequences">{rows}{rest}</ul>'


def _css() -> str:
    return files("genmatter.domains.protein").joinpath("protein.css").read_text("utf-8").strip()


def coloured(text: str) -> str:
    """Returns letters as HTML: runs of a kind are one element, tens stand apart."""
    found = []
    for start in range(0, len(text), 10):
        part, run = text[start : start + 10], ""
        for k, one in enumerate(part):
            run += one
            if k + 1 == len(part) or _INK.get(part[k + 1]) != _INK.get(one):
                ink = _INK.get(one)
                found.append(f'<b class="{ink}">{run}</b>' if ink else run)
                run = ""
        found.append(" ")
    return "".join(found).strip()


def hover_map(
    xy: Float[Tensor, "n 2"],
    sequences: Sequences,
    values: Mapping[str, Float[Tensor, " n"]],
    units: Mapping[str, str] = {},
) -> str:
    """Returns sequences as points in a plane, as HTML; the one that is pointed at is shown.

    Of more than 1,500 so many are shown, taken evenly.

    Args:
        xy: Where each lies.
        sequences: What each is.
        values: Numbers to colour by; NaN is unknown.
        units: The unit of each.

    Raises:
        DataError: There is no finite point, no number, or not a sequence for each point.
    """
    if len(xy) != len(sequences):
        raise DataError(f"{len(xy)} points need as many sequences; given: {len(sequences)}")
    some = torch.linspace(0, max(len(xy) - 1, 0), min(len(xy), _POINTS)).round().long()
    shown = sequences[some]
    cards = [f'<code class="residues">{coloured(t)}</code>' for t in shown.texts]
    names = [_called(shown, k) for k in range(len(shown))]
    drawn = points(xy[some], {k: v[some] for k, v in values.items()}, units, names, cards)
    return f"<style>{_css()}</style>{drawn}"


def _called(sequences: Sequences, k: int) -> str:
    """Returns a sequence's name, and what its labels say."""
    told = [f"{name} {texts[k]}" for name, texts in sequences.labels.items() if texts[k]]
    return ", ".join([str(sequences.names[k]), *told])


def logos(sets: Mapping[str, Sequences], marks: Sequence[int] = ()) -> Figure:
    """Draws which residues each site has, by bits of information, in rows of at most 60 sites.

    Args:
        sets: What to draw, one below the other; gaps take their share of a site's height away.
        marks: Columns, from 0, that have an arrow, such as a catalytic triad's.
    """
    first = next(iter(sets.values()))
    wide = _even(first.sites, _ROW)
    starts = range(0, first.sites, wide)
    with style():
        sheet = figure(WIDTH, (0.95 * len(sets) + 0.35) * len(starts))
        grid = sheet.subplots(len(sets) * len(starts), 1, squeeze=False)[:, 0].tolist()
        for start in starts:
            some = slice(start, start + wide)
            numbers = first.numbering.positions[some]
            here = [at - start for at in marks if start <= at < start + wide]
            for name, s in sets.items():
                axes = grid.pop(0)
                _logo(axes, _information(frequencies(s)[some]), numbers, wide)
                axes.set_ylabel(f"{name}, bits")
                axes.plot(here, [4.75] * len(here), "v", color=INKS["warning"].light, markersize=4)
    return sheet


def _even(sites: int, most: int) -> int:
    """Returns how wide rows are that are as even as can be, none wider than that."""
    rows = -(-sites // most)
    return -(-sites // rows)


def _information(f: Float[Tensor, "sites states"]) -> Float[Tensor, "sites twenty"]:
    """Returns the height of each residue: its share of what a site tells, of log2 20 at most."""
    there = f[:, 1:].sum(1, keepdim=True)
    p = f[:, 1:] / there.clamp_min(1e-12)
    bits = np.log2(20) - torch.special.entr(p).sum(1, keepdim=True) / np.log(2)
    return p * bits * there


def _logo(axes: Axes, table: Tensor, numbers: Sequence[int], wide: int) -> None:
    import logomaker
    import pandas as pd

    seen = torch.where(table < _THIN, 0.0, table)  # each letter takes a millisecond
    heights = pd.DataFrame(seen.numpy(), columns=[*ALPHABET[1:]])
    colours = {some: INKS[ink].light for some, ink in KINDS.items()}
    logomaker.Logo(heights, ax=axes, color_scheme=colours, width=0.92)  # pyright: ignore
    at = [k for k, n in enumerate(numbers) if n % 10 == 0]
    axes.set(ylim=(0, 5), xlim=(-0.6, wide - 0.4), yticks=(0, 2, 4))
    axes.set_xticks(at, [str(numbers[k]) for k in at])
    axes.grid(visible=False)


def covariances(sets: Mapping[str, Sequences], contacts: Sequence[tuple[int, int]] = ()) -> Figure:
    """Draws what each two sites have in common, a panel for each set.

    It is the norm of the connected correlations over residues, with the average product of the
    two sites' means taken away, which else hides contacts behind sites that vary much.

    Args:
        sets: What to draw.
        contacts: Pairs of columns, from 0, that are circled in one half of each panel.

    References:
        | Mutual information without the influence of phylogeny or entropy
        | (Dunn, Wahl & Gloor, 2008) https://doi.org/10.1093/bioinformatics/btm604
    """
    norms = {name: corrected(strengths(s)).numpy() for name, s in sets.items()}
    most = max(float(np.quantile(v, 0.998)) for v in norms.values())
    with style():
        sheet = figure(WIDTH, WIDTH / max(len(sets), 2) + 0.3)
        for axes, (name, v) in zip(
            sheet.subplots(1, len(sets), squeeze=False)[0], norms.items(), strict=True
        ):
            axes.imshow(v, cmap=SEQUENTIAL, vmin=0, vmax=most, interpolation="none")
            axes.set_title(name)
            axes.grid(visible=False)
            if contacts:
                i, j = zip(*contacts, strict=True)
                axes.scatter(
                    i, j, 14, facecolors="none", edgecolors=INKS["warning"].light, linewidths=0.8
                )
            _numbered(axes, next(iter(sets.values())).numbering.positions)
    return sheet


def corrected(norms: Float[Tensor, "sites sites"]) -> Float[Tensor, "sites sites"]:
    """Returns norms less the product of their rows' means over the mean of all; 0 of one site."""
    n = len(norms)
    rows = norms.sum(1) / max(n - 1, 1)
    found = norms - rows[:, None] * rows / rows.mean().clamp_min(1e-12)
    return found - torch.diag(found.diagonal())


def _numbered(axes: Axes, positions: Sequence[int]) -> None:
    """Writes the numbers of columns along both sides."""
    at = np.linspace(0, len(positions) - 1, min(6, len(positions))).round().astype(int)
    names = [str(positions[k]) for k in at]
    axes.set_xticks(at, names)
    axes.set_yticks(at, names)


def planes(sets: Mapping[str, Sequences], train: Sequences, most: int = 2000) -> Figure:
    """Draws where sequences lie in the plane of the training set's two main components."""
    mean, axes_ = plane(train)
    at = {name: ((one_hot(s[:most]) - mean) @ axes_).numpy() for name, s in sets.items()}
    low = np.min([xy.min(0) for xy in at.values()], 0)
    high = np.max([xy.max(0) for xy in at.values()], 0)
    room = 0.04 * (high - low) + 1e-6
    with style():
        sheet = figure(WIDTH, WIDTH / max(len(sets), 3) + 0.2)
        grid = sheet.subplots(1, len(sets), squeeze=False)[0]
        for axes, colour, (name, xy) in zip(grid, inks(at).values(), at.items(), strict=True):
            axes.scatter(*xy.T, 5, color=colour, alpha=0.5, linewidths=0)
            axes.set(xlim=(low[0] - room[0], high[0] + room[0]), xlabel="first component")
            axes.set(ylim=(low[1] - room[1], high[1] + room[1]), title=name)
        grid[0].set_ylabel("second component")
    return sheet


def identities(sets: Mapping[str, Sequences], train: Sequences, most: int = 500) -> Figure:
    """Draws how alike each two sequences of a set are, and each to the nearest training one."""
    among = {}
    for name, s in sets.items():
        some = s[torch.linspace(0, len(s) - 1, min(len(s), most)).round().long()]
        x = some.residues.numpy()
        i, j = np.triu_indices(len(x), 1)
        both = ((x != GAP).astype(np.float32) @ (x != GAP).astype(np.float32).T)[i, j]
        among[name] = {
            "identity of two": matches(x, x)[i, j] / np.maximum(both, 1),
            "identity to the nearest training sequence": nearest_identity(some, train).numpy(),
        }
    return distributions(among)


def heat_map(
    values: Float[Tensor, "sites twenty"],
    wild_type: str,
    positions: Sequence[int],
    name: str = "",
) -> Figure:
    """Draws a number for each residue at each site, such as what a mutation does.

    Args:
        values: Of the residues in the order of `ALPHABET` without the gap; NaN is left white.
        wild_type: The residue of each site that is marked by a dot.
        positions: The number of each site.
        name: What the numbers are.

    Raises:
        DataError: There are not as many residues and numbers as sites.
    """
    if not len(values) == len(wild_type) == len(positions):
        raise DataError(
            f"a heat map of {len(values)} sites needs as many residues and numbers, got "
            f"{len(wild_type)} and {len(positions)}"
        )
    order = [ALPHABET.index(one) - 1 for one in _ORDER]
    known = values[values.isfinite()].double()
    far = float(torch.quantile(known.abs()[:1_000_000], 0.99)) if len(known) else 1.0
    wide = _even(len(values), _WIDE)
    rows = -(-len(values) // wide)
    with style():
        sheet = figure(WIDTH, 2.3 * rows + 0.3)
        grid = sheet.subplots(rows, 1, squeeze=False)[:, 0]
        for k, axes in enumerate(grid):
            some = slice(k * wide, (k + 1) * wide)
            part = values[some][:, order].T.numpy()
            shown = np.pad(part, ((0, 0), (0, wide - part.shape[1])), constant_values=np.nan)
            axes.imshow(shown, cmap=DIVERGING, norm=Normalize(-far, far), aspect="auto")
            _marked(axes, wild_type[some], positions[some])
        scale = ScalarMappable(Normalize(-far, far), DIVERGING)
        sheet.colorbar(scale, ax=grid.tolist(), label=name, fraction=0.02, pad=0.01)
    return sheet


def _marked(axes: Axes, wild_type: str, positions: Sequence[int]) -> None:
    """Marks the residues of the wild type, and numbers sites."""
    rows = [_ORDER.find(one) for one in wild_type]
    at = [i for i, row in enumerate(rows) if row >= 0]
    axes.plot(at, [rows[i] for i in at], ".", color=INKS["ink"].light, markersize=2.5)
    axes.set_yticks(range(20), [*_ORDER], fontsize=5.5)
    tens = [i for i, n in enumerate(positions) if n % 10 == 0]
    axes.set_xticks(tens, [str(positions[i]) for i in tens])
    axes.grid(visible=False)
