"""The twenty amino acids as numbers, in the order of `ALPHABET`; a gap has 0 of everything.

References:
    | Hydropathy: A simple method for displaying the hydropathic character of a protein
    | (Kyte & Doolittle, 1982) https://doi.org/10.1016/0022-2836(82)90515-0
    | Volumes: Protein volume in solution (Zamyatnin, 1972)
    | https://doi.org/10.1016/0079-6107(72)90005-3
    | Dissociation constants: EMBOSS (Rice et al., 2000), the table of its program iep
    | https://doi.org/10.1016/S0168-9525(00)02024-2
    | Frequencies: those of UniProtKB/Swiss-Prot
"""

__all__ = ["CHARGE", "FREQUENCY", "HYDROPATHY", "MASS", "PK", "PK_ENDS", "VOLUME", "WATER"]

import torch
from torch import Tensor

from genmatter.domains.protein.sequences import ALPHABET

# letter: hydropathy, volume / cubic angstrom, mass of the residue / (g/mol), frequency / percent
_TABLE = {
    "A": (1.8, 88.6, 71.0788, 8.25),
    "C": (2.5, 108.5, 103.1388, 1.38),
    "D": (-3.5, 111.1, 115.0886, 5.46),
    "E": (-3.5, 138.4, 129.1155, 6.72),
    "F": (2.8, 189.9, 147.1766, 3.86),
    "G": (-0.4, 60.1, 57.0519, 7.07),
    "H": (-3.2, 153.2, 137.1411, 2.27),
    "I": (4.5, 166.7, 113.1594, 5.91),
    "K": (-3.9, 168.6, 128.1741, 5.80),
    "L": (3.8, 166.7, 113.1594, 9.65),
    "M": (1.9, 162.9, 131.1926, 2.41),
    "N": (-3.5, 114.1, 114.1038, 4.06),
    "P": (-1.6, 112.7, 97.1167, 4.74),
    "Q": (-3.5, 143.8, 128.1307, 3.93),
    "R": (-4.5, 173.4, 156.1875, 5.53),
    "S": (-0.8, 89.0, 87.0782, 6.65),
    "T": (-0.7, 116.1, 101.1051, 5.36),
    "V": (4.2, 140.0, 99.1326, 6.86),
    "W": (-0.9, 227.8, 186.2132, 1.10),
    "Y": (-1.3, 193.6, 163.1760, 2.92),
}

PK = {"D": (3.9, -1), "E": (4.1, -1), "C": (8.5, -1), "Y": (10.1, -1)}
PK |= {"H": (6.5, 1), "K": (10.8, 1), "R": (12.5, 1)}
"""Where half of a side chain has its charge, and that charge."""
PK_ENDS = ((8.6, 1), (3.6, -1))
"""The same of the two ends of a chain."""
WATER = 18.0153
"""Mass of water, g/mol, which a chain has beside its residues."""


def _scale(column: int) -> Tensor:
    found = [_TABLE[one][column] if one in _TABLE else 0.0 for one in ALPHABET]
    return torch.tensor(found, dtype=torch.float64)


HYDROPATHY, VOLUME, MASS = (_scale(k) for k in range(3))
"""Kyte and Doolittle's scale; cubic angstrom; g/mol of the residue. Each [21]."""
FREQUENCY = _scale(3) / _scale(3).sum()
"""Shares of the amino acids among known proteins, [21]."""
CHARGE = torch.tensor([{"D": -1.0, "E": -1.0, "K": 1.0, "R": 1.0}.get(a, 0.0) for a in ALPHABET])
"""Elementary charges of the side chain in water, [21]."""
