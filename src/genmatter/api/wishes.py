"""What is wanted of samples, and what came of it."""

__all__ = ["Outcome", "conditions", "outcome", "read", "sound_share"]

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genmatter.errors import ConfigError
from genmatter.spine import Domain


@dataclass(frozen=True)
class Outcome:
    """A number that was wanted of samples, and what it is in them."""

    name: str
    wanted: float
    mean: float
    std: float
    error: float
    """Mean absolute difference from what was wanted."""


def read(text: str) -> tuple[str, float]:
    """Reads `NAME=NUMBER`; the name may be `FILE.py:FUNCTION`.

    Raises:
        ConfigError: It reads otherwise.
    """
    name, _, value = (part.strip() for part in text.rpartition("="))
    try:
        return name, float(value)
    except ValueError:
        raise ConfigError(f"{text!r} should read NAME=NUMBER") from None


def conditions(config: Any) -> dict[str, float]:
    """Returns what the sampling options of a run ask for, by the names of observables.

    They are in the text `condition` or the texts `target`, each of `NAME=NUMBER` with commas
    between.
    """
    sampling = getattr(config, "sampling", None)
    texts = [getattr(sampling, "condition", ""), *getattr(sampling, "target", ())]
    return dict(read(part) for text in texts for part in text.split(",") if part.strip())


def outcome(name: str, wanted: float, reached: Tensor) -> Outcome:
    """Returns what became of a number that was wanted, in the objects of which it is known."""
    known = reached[~reached.isnan()].double()
    error = (known - wanted).abs().mean()
    return Outcome(name, wanted, float(known.mean()), _spread(known), float(error))


def _spread(x: Tensor) -> float:
    return float(x.std()) if len(x) > 1 else math.nan


def sound_share(domain: Domain, objects: Any, data: Any) -> float:
    """Returns the share of objects that nothing speaks against, beside the data."""
    doubts = domain.doubts(objects, data)
    return sum(not why for why in doubts) / max(len(doubts), 1)
