"""A molecule as a few strokes: RDKit's drawing, gathered into one path for each ink.

Coordinates are whole tenths of a pixel in a frame that all drawings share. Bonds are of one
length, unless a molecule is too large for it. Colours are inks of the page, light or dark.
"""

__all__ = ["drawing", "style"]

import re
from collections import defaultdict
from html import escape
from importlib.resources import files

from matplotlib.colors import to_hex, to_rgb
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import MolDraw2DSVG

from genmatter.domains.molecule.molecules import no_log
from genmatter.reporting.style import INKS

_WIDE, _HIGH = 180, 130
_BOND, _THICK = 15, 1.3
_INKS = {"c": "ink", "n": "samples", "o": "warning", "s": "baseline-1"}
_INKS |= {"x": "floor", "p": "baseline-2"}
"""The class of a path, and the ink that it has in the style sheet."""
_KINDS = {7: "n", 8: "o", 16: "s", 15: "p"} | dict.fromkeys((9, 17, 35, 53), "x") | {-1: "c"}
"""The class of each atomic number; any other has the last."""
_CLASSES = {to_hex(INKS[ink].light): kind for kind, ink in _INKS.items()}
_PATH = re.compile(r"<path class='[^']*' d='([^']*)'([^>]*)/>")  # those without are joints
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_STEP = re.compile(r"([MLQZ])([^MLQZ]*)")


def style() -> str:
    """Returns the style sheet of drawings and of tiles."""
    return files("genmatter.domains.molecule").joinpath("molecules.css").read_text("utf-8").strip()


def drawing(smiles: str) -> str:
    """Returns a molecule as an `<svg>` element; what is none becomes a box that says so."""
    with no_log():
        mol = Chem.MolFromSmiles(smiles) if smiles else None
    if mol is None or not mol.GetNumAtoms():
        return '<div class="molecule none">no molecule</div>'
    return (
        f'<svg class="molecule" viewBox="0 0 {10 * _WIDE} {10 * _HIGH}" role="img">'
        f"<title>{escape(smiles)}</title>{_paths(mol)}</svg>"
    )


def _paths(mol: Chem.Mol) -> str:
    """Returns one path for each ink and kind of stroke: thick, thin (t) or filled (f)."""
    found = defaultdict(str)
    for way, rest in _PATH.findall(_drawn(mol)):
        colour = _COLOUR.search(rest)
        kind = _CLASSES.get(colour[0].lower(), "c") if colour else "c"
        if "fill:none" not in rest:
            kind += " f"
        elif f"stroke-width:{_THICK}px" not in rest:
            kind += " t"
        found[kind] += _tenths(way)
    return "".join(f'<path class="{kind}" d="{way}"/>' for kind, way in sorted(found.items()))


def _drawn(mol: Chem.Mol) -> str:
    """Returns RDKit's SVG, in which each element has the light shade of its ink."""
    mol = Chem.Mol(mol)
    rdDepictor.Compute2DCoords(mol, canonOrient=True)  # pyright: ignore[reportAttributeAccessIssue]
    rdDepictor.StraightenDepiction(mol)  # pyright: ignore[reportAttributeAccessIssue]
    canvas = MolDraw2DSVG(_WIDE, _HIGH)
    how = canvas.drawOptions()
    how.clearBackground, how.scaleBondWidth = False, False
    how.fixedBondLength, how.bondLineWidth, how.padding = _BOND, _THICK, 0.04
    how.setAtomPalette({z: to_rgb(INKS[_INKS[kind]].light) for z, kind in _KINDS.items()})
    canvas.DrawMolecule(mol)
    canvas.FinishDrawing()
    return canvas.GetDrawingText()


def _tenths(way: str) -> str:
    """Writes a path in whole tenths; each part starts anew, and its points follow each other."""
    found, last, x, y = "", "", 0, 0
    for step, rest in _STEP.findall(way):
        at = [round(10 * float(v)) for v in rest.replace(",", " ").split()]
        numbers = at if step == "M" else [v - (y if i % 2 else x) for i, v in enumerate(at)]
        x, y = at[-2:] if at else (x, y)
        letter = step if step == "M" else step.lower()
        found += ("" if letter == last != "M" else letter) + " ".join(map(str, numbers)) + " "
        last = letter
    return re.sub(r" (?=[-a-zM])", "", found).strip()
