"""Progress of long work, on a terminal and nowhere else, told by one process of many."""

__all__ = ["bar"]

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from genmatter.training.processes import is_first


def bar(
    what: str, things: Iterable[Any] | None = None, total: float | None = None, unit: str = "step"
) -> tqdm:
    """Returns a progress bar, over things where there are some, that goes away when it is done."""
    quiet = not (sys.stderr.isatty() and is_first())
    return tqdm(things, desc=what, total=total, unit=unit, disable=quiet, leave=False)
