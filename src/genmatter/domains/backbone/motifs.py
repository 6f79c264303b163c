"""Motifs: residues whose place is given, named by their numbers."""

__all__ = ["motif", "residues_named"]

import re
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from genmatter.domains.backbone.conformers import Protein
from genmatter.errors import ConfigError


def residues_named(names: str, protein: Protein) -> Bool[Tensor, " L"]:
    """Returns which residues `3-6,9` or `A3-6,B9` names, by number and chain.

    Raises:
        ConfigError: It names none, or one that the protein does not have.
    """
    found = torch.zeros(len(protein), dtype=torch.bool)
    for part in names.replace(" ", "").split(","):
        read = re.fullmatch(r"([A-Za-z]?)(-?\d+)(?:-(-?\d+))?", part)
        if not read:
            raise ConfigError(f"{part!r} names no residues: write 3-6,9 or A3-6")
        chain, first, last = read[1], int(read[2]), int(read[3] or read[2])
        rows = [
            k for k, (number, of) in enumerate(zip(protein.numbers, protein.chains, strict=True))
            if first <= number <= last and chain in ("", of)
        ]  # fmt: skip
        if len(rows) < last - first + 1 or last < first:
            raise ConfigError(
                f"{protein.name} has no residues {part}: its numbers go from "
                f"{protein.numbers[0]} to {protein.numbers[-1]}"
            )
        found[rows] = True
    if found.all():
        raise ConfigError("the motif is the whole protein: nothing is left to sample")
    return found


def motif(
    path: str, protein: Protein, reference: Float[Tensor, "L 5 3"] | None
) -> Float[Tensor, "L 5 3"]:
    """Returns the conformer that a motif's coordinates are from: of a file, or the kept one.

    Raises:
        ConfigError: The file holds another protein, or there is neither.
    """
    if not path:
        if reference is None:
            raise ConfigError("a motif of a protein that is not in the data needs --motif_from")
        return reference
    from genmatter.domains.backbone.formats import read

    known = read(Path(path))
    found = known.trajectories[int(known.where[0, 0])].protein
    if found.sequence != protein.sequence:
        raise ConfigError(
            f"{path} holds {found.sequence}, and the motif is to be of {protein.sequence}"
        )
    return known[:1].backbone()[0]
