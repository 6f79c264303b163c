r"""Latents that are linear functions of a crystal, before any network adds to them."""

__all__ = ["ANGLE", "LENGTHS", "Chart"]

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.domains.crystal.chemistry import table
from genmatter.domains.crystal.represent import MOST_ELEMENT, CrystalBatch
from genmatter.maths.lattice import wrapped
from genmatter.nn.packed import Places

SPREAD = math.sqrt(12)
"""One over the standard deviation of what is even in [0, 1]."""
ANGLE = (1.5, 0.3)
"""Mean and standard deviation of angles, about, radian."""
LENGTHS = (2.7, 0.9)
"""The same of lengths over the cube root of the number of atoms, angstrom, where no data say."""
ROOM = 10
"""Latent units from which on the lattice has some of its own."""


class Chart(nn.Module):
    r"""Latents as linear functions of a crystal, each of about unit spread.

    Three units are :math:`\sqrt{12}\,(f - 1/2)`; six are lengths and angles, the same for all
    atoms, where there is room for them; the rest is learned for each element, and begins with
    what the periodic table says of it, so that elements that are taken for each other are alike.

    Args:
        latent: Latent units of an atom.
        lengths: Mean and standard deviation of lengths over the cube root of the number of atoms.
    """

    def __init__(self, latent: int, lengths: tuple[float, float]) -> None:
        super().__init__()
        self.cell = 6 if latent >= ROOM else 0
        self.types = nn.Embedding(MOST_ELEMENT + 1, latent - 3 - self.cell)
        known = torch.from_numpy(table())[:, : self.types.embedding_dim]
        with torch.no_grad():
            self.types.weight[:, : known.shape[1]] = known.float()
        shift = torch.tensor([*[lengths[0]] * 3, *[ANGLE[0]] * 3])
        scale = torch.tensor([*[lengths[1]] * 3, *[ANGLE[1]] * 3]).clamp_min(1e-3)
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    shift: Tensor
    scale: Tensor

    def forward(self, batch: CrystalBatch, places: Places) -> Float[Tensor, "places latent"]:
        """Returns the latents of a crystal."""
        frac = SPREAD * (places.pack(batch.frac_coords) - 0.5)
        parts = [frac, self.types(places.pack(batch.atom_types))]
        if self.cell:
            lengths = batch.lengths / batch.num_atoms[:, None] ** (1 / 3)
            cell = (torch.cat([lengths, batch.angles], 1) - self.shift) / self.scale
            parts.insert(1, cell.index_select(0, places.row))
        return torch.cat(parts, -1)

    def frac(self, z: Float[Tensor, "places latent"]) -> Float[Tensor, "places 3"]:
        """Returns the coordinates at latents."""
        return z[:, :3] / SPREAD + 0.5

    def between(self, gap: Float[Tensor, "n atoms latent"]) -> Float[Tensor, "n atoms latent"]:
        """Returns differences of latents, in coordinates along the shortest way."""
        return torch.cat([SPREAD * wrapped(gap[..., :3] / SPREAD), gap[..., 3:]], -1)

    def lattice(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n 6"]:
        """Returns scaled lengths and angles at mean latents; those of the data without room."""
        return self.shift + (self.scale * z[:, 3:9] if self.cell else torch.zeros_like(self.shift))
