"""Objects in a row, as a page shows them."""

__all__ = ["gallery", "shown"]

from collections.abc import Sequence
from typing import Any

from genmatter.reporting.page import Block, Html, Picture, Text
from genmatter.reporting.words import number
from genmatter.spine import Domain


def gallery(
    domain: Domain, objects: Any, caption: str, titles: Sequence[str] | None = None
) -> list[Block]:
    """Draws objects, under their first observable unless other titles are given."""
    if titles is None:
        first = domain.observables[0]
        titles = [number(v, 2) for v in first.of(objects).tolist()]
        caption = f"{caption} Beside each: {first.name}.".strip()
    return shown(domain.draw(objects, titles), caption)


def shown(drawn: Any, caption: str) -> list[Block]:
    """Returns what a domain has drawn, a figure or HTML, over its caption."""
    return [Html(drawn), Text(caption)] if isinstance(drawn, str) else [Picture(drawn, caption)]
