"""The capped peptide that is simulated where no data are given."""

__all__ = ["LETTERS", "protein", "structure"]

import io
import math

from genmatter.domains.backbone.config import PeptideConfig
from genmatter.domains.backbone.conformers import Protein
from genmatter.errors import ConfigError
from genmatter.maths.residues import ALPHABET

LETTERS = "".join(sorted(ALPHABET[:20]))
"""The residues that a peptide can have."""
_SHORTEST, _LONGEST = 3, 50
_HOTTEST = 1000.0  # kelvin
# what is left of a glycine before the first residue, and of one behind the last
_ACE = {"CA": "CH3", "C": "C", "O": "O"}
_NME = {"N": "N", "CA": "CH3"}


def protein(peptide: PeptideConfig) -> Protein:
    """Returns the residues between the caps, numbered from 2: the first cap is residue 1.

    Raises:
        ConfigError: No such peptide can be simulated.
    """
    _check_sequence(peptide.sequence)
    for name in ("temperature", "nanoseconds", "save_ps"):
        _check_above_zero(name, getattr(peptide, name))
    for name in ("replicas", "conformers"):
        if getattr(peptide, name) < 1:
            raise ConfigError(f"{name} is {getattr(peptide, name)}, but has to be at least 1")
    if peptide.temperature > _HOTTEST:
        raise ConfigError(
            f"temperature is {peptide.temperature:g} K; above {_HOTTEST:g} K force fields mean "
            "nothing"
        )
    if peptide.save_ps > 1000 * peptide.nanoseconds:
        raise ConfigError(
            f"save_ps is {peptide.save_ps:g}, but a replica lasts {peptide.nanoseconds:g} ns, so "
            "that it would have no frame"
        )
    n = len(peptide.sequence)
    name = f"{peptide.sequence}_{peptide.temperature:g}K"
    return Protein(name, peptide.sequence, tuple(range(2, n + 2)), ("A",) * n)


def _check_sequence(sequence: str) -> None:
    for place, letter in enumerate(sequence, 1):
        if letter not in LETTERS:
            raise ConfigError(
                f"residue {place} of the sequence {sequence!r} is {letter!r}; residues are the "
                f"capital letters {LETTERS}"
            )
    if not _SHORTEST <= len(sequence) <= _LONGEST:
        raise ConfigError(
            f"the sequence {sequence!r} has {len(sequence)} residues; peptides of {_SHORTEST} to "
            f"{_LONGEST} can be simulated, and others be read with --data or --pdb and --traj"
        )


def _check_above_zero(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value}, but has to be a number above 0")


def structure(sequence: str, phi: float, psi: float) -> str:
    """Builds a peptide between the caps ACE and NME, all its torsions alike.

    The caps are what is left of a glycine at either end.

    Args:
        sequence: The residues between the caps.
        phi: Torsion before each CA, in degrees.
        psi: Torsion behind it, in degrees.

    Returns:
        The heavy atoms as a PDB file.

    References:
        | PeptideBuilder: a simple Python library to generate model peptides
        | (Tien et al., 2013, https://doi.org/10.7717/peerj.80)
    """
    from Bio.PDB.PDBIO import PDBIO
    from PeptideBuilder import Geometry, add_residue, initialize_res

    built = None
    for letter in f"G{sequence}G":
        geometry = Geometry.geometry(letter)
        geometry.phi, geometry.psi_im1 = phi, psi
        built = add_residue(built, geometry) if built else initialize_res(geometry)
    text, writer = io.StringIO(), PDBIO()
    writer.set_structure(built)
    writer.save(text)
    atoms = [row for row in text.getvalue().splitlines() if row.startswith("ATOM")]
    kept = (_capped(row, len(sequence) + 2) for row in atoms)
    return "\n".join([row for row in kept if row] + ["END", ""])


def _capped(row: str, last: int) -> str:
    """Returns a row with the names of the cap that it belongs to, empty if the cap lacks it."""
    number, name = int(row[22:26]), row[12:16].strip()
    if 1 < number < last:
        return row
    cap, names = ("ACE", _ACE) if number == 1 else ("NME", _NME)
    return f"{row[:12]} {names[name]:<3} {cap}{row[20:]}" if name in names else ""
