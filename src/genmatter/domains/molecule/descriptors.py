"""What RDKit knows of a molecule: a number for each name. Imports no torch."""

__all__ = ["PROPERTIES", "Property", "named", "rows", "values"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rdkit import Chem
from rdkit.Chem import QED, Crippen, Descriptors, GraphDescriptors, rdMolDescriptors

from genmatter.config import closest
from genmatter.domains.molecule.sascore import natural_product_likeness, synthetic_accessibility
from genmatter.domains.molecule.smiles import no_log
from genmatter.errors import ConfigError


@dataclass(frozen=True)
class Property:
    """A number of a molecule, by name."""

    name: str
    unit: str
    of: Callable[[Chem.Mol], float]


def _stereocentres(mol: Chem.Mol) -> int:
    """Counts atoms that can have a side, whether it is told or not."""
    found = Chem.FindMolChiralCenters(mol, includeUnassigned=True, useLegacyImplementation=False)
    return len(found)


PROPERTIES: dict[str, Property] = {
    p.name: p
    for p in (
        Property("tpsa", "square angstrom", rdMolDescriptors.CalcTPSA),
        Property("logp", "decades", Crippen.MolLogP),  # pyright: ignore[reportAttributeAccessIssue]
        Property("qed", "", QED.qed),
        Property("sa", "", synthetic_accessibility),
        Property("mw", "g/mol", Descriptors.MolWt),  # pyright: ignore[reportAttributeAccessIssue]
        Property("hbd", "donors", rdMolDescriptors.CalcNumHBD),
        Property("hba", "acceptors", rdMolDescriptors.CalcNumHBA),
        Property("rotatable_bonds", "bonds", rdMolDescriptors.CalcNumRotatableBonds),
        Property("rings", "rings", rdMolDescriptors.CalcNumRings),
        Property("aromatic_rings", "rings", rdMolDescriptors.CalcNumAromaticRings),
        Property("aliphatic_rings", "rings", rdMolDescriptors.CalcNumAliphaticRings),
        Property("heavy_atoms", "atoms", Chem.Mol.GetNumHeavyAtoms),
        Property("fraction_csp3", "share of carbons", rdMolDescriptors.CalcFractionCSP3),
        Property("charge", "elementary charges", Chem.GetFormalCharge),
        Property("molar_refractivity", "cm^3/mol", Crippen.MolMR),  # pyright: ignore[reportAttributeAccessIssue]
        Property("stereocentres", "atoms", _stereocentres),
        Property("np", "-5 synthetic to 5 natural", natural_product_likeness),
        Property("bertz", "", GraphDescriptors.BertzCT),
    )
}
"""The properties, in the order in which they are shown.

References:
    | TPSA: Ertl, Rohde & Selzer (2000) https://doi.org/10.1021/jm000942e
    | logP and molar refractivity: Wildman & Crippen (1999) https://doi.org/10.1021/ci990307l
    | QED: Bickerton et al. (2012) https://doi.org/10.1038/nchem.1243
    | Complexity: Bertz (1981) https://doi.org/10.1021/ja00402a071
"""

_ALIASES = {
    "psa": "tpsa", "clogp": "logp", "mollogp": "logp", "crippen": "logp", "sascore": "sa",
    "molwt": "mw", "molweight": "mw", "molecularweight": "mw", "weight": "mw", "mass": "mw",
    "donors": "hbd", "numhdonors": "hbd", "acceptors": "hba", "numhacceptors": "hba",
    "rotbonds": "rotatable_bonds", "numrotatablebonds": "rotatable_bonds",
    "ringcount": "rings", "numrings": "rings", "numaromaticrings": "aromatic_rings",
    "numaliphaticrings": "aliphatic_rings", "heavyatomcount": "heavy_atoms",
    "numheavyatoms": "heavy_atoms", "fractioncsp3": "fraction_csp3", "fsp3": "fraction_csp3",
    "csp3": "fraction_csp3", "formalcharge": "charge", "mr": "molar_refractivity",
    "molmr": "molar_refractivity", "stereocenters": "stereocentres",
    "chiralcenters": "stereocentres", "npscore": "np", "nplikeness": "np", "bertzct": "bertz",
}  # fmt: skip
"""What properties are called elsewhere, in lower case, and nothing but letters and digits."""


def _bare(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


_KNOWN = {_bare(name): p for name, p in PROPERTIES.items()} | {
    alias: PROPERTIES[name] for alias, name in _ALIASES.items()
}


def named(name: str) -> Property:
    """Returns a property by its name, or by a usual one, in whichever case.

    Raises:
        ConfigError: There is none of that name.
    """
    if _bare(name) not in _KNOWN:
        raise ConfigError(f"there is no property {name!r}{closest(name.lower(), PROPERTIES)}")
    return _KNOWN[_bare(name)]


def values(smiles: str, names: Sequence[str]) -> list[float]:
    """Returns properties of a molecule; NaN of what is none."""
    mol = Chem.MolFromSmiles(smiles) if smiles else None
    if mol is None:
        return [float("nan")] * len(names)
    return [float(PROPERTIES[name].of(mol)) for name in names]


def rows(told: dict[str, Any], smiles: list[str]) -> list[list[float]]:
    """Returns the properties `told["names"]` of each molecule."""
    with no_log():
        return [values(s, told["names"]) for s in smiles]
