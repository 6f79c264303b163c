"""Words and numbers as a page writes them."""

__all__ = ["decimals", "number", "plain", "rich"]

import math
import re
from collections.abc import Iterable
from html import escape
from numbers import Integral, Real

_MARKS = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*", re.DOTALL)


def rich(text: str) -> str:
    """Returns text as HTML, in which only `**bold**` and code between backticks mean anything."""

    def mark(m: re.Match[str]) -> str:
        return f"<code>{m[1]}</code>" if m[1] is not None else f"<strong>{m[2]}</strong>"

    return _MARKS.sub(mark, escape(text))


def plain(text: str) -> str:
    """Returns text without the marks that `rich` reads."""
    return text.replace("**", "").replace("`", "")


def number(value: object, places: int | None = None) -> str:
    """Returns a number as people write it, and anything else as text.

    Floats have three significant digits, or as many decimals as are asked for; far from 1 they
    are written with a power of ten. What is unknown is a dash.
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    if isinstance(value, Integral):
        return f"{int(value):,}".replace("-", "−")
    value = float(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value and not 1e-4 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa} × 10{power}".replace("-", "−")
    places = decimals([value]) if places is None else places
    return f"{value:.{places}f}".replace("-", "−")


def decimals(values: Iterable[float], digits: int = 3, most: int = 4) -> int:
    """Returns the decimals, not more than `most`, that give a usual value its digits."""
    sizes = sorted(abs(v) for v in values if math.isfinite(v) and v)
    if not sizes:
        return 0
    return max(0, min(most, digits - 1 - math.floor(math.log10(sizes[len(sizes) // 2]))))
