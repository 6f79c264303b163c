"""One molecule in the one form that it has in data, or the reason why it is left out.

Salts are stripped, charges and stereo go where that is wanted, and the SMILES is RDKit's canonical
one of itself. Its SELFIES reads back to the same SMILES, for else a model would learn of another
molecule than the one that is written down. This file is all that the processes which share the
work out need; it takes no torch.
"""

__all__ = ["VERSION", "Rule", "Standard", "standards"]

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import selfies
from rdkit import Chem
from rdkit.Chem.MolStandardize.rdMolStandardize import Uncharger
from rdkit.Chem.rdMolDescriptors import CalcExactMolWt

from genmatter.domains.molecule.smiles import canonical, decoded, no_log, parsed

VERSION = 1
"""Of the rules here; another one makes what is kept of them anew."""
_ROUNDS = 5  # of writing and reading until a SMILES stays the same
_ATOM = re.compile(r"\[[^\]]*\]|Br|Cl|[BCNOPSFIbcnops]")
_HYDROGEN = re.compile(r"\[\d*H\d*[+-]*\d*\]")
_CARBON = re.compile(r"C|c|\[\d*[Cc](?![a-z]).*")


@dataclass(frozen=True)
class Rule:
    """What becomes of molecules, and which are left out; `MoleculeDataConfig` says more."""

    notation: str = "smiles"
    """How they are written: `smiles`, `selfies` or `mol`."""
    max_length: int = 0
    max_atoms: int = 100
    elements: tuple[str, ...] = ()
    stereo: bool = True
    neutralise: bool = False


class Standard(NamedTuple):
    """A molecule in its form, or why it is left out: a kind of reason, and what is so here."""

    smiles: str = ""
    selfies: str = ""
    stripped: bool = False
    neutralised: bool = False
    reason: str = ""


class _LeftOutError(Exception):
    """A molecule is left out; the message is the reason."""


def standards(told: dict[str, Any], texts: list[str]) -> list[Standard]:
    """Returns the form of each text; `told` are the fields of a `Rule`."""
    rule = Rule(**{**told, "elements": tuple(told["elements"])})
    return [_standard(text, rule) for text in texts]


def _standard(text: str, rule: Rule) -> Standard:
    try:
        with no_log():
            return _formed(text, rule)
    except _LeftOutError as error:
        return Standard(reason=str(error))
    except (
        Exception
    ) as error:  # RDKit and selfies raise whatever a molecule makes them stumble over
        return Standard(
            reason=f"cannot be handled: {type(error).__name__} {_line(error)}".rstrip()
        )


def _formed(text: str, rule: Rule) -> Standard:
    mol, stripped = _parent(_mol(text, rule))
    charges = _charges(mol) if rule.neutralise else 0
    if charges:
        mol = Uncharger().uncharge(mol)
    if not rule.stereo:
        Chem.RemoveStereochemistry(mol)
    _refuse_atoms(mol, rule)
    smiles = _settled(Chem.MolToSmiles(mol), text)
    neutralised = charges > 0 and _charges(mol) < charges
    return Standard(smiles, _written(smiles, rule), stripped, neutralised)


def _mol(text: str, rule: Rule) -> Chem.Mol:
    """Reads a text, unless it is too long for that to be worth while."""
    if not text.strip():
        raise _LeftOutError("empty")
    if rule.notation == "mol":
        mol = Chem.MolFromMolBlock(text)
        if mol is None:
            raise _LeftOutError("no molecule: " + _problem(text))
    else:
        smiles = _decoded(text.strip(), rule) if rule.notation == "selfies" else text.strip()
        _refuse_size(_heavy(smiles, rule.max_atoms), rule)
        try:
            mol = parsed(smiles)
        except ValueError as error:
            raise _LeftOutError(f"no molecule: {error}") from None
    if not mol.GetNumAtoms():
        raise _LeftOutError("empty")
    for atom in mol.GetAtoms() if ":" in text or rule.notation == "mol" else ():
        atom.SetAtomMapNum(0)
    return mol


def _decoded(text: str, rule: Rule) -> str:
    # a symbol is an atom or what stands with one, such as a branch of at most three more
    if text.count("[") > 10 * rule.max_atoms + 100:
        raise _LeftOutError(f"too large: {text.count('[')} SELFIES symbols")
    try:
        return decoded(text)
    except selfies.DecoderError as error:
        raise _LeftOutError(f"no molecule: {_line(error)}") from None


def _problem(block: str) -> str:
    """Says what is wrong with a record of an SDF file."""
    mol = Chem.MolFromMolBlock(block, sanitize=False)
    if mol is None:
        return "the record cannot be read"
    return next((p.Message() for p in Chem.DetectChemistryProblems(mol)), "it is none")


def _heavy(smiles: str, enough: int) -> int:
    """Returns about the heavy atoms of the largest organic part, where they can be too many."""
    if len(smiles) <= enough:  # each takes a character
        return 0
    parts = [_ATOM.findall(part) for part in smiles.split(".")]
    organic = [p for p in parts if any(_CARBON.fullmatch(atom) for atom in p)] or parts
    return max(sum(not _HYDROGEN.fullmatch(atom) for atom in part) for part in organic)


def _refuse_size(atoms: int, rule: Rule) -> None:
    if atoms > rule.max_atoms:
        raise _LeftOutError(f"too large: {atoms} heavy atoms, of at most {rule.max_atoms}")


def _parent(mol: Chem.Mol) -> tuple[Chem.Mol, bool]:
    """Returns the organic part with the most heavy atoms, and whether there was another one."""
    parts = Chem.GetMolFrags(mol)
    if len(parts) == 1:
        return mol, False
    return max(Chem.GetMolFrags(mol, asMols=True), key=_weight), True


def _weight(mol: Chem.Mol) -> tuple[bool, int, float, str]:
    organic = any(atom.GetAtomicNum() == 6 for atom in mol.GetAtoms())
    return organic, mol.GetNumHeavyAtoms(), CalcExactMolWt(mol), Chem.MolToSmiles(mol)


def _charges(mol: Chem.Mol) -> int:
    return sum(abs(atom.GetFormalCharge()) for atom in mol.GetAtoms())


def _refuse_atoms(mol: Chem.Mol, rule: Rule) -> None:
    _refuse_size(mol.GetNumHeavyAtoms(), rule)
    numbers = {atom.GetAtomicNum() for atom in mol.GetAtoms()}
    if 0 in numbers:
        raise _LeftOutError("atom of no element: * or a query")
    symbols = {Chem.GetPeriodicTable().GetElementSymbol(k) for k in numbers}
    others = sorted(symbols - {*rule.elements, "H"}) if rule.elements else []
    if others:
        raise _LeftOutError(f"other element: {' '.join(others)}")


def _settled(smiles: str, text: str) -> str:
    """Returns the SMILES at which writing and reading comes to rest."""
    if smiles == text:
        return smiles
    for _ in range(_ROUNDS):
        again = canonical(smiles)
        if again == smiles:
            return smiles
        smiles = again
    raise _LeftOutError("no canonical SMILES: it changes whenever it is written")


def _written(smiles: str, rule: Rule) -> str:
    """Returns the SELFIES, from which the same molecule can be read."""
    try:
        found = selfies.encoder(smiles)
    except selfies.EncoderError as error:
        raise _LeftOutError(f"no SELFIES: {_line(error)}") from None
    if rule.max_length and found.count("[") > rule.max_length:
        raise _LeftOutError(
            f"too long: {found.count('[')} SELFIES symbols, of at most {rule.max_length}"
        )
    if canonical(decoded(found)) != smiles:
        raise _LeftOutError("changes when written as SELFIES")
    return found


def _line(error: Exception) -> str:
    """Returns what an error says, in one short line."""
    return " ".join(str(error).split())[:120]
