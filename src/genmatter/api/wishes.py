"""What is wanted of samples, and what came of it."""

__all__ = ["Outcome", "conditions", "outcome", "read", "sound_share"]

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
    """Returns what the sampling options of a run ask for, by the names of observables."""
    text = getattr(getattr(config, "sampling", None), "condition", "")
    return dict(read(part) for part in text.split(",") if part.strip())


def outcome(name: str, wanted: float, reached: Tensor) -> Outcome:
    """Returns what became of a number that was wanted."""
    return Outcome(name, wanted, float(reached.mean()), float(reached.std()))


def sound_share(domain: Domain, objects: Any, data: Any) -> float:
    """Returns the share of objects that nothing speaks against, beside the data."""
    doubts = domain.doubts(objects, data)
    return sum(not why for why in doubts) / max(len(doubts), 1)
