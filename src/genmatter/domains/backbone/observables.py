"""What can be seen of a conformer: `[n, residues, 5, 3]` to numbers of each.

Angstrom and radian. The five atoms of a residue are N, CA, C, O and CB; a glycine's CB is zeros.
All conformers are of one protein. Nothing here sees where a conformer is or how it is turned;
mirror images differ in their torsions.
"""

__all__ = [
    "OBSERVABLES",
    "alphas",
    "ca_bonds",
    "contacts",
    "distant_pairs",
    "end_to_end",
    "helix",
    "left_handed",
    "link_angles",
    "link_bonds",
    "mean_link",
    "omega",
    "oxygen_psi",
    "pair_distances",
    "phi",
    "psi",
    "radius_of_gyration",
    "rmsd_to",
    "shortest_nonbonded",
]

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.linalg import vector_norm

from genmatter.maths import geometry
from genmatter.maths.atoms import dihedral
from genmatter.maths.superpose import rmsd
from genmatter.spine import Observable

Backbones = Float[Tensor, "n residues 5 3"]
PerConformer = Float[Tensor, " n"]
PerLink = Float[Tensor, "n links"]
"""A number for each pair of neighbours along the chain."""

CONTACT = 8.0
"""Residues three or more apart along the chain touch below this distance of their CA."""

_WIDTH = 0.2
"""Width of the step at that distance."""


def alphas(x: Backbones) -> Float[Tensor, "n residues 3"]:
    """Returns the CA atoms."""
    return x[:, :, 1]


def phi(x: Backbones) -> PerLink:
    """Returns C-N-CA-C of all residues but the first."""
    n, ca, c = x[:, :, :3].unbind(2)
    return dihedral(c[:, :-1], n[:, 1:], ca[:, 1:], c[:, 1:])


def psi(x: Backbones) -> PerLink:
    """Returns N-CA-C-N of all residues but the last."""
    n, ca, c = x[:, :, :3].unbind(2)
    return dihedral(n[:, :-1], ca[:, :-1], c[:, :-1], n[:, 1:])


def oxygen_psi(x: Backbones) -> Float[Tensor, "n residues"]:
    """Returns the psi of each residue that its oxygen says: half a turn from N-CA-C-O."""
    n, ca, c, o = x[:, :, :4].unbind(2)
    return dihedral(n, ca, c, o) + math.pi


def omega(x: Backbones) -> PerLink:
    """Returns CA-C-N-CA of each peptide link; pi is trans."""
    n, ca, c = x[:, :, :3].unbind(2)
    return dihedral(ca[:, :-1], c[:, :-1], n[:, 1:], ca[:, 1:])


def link_bonds(x: Backbones) -> PerLink:
    """Returns the C-N distances along the chain."""
    return vector_norm(x[:, 1:, 0] - x[:, :-1, 2], dim=-1)


def link_angles(x: Backbones) -> tuple[PerLink, PerLink]:
    """Returns the angles CA-C-N and C-N-CA of each peptide link."""
    n, ca, c = x[:, :, :3].unbind(2)
    return (
        _angle(ca[:, :-1] - c[:, :-1], n[:, 1:] - c[:, :-1]),
        _angle(c[:, :-1] - n[:, 1:], ca[:, 1:] - n[:, 1:]),
    )


def _angle(u: Float[Tensor, "n links 3"], v: Float[Tensor, "n links 3"]) -> PerLink:
    across = vector_norm(torch.linalg.cross(u, v), dim=-1)
    return torch.atan2(across, (u * v).sum(-1))


def ca_bonds(x: Backbones) -> PerLink:
    """Returns the distances between the CA of neighbours."""
    return vector_norm(alphas(x).diff(dim=1), dim=-1)


def distant_pairs(residues: int, apart: int = 2) -> tuple[Tensor, Tensor]:
    """Returns the pairs i < j of residues at least so far apart along the chain."""
    i, j = torch.triu_indices(residues, residues, apart)
    return i, j


def pair_distances(x: Backbones, apart: int = 2) -> Float[Tensor, "n pairs"]:
    """Returns the CA distances of the pairs that are so far apart along the chain."""
    i, j = distant_pairs(x.shape[1], apart)
    ca = alphas(x)
    exact = "donot_use_mm_for_euclid_dist"  # products lose the digits of short distances
    return torch.cdist(ca, ca, compute_mode=exact).flatten(1)[:, i * x.shape[1] + j]


def radius_of_gyration(x: Backbones) -> PerConformer:
    """Returns that of the CA atoms."""
    return geometry.radius_of_gyration(alphas(x))


def end_to_end(x: Backbones) -> PerConformer:
    """Returns the distance from the first CA to the last."""
    return vector_norm(x[:, -1, 1] - x[:, 0, 1], dim=-1)


def helix(x: Backbones) -> PerConformer:
    """Returns the share of residues in the alpha basin, of those that have phi and psi.

    The basin is phi in [-100, -30] and psi in [-67, -7] degrees. NaN below three residues.

    References:
        | Optimized molecular dynamics force fields applied to the helix-coil transition of
        | polypeptides (Best & Hummer, 2009) https://doi.org/10.1021/jp901540t
    """
    a, b = phi(x)[:, :-1].rad2deg(), psi(x)[:, 1:].rad2deg()
    inside = (a >= -100) & (a <= -30) & (b >= -67) & (b <= -7)
    return inside.to(x).mean(1)


def contacts(x: Backbones) -> PerConformer:
    """Counts pairs of residues in touch, three or more apart along the chain.

    The step at 8 angstrom is smooth, 0.2 wide, so that conformers can be optimised for it.
    """
    return torch.sigmoid((CONTACT - pair_distances(x, 3)) / _WIDTH).sum(1)


def shortest_nonbonded(x: Backbones) -> PerConformer:
    """Returns the smallest CA distance of residues two or more apart; inf where there are none."""
    d = pair_distances(x)
    return torch.cat([d, d.new_full((len(d), 1), math.inf)], 1).amin(1)


def mean_link(x: Backbones) -> PerConformer:
    """Returns the mean length of the peptide bonds."""
    return link_bonds(x).mean(1)


def rmsd_to(reference: Float[Tensor, "residues 5 3"], name: str = "rmsd") -> Observable[Tensor]:
    """Returns the distance of the CA atoms from those of a conformer, after superposition."""
    ca = reference[:, 1]

    def of(x: Backbones) -> PerConformer:
        return rmsd(alphas(x), ca.to(x))

    return Observable(name, "angstrom", of, differentiable=True)


def left_handed(x: Backbones) -> Bool[Tensor, "n residues"]:
    """Says of which residues the CB is on the side of L amino acids."""
    n, ca, c, _, cb = x.unbind(2)
    return (torch.linalg.cross(n - ca, c - ca) * (cb - ca)).sum(-1) > 0


OBSERVABLES: tuple[Observable[Tensor], ...] = (
    Observable("radius_of_gyration", "angstrom", radius_of_gyration, differentiable=True),
    Observable("end_to_end", "angstrom", end_to_end, differentiable=True),
    Observable("helix", "share of residues", helix),
    Observable("contacts", "pairs", contacts, differentiable=True),
    Observable("shortest_nonbonded", "angstrom", shortest_nonbonded, differentiable=True),
    Observable("mean_link", "angstrom", mean_link, differentiable=True),
)
"""The numbers that each conformer has, in the order in which they are shown."""
