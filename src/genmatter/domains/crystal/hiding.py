"""What training hides of what it could tell, so that one network draws with and without it."""

__all__ = ["Hiding", "blank"]

from dataclasses import dataclass

import torch

from genmatter.domains.crystal.represent import CrystalBatch


@dataclass(frozen=True)
class Hiding:
    """What training hides of what it could tell.

    Args:
        everything: Share of the crystals of which no wish is told.
        each: Chance that, of the others, elements, the space group or a property is hidden.
        group: Share of the crystals whose space group the flow is not told, whatever is wished.
        template: Share of the crystals for which it is given no template.
    """

    everything: float
    each: float
    group: float = 0.0
    template: float = 0.0

    def __call__(self, batch: CrystalBatch) -> CrystalBatch:
        """Draws for each crystal what is told of it; types are not its matter."""
        n, device = len(batch), batch.mask.device
        blank = torch.rand(n, 1, device=device) < self.everything
        elements = blank | (torch.rand(n, 1, device=device) < self.each)
        group = blank | (torch.rand(n, 1, device=device) < self.each)
        wanted = blank | (torch.rand_like(batch.wanted) < self.each)
        return batch.replace(
            elements=batch.elements.masked_fill(elements, torch.nan),
            space_group=batch.space_group * ~group[:, 0],
            wanted=batch.wanted.masked_fill(wanted, torch.nan),
        )


def blank(batch: CrystalBatch) -> CrystalBatch:
    """Returns crystals of which no wish is told."""
    return Hiding(1.0, 1.0)(batch)
