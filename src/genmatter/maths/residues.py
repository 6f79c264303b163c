"""The amino acids: their names, atoms and torsions, and the ideal shape of a backbone.

Types are numbered in the order of `ALPHABET`; the last, X, is any other residue and padding, and
has no atoms of its own. A residue's heavy atoms lie in 14 slots that are its own, or in 37 that
all types share; the first five of the 14 are N, CA, C, O and CB. Angstrom and radian.

References:
    | Order, slots, torsions and ideal positions: Highly accurate protein structure prediction with
    | AlphaFold (Jumper et al., 2021, supplement 1.2 and 1.8.4, https://doi.org/10.1038/s41586-021-03819-2)
    | The peptide link: Accurate bond and angle parameters for X-ray protein structure refinement
    | (Engh & Huber, 1991, https://doi.org/10.1107/S0108767391001071)
    | Radii: van der Waals volumes and radii (Bondi, 1964, https://doi.org/10.1021/j100785a001)
"""

__all__ = [
    "ALPHABET",
    "ATOM14",
    "ATOM14_MASK",
    "ATOM14_TO_ATOM37",
    "ATOM37",
    "ATOM37_MASK",
    "ATOM37_TO_ATOM14",
    "BACKBONE",
    "BACKBONE_IDEAL",
    "BACKBONE_MASK",
    "BACKBONE_RADII",
    "CAPS",
    "CA_C_N",
    "CA_C_N_PROLINE",
    "CHI_ATOMS",
    "CHI_MASK",
    "CHI_PI_PERIODIC",
    "C_N",
    "C_N_CA",
    "C_N_CA_PROLINE",
    "C_N_PROLINE",
    "NAMES",
    "RADII",
    "VARIANTS",
    "Measure",
    "aatype",
    "letter",
    "slot",
]

import math
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from genmatter.errors import DataError

BACKBONE = ("N", "CA", "C", "O", "CB")
"""What the first five slots hold."""


class _Residue(NamedTuple):
    """One type: its names, its side chain, and its backbone in the residue's frame.

    `side` are the atoms beyond CB by slot, and `chi` the path beyond CB that its torsions follow.
    Of the backbone stand x and y of N, x of C, all of CB, and of O what `BACKBONE_IDEAL` says.
    """

    letter: str
    name: str
    side: str
    chi: str
    n: tuple[float, float]
    c: float
    cb: tuple[float, float, float]
    o: tuple[float, float]


# fmt: off
_RESIDUES = (
    _Residue("A", "ALA", "", "",
             (-0.525, 1.363), 1.526, (-0.529, -0.774, -1.205), (0.627, 1.062)),
    _Residue("R", "ARG", "CG CD NE CZ NH1 NH2", "CG CD NE CZ",
             (-0.524, 1.362), 1.525, (-0.524, -0.778, -1.209), (0.626, 1.062)),
    _Residue("N", "ASN", "CG OD1 ND2", "CG OD1",
             (-0.536, 1.357), 1.526, (-0.531, -0.787, -1.200), (0.625, 1.062)),
    _Residue("D", "ASP", "CG OD1 OD2", "CG OD1",
             (-0.525, 1.362), 1.527, (-0.526, -0.778, -1.208), (0.626, 1.062)),
    _Residue("C", "CYS", "SG", "SG",
             (-0.522, 1.362), 1.524, (-0.519, -0.773, -1.212), (0.625, 1.062)),
    _Residue("Q", "GLN", "CG CD OE1 NE2", "CG CD OE1",
             (-0.526, 1.361), 1.526, (-0.525, -0.779, -1.207), (0.626, 1.062)),
    _Residue("E", "GLU", "CG CD OE1 OE2", "CG CD OE1",
             (-0.528, 1.361), 1.526, (-0.526, -0.781, -1.207), (0.626, 1.062)),
    _Residue("G", "GLY", "", "",
             (-0.572, 1.337), 1.517, (0.0, 0.0, 0.0), (0.626, 1.062)),
    _Residue("H", "HIS", "CG ND1 CD2 CE1 NE2", "CG ND1",
             (-0.527, 1.360), 1.525, (-0.525, -0.778, -1.208), (0.625, 1.063)),
    _Residue("I", "ILE", "CG1 CG2 CD1", "CG1 CD1",
             (-0.493, 1.373), 1.527, (-0.536, -0.793, -1.213), (0.627, 1.062)),
    _Residue("L", "LEU", "CG CD1 CD2", "CG CD1",
             (-0.520, 1.363), 1.525, (-0.522, -0.773, -1.214), (0.625, 1.063)),
    _Residue("K", "LYS", "CG CD CE NZ", "CG CD CE NZ",
             (-0.526, 1.362), 1.526, (-0.524, -0.778, -1.208), (0.626, 1.062)),
    _Residue("M", "MET", "CG SD CE", "CG SD CE",
             (-0.521, 1.364), 1.525, (-0.523, -0.776, -1.210), (0.625, 1.062)),
    _Residue("F", "PHE", "CG CD1 CD2 CE1 CE2 CZ", "CG CD1",
             (-0.518, 1.363), 1.524, (-0.525, -0.776, -1.212), (0.626, 1.062)),
    _Residue("P", "PRO", "CG CD", "CG CD",
             (-0.566, 1.351), 1.527, (-0.546, -0.611, -1.293), (0.621, 1.066)),
    _Residue("S", "SER", "OG", "OG",
             (-0.529, 1.360), 1.525, (-0.518, -0.777, -1.211), (0.626, 1.062)),
    _Residue("T", "THR", "OG1 CG2", "OG1",
             (-0.517, 1.364), 1.526, (-0.516, -0.793, -1.215), (0.626, 1.062)),
    _Residue("W", "TRP", "CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2", "CG CD1",
             (-0.521, 1.363), 1.525, (-0.523, -0.776, -1.212), (0.627, 1.062)),
    _Residue("Y", "TYR", "CG CD1 CD2 CE1 CE2 CZ OH", "CG CD1",
             (-0.522, 1.362), 1.524, (-0.522, -0.776, -1.213), (0.627, 1.062)),
    _Residue("V", "VAL", "CG1 CG2", "CG1",
             (-0.494, 1.373), 1.527, (-0.533, -0.795, -1.213), (0.627, 1.062)),
)

ATOM37 = (
    "N", "CA", "C", "CB", "O", "CG", "CG1", "CG2", "OG", "OG1", "SG", "CD", "CD1", "CD2", "ND1",
    "ND2", "OD1", "OD2", "SD", "CE", "CE1", "CE2", "CE3", "NE", "NE1", "NE2", "OE1", "OE2", "CH2",
    "NH1", "NH2", "OH", "CZ", "CZ2", "CZ3", "NZ", "OXT",
)
"""The slots that all types share."""

VARIANTS = {
    "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "HSD": "HIS", "HSE": "HIS", "HSP": "HIS",
    "HISD": "HIS", "HISE": "HIS", "HISH": "HIS", "HIS1": "HIS", "HIS2": "HIS", "HISB": "HIS",
    "CYX": "CYS", "CYM": "CYS", "CYS2": "CYS", "CYSH": "CYS", "ASH": "ASP", "ASPP": "ASP",
    "ASPH": "ASP", "GLH": "GLU", "GLUP": "GLU", "GLUH": "GLU", "LYN": "LYS", "LSN": "LYS",
    "LYSH": "LYS", "ARN": "ARG", "ARGN": "ARG", "TYM": "TYR", "MSE": "MET",
}
"""Names of Amber, CHARMM and GROMACS for states of charge and of disulfides, by their parent.

All have the heavy atoms of the parent, and so has selenomethionine, a label of crystallographers
with one element changed. What has other heavy atoms (SEP, TPO, HYP) is another residue.
"""
# fmt: on

ALPHABET = "".join(r.letter for r in _RESIDUES) + "X"
"""One letter of each type."""
NAMES = {r.letter: r.name for r in _RESIDUES} | {"X": "UNK"}
"""Three letters of each type."""
CAPS = ("ACE", "NME", "NMA", "NH2", "FOR")
"""Groups that close the ends of a peptide; they are no residues."""

ATOM14 = {
    r.letter: tuple(a for a in BACKBONE if (r.letter, a) != ("G", "CB")) + tuple(r.side.split())
    for r in _RESIDUES
} | {"X": ()}
"""The atoms of each type, by slot."""

_LETTERS = {name: letter for letter, name in NAMES.items() if letter != "X"}
_LETTERS |= {variant: _LETTERS[parent] for variant, parent in VARIANTS.items()}
_ENDS = {"OT1": "O", "OC1": "O", "O1": "O", "OT": "O"}  # an end's two oxygens are OXT and this
_ALIASES = {("ILE", "CD"): "CD1", ("MSE", "SE"): "SD"}


def letter(name: str) -> str:
    """Returns the letter of a residue's name in a file, X where it is none of the twenty.

    Amber's names of ends (NALA, CALA) are read as well.
    """
    if name not in _LETTERS and len(name) == 4 and name[0] in "NC":
        name = name[1:]
    return _LETTERS.get(name, "X")


def slot(name: str, atom: str) -> int | None:
    """Returns the place among the 14 of an atom's name in a file, None where it has none.

    Hydrogens and the second oxygen of the end have none.
    """
    names = ATOM14[letter(name)]
    atom = _ALIASES.get((name, atom), _ENDS.get(atom, atom))
    return names.index(atom) if atom in names else None


def aatype(sequence: str) -> Int[Tensor, " length"]:
    """Returns the types of a sequence of letters.

    Raises:
        DataError: A letter is none of `ALPHABET`.
    """
    for place, one in enumerate(sequence, 1):
        if one not in ALPHABET:
            raise DataError(
                f"residue {place} of {sequence!r} is {one!r}; the letters are {ALPHABET}"
            )
    return torch.tensor([ALPHABET.index(one) for one in sequence], dtype=torch.long)


_SLOTS = [ATOM14[one] for one in ALPHABET]
_PATHS = [("N", "CA", "CB", *r.chi.split()) for r in _RESIDUES]

ATOM14_MASK = torch.tensor([[k < len(a) for k in range(14)] for a in _SLOTS])
"""Which of the 14 slots a type has, `[21, 14]`."""
ATOM37_MASK = torch.tensor([[name in a for name in ATOM37] for a in _SLOTS])
"""Which of the 37 slots a type has, `[21, 37]`; OXT is the end's, and no type's."""
ATOM14_TO_ATOM37 = torch.tensor(
    [[ATOM37.index(name) for name in a] + [0] * (14 - len(a)) for a in _SLOTS]
)
"""Where each of the 14 lies among the 37, `[21, 14]`; 0 where it is absent."""
ATOM37_TO_ATOM14 = torch.tensor(
    [[a.index(name) if name in a else 0 for name in ATOM37] for a in _SLOTS]
)
"""Where each of the 37 lies among the 14, `[21, 37]`; 0 where it is absent."""

_CHIS = [[path[k : k + 4] for k in range(len(path) - 3)] for path in _PATHS] + [[]]

CHI_MASK = torch.tensor([[k < len(chis) for k in range(4)] for chis in _CHIS])
"""Which of chi1 to chi4 a type has, `[21, 4]`; arginine's fifth is always flat."""
CHI_ATOMS = torch.tensor(
    [
        [[ATOM37.index(name) for name in chi] for chi in chis] + [[0] * 4] * (4 - len(chis))
        for chis in _CHIS
    ]
)
"""The four atoms of each chi among the 37, `[21, 4, 4]`; 0 where it is absent."""
_PERIODIC = {("D", 2), ("E", 3), ("F", 2), ("Y", 2)}
CHI_PI_PERIODIC = torch.tensor([[(one, k) in _PERIODIC for k in range(1, 5)] for one in ALPHABET])
"""Which chis turn onto themselves in half a turn, `[21, 4]`: it only swaps equal atoms."""

BACKBONE_MASK = ATOM14_MASK[:, :5].clone()
"""Which of N, CA, C, O and CB a type is built with, `[21, 5]`; X is built as alanine."""
BACKBONE_MASK[-1] = True

BACKBONE_IDEAL = torch.tensor(
    [
        [(*r.n, 0.0), (0.0, 0.0, 0.0), (r.c, 0.0, 0.0), (r.c + r.o[0], -r.o[1], 0.0), r.cb]
        for r in (*_RESIDUES, _RESIDUES[0])
    ],
    dtype=torch.float64,
)
"""N, CA, C, O and CB of each type in the residue's frame at psi = 0, `[21, 5, 3]`.

CA is the origin, C on the x axis, N in the xy plane with y > 0. Psi turns O about the x axis.
"""

RADII = {"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8}
"""Van der Waals radii of the elements; an atom's is its name's first letter."""
BACKBONE_RADII = torch.tensor([RADII[name[0]] for name in BACKBONE], dtype=torch.float64)
"""Those of N, CA, C, O and CB."""


class Measure(NamedTuple):
    """A bond's length or angle, and its standard deviation among crystals of small molecules."""

    mean: float
    spread: float

    @classmethod
    def degrees(cls, mean: float, spread: float) -> "Measure":
        """Reads an angle that is given in degrees."""
        return cls(math.radians(mean), math.radians(spread))


C_N = Measure(1.329, 0.014)
"""The link between two residues: from C to the next N."""
C_N_PROLINE = Measure(1.341, 0.016)
"""The same before a proline."""
CA_C_N = Measure.degrees(116.2, 2.0)
"""The angle at C, to the next N."""
CA_C_N_PROLINE = Measure.degrees(116.9, 1.5)
"""The same before a proline."""
C_N_CA = Measure.degrees(121.7, 1.8)
"""The angle at N, from the C before it."""
C_N_CA_PROLINE = Measure.degrees(122.6, 5.0)
"""The same of a proline."""
