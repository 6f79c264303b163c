"""A crystal as an `<svg>`: its unit cell, its atoms, and bonds between those that touch.

Seen along a direction a little off the first axis. What is behind is drawn first. Atoms on a
face, an edge or a corner of the cell are drawn on each of them. Colours are Jmol's.
"""

__all__ = ["Scene", "colour", "drawing", "scene", "style", "symbol"]

import math
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from itertools import combinations, product

import numpy as np
from ase.data.colors import jmol_colors
from jaxtyping import Float, Int
from matplotlib.colors import to_hex

from genmatter.domains.crystal.elements import RADII, SYMBOLS, reduced

_WIDE, _HIGH = 180, 150
_EDGE = 0.03  # of a cell, within which an atom is on its face
_TOUCH = 1.2  # of the sum of two covalent radii, within which a bond is drawn
_MOST = 400  # atoms that are drawn
_AZIMUTH, _HEIGHT = math.radians(-65), math.radians(18)
_LOOK = np.array([
    [-math.sin(_AZIMUTH), math.cos(_AZIMUTH), 0],
    [-math.cos(_AZIMUTH) * math.sin(_HEIGHT), -math.sin(_AZIMUTH) * math.sin(_HEIGHT),
     math.cos(_HEIGHT)],
    [math.cos(_AZIMUTH) * math.cos(_HEIGHT), math.sin(_AZIMUTH) * math.cos(_HEIGHT),
     math.sin(_HEIGHT)],
])  # fmt: skip
"""Across, up, and towards the reader, as rows."""


@dataclass(frozen=True)
class Scene:
    """What there is to be seen of a crystal, in angstrom, around the middle of its cell."""

    numbers: Int[np.ndarray, " atoms"]
    at: Float[np.ndarray, "atoms 3"]
    bonds: Int[np.ndarray, "bonds 2"]
    edges: Float[np.ndarray, "12 2 3"]
    """Both ends of each edge of the cell."""
    lattice: Float[np.ndarray, "3 3"]


def style() -> str:
    """Returns the style sheet of drawings and of tiles."""
    return files("genmatter.domains.crystal").joinpath("crystals.css").read_text("utf-8").strip()


@cache
def colour(number: int) -> str:
    """Returns the colour of an element."""
    return to_hex(jmol_colors[number]) if 0 < number < len(jmol_colors) else "#888888"


def scene(
    numbers: Int[np.ndarray, " atoms"],
    frac: Float[np.ndarray, "atoms 3"],
    lattice: Float[np.ndarray, "3 3"],
) -> Scene | None:
    """Returns the cell with the atoms on its border repeated; None of what is no crystal."""
    if not (np.isfinite(frac).all() and np.isfinite(lattice).all()):
        return None
    corners = np.array(list(product((0, 1), repeat=3)))
    middle = lattice.sum(0) / 2
    ends = [
        (corners[a] @ lattice, corners[b] @ lattice)
        for a, b in combinations(range(8), 2)
        if np.abs(corners[a] - corners[b]).sum() == 1
    ]
    kinds, places = [], []
    for z, x in zip(numbers, frac - np.floor(frac), strict=True):
        sides = [(0, 1) if v < _EDGE else (0, -1) if v > 1 - _EDGE else (0,) for v in x.tolist()]
        for shift in product(*sides):
            kinds.append(int(z))
            places.append((x + shift) @ lattice - middle)
    at = np.array(places[:_MOST]).reshape(-1, 3)
    kind = np.array(kinds[:_MOST], dtype=np.int64)
    return Scene(kind, at, _bonds(kind, at), np.array(ends) - middle, lattice)


def _bonds(numbers: np.ndarray, at: np.ndarray) -> Int[np.ndarray, "bonds 2"]:
    far = np.linalg.norm(at[:, None] - at, axis=-1)
    radii = RADII[numbers.clip(0, len(RADII) - 1)]
    apart = np.where(np.eye(len(at), dtype=bool), np.inf, far)
    nearest = np.minimum(apart.min(1, initial=np.inf), 9.0)
    touch = (far < _TOUCH * (radii[:, None] + radii)) & (far > 0.3)
    # cations in one cell touch by their radii, but their bonds are to what is between them
    touch &= far < _TOUCH * np.maximum(nearest[:, None], nearest)
    found = np.argwhere(np.triu(touch, 1))
    return found if len(found) < 6 * len(at) else found[:0]


def drawing(
    numbers: Int[np.ndarray, " atoms"],
    frac: Float[np.ndarray, "atoms 3"],
    lattice: Float[np.ndarray, "3 3"],
) -> str:
    """Returns a crystal as an `<svg>` element; what is none becomes a box that says so."""
    seen = scene(numbers, frac, lattice)
    size = 0.0 if seen is None else float(np.abs(seen.edges).max())
    if seen is None or not 0.1 < size < 1e4 or not len(seen.numbers):
        return '<div class="crystal none">no crystal</div>'
    at, edges = seen.at @ _LOOK.T, seen.edges @ _LOOK.T
    reach = np.abs(np.concatenate([edges.reshape(-1, 3), at]))[:, :2].max(0) + 0.8
    scale = min(_WIDE / 2 / reach[0], _HIGH / 2 / reach[1])
    parts = [*_lines(edges, scale), *_links(seen, at, scale), *_discs(seen, at, scale)]
    inside = "".join(text for _, text in sorted(parts))
    title = escape(reduced(numbers))
    return (
        f'<svg class="crystal" viewBox="0 0 {_WIDE} {_HIGH}" role="img"><title>{title}</title>'
        f"{inside}</svg>"
    )


def _place(v: np.ndarray, scale: float) -> tuple[float, float]:
    return _WIDE / 2 + float(v[0]) * scale, _HIGH / 2 - float(v[1]) * scale


def _lines(edges: np.ndarray, scale: float) -> list[tuple[float, str]]:
    found = []
    for a, b in edges:
        (u, v), (w, y) = _place(a, scale), _place(b, scale)
        text = f'<line class="edge" x1="{u:.1f}" y1="{v:.1f}" x2="{w:.1f}" y2="{y:.1f}"/>'
        found.append((float(min(a[2], b[2])) - 1, text))
    return found


def _links(seen: Scene, at: np.ndarray, scale: float) -> list[tuple[float, str]]:
    found = []
    for i, j in seen.bonds:
        (u, v), (w, y) = _place(at[i], scale), _place(at[j], scale)
        text = f'<line class="bond" x1="{u:.1f}" y1="{v:.1f}" x2="{w:.1f}" y2="{y:.1f}"/>'
        found.append((float(min(at[i, 2], at[j, 2])) - 0.05, text))
    return found


def _discs(seen: Scene, at: np.ndarray, scale: float) -> list[tuple[float, str]]:
    found = []
    for z, place in zip(seen.numbers.tolist(), at, strict=True):
        u, v = _place(place, scale)
        r = max(scale * 0.42 * float(RADII[min(max(z, 0), len(RADII) - 1)]), 1.5)
        text = f'<circle cx="{u:.1f}" cy="{v:.1f}" r="{r:.1f}" fill="{colour(z)}"/>'
        found.append((float(place[2]), text))
    return found


def symbol(number: int) -> str:
    """Returns the symbol of an element, `?` of what is none."""
    return SYMBOLS[number] if 0 < number < len(SYMBOLS) else "?"
