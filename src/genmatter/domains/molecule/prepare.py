"""From rows of a file to molecules in one form, each once."""

__all__ = ["check", "prepare", "rule"]

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from rdkit import Chem

from genmatter.domains.molecule.config import MoleculeDataConfig
from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.prepared import Dropped, Prepared, first_lines
from genmatter.domains.molecule.rows import Rows
from genmatter.domains.molecule.standard import Rule, Standard, standards
from genmatter.errors import ConfigError, DataError
from genmatter.loading.parallel import spread

SHOWN = 200
"""Characters of a row that are kept where it is left out."""


@dataclass
class _Forms:
    """What became of each row: one list for each part, since a million tuples take memory."""

    smiles: list[str]
    selfies: list[str]
    reasons: list[str]
    stripped: list[bool]
    neutralised: list[bool]


def prepare(rows: Rows, told: MoleculeDataConfig, processes: int = 0) -> Prepared:
    """Brings molecules into one form, and leaves out what has none, saying why.

    The form is that of `standards`; of rows that come to the same molecule the first stays, with
    its numbers. Nothing is cut short. The result is the same however many processes compute.

    Args:
        rows: What the file says.
        told: What is kept, and how.
        processes: How many compute; 0 uses all processors, where there are enough rows.

    Raises:
        DataError: No row is left, or a column has no number.
        ConfigError: What is told cannot be meant.
    """
    check(told)
    found = spread(standards, asdict(rule(told, rows.notation)), rows.texts, "prepare", processes)
    forms = _Forms([], [], [], [], [])
    first: dict[str, str] = {}
    for number, form in zip(rows.numbers.tolist(), found, strict=True):
        _add(forms, Standard(*form), first, f"{rows.unit} {number}")
    return _prepared(rows, forms)


def rule(told: MoleculeDataConfig, notation: str = "smiles") -> Rule:
    """Returns what of a config matters to a single molecule."""
    return Rule(
        notation, told.max_length, told.max_atoms, told.elements, told.stereo, told.neutralise
    )


def check(told: MoleculeDataConfig) -> None:
    """Refuses what no molecule could be.

    Raises:
        ConfigError: What is told cannot be meant.
    """
    if told.max_atoms < 1 or told.max_length < 0:
        raise ConfigError(
            f"molecules have at least 1 heavy atom, and SELFIES a length: max_atoms="
            f"{told.max_atoms} and max_length={told.max_length} cannot be"
        )
    table = Chem.GetPeriodicTable()
    known = {table.GetElementSymbol(k) for k in range(1, 119)}
    for name in told.elements:
        if name not in known:
            raise ConfigError(f"there is no element {name!r}; they are written as C, Cl, Br")


def _add(forms: _Forms, form: Standard, first: dict[str, str], place: str) -> None:
    smiles, reason = form.smiles, form.reason
    if smiles and smiles in first:
        reason = f"repeated: same as {first[smiles]}"
    first.setdefault(smiles, place)
    forms.smiles.append("" if reason else smiles)
    forms.selfies.append("" if reason else form.selfies)
    forms.reasons.append(reason)
    forms.stripped.append(form.stripped)
    forms.neutralised.append(form.neutralised)


def _prepared(rows: Rows, forms: _Forms) -> Prepared:
    out = [k for k, reason in enumerate(forms.reasons) if reason]
    dropped = [Dropped(int(rows.numbers[k]), rows.texts[k][:SHOWN], forms.reasons[k]) for k in out]
    kept = np.array([not reason for reason in forms.reasons], dtype=bool)
    if not kept.any():
        told = "; ".join(f"{k}: {v}" for k, v in first_lines(dropped, rows.unit).items())
        raise DataError(f"none of {len(rows):,} rows is a molecule that can be used: {told}")
    numbers = {k: torch.from_numpy(v[kept]) for k, v in rows.columns.items()}
    for name, values in numbers.items():
        if values.isnan().all():
            raise DataError(f"the column {name!r} has no number of any molecule that is kept")
    molecules = Molecules(
        np.array(forms.smiles, dtype=object)[kept],
        numbers,
        np.array(forms.selfies, dtype=object)[kept],
    )
    return Prepared(
        molecules, rows.numbers[kept], dropped, _count(forms.stripped, kept),
        _count(forms.neutralised, kept), rows.unit,
    )  # fmt: skip


def _count(flags: Sequence[bool], kept: np.ndarray) -> int:
    return int((np.array(flags) & kept).sum())
