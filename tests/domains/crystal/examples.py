"""A few crystals that everybody knows, as pymatgen has them, and texts of them."""

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from genmatter.domains.crystal.cells import Cell
from genmatter.domains.crystal.crystals import Crystals


def rocksalt(a=5.64, cation="Na", anion="Cl"):
    """The conventional cell, of eight atoms."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [cation, anion], sites)


def rutile(a=4.594, c=2.959, u=0.305):
    lattice = Lattice.tetragonal(a, c)
    return Structure.from_spacegroup(136, lattice, ["Ti", "O"], [[0, 0, 0], [u, u, 0]])


def quartz():
    lattice = Lattice.hexagonal(4.913, 5.405)
    sites = [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
    return Structure.from_spacegroup("P3_221", lattice, ["Si", "O"], sites)


def perovskite(a=3.905, tilt=0.0):
    sites = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, tilt, 0], [0, 0.5, 0], [0, tilt, 0.5]]
    return Structure(Lattice.cubic(a), ["Sr", "Ti", "O", "O", "O"], sites)


def some():
    """Primitive cells of all of them."""
    found = [rocksalt().get_primitive_structure(), rutile(), quartz(), perovskite()]
    return Crystals.of_structures(found, ["NaCl", "TiO2", "SiO2", "SrTiO3"])


def cell(structure):
    numbers = np.array(structure.atomic_numbers, dtype=np.int64)
    return Cell(numbers, structure.frac_coords, structure.lattice.matrix)


def structure(cell):
    return Structure(Lattice(cell.lattice), cell.numbers.tolist(), cell.frac)


def written_otherwise(x, seed=0, strain=0.0):
    """Returns the same crystals: other cells, origins, orientations, orders of their atoms."""
    g = np.random.default_rng(seed)
    found = []
    for s in x.structures():
        turn = np.linalg.qr(g.normal(size=(3, 3)))[0]
        lattice = s.lattice.matrix @ (turn * np.sign(np.linalg.det(turn)))
        frac, order = s.frac_coords + g.random(3), g.permutation(len(s))
        skew = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
        bent = np.eye(3) + strain * g.normal(size=(3, 3))
        species = [s[int(k)].specie for k in order]
        found.append(
            Structure(skew @ lattice @ bent, species, (frac @ np.linalg.inv(skew))[order])
        )
    return Crystals.of_structures(found)


def nothing(n=1):
    """What is no crystal: an atom of no element, nowhere."""
    nan = float("nan")
    return Crystals.of([[0]] * n, [[[nan] * 3]] * n, torch.full((n, 3, 3), nan))
