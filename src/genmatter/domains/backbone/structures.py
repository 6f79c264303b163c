"""Proteins in PDB and mmCIF files: which atoms are whose, and where they are in each model."""

__all__ = ["Topology", "branched", "named", "read_models", "read_topology"]

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from genmatter.domains.backbone.conformers import Protein
from genmatter.errors import DataError
from genmatter.maths import residues

WATER = {"HOH", "WAT", "SOL", "DOD", "H2O", "TIP", "TIP3", "TIP3P", "TIP4", "TP3", "SPC", "OPC"}
MARK = "REMARK  99 genmatter protein "
"""Begins the line by which a PDB file of ours names its protein."""
BLOCK = "genmatter_"
"""Begins what an mmCIF file of ours names its block, before its protein's name."""


@dataclass(frozen=True, eq=False)
class Topology:
    """Which of a file's atoms a protein consists of, and their slots in `[residues * 14]`."""

    protein: Protein
    atoms: Int[np.ndarray, " kept"]
    slots: Int[np.ndarray, " kept"]
    size: int
    """Atoms of the file, of the protein and of all else."""
    whole: int
    """Atoms of the protein, hydrogens and caps included."""
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether side chains are there beyond CB, where the sequence has such."""
        return not branched(self.protein) or bool((self.slots % 14 > 4).any())

    def place(
        self, positions: Float[np.ndarray, "n kept 3"]
    ) -> Float[np.ndarray, "n residues 14 3"]:
        """Puts atoms into their slots; the others hold zeros."""
        found = np.zeros((len(positions), len(self.protein) * 14, 3), np.float32)
        found[:, self.slots] = positions
        return found.reshape(len(positions), -1, 14, 3)


@dataclass(frozen=True)
class _Residue:
    """A residue of a file, and the atoms it has, by name."""

    name: str
    number: int
    insertion: str
    chain: str
    atoms: dict[str, int]
    doubled: str
    """An atom that it has twice at one place, if any."""
    others: int
    """Atoms at alternate locations, which are left out."""

    @property
    def standard(self) -> bool:
        """Whether it is one of the twenty, or a variant."""
        return residues.letter(self.name) != "X"

    @property
    def size(self) -> int:
        """How many atoms the file has of it."""
        return len(self.atoms) + self.others

    @property
    def slots(self) -> dict[int, int]:
        """The row of each atom that has a slot."""
        found: dict[int, int] = {}
        for atom, row in self.atoms.items():
            slot = residues.slot(self.name, atom)
            if slot is not None:
                found.setdefault(slot, row)
        return found

    def __str__(self) -> str:
        return f"{self.name} {self.number}{self.insertion} (chain {self.chain})"


def branched(protein: Protein) -> bool:
    """Whether it has side chains beyond CB."""
    return any(len(residues.ATOM14[r]) > 5 for r in protein.sequence)


def named(protein: Protein, i: int) -> str:
    """Names a residue as its file does: `ALA 3 (chain A)`."""
    name = residues.NAMES[protein.sequence[i]]
    return f"{name} {protein.numbers[i]} (chain {protein.chains[i]})"


def read_topology(path: Path, name: str = "") -> Topology:
    """Reads which atoms of a file are a protein's, from its first model.

    Variants of residues by protonation are their parents. Caps, water, ions and ligands are left
    out and counted, and of alternate locations the first is kept.

    Args:
        path: A .pdb or .cif file.
        name: What to call the protein; what the file says, or its stem, by default.

    Raises:
        DataError: There is no such file, it is damaged, or a residue in it, which the message
            names, is not standard or lacks an atom of the backbone.
    """
    table = _table(path)
    return _topology(path, name, table, _models(path, table)[0])


def read_models(
    path: Path, name: str = ""
) -> tuple[Topology, Float[np.ndarray, "models residues 14 3"]]:
    """Reads every model of a file, see `read_topology`.

    Raises:
        DataError: As `read_topology`, or the models are not of the same atoms.
    """
    table = _table(path)
    models = _models(path, table)
    found = _topology(path, name, table, models[0])
    rows = np.stack(models)
    for key in ("residue_names", "atom_names", "resnums", "chain_ids"):
        column = getattr(table, key)[rows]
        _refuse_difference(path, column, rows, table)
    return found, found.place(table.pos[rows[:, found.atoms]])


def _table(path: Path) -> Any:
    """Returns the columns of a file's atoms, in their order."""
    import gemmi

    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        if path.suffix.lower() == ".pdb":
            structure = gemmi.read_pdb_string(_models_marked(path.read_text(errors="replace")))
        else:
            structure = gemmi.read_structure(str(path), merge_chain_parts=False)
        table = gemmi.FlatStructure(structure)
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix} ({error})") from error
    if not len(table):
        raise DataError(f"{path} holds no atoms")
    table.strings_as_numbers = False
    return table


def _models_marked(text: str) -> str:
    """Returns a PDB file whose frames are models; some programs only end each with END."""
    frames = re.split(r"^END[ \r]*\n", text, flags=re.MULTILINE)
    if "\nMODEL" in "\n" + text or sum("ATOM" in f for f in frames) < 2:
        return text
    return "".join(f"MODEL {i}\n{f}ENDMDL\n" for i, f in enumerate(frames, 1) if "ATOM" in f)


def _models(path: Path, table: Any) -> list[Int[np.ndarray, " atoms"]]:
    """Returns the rows of each model."""
    found = np.split(np.arange(len(table)), np.flatnonzero(np.diff(table.model_num)) + 1)
    for frame, rows in enumerate(found):
        if len(rows) != len(found[0]):
            raise DataError(
                f"{path}: frame {frame} has {len(rows)} atoms, but frame 0 has {len(found[0])}"
            )
    return found


def _refuse_difference(
    path: Path, column: np.ndarray, rows: Int[np.ndarray, "models atoms"], table: Any
) -> None:
    """Refuses models that are not of the same atoms in the same order."""
    wrong = np.argwhere(column != column[0])
    if len(wrong):
        frame, k = wrong[0]
        here, there = (_told(table, int(rows[i, k])) for i in (frame, 0))
        raise DataError(f"{path}: atom {k} is {here} in frame {frame}, but {there} in frame 0")


def _told(table: Any, row: int) -> str:
    chain = table.chain_ids[row].decode() or "A"
    name, residue = table.atom_names[row].decode(), table.residue_names[row].decode()
    return f"{name} of {residue} {table.resnums[row]} (chain {chain})"


def _topology(path: Path, name: str, table: Any, rows: Int[np.ndarray, " atoms"]) -> Topology:
    groups = _groups(table, rows)
    chain = [g for g in groups if g.standard]
    _refuse_residues(path, groups)
    if not chain:
        names = ", ".join(sorted({g.name for g in groups})[:5])
        raise DataError(f"{path} holds no protein, only {names}")
    for residue in chain:
        _refuse_residue(path, residue)
    sequence = "".join(residues.letter(g.name) for g in chain)
    protein = Protein(
        name or _name(path),
        sequence,
        tuple(g.number for g in chain),
        tuple(g.chain for g in chain),
    )
    pairs = [(row, 14 * i + slot) for i, g in enumerate(chain) for slot, row in g.slots.items()]
    atoms, slots = np.array(pairs).T
    whole = sum(g.size for g in groups if g.standard or g.name in residues.CAPS)
    return Topology(protein, atoms - rows[0], slots, len(rows), whole, _notes(groups, chain))


def _groups(table: Any, rows: Int[np.ndarray, " atoms"]) -> list[_Residue]:
    """Returns the residues of a model, in their order."""
    texts = (table.residue_names, table.chain_ids, table.atom_names)
    names, chains, atoms = (np.char.decode(t[rows], "latin-1").tolist() for t in texts)
    numbers, codes = table.resnums[rows].tolist(), table.icodes[rows].tolist()
    places = table.altlocs[rows].tolist()
    keys = zip(names, numbers, codes, chains, strict=True)
    found = []
    for (name, number, code, chain), some in groupby(enumerate(keys), key=lambda e: e[1]):
        kept: dict[str, int] = {}
        doubled, others = "", 0
        for k, _ in some:
            if atoms[k] not in kept:
                kept[atoms[k]] = int(rows[k])
            else:
                others += 1
                doubled = doubled or ("" if places[k] else atoms[k])
        found.append(
            _Residue(name, number, chr(code).strip(), chain or "A", kept, doubled, others)
        )
    return found


def _refuse_residues(path: Path, groups: Sequence[_Residue]) -> None:
    """Refuses what is linked like an amino acid and is none of the twenty."""
    for g in groups:
        if not g.standard and g.name not in residues.CAPS and {"N", "CA", "C"} <= g.atoms.keys():
            raise DataError(
                f"{path}: residue {g} is none of the twenty standard ones or their variants"
            )


def _refuse_residue(path: Path, residue: _Residue) -> None:
    if residue.insertion:
        raise DataError(
            f"{path}: residue {residue} has an insertion code: number the residues of each chain "
            "one by one"
        )
    if residue.doubled:
        raise DataError(f"{path}: residue {residue} has two atoms {residue.doubled}")
    for slot, atom in enumerate(residues.BACKBONE[:4]):
        if slot not in residue.slots:
            raise DataError(
                f"{path}: residue {residue} lacks the backbone atom {atom}, in frame 0"
            )


def _name(path: Path) -> str:
    """Returns the protein's name: what a file of ours says, or the file's."""
    with path.open(errors="replace") as file:
        first = file.readline().rstrip()
    if first.startswith(MARK):
        return first.removeprefix(MARK)
    block = f"data_{BLOCK}"
    return first.removeprefix(block) if first.startswith(block) else path.stem


def _notes(groups: Sequence[_Residue], chain: Sequence[_Residue]) -> tuple[str, ...]:
    """Says what was left out."""
    kind = partial(_kind, {id(g) for g in chain})
    counts = Counter(kind(g) for g in groups)
    left = ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items()) if what)
    others = sum(g.others for g in chain)
    return (
        *((f"left out: {left}",) if left else ()),
        *((f"{others} atoms at alternate locations left out",) if others else ()),
    )


def _kind(kept: set[int], group: _Residue) -> str:
    """Says what a residue that was left out is; "" of one that was kept."""
    if id(group) in kept:
        return ""
    if group.name in residues.CAPS:
        return f"{group.name} (cap)"
    if group.name in WATER:
        return "water"
    return f"{group.name} (ion)" if len(group.atoms) == 1 else f"{group.name} (ligand)"
