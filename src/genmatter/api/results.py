"""What the verbs of a trained model return, and how draws are counted."""

__all__ = ["Reconstruction", "Samples", "counted", "joined", "used"]

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genmatter.api.wishes import Outcome
from genmatter.spine import Score


@dataclass(frozen=True)
class Samples:
    """Sound objects, and what it took to get them."""

    objects: Any
    drawn: int
    rejected: Counter[str]
    outcomes: Sequence[Outcome] = ()
    """What became of each number that was wanted of them."""
    sound: float | None = None
    """Share of them that nothing speaks against beside the data, where something was wanted."""


@dataclass(frozen=True)
class Reconstruction:
    """Objects, what became of them, and how close they are."""

    objects: Any
    copies: Any
    scores: dict[str, Score]


def joined(parts: list[Tensor]) -> Tensor:
    """Joins latents `[n, places, size]`, padded to the most places."""
    most = max(z.shape[1] for z in parts)
    pad = torch.nn.functional.pad
    return torch.cat([pad(z, (0, 0, 0, most - z.shape[1])) for z in parts])


def used(why: list[str], wanted: int) -> int:
    """Returns how many draws it took until `wanted` were sound."""
    sound = 0
    for i, reason in enumerate(why):
        sound += not reason
        if sound == wanted:
            return i + 1
    return len(why)


def counted(reasons: Counter[str]) -> str:
    """Writes reasons with how often they were met."""
    return ", ".join(f"{n} x {reason}" for reason, n in reasons.most_common())
