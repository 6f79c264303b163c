"""Points in a plane, on a page: each shows what it is when it is pointed at.

The page's own script answers to mouse, touch and keyboard; nothing is asked of a network.
Without scripts the points stand there, in the colours of the first property.
"""

__all__ = ["points"]

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.colors import to_hex
from torch import Tensor

from genmatter.errors import DataError
from genmatter.reporting.spread import order, scale
from genmatter.reporting.style import INKS, SEQUENTIAL
from genmatter.reporting.words import decimals, number

_WIDE, _HIGH, _MARGIN = 640, 480, 12
_SHADES = 64
_PALETTE = [to_hex(SEQUENTIAL(i / (_SHADES - 1))) for i in range(_SHADES)]
_UNKNOWN = f"var(--train, {INKS['train'].light})"
_CARD = '<div class="card" hidden><div class="look"></div><p class="name"></p><dl></dl></div>'
_HINT = (
    "Point at one, or tap it; a click holds on to it, another lets go. With the keyboard: arrows "
    "go to the next one on that side, Enter holds, Escape lets go."
)


@dataclass(frozen=True)
class _Property:
    """A number of each point: how it is written, and which shade it has; -1 is unknown."""

    name: str
    low: str
    high: str
    shades: list[int]
    told: list[str]


def points(
    xy: Float[Tensor, "n 2"],
    values: Mapping[str, Float[Tensor, " n"]],
    units: Mapping[str, str],
    names: Sequence[str],
    pictures: Sequence[str],
) -> str:
    """Returns a map of points as HTML, of which a page may hold several.

    Points that lie nowhere are left out. Colours span what all but a fiftieth of the points at
    either end have.

    Args:
        xy: Where they lie.
        values: Properties to colour by, the first one first; NaN is unknown.
        units: The unit of each property.
        names: What each point is called.
        pictures: How each looks: markup to be trusted.

    Raises:
        DataError: There is no finite point, or no property.
    """
    known = xy.isfinite().all(1).nonzero()[:, 0]
    if not len(known) or not values:
        raise DataError(
            f"a map shows finite points by a property; given: {len(known)} of {len(xy)} points "
            f"finite, {len(values)} properties"
        )
    first = next(iter(values.values()))[known]
    rows = known[torch.from_numpy(order(first.isfinite().numpy()))].tolist()
    told = [_property(k, v[rows].double(), units.get(k, "")) for k, v in values.items()]
    data = {
        "palette": [*_PALETTE, _UNKNOWN],
        "names": [names[i] for i in rows],
        "pictures": [pictures[i] for i in rows],
        "properties": [vars(p) for p in told],
    }
    return (
        f'<div class="points"><style>{_part("points.css")}</style>{_bar(told)}'
        f'<div class="stage">{_plane(xy[rows].double(), told[0])}'
        f"{_CARD}</div>"
        f'<p class="hint" hidden>{_HINT}</p><p class="hidden" aria-live="polite"></p>'
        f'<script type="application/octet-stream">{_packed(data)}</script>'
        f"<script>{_part('points.js')}</script></div>"
    )


def _part(name: str) -> str:
    return files("genmatter.reporting").joinpath(name).read_text("utf-8").strip()


def _packed(data: object) -> str:
    """Writes data as JSON that is deflated: drawings shrink to a third, and no text is markup."""
    text = json.dumps(data, separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(text, 9)).decode()


def _property(name: str, values: Tensor, unit: str) -> _Property:
    v = values.numpy()
    among = scale(v)
    known = np.isfinite(v)
    shades = np.full(len(v), -1)
    share = np.asarray(among(v[known]), float).clip(0, 1)
    shades[known] = np.round(share * (_SHADES - 1)).astype(int)
    low, high = float(among.vmin or 0), float(among.vmax or 0)
    ends, places = decimals([low, high]), decimals(v.tolist())
    return _Property(
        f"{name} ({unit})" if unit else name,
        ("≤ " if (v < low).any() else "") + number(low, ends),
        ("≥ " if (v > high).any() else "") + number(high, ends),
        shades.tolist(),
        [number(x, places) for x in v.tolist()],
    )


def _bar(told: Sequence[_Property]) -> str:
    """Returns what the colours mean, and the box that chooses it."""
    options = "".join(f"<option>{escape(p.name)}</option>" for p in told)
    first, colours = told[0], ",".join(_PALETTE[::7])
    return (
        f'<div class="bar"><label hidden>colour <select>{options}</select></label>'
        f'<strong class="still">{escape(first.name)}</strong>'
        f'<span class="scale"><span class="low">{first.low}</span>'
        f'<span class="colours" style="background:linear-gradient(90deg,{colours})"></span>'
        f'<span class="high">{first.high}</span></span></div>'
    )


def _plane(xy: Tensor, told: _Property) -> str:
    low, high = xy.amin(0), xy.amax(0)
    share = (xy - low) / (high - low).clamp(min=1e-12)
    share = torch.where(high > low, share, 0.5)
    size = max(2.2, min(5.0, 110 / len(xy) ** 0.5))
    u = (_MARGIN + share[:, 0] * (_WIDE - 2 * _MARGIN)).tolist()
    v = (_HIGH - _MARGIN - share[:, 1] * (_HIGH - 2 * _MARGIN)).tolist()
    dots = "".join(
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{size:.1f}" style="fill:{_shade(s)}"/>'
        for a, b, s in zip(u, v, told.shades, strict=True)
    )
    label = f"{len(xy):,} points, coloured by {told.name}"
    return (
        f'<svg class="plane" viewBox="0 0 {_WIDE} {_HIGH}" role="img" '
        f'aria-label="{escape(label)}">{dots}<circle class="ring" r="{size + 3:.1f}"/></svg>'
    )


def _shade(index: int) -> str:
    return _UNKNOWN if index < 0 else _PALETTE[index]
