r"""Crystals that are drawn after a template, averaged over its symmetry operations.

An operation :math:`f \to W f + w` of the template takes each of its atoms to one of the same kind.
Averaged over all operations, places and the metric of the cell,

.. math:: f_k \leftarrow \langle W f_{j(k)} + w \rangle,\ G \leftarrow \langle W^T G W \rangle,

are those of the nearest crystal that has these symmetries. What would have to move far is not
after its template any more, and stays as it is.

References:
    | International Tables for Crystallography A, chapter 1.3 (Souvignier, 2016), for operations
    | and the metric tensor
"""

__all__ = ["averaged"]

import numpy as np
import torch
from jaxtyping import Float, Int

from genmatter.domains.crystal.represent import CrystalBatch
from genmatter.domains.crystal.symmetry import Described, operations
from genmatter.domains.crystal.templates import Template
from genmatter.maths.lattice import parameters, vectors

SYMPREC = 0.1
"""How exact the symmetries of templates are, angstrom, as where groups are found."""


def averaged(batch: CrystalBatch, template: Template, reach: float) -> CrystalBatch:
    """Returns crystals with the symmetries of their templates.

    Those without a template stay as they are, and so do those in which an atom or a lattice vector
    would change by more than `reach`, angstrom.
    """
    frac, lattice = batch.frac_coords.clone(), batch.lattice.clone()
    for row in (template.there & (reach > 0)).nonzero()[:, 0].tolist():
        own, other = (_cell(x, row) for x in (batch, template.crystals))
        if (found := nearest(own, other, reach)) is not None:
            lattice[row] = torch.from_numpy(found[0])
            frac[row, : len(own[2])] = torch.from_numpy(found[1])
    lengths, angles = (x.to(lattice) for x in parameters(lattice.double()))
    lattice = vectors(lengths, angles)
    return batch.replace(frac_coords=frac, lattice=lattice, lengths=lengths, angles=angles)


def nearest(
    own: Described, template: Described, reach: float
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "atoms 3"]] | None:
    """Returns lattice and coordinates of the nearest crystal with the template's symmetries.

    None where it has none, or they are farther away than `reach`, angstrom.
    """
    lattice, frac, numbers = own
    found = operations((template[0], template[1], numbers), SYMPREC)
    if found is None:
        return None
    turns, shifts = found
    taken = _taken(turns, shifts, template[0], template[1], numbers)
    if taken is None:
        return None
    moved = np.take_along_axis(_moved(turns, shifts, frac), taken[..., None], 1) - frac
    change = (moved - np.round(moved)).mean(0)
    metric = np.einsum("oji,jk,okl->oil", turns, lattice @ lattice.T, turns).mean(0)
    cell = np.linalg.cholesky(metric)  # a along x, b in the plane of x and y
    far = np.linalg.norm(np.concatenate([change @ cell, cell - lattice]), axis=1).max()
    return (cell, (frac + change) % 1) if far <= reach else None


def _taken(
    turns: Int[np.ndarray, "ops 3 3"], shifts: Float[np.ndarray, "ops 3"],
    lattice: Float[np.ndarray, "3 3"], frac: Float[np.ndarray, "atoms 3"],
    numbers: Int[np.ndarray, " atoms"],
) -> Int[np.ndarray, "ops atoms"] | None:  # fmt: skip
    """Returns which atom each operation takes to the place of each; None where it is not clear."""
    gap = _moved(turns, shifts, frac)[:, :, None] - frac
    far = np.linalg.norm((gap - np.round(gap)) @ lattice, axis=-1)
    far[:, numbers[:, None] != numbers] = np.inf
    target = far.argmin(2)
    clear = (np.sort(target, 1) == np.arange(len(numbers))).all()
    return np.argsort(target, 1) if clear else None


def _moved(
    turns: Int[np.ndarray, "ops 3 3"], shifts: Float[np.ndarray, "ops 3"],
    frac: Float[np.ndarray, "atoms 3"],
) -> Float[np.ndarray, "ops atoms 3"]:  # fmt: skip
    return np.einsum("oij,nj->oni", turns, frac) + shifts[:, None]


def _cell(x: CrystalBatch, row: int) -> Described:
    mask = x.mask[row]
    parts = (x.lattice[row].double(), x.frac_coords[row, mask].double(), x.atom_types[row, mask])
    lattice, frac, numbers = (p.cpu().numpy() for p in parts)
    return lattice, frac, numbers
