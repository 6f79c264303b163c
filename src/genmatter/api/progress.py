"""Progress of long work: a bar on a terminal, told by one process of many; lines if asked for."""

__all__ = ["bar", "say"]

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from tqdm import tqdm

from genmatter.training.processes import is_first


def bar(
    what: str, things: Iterable[Any] | None = None, total: float | None = None, unit: str = "step"
) -> tqdm:
    """Returns a progress bar, over things where there are some, that goes away when it is done."""
    quiet = not (sys.stderr.isatty() and is_first())
    return tqdm(things, desc=what, total=total, unit=unit, disable=quiet, leave=False)


def say(row: Mapping[str, float]) -> None:
    """Writes an epoch's row of the history in one line, past any bar."""
    tqdm.write(", ".join(f"{name} {value:.6g}" for name, value in row.items()))
