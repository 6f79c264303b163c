r"""Atoms of proteins, residue by residue: slots, frames, torsions, and backbones from frames.

A residue's frame has its origin at CA, its x axis towards C, and N in the xy plane with y > 0. A
dihedral of four points is the angle from the first to the last about the axis from the second to
the third, clockwise as seen along it (IUPAC). Absent atoms are zeros and stay so; what they would
give is masked, and their gradients are zero.

References:
    | Highly accurate protein structure prediction with AlphaFold (Jumper et al., 2021, supplement
    | 1.8, https://doi.org/10.1038/s41586-021-03819-2)
    | Abbreviations and symbols for the description of the conformation of polypeptide chains
    | (IUPAC-IUB, 1970, https://doi.org/10.1021/bi00820a001)
"""

__all__ = [
    "Aatype",
    "Atom14",
    "Atom37",
    "Backbone",
    "Torsions",
    "atom14_to_atom37",
    "atom14_to_frames",
    "atom37_to_atom14",
    "atom37_to_torsions",
    "backbone",
    "compute_backbone",
    "dihedral",
    "present",
]

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from genmatter.maths import residues, rigid
from genmatter.maths.residues import ATOM37
from genmatter.maths.rigid import Rigid
from genmatter.maths.rotation import Vector

Aatype = Int[Tensor, "*#batch length"]
Atom14 = Float[Tensor, "*batch length 14 3"]
Atom37 = Float[Tensor, "*batch length 37 3"]

_LINE = 1e-12  # angstrom^4: points this close to a line have no dihedral
_N, _CA, _C, _O = (ATOM37.index(name) for name in ("N", "CA", "C", "O"))


def dihedral(p0: Vector, p1: Vector, p2: Vector, p3: Vector) -> Float[Tensor, "*batch"]:
    """Returns the dihedral in (-pi, pi]; 0, with zero gradients, where three lie on a line."""
    sin, cos = _sin_cos(torch.stack([p0, p1, p2, p3], -2))[0].unbind(-1)
    angle = torch.atan2(sin, cos)
    return torch.where(angle > -math.pi, angle, angle + 2 * math.pi)  # as -pi rounds


def _sin_cos(
    p: Float[Tensor, "*batch 4 3"],
) -> tuple[Float[Tensor, "*batch 2"], Bool[Tensor, "*batch"]]:
    """Returns sine and cosine of the dihedral, (0, 1) where there is none, and where there is."""
    axis = torch.nn.functional.normalize(p[..., 2, :] - p[..., 1, :], dim=-1)
    ends = torch.stack([p[..., 0, :] - p[..., 1, :], p[..., 3, :] - p[..., 2, :]], -2)
    ends = ends - (ends * axis[..., None, :]).sum(-1, keepdim=True) * axis[..., None, :]
    a, b = ends.unbind(-2)
    sin = (torch.linalg.cross(axis, a) * b).sum(-1)
    square = torch.stack([sin, (a * b).sum(-1)], -1)
    bent = square.detach().square().sum(-1) > _LINE
    straight = torch.tensor([0.0, 1.0]).to(square)
    square = torch.where(bent[..., None], square, straight)
    return square / torch.linalg.vector_norm(square, dim=-1, keepdim=True), bent


def present(atoms: Float[Tensor, "*batch slots 3"]) -> Bool[Tensor, "*batch slots"]:
    """Returns which atoms are there, in any of the orders of slots.

    CA, the second in all of them, is where N is: it may well lie at the origin.
    """
    there = (atoms != 0).any(-1)
    return torch.cat([there[..., :1], there[..., :1], there[..., 2:]], -1)


def _gather(
    atoms: Float[Tensor, "*batch length slots 3"],
    places: Int[Tensor, "*#batch length more"],
    mask: Bool[Tensor, "*#batch length more"],
) -> Float[Tensor, "*batch length more 3"]:
    shape = (*atoms.shape[:-2], places.shape[-1])
    found = atoms.gather(-2, places.expand(shape)[..., None].expand(*shape, 3))
    return torch.where(mask[..., None], found, torch.zeros_like(found))


def _of(table: Tensor, aatype: Aatype) -> Tensor:
    return table.to(aatype.device)[aatype]


def atom14_to_atom37(atom14: Atom14, aatype: Aatype) -> Atom37:
    """Moves atoms from each type's own slots to those that all share.

    `present` tells which are there, and `residues.ATOM37_MASK` which a type has.
    """
    places = _of(residues.ATOM37_TO_ATOM14, aatype)
    return _gather(atom14, places, _of(residues.ATOM37_MASK, aatype))


def atom37_to_atom14(atom37: Atom37, aatype: Aatype) -> Atom14:
    """Moves atoms from the slots that all share to each type's own; OXT is left out."""
    places = _of(residues.ATOM14_TO_ATOM37, aatype)
    return _gather(atom37, places, _of(residues.ATOM14_MASK, aatype))


def atom14_to_frames(atom14: Float[Tensor, "*batch length slots 3"]) -> Rigid:
    """Returns each residue's frame, not turned and at the origin where the residue is absent.

    Slots may be 14, or those of the backbone alone: N, CA and C are the first three.
    """
    here = atom14[..., :3, :]
    absent = (here == 0).all(-1, keepdim=True).all(-2, keepdim=True)
    ideal = residues.BACKBONE_IDEAL[0, :3].to(here).expand_as(here)
    n, ca, c = torch.where(absent, ideal, here).unbind(-2)
    return rigid.from_three_points(c, ca, n)


class Torsions(NamedTuple):
    """Sine and cosine of omega, phi, psi and chi1 to chi4 of each residue.

    Where the mask is 0 they are those of the angle 0. The alternatives differ where the naming of
    equal atoms is arbitrary, as of OD1 and OD2: there chi and chi + pi are the same.
    """

    torsion_angles_sin_cos: Float[Tensor, "*batch length 7 2"]
    torsion_angles_mask: Float[Tensor, "*batch length 7"]
    alt_torsion_angles_sin_cos: Float[Tensor, "*batch length 7 2"]


def atom37_to_torsions(
    atom37: Atom37, aatype: Aatype, chains: Int[Tensor, "*#batch length"] | None = None
) -> Torsions:
    """Returns the torsions of each residue.

    Omega is that of the link before the residue: CA and C before it, N and CA. A chain's first
    residue has neither omega nor phi. Psi is the usual one, up to how flat the link is: it is
    taken as pi from the dihedral N-CA-C-O, since O is across from the next N, so that a chain's
    last residue has one too.

    Args:
        atom37: Positions.
        aatype: Types; X has no chis.
        chains: A number of each residue that differs between chains; all are one by default.
    """
    p, there = _torsion_points(atom37, _of(residues.CHI_ATOMS, aatype))
    sin_cos, bent = _sin_cos(p)
    sin_cos = torch.cat([sin_cos[..., :2, :], -sin_cos[..., 2:3, :], sin_cos[..., 3:, :]], -2)
    has_chi = _of(residues.CHI_MASK, aatype).expand(*atom37.shape[:-2], 4)
    linked = _linked(atom37, chains)[..., None].expand(*atom37.shape[:-2], 2)
    backbone = torch.cat([linked, torch.ones_like(linked[..., :1])], -1)
    mask = there & bent & torch.cat([backbone, has_chi], -1)
    none = torch.tensor([0.0, 1.0]).to(sin_cos)
    sin_cos = torch.where(mask[..., None], sin_cos, none)
    flip = torch.nn.functional.pad(_of(residues.CHI_PI_PERIODIC, aatype), (3, 0))
    turned = torch.where((flip & mask)[..., None], -sin_cos, sin_cos)
    return Torsions(sin_cos, mask.to(sin_cos), turned)


def _torsion_points(
    atom37: Atom37, chis: Int[Tensor, "*#batch length 4 4"]
) -> tuple[Float[Tensor, "*batch length 7 4 3"], Bool[Tensor, "*batch length 7"]]:
    """Returns the four atoms of each torsion, and whether all of them are there."""
    before = torch.nn.functional.pad(atom37[..., :-1, :3, :], (0, 0, 0, 0, 1, 0))
    both = torch.cat([before, atom37], -2)
    there = torch.cat([present(before), present(atom37)], -1)
    n, ca, c, o = (place + 3 for place in (_N, _CA, _C, _O))
    fixed = [[_CA, _C, n, ca], [_C, n, ca, c], [n, ca, c, o]]
    places = torch.tensor(fixed, device=atom37.device).expand(*chis.shape[:-2], 3, 4)
    places = torch.cat([places, chis + 3], -2).flatten(-2).expand(*atom37.shape[:-2], 28)
    points = both.gather(-2, places[..., None].expand(*places.shape, 3))
    return points.unflatten(-2, (7, 4)), there.gather(-1, places).unflatten(-1, (7, 4)).all(-1)


def _linked(
    atom37: Atom37, chains: Int[Tensor, "*#batch length"] | None
) -> Bool[Tensor, "*batch length"]:
    """Returns whether a residue follows another one of its chain."""
    if chains is None:
        chains = torch.zeros(atom37.shape[-3], dtype=torch.long, device=atom37.device)
    same = torch.nn.functional.pad(chains[..., 1:] == chains[..., :-1], (1, 0))
    return same.expand(atom37.shape[:-2])


class Backbone(NamedTuple):
    """Backbones in both orders of slots, and which of the 37 are there."""

    atom37: Atom37
    atom37_mask: Float[Tensor, "*batch length 37"]
    atom14: Atom14


def backbone(
    rigids: Rigid, psi: Float[Tensor, "*batch length 2"], aatype: Aatype | None = None
) -> Float[Tensor, "*batch length 5 3"]:
    """Places N, CA, C, O and CB of ideal residues into frames.

    Args:
        rigids: The residues' frames.
        psi: Its sine and cosine, of any length above 0.
        aatype: Types; all alanine by default. Glycine has no CB, and X has one.
    """
    if aatype is None:
        aatype = psi.new_zeros(psi.shape[:-1], dtype=torch.long)
    ideal = _of(residues.BACKBONE_IDEAL.to(rigids.trans.dtype), aatype)
    ideal = ideal.expand(*psi.shape[:-1], 5, 3)
    sin, cos = torch.nn.functional.normalize(psi.to(ideal), dim=-1).unbind(-1)
    x, y, _ = ideal[..., 3, :].unbind(-1)
    o = torch.stack([x, y * cos, y * sin], -1)
    local = torch.cat([ideal[..., :3, :], o[..., None, :], ideal[..., 4:, :]], -2)
    # written out, since autocast would round a product of matrices to 0.1 A
    turned = (rigids.rots[..., None, :, :] * local[..., None, :]).sum(-1)
    atoms = turned + rigids.trans[..., None, :]
    there = _of(residues.BACKBONE_MASK, aatype)[..., None]
    return torch.where(there, atoms, torch.zeros_like(atoms))


def compute_backbone(
    rigids: Rigid, psi_sin_cos: Float[Tensor, "*batch length 2"], aatype: Aatype | None = None
) -> Backbone:
    """Does what `backbone` does, and returns all slots; side chains are absent."""
    if aatype is None:
        aatype = psi_sin_cos.new_zeros(psi_sin_cos.shape[:-1], dtype=torch.long)
    atoms = backbone(rigids, psi_sin_cos, aatype)
    places = [residues.BACKBONE.index(name) for name in ATOM37[:5]]
    there = _of(residues.BACKBONE_MASK, aatype)[..., places].expand(*atoms.shape[:-2], 5)
    return Backbone(
        torch.nn.functional.pad(atoms[..., places, :], (0, 0, 0, 32)),
        torch.nn.functional.pad(there.to(atoms), (0, 32)),
        torch.nn.functional.pad(atoms, (0, 0, 0, 9)),
    )
