"""Learned functions of distance, as tables with straight lines between even places.

A table costs a look-up at each distance, whatever it holds. A scale says where in a table a
distance stands.
"""

__all__ = ["Around", "Logarithmic", "Scale", "looked_up", "place"]

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Scale = Callable[[Tensor], Tensor]
"""Of distances: 0 at a table's first place, 1 at its last."""


@dataclass(frozen=True)
class Logarithmic:
    """Even in the logarithm of distance: 0 at `low`, 1 at `high`."""

    low: float
    high: float

    def __call__(self, r: Tensor) -> Tensor:
        return (r / self.low).log() / math.log(self.high / self.low)


@dataclass(frozen=True)
class Around:
    """Even within a width around a distance, and in the logarithm far from it: 1 at `high`."""

    middle: float
    width: float
    high: float

    def __call__(self, r: Tensor) -> Tensor:
        first, last = (math.asinh((x - self.middle) / self.width) for x in (0.0, self.high))
        return (((r - self.middle) / self.width).asinh() - first) / (last - first)


def place(share: Tensor, places: int) -> tuple[Tensor, Tensor]:
    """Returns the place below a share of a table, and the share of the way to the next one."""
    at = (share * (places - 1)).clamp(0, places - 1)
    below = at.detach().long().clamp(max=places - 2)
    return below, at - below


def looked_up(
    tables: Float[Tensor, "#n kinds places"],
    kind: Tensor,
    share: Float[Tensor, "n pairs"],
) -> Float[Tensor, "n pairs"]:
    """Returns the values of each pair's table; beyond the last place they are zero.

    Args:
        tables: The tables of each kind.
        kind: Which table each pair has [pairs].
        share: Where in it each pair stands.
    """
    places = tables.shape[-1]
    at, w = place(share, places)
    flat = tables.flatten(1).expand(len(share), -1)
    near = at + kind * places
    low, high = flat.gather(1, near), flat.gather(1, near + 1)
    return torch.lerp(low, high, w) * (share < 1)
