"""Compositions as lists: elements in the order of electronegativity, each with its atoms."""

__all__ = ["Elements", "Listing", "Number", "known", "listed", "order"]

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.domains.crystal.chemistry import charges, rank, table
from genmatter.domains.crystal.elements import RADII
from genmatter.domains.crystal.represent import MOST_ELEMENT

SMALL = 32
"""Numbers of atoms from here on are told apart by their logarithm only."""


@cache
def order() -> Int[Tensor, " elements"]:
    """Returns atomic numbers in the order of electronegativity."""
    return torch.from_numpy(rank()).argsort()[:MOST_ELEMENT]


@cache
def known() -> Float[Tensor, "elements c"]:
    """Returns what the periodic table says of elements, in that order: `table`, charges, radii."""
    told = np.concatenate([table(), charges(), RADII[: len(table()), None]], 1)
    return torch.from_numpy(told).float()[order()]


def listed(
    counts: Int[Tensor, "n elements"],
) -> tuple[Int[Tensor, "n most"], Int[Tensor, "n most"], Int[Tensor, " n"]]:
    """Returns the elements of each composition, by their place in the order of electronegativity.

    And how many atoms each has, 0 behind the last one, and how many elements there are.
    """
    row, element = counts.nonzero(as_tuple=True)
    many = (counts > 0).sum(1)
    place = torch.arange(len(row), device=row.device) - (many.cumsum(0) - many)[row]
    most = int(many.max()) if len(many) else 0
    elements, numbers = (counts.new_zeros(len(counts), most) for _ in range(2))
    elements[row, place], numbers[row, place] = element, counts[row, element]
    return elements, numbers, many


class Elements(nn.Module):
    """Writes all elements: what the periodic table says of them, and what is learned of each.

    Args:
        width: Numbers of an element.
    """

    known: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("known", known(), persistent=False)
        self.told = nn.Linear(self.known.shape[1], width)
        self.own = nn.Embedding(MOST_ELEMENT, width)

    def forward(self) -> Float[Tensor, "elements c"]:
        """Returns the numbers of each element, in the order of electronegativity."""
        return self.told(self.known) + self.own.weight


class Number(nn.Module):
    """Writes numbers of atoms: each small one by itself, and all by their logarithm.

    Args:
        width: Numbers to write with.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.small, self.log = nn.Embedding(SMALL + 1, width), nn.Linear(1, width)

    def forward(self, k: Int[Tensor, "*n"]) -> Float[Tensor, "*n c"]:
        """Returns what is written of each number."""
        return self.small(k.clamp(max=SMALL)) + self.log(k.float().log1p()[..., None])


class Listing(nn.Module):
    """Reads compositions element by element, as a gated recurrent unit.

    Args:
        width: Of its state.
        told: How many numbers are told of each composition.
        dropout: Share of the numbers of an element that training hides.

    References:
        | Learning phrase representations using RNN encoder-decoder (Cho et al., 2014)
        | https://arxiv.org/abs/1406.1078
    """

    def __init__(self, width: int, told: int, dropout: float) -> None:
        super().__init__()
        self.element = Elements(width)
        self.number, self.left, self.size = (Number(width) for _ in range(3))
        self.told = nn.Linear(told, width) if told else None
        self.hide = nn.Dropout(dropout)
        self.body = nn.GRU(width, width, batch_first=True)

    def forward(
        self,
        counts: Int[Tensor, "n elements"],
        size: Int[Tensor, " n"],
        told: Float[Tensor, "n t"],
    ) -> Float[Tensor, "n steps c"]:
        """Returns what is known before each element, and after the last one."""
        elements, numbers, _ = listed(counts)
        left = size[:, None] - nn.functional.pad(numbers, (1, 0)).cumsum(1)
        seen = self.hide(self.element()[elements] + self.number(numbers))
        x = nn.functional.pad(seen, (0, 0, 1, 0)) + self.left(left)
        x = x + self.size(size[:, None])
        return self.body(x if self.told is None else x + self.told(told)[:, None])[0]

    def whole(
        self,
        counts: Int[Tensor, "n elements"],
        size: Int[Tensor, " n"],
        told: Float[Tensor, "n t"],
    ) -> Float[Tensor, "n c"]:
        """Returns what is known after the last element."""
        read = self(counts, size, told)
        return read[torch.arange(len(read), device=read.device), (counts > 0).sum(1)]
