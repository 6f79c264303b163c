"""Pieces of molecules: what is left when BRICS bonds are cut, as strings that can be joined again.

A piece is a SMILES with places where bonds were cut, each with the BRICS label of its end. To
join two, each gets the same ring-closure number at its place, and a dot stands between them:
`c1-%10ccccc1.N-%10C` is N-methylaniline. So a molecule is written in microseconds, and read once.

References:
    On the art of compiling and using 'drug-like' chemical fragment spaces (Degen et al., 2008)
    https://doi.org/10.1002/cmdc.200800178
"""

__all__ = ["Piece", "bond_labels", "flat", "pieces"]

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rdkit import Chem
from rdkit.Chem import BRICS

_PLACE = re.compile(r"\(=?\[(\d+)\*\]\)|=?\[(\d+)\*\]")  # a dummy atom, which its label numbers
_MARK = "*"  # stands for a place in the text of a piece


@dataclass(frozen=True)
class Piece:
    """What BRICS bonds cut out of a molecule."""

    text: str
    """SMILES in which a mark follows each atom that lost a bond."""
    labels: tuple[int, ...]
    """BRICS label of each mark."""
    mass: float
    """In g/mol."""

    @classmethod
    def of(cls, mol: Chem.Mol) -> "Piece":
        """Reads a fragment whose cut bonds end in dummy atoms with isotopes for labels."""
        atoms = [a for a in mol.GetAtoms() if a.GetAtomicNum()]
        text = Chem.MolToSmiles(mol, rootedAtAtom=atoms[0].GetIdx())
        labels = tuple(int(a or b) for a, b in _PLACE.findall(text))
        hydrogen = Chem.GetPeriodicTable().GetAtomicWeight(1)
        mass = sum(a.GetMass() + hydrogen * a.GetTotalNumHs() for a in atoms)
        return cls(_PLACE.sub(_MARK, text), labels, mass)

    def written(self, bonds: Iterable[str]) -> str:
        """Returns the SMILES with each mark replaced."""
        first, *rest = self.text.split(_MARK)
        return first + "".join(b + r for b, r in zip(bonds, rest, strict=True))


def flat(smiles: Iterable[str]) -> Iterator[Chem.Mol]:
    """Reads molecules, and forgets their stereo centres; what is none is left out."""
    for text in smiles:
        mol = Chem.MolFromSmiles(text) if text else None
        if mol is not None and mol.GetNumAtoms():
            Chem.RemoveStereochemistry(mol)
            yield mol


def bond_labels(mol: Chem.Mol) -> Iterator[tuple[int, int]]:
    """Yields the labels of both ends of each bond that is cut; 7a and 7b are one."""
    for _, (a, b) in BRICS.FindBRICSBonds(mol):
        yield int(a.rstrip("ab")), int(b.rstrip("ab"))


def pieces(mol: Chem.Mol) -> Iterator[Piece]:
    """Yields the pieces of a molecule, written anew so that alike ones are the same."""
    for text in Chem.MolToSmiles(BRICS.BreakBRICSBonds(mol)).split("."):
        yield Piece.of(Chem.MolFromSmiles(text))
