"""Crystals to be turned by hand: unit cells in a page, by scripts of our own.

Nothing is asked of a network. Without scripts a drawing of the first crystal stands there.
"""

__all__ = ["turned"]

import json
from html import escape
from importlib.resources import files

import numpy as np

from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.elements import RADII
from genmatter.domains.crystal.features import features
from genmatter.domains.crystal.sketch import Scene, colour, drawing, scene, style, symbol
from genmatter.errors import DataError
from genmatter.reporting.turning import hint, script

_HINT = hint("N and P for the next and the previous crystal")


def turned(x: Crystals) -> str:
    """Returns a viewer of crystals as HTML, which a page may hold several of.

    Raises:
        DataError: There is no crystal to show.
    """
    parts = zip(x.each_numbers(), x.each_frac(), x.lattice.numpy(), strict=True)
    scenes = [scene(*cell) for cell in parts]
    shown = [(k, s) for k, s in enumerate(scenes) if s is not None and _visible(s)]
    if not shown:
        raise DataError(f"none of {len(x)} crystals has a cell that can be shown")
    groups = features(x)["space_group"].long().tolist()
    told = [_told(s, f"{k + 1}: {x.formulas[k]}", _words(x, k, groups[k])) for k, s in shown]
    first = shown[0][0]
    still = drawing(x.each_numbers()[first], x.each_frac()[first], x.lattice[first].numpy())
    label = f"{len(shown)} crystals in space, one at a time."
    options = "".join(f"<option>{escape(str(t['name']))}</option>" for t in told)
    return (
        f'<div class="turned"><style>{style()}{_part("viewer.css")}</style>'
        f'<div class="stage" data-label="{escape(label)}">{still}</div>'
        f'<div class="bar" hidden><button type="button" class="back">Previous</button>'
        f"<label>crystal <select>{options}</select></label>"
        f'<button type="button" class="next">Next</button>'
        f'<label>cells <select class="cells"><option>1</option><option>2</option></select></label>'
        f'<label><input type="checkbox" class="turn">turn by itself</label></div>'
        f'<p class="about"></p><ul class="key"></ul><p class="hint" hidden>{_HINT}</p>'
        f'<script type="application/json">{_packed(told)}</script>'
        f"{script(_part('viewer.js'))}</div>"
    )


def _part(name: str) -> str:
    return files("genmatter.domains.crystal").joinpath(name).read_text("utf-8").strip()


def _visible(seen: Scene) -> bool:
    return len(seen.numbers) > 0 and 0.1 < float(np.abs(seen.edges).max()) < 1e4


def _words(x: Crystals, k: int, group: int) -> str:
    a, b, c = x.lengths[k].tolist()
    alpha, beta, gamma = x.angles[k].tolist()
    symmetry = f"space group {group}" if group else "no space group"
    name = f"{x.labels[k]}, " if x.labels[k] else ""
    return (
        f"{name}{int(x.counts[k])} atoms, {symmetry}; a {a:.2f}, b {b:.2f}, c {c:.2f} Å; "
        f"α {alpha:.1f}, β {beta:.1f}, γ {gamma:.1f}°"
    )


def _told(seen: Scene, name: str, words: str) -> dict[str, object]:
    """Returns what the script needs: hundredths of an angstrom are enough to look at."""
    kinds = sorted(set(seen.numbers.tolist()))
    return {
        "name": name,
        "about": words,
        "kinds": [[symbol(z), colour(z), round(float(RADII[z]), 2)] for z in kinds],
        "kind": [kinds.index(z) for z in seen.numbers.tolist()],
        "at": seen.at.round(2).ravel().tolist(),
        "bonds": seen.bonds.ravel().tolist(),
        "axes": seen.lattice.round(3).tolist(),
    }


def _packed(told: list[dict[str, object]]) -> str:
    """Writes JSON that cannot end the script that holds it."""
    return json.dumps(told, separators=(",", ":")).replace("<", "\\u003c")
