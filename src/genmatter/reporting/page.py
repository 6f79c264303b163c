"""A page: one HTML file that holds all it shows and asks the network for nothing.

It says so to the browser as well: its content security policy allows no connection, and no
script unless a block of trusted HTML brings one.
"""

__all__ = [
    "Block",
    "Code",
    "Facts",
    "Html",
    "Note",
    "Page",
    "Picture",
    "ScoreTable",
    "Section",
    "Table",
    "Text",
    "render",
    "write",
]

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from matplotlib.figure import Figure

from genmatter.reporting.picture import inline
from genmatter.reporting.style import INKS
from genmatter.reporting.table import ScoreTable, Table
from genmatter.reporting.words import number, plain, rich
from genmatter.run import write_text

_FRAME = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{policy}}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="genmatter">
<title>{{title}}</title>
<style>
{{style}}
</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<p class="brand">genmatter</p>
<h1>{{title}}</h1>
<p class="subtitle">{{subtitle}}</p>
</header>
<nav aria-label="Contents"><p>Contents</p><ol>{{contents}}</ol></nav>
<main id="content">
{{sections}}
</main>
<footer><p>Made by genmatter. This page loads nothing from a network.</p></footer>
</body>
</html>
"""


@runtime_checkable
class Block(Protocol):
    """What a section is made of."""

    def html(self, key: str) -> str:
        """Returns HTML; ids in it, if any, start with `key`."""
        ...


@dataclass(frozen=True)
class Text:
    """Paragraphs, apart by an empty line, with **bold** and `code`."""

    text: str

    def html(self, key: str) -> str:
        """Returns the paragraphs as HTML."""
        parts = [part.strip() for part in re.split(r"\n\s*\n", self.text)]
        return "".join(f"<p>{rich(part)}</p>" for part in parts if part)


@dataclass(frozen=True)
class Note:
    """Something to know before reading on, or to beware of."""

    kind: Literal["info", "warning"]
    text: str

    def html(self, key: str) -> str:
        """Returns the box as HTML."""
        title = {"info": "Note", "warning": "Warning"}[self.kind]
        return (
            f'<aside class="note {self.kind}" role="note"><p class="kind">{title}</p>'
            f"{Text(self.text).html(key)}</aside>"
        )


@dataclass(frozen=True)
class Facts:
    """Names and their values."""

    pairs: Collection[tuple[str, object]]

    def html(self, key: str) -> str:
        """Returns the pairs as HTML."""
        pairs = (
            f"<div><dt>{rich(name)}</dt><dd>{rich(number(value))}</dd></div>"
            for name, value in self.pairs
        )
        return f'<dl class="facts">{"".join(pairs)}</dl>'


@dataclass(frozen=True)
class Picture:
    """A figure, or the bytes of an SVG or PNG file, with what it shows."""

    figure: Figure | bytes
    caption: str = ""
    alt: str = ""
    """What somebody who cannot see it is told; the caption, if empty."""

    def html(self, key: str) -> str:
        """Returns the picture as HTML."""
        alt = self.alt or plain(self.caption)
        caption = f"<figcaption>{rich(self.caption)}</figcaption>" if self.caption else ""
        drawn = inline(self.figure, key, alt)
        return f'<figure><div class="drawing">{drawn}</div>{caption}</figure>'


@dataclass(frozen=True)
class Html:
    """Markup that the program made itself, such as a molecule or a viewer. Never user input."""

    trusted: str

    def html(self, key: str) -> str:
        """Returns the markup as it is."""
        return f'<div class="html">{self.trusted}</div>'


@dataclass(frozen=True)
class Code:
    """A command or a file, to be read or copied."""

    text: str

    def html(self, key: str) -> str:
        """Returns the text as HTML."""
        return f'<pre tabindex="0"><code>{escape(self.text.strip())}</code></pre>'


@dataclass(frozen=True)
class Section:
    """A part of a page, listed in its table of contents."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """One page."""

    title: str
    subtitle: str
    sections: Sequence[Section]


def render(page: Page) -> str:
    """Returns the page as one HTML document."""
    keys = [f"s{i}-{_slug(s.title)}" for i, s in enumerate(page.sections, 1)]
    places = list(zip(keys, page.sections, strict=True))
    links = "".join(f'<li><a href="#{k}">{escape(s.title)}</a></li>' for k, s in places)
    scripts = any(isinstance(b, Html) for s in page.sections for b in s.blocks)
    parts = {
        "policy": _policy(scripts),
        "style": _inks() + files("genmatter.reporting").joinpath("page.css").read_text("utf-8"),
        "title": escape(page.title),
        "subtitle": rich(page.subtitle),
        "contents": links,
        "sections": "".join(_section(k, s) for k, s in places),
    }
    return re.sub(r"{{(\w+)}}", lambda m: parts[m[1]], _FRAME)


def write(page: Page, path: Path) -> None:
    """Writes the page at once: at `path` lies the old one or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render(page))


def _section(key: str, section: Section) -> str:
    blocks = "\n".join(block.html(f"{key}-{i}") for i, block in enumerate(section.blocks, 1))
    title = f'<h2 id="{key}-title">{escape(section.title)}</h2>'
    return f'<section id="{key}" aria-labelledby="{key}-title">{title}\n{blocks}</section>\n'


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _policy(scripts: bool) -> str:
    """Returns what the page may do: show what it holds, and no more."""
    kinds = "blob: data:"
    rules = ["default-src 'none'", f"img-src {kinds}", f"font-src {kinds}"]
    rules += ["style-src 'unsafe-inline'", "base-uri 'none'", "form-action 'none'"]
    if scripts:
        rules += [f"script-src 'unsafe-inline' {kinds}", f"worker-src {kinds}"]
    return "; ".join(rules)


def _inks() -> str:
    """Returns the inks of figures as variables of the page, light and dark."""
    light = "".join(f"--{name}:{ink.light};" for name, ink in INKS.items())
    dark = "".join(f"--{name}:{ink.dark};" for name, ink in INKS.items())
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
