"""A figure as a part of a page: inline SVG drawn in the page's inks, or a picture file.

What matplotlib writes is a document of its own. Inside a page its ids must not meet those of
another figure, its style sheet must not reach beyond it, and its colours become variables.
"""

__all__ = ["LIMIT", "image", "inline", "png", "svg"]

import base64
import io
import re
from html import escape
from xml.etree import ElementTree

from matplotlib.figure import Figure
from PIL import Image

from genmatter.reporting.style import INKS, style

LIMIT = 800_000
"""Characters of SVG above which a figure becomes a PNG."""

_RASTER_DPI = 170
_PIXELS = "data:image/png;base64,"
_REFERENCE = re.compile(r"#([\w.-]+)")
_DIGITS = re.compile(r"(\.\d\d)\d+")
_VARIABLES = {ink.light: f"var(--{name})" for name, ink in INKS.items()}
_COLOUR = re.compile("|".join(_VARIABLES))
_FONT = re.compile(r"'DejaVu Sans'[^;]*")


def svg(figure: Figure, key: str = "", alt: str = "") -> str:
    """Returns an `<svg>` element whose ids start with `key`, on transparent paper."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with style():
        figure.savefig(buffer, format="svg", facecolor="none", dpi=_RASTER_DPI, metadata=nothing)
    root = ElementTree.fromstring(buffer.getvalue())
    _adopt(root, f"{key}-")
    width = figure.get_figwidth() * 96
    frame = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": alt}
    root.attrib.clear()
    root.attrib.update(frame | {"style": f"--width: {width:.0f}px"})
    return ElementTree.tostring(root, encoding="unicode")


def _adopt(root: ElementTree.Element, prefix: str) -> None:
    """Makes a document a part of another, in place."""
    for parent in list(root.iter()):
        for child in [c for c in parent if _bare(c.tag) in {"metadata", "style"}]:
            parent.remove(child)
    named = {e.attrib["id"] for e in root.iter() if "id" in e.attrib}
    used = {m for e in root.iter() for v in e.attrib.values() for m in _REFERENCE.findall(v)}
    used &= named  # a colour looks like a reference
    for element in root.iter():
        kept = {_bare(k): v for k, v in element.attrib.items()}
        if kept.get("id") not in used:
            kept.pop("id", None)
        if kept.get("transform", "").startswith("rotate(-0 "):
            del kept["transform"]
        kept = {k: _local(k, v, used, prefix) for k, v in kept.items()}
        element.tag = _bare(element.tag)
        element.text, element.tail = (element.text or "").strip(), None
        element.attrib.clear()
        element.attrib.update(kept)


def _local(name: str, value: str, used: set[str], prefix: str) -> str:
    """Returns an attribute's value with our ids, inks and fonts, and without idle digits."""
    if name == "id":
        return prefix + value
    if name in {"d", "x", "y"}:
        return " ".join(_DIGITS.sub(r"\1", value).split())
    if value.startswith(_PIXELS):
        return _PIXELS + _small(base64.b64decode(value.removeprefix(_PIXELS)))
    value = _COLOUR.sub(lambda m: _VARIABLES[m[0]], value)
    value = _REFERENCE.sub(lambda m: f"#{prefix}{m[1]}" if m[1] in used else m[0], value)
    return _FONT.sub("var(--sans)", value) if name == "style" else value


def _bare(name: str) -> str:
    return name.rpartition("}")[2]


def _small(data: bytes) -> str:
    """Returns a PNG of 256 colours, its transparency kept, as text."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    picture.quantize(256, Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def png(figure: Figure) -> bytes:
    """Returns a PNG on white paper."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=_RASTER_DPI)
    return buffer.getvalue()


def image(data: bytes, alt: str, width: float | None = None) -> str:
    """Returns an `<img>` that holds a PNG or SVG file, which can run or load nothing there."""
    frame = f' style="--width: {width:.0f}px"' if width else ""
    if data.startswith(b"\x89PNG"):
        source = _PIXELS + _small(data)
    else:
        source = "data:image/svg+xml;base64," + base64.b64encode(data).decode()
    return f'<img class="paper" alt="{escape(alt)}"{frame} src="{source}">'


def inline(figure: Figure | bytes, key: str, alt: str) -> str:
    """Returns the markup of a figure or file; a figure too large as SVG becomes a PNG."""
    if isinstance(figure, bytes):
        return image(figure, alt)
    drawn = svg(figure, key, alt)
    return drawn if len(drawn) <= LIMIT else image(png(figure), alt, figure.get_figwidth() * 96)
