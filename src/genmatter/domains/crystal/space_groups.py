"""The space group of a crystal, given what it is made of."""

__all__ = ["SpaceGroups"]

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.domains.crystal.composition import GROUPS, drawn
from genmatter.domains.crystal.listing import Listing
from genmatter.domains.crystal.represent import CrystalBatch


class SpaceGroups(nn.Module):
    """The distribution of space groups.

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

    def log_prob(
        self, counts: Int[Tensor, "n elements"], batch: CrystalBatch
    ) -> Float[Tensor, "n groups"]:
        """Returns ln p of each space group, in nats; minus infinity of 0, which is none.

        Of the batch are taken the numbers of atoms, and properties that are wanted.
        """
        wanted = batch.wanted[:, self.where]
        told = torch.cat([wanted.nan_to_num(), wanted.isfinite().float()], 1)
        read = self.read(counts, batch.num_atoms, told)
        logits = self.body(read[torch.arange(len(read), device=read.device), (counts > 0).sum(1)])
        none = torch.arange(GROUPS, device=logits.device) == 0
        return logits.masked_fill(none, -torch.inf).log_softmax(-1)

    @torch.no_grad()
    def draw(self, counts: Int[Tensor, "n elements"], batch: CrystalBatch) -> Int[Tensor, " n"]:
        """Draws a space group for each composition."""
        return drawn([self.log_prob(counts, batch)])
