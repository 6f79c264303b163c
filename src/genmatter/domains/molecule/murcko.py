"""Bemis-Murcko scaffolds, the rings of a molecule and what links them, by two rules.

They keep elements and bonds, and atoms that a double bond ties to them, as RDKit does. To score
samples, MOSES's published figures take scaffolds of two rings or more, with the stereo that they
have: one ring says too little. To split data a single ring counts too, and stereo does not, as
in DeepChem: forms that differ in it alone must not be on both sides. Imports no torch.

References:
    | The properties of known drugs. 1. Molecular frameworks (Bemis & Murcko, 1996)
    | https://doi.org/10.1021/jm9602928
    | Molecular Sets (MOSES): a benchmarking platform for molecular generation models
    | (Polykovskiy et al., 2020) https://arxiv.org/abs/1811.12823
"""

__all__ = ["scaffold_of_score", "scaffolds_of_split"]

from typing import Any

from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcNumRings
from rdkit.Chem.Scaffolds.MurckoScaffold import GetScaffoldForMol

from genmatter.domains.molecule.smiles import no_log

_RINGS = 2


def scaffold_of_score(mol: Chem.Mol) -> str:
    """Returns the canonical SMILES of a scaffold of two rings or more; "" where there is none."""
    found = GetScaffoldForMol(mol)
    return Chem.MolToSmiles(found) if CalcNumRings(found) >= _RINGS else ""


def scaffolds_of_split(told: dict[str, Any], smiles: list[str]) -> list[str]:
    """Returns the scaffold of each SMILES, as canonical SMILES without stereo.

    Molecules without rings have the scaffold "", and so has what is no molecule.
    """
    del told
    with no_log():
        return [_flat(s) for s in smiles]


def _flat(smiles: str) -> str:
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or not CalcNumRings(mol):
        return ""
    Chem.RemoveStereochemistry(mol)
    return Chem.MolToSmiles(GetScaffoldForMol(mol))
