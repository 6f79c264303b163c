"""The space group of a crystal, given what it is made of."""

__all__ = ["SpaceGroups"]

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.domains.crystal.composition import GROUPS, drawn
from genmatter.domains.crystal.listing import Listing
from genmatter.domains.crystal.represent import CrystalBatch

FLOOR = -3.0
"""Logarithm of what a group has without any template, at the start."""


class SpaceGroups(nn.Module):
    r"""The distribution of space groups.

    Logits are those of a network plus :math:`\ln(\epsilon + \sum_r K(c, r))`, over the templates r
    of each group (`templates`), with an :math:`\epsilon` that is learned.

    Args:
        width: Of the networks.
        dropout: Share of their numbers that training hides.
        where: Which of the properties of a batch it is told.
    """

    def __init__(self, width: int, dropout: float, where: Sequence[int] = ()) -> None:
        super().__init__()
        self.where = list(where)
        self.read = Listing(width, 2 * len(self.where), dropout)
        self.body = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(width, 2 * width), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(2 * width, GROUPS),
        )  # fmt: skip
        self.floor = nn.Parameter(torch.tensor(FLOOR))

    def log_prob(
        self, counts: Int[Tensor, "n elements"], batch: CrystalBatch,
        near: Float[Tensor, "n groups"],
    ) -> Float[Tensor, "n groups"]:  # fmt: skip
        """Returns ln p of each space group, in nats; minus infinity of 0, which is none.

        Args:
            counts: Atoms of each element.
            batch: Numbers of atoms, and properties that are wanted.
            near: The sum of K over the templates of each group.
        """
        wanted = batch.wanted[:, self.where]
        told = torch.cat([wanted.nan_to_num(), wanted.isfinite().float()], 1)
        logits = self.body(self.read.whole(counts, batch.num_atoms, told))
        logits = logits + (self.floor.exp() + near).log()
        none = torch.arange(GROUPS, device=logits.device) == 0
        return logits.masked_fill(none, -torch.inf).log_softmax(-1)

    @torch.no_grad()
    def draw(
        self, counts: Int[Tensor, "n elements"], batch: CrystalBatch,
        near: Float[Tensor, "n groups"], temperature: float = 1.0,
    ) -> Int[Tensor, " n"]:  # fmt: skip
        """Draws a space group for each composition, from p to the power of 1/temperature."""
        return drawn([self.log_prob(counts, batch, near) / temperature])
