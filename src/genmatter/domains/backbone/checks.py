"""Frames that are not fit to learn from are refused, with the residue and the frame at fault.

All frames are looked at before any work starts, some at a time, so that they may stay in a file.
"""

__all__ = ["refuse_array", "refuse_frames", "refuse_gaps"]

import statistics
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from genmatter.domains.backbone.conformers import Protein, Trajectory
from genmatter.domains.backbone.structures import named
from genmatter.errors import DataError
from genmatter.maths import residues

CHUNK = 2**21
"""Numbers that are looked at together."""
BROKEN_CA = 4.6
"""Angstrom between neighbouring CA atoms that no peptide link spans."""
BROKEN_CN = 2.0
"""Angstrom between C and the next N beyond which there is no bond."""
COARSE = 500.0
"""Angstrom from the origin where 16 bits hold a position to a quarter of an angstrom only."""
LENGTHS = {"N to CA": (0, 1, 1.46), "CA to C": (1, 2, 1.52), "C to O": (2, 3, 1.23)}
"""Slots and length of bonds that tell the order of atoms, angstrom."""

Backbone = Float[Tensor, "4 n residues 3"]


def refuse_gaps(protein: Protein, where: str) -> None:
    """Refuses numbers that do not count up within a chain: something is missing there.

    Raises:
        DataError: They do not.
    """
    for i in range(1, len(protein)):
        same = protein.chains[i] == protein.chains[i - 1]
        if same and protein.numbers[i] != protein.numbers[i - 1] + 1:
            raise DataError(
                f"{where}: the chain is broken: {named(protein, i)} follows "
                f"{named(protein, i - 1)}; give each chain an id of its own, number its residues "
                "one by one, and model those that are missing"
            )


def refuse_array(found: Any, protein: Protein, where: str) -> None:
    """Refuses an array that is not of the protein's atoms, by its shape and type.

    Raises:
        DataError: It is not.
    """
    if found.dtype.kind != "f":
        raise DataError(f"{where} holds {found.dtype}, but positions are real numbers")
    if found.ndim != 4 or found.shape[2:] != (14, 3):
        hint = "; atom37 arrays have to be written as atom14" if 37 in found.shape else ""
        raise DataError(
            f"{where} has the shape {list(found.shape)}, but trajectories are [frames, residues, "
            f"14, 3]{hint}"
        )
    if not len(found):
        raise DataError(f"{where} holds no frame")
    if found.shape[1] != len(protein):
        raise DataError(
            f"{where} has {found.shape[1]} residues, but the sequence of {protein.name} has "
            f"{len(protein)}: {protein.sequence}"
        )


def refuse_frames(trajectory: Trajectory) -> None:
    """Refuses frames with missing or broken parts, or in another unit than angstrom.

    Raises:
        DataError: There is such a frame; the message names it, its residue and its file.
    """
    protein = trajectory.protein
    linked = torch.tensor([a == b for a, b in pairwise(protein.chains)], dtype=torch.bool)
    for start, x in _chunks(trajectory):
        told = trajectory, start
        if not x.sum().isfinite():
            _refuse(~x.isfinite().flatten(2).all(-1), *told, "is at NaN or infinity")
        backbone = x[:, :, :4].permute(2, 0, 1, 3).contiguous()
        for atom, there in zip(residues.BACKBONE, (backbone != 0).any(-1), strict=False):
            _refuse(~there, *told, f"lacks the backbone atom {atom}")
        if not start:
            _refuse_unit(backbone, linked, trajectory.source)
            _refuse_slots(trajectory)
        if _coarse(trajectory) and backbone.abs().max() > COARSE:
            _refuse((x.abs() > COARSE).flatten(2).any(-1), *told, _COARSE)
        _refuse_breaks(backbone, linked, *told)


_COARSE = (
    f"is more than {COARSE:g} A from the origin, where 16 bits are too few: centre the frames "
    "before they are written in float16, or write float32"
)


def _coarse(trajectory: Trajectory) -> bool:
    return trajectory.atoms.dtype.itemsize == 2


def _chunks(trajectory: Trajectory) -> Iterator[tuple[int, Tensor]]:
    """Yields frames in 32 bits, and the number of the first."""
    step = max(CHUNK // (len(trajectory.protein) * 42), 1)
    for start in range(0, len(trajectory), step):
        yield start, trajectory.raw(start, start + step)


def _refuse(wrong: Bool[Tensor, "n residues"], it: Trajectory, start: int, why: str) -> None:
    """Names the first residue and frame where something is wrong."""
    if wrong.any():
        frame, i = wrong.nonzero()[0].tolist()
        more = int(wrong.any(1).sum()) - 1
        others = f" (so it is in {more} more frames nearby)" if more else ""
        raise DataError(
            f"{it.source}: residue {named(it.protein, i)} {why}, in frame {start + frame}{others}"
        )


def _refuse_slots(trajectory: Trajectory) -> None:
    """Refuses atoms that residues of that type do not have: the sequence is another's."""
    first = np.asarray(trajectory.atoms[0]) != 0
    for i, slots in enumerate(first.any(-1).tolist()):
        letter = trajectory.protein.sequence[i]
        extra = [k for k, there in enumerate(slots) if there and k >= len(residues.ATOM14[letter])]
        if extra:
            raise DataError(
                f"{trajectory.source}: residue {named(trajectory.protein, i)} has an atom in slot "
                f"{extra[0]}, which {residues.NAMES[letter]} does not have: is the sequence "
                "another protein's?"
            )


def _refuse_unit(x: Backbone, linked: Bool[Tensor, " links"], where: str) -> None:
    """Refuses lengths that are not angstrom, and atoms in another order."""
    steps = (x[1, :, 1:] - x[1, :, :-1])[:, linked].norm(dim=-1)
    spans = {k: float((x[a] - x[b]).norm(dim=-1).median()) for k, (a, b, _) in LENGTHS.items()}
    scale = statistics.median(spans[k] / length for k, (_, _, length) in LENGTHS.items())
    for factor, why in ((0.1, "nanometres: multiply them by 10"), (10.0, "a tenth of that")):
        if abs(scale / factor - 1) < 0.2:
            far = f" (CA to CA is {float(steps.median()):.3g})" if steps.numel() else ""
            raise DataError(f"{where}: positions are angstrom, but these seem to be {why}{far}")
    for name, (_, _, length) in LENGTHS.items():
        if abs(spans[name] - length) > 0.25:
            raise DataError(
                f"{where}: {name} is {spans[name]:.3g} A instead of {length} A: the slots of a "
                "residue begin with N, CA, C, O and CB, and positions are angstrom"
            )


def _refuse_breaks(
    x: Backbone, linked: Bool[Tensor, " links"], it: Trajectory, start: int
) -> None:
    """Refuses chains that are cut, by a gap in all frames or by a periodic box in some."""
    steps = (x[1, :, 1:] - x[1, :, :-1]).norm(dim=-1)
    bonds = (x[0, :, 1:] - x[2, :, :-1]).norm(dim=-1)
    wrong = ((steps > BROKEN_CA) | (bonds > BROKEN_CN)) & linked
    if not wrong.any():
        return
    frame, i = wrong.nonzero()[0].tolist()
    apart = f"{named(it.protein, i)} and {named(it.protein, i + 1)} are apart"
    lengths = f"CA to CA {steps[frame, i]:.3g} A, C to N {bonds[frame, i]:.3g} A"
    why = (
        "the chain is broken: model what is missing, or give each chain an id of its own"
        if wrong[:, i].all() or steps[frame, i] <= BROKEN_CA
        else "has a periodic box cut the molecule? make it whole (gmx trjconv -pbc whole, or "
        "cpptraj autoimage)"
    )
    raise DataError(f"{it.source}: residues {apart} ({lengths}) in frame {start + frame}: {why}")
