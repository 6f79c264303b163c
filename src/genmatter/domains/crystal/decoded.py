"""What is decoded of latents, how far it is from crystals, and which crystals it stands for."""

__all__ = ["Decoded", "errors", "settled"]

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.domains.crystal.represent import CrystalBatch
from genmatter.maths.lattice import vectors
from genmatter.nn.packed import Places

SHORTEST = 1e-2
"""Lengths that are decoded are at least so, angstrom."""
SHARPEST = (0.05, math.pi - 0.05)
"""Angles that are decoded lie between these, radian."""


@dataclass(frozen=True)
class Decoded:
    """What is decoded of latents, of real atoms alone."""

    logits: Float[Tensor, "places types"]
    waves: Float[Tensor, "places 6"]
    """Sines and cosines of the fractional coordinates, each axis after the other."""
    lengths: Float[Tensor, "n 3"]
    """Over the cube root of the number of atoms, angstrom."""
    angles: Float[Tensor, "n 3"]

    @property
    def frac(self) -> Float[Tensor, "places 3"]:
        sine, cosine = self.waves.unflatten(-1, (3, 2)).unbind(-1)
        return torch.atan2(sine, cosine) / (2 * math.pi) % 1


def errors(found: Decoded, batch: CrystalBatch, places: Places) -> dict[str, Float[Tensor, " n"]]:
    r"""Returns how far it is from crystals, by name, means over the atoms of each.

    `atom_types` is a cross-entropy in nats per atom; `frac_coords` the squared length of the chord
    between unit vectors at :math:`2\pi f`, over :math:`4\pi^2`, which for small errors is the
    squared error along the shortest way; `lengths` (over the cube root of the number of atoms,
    square angstrom) and `angles` (square radian) are squared errors.
    """
    mean = lambda x: places.total(x[:, None])[:, 0] / batch.num_atoms
    types = places.pack(batch.atom_types)
    angle = 2 * math.pi * places.pack(batch.frac_coords)
    target = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
    chord = (found.waves - target).square().sum(-1) / 3
    lengths = batch.lengths / batch.num_atoms[:, None] ** (1 / 3)
    return {
        "atom_types": mean(nn.functional.cross_entropy(found.logits, types, reduction="none")),
        "frac_coords": mean(chord / (4 * math.pi**2)),
        "lengths": (found.lengths - lengths).square().mean(1),
        "angles": (found.angles - batch.angles).square().mean(1),
    }


def settled(
    logits: Float[Tensor, "n atoms types"],
    frac: Float[Tensor, "n atoms 3"],
    lengths: Float[Tensor, "n 3"],
    angles: Float[Tensor, "n 3"],
    given: CrystalBatch,
) -> CrystalBatch:
    """Returns crystals of the likeliest types, and of those that a prompt asks for.

    Only where an atom's place is unknown is its type asked for: latents tell the types of whole
    crystals. What is known of such a crystal's properties is not known of these.
    """
    asked = (given.atom_types > 0) & given.frac_coords.isnan().any(-1)
    types = torch.where(asked, given.atom_types, logits.argmax(-1) * given.mask)
    lengths, angles = lengths.clamp_min(SHORTEST), angles.clamp(*SHARPEST)
    return given.replace(
        atom_types=types,
        frac_coords=frac,
        lattice=vectors(lengths, angles),
        lengths=lengths,
        angles=angles,
        properties=torch.full_like(given.properties, torch.nan),
    )
