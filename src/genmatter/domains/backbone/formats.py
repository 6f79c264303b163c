"""Conformers on disk, in the formats of the field.

A file is of one protein; several are written to files of their own, `_NAME` before the suffix,
and read again under the name without it.
"""

__all__ = ["SUFFIXES", "read", "write"]

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from genmatter.domains.backbone import archive, trajectories
from genmatter.domains.backbone.conformers import Conformers, Protein, Trajectory, centred
from genmatter.domains.backbone.structures import BLOCK, MARK, read_models, read_topology
from genmatter.errors import DataError
from genmatter.maths import residues
from genmatter.run import write_bytes, write_text

SUFFIXES = (".pdb", ".cif", ".xtc", ".npy")
"""The files that can be written; trajectories of other programs can be read as well."""

Atoms = Float[np.ndarray, "n residues 14 3"]


def read(path: Path) -> Conformers:
    """Reads conformers, in the order of the file.

    Files of positions only take another beside them: an .xtc its topology, a .pdb of the same
    stem; an .npy the table that `write` puts there, or those of a folder of trajectories.

    Raises:
        DataError: There is no such file, it is damaged, or holds no protein.
    """
    return Conformers.all([t for place in _places(path) for t in _read(place)])


def _places(path: Path) -> list[Path]:
    """Returns the file itself, or those of several proteins."""
    if path.exists():
        return [path]
    found = sorted(path.parent.glob(f"{path.stem}_*{path.suffix}"))
    if not found:
        raise DataError(f"there is no file {path}")
    return found


def _read(path: Path) -> list[Trajectory]:
    kind = path.suffix.lower()
    if path.is_dir():
        return archive.read(path)
    if kind == ".npy":
        return [archive.read_lone(path)]
    if kind in trajectories.SUFFIXES:
        beside = [p for s in (".pdb", ".cif") if (p := path.with_suffix(s)).is_file()]
        if not beside:
            raise DataError(f"{path} holds positions only: put its topology beside it, a .pdb")
        return [_moving(path, beside[0])]
    if kind in (".pdb", ".cif"):
        topology, atoms = read_models(path)
        x = centred(torch.from_numpy(atoms))
        return [
            Trajectory(
                topology.protein, x, source=str(path), complete=topology.complete,
                notes=topology.notes,
            )
        ]  # fmt: skip
    known = " ".join(dict.fromkeys((*SUFFIXES, *trajectories.SUFFIXES)))
    raise DataError(f"{path} is none of the known kinds of file: {known}")


def _moving(path: Path, beside: Path) -> Trajectory:
    """Reads a trajectory with its topology, into memory."""
    topology = read_topology(beside)
    with trajectories.frames(path, topology) as found:
        pieces, times = zip(*found.pieces, strict=True)
    return Trajectory(
        topology.protein, centred(torch.from_numpy(np.concatenate(pieces))),
        frame_ps=trajectories.interval(path, np.concatenate(times)), source=str(path),
        complete=topology.complete, notes=topology.notes,
    )  # fmt: skip


def write(objects: Conformers, path: Path) -> None:
    """Writes conformers in the format of the file's suffix.

    Only atoms are written that all conformers of the protein have: N, CA, C, O and CB of those
    that a model generated. Residues keep their numbers and chains. A trajectory (.xtc) gets its
    topology beside it, a .pdb of the first conformer, and an array (.npy) a table (.csv).

    Raises:
        DataError: The suffix is none of the `SUFFIXES`, there are no conformers or they are not
            finite, or the format cannot hold them.
        RunError: The file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is none of the kinds that are written: {' '.join(SUFFIXES)}")
    proteins = objects.proteins
    if not proteins:
        raise DataError(f"there are no conformers to write to {path}")
    for protein in proteins:
        place = path if len(proteins) == 1 else path.with_stem(f"{path.stem}_{protein.name}")
        _write(objects.of(protein), protein, place)


def _write(objects: Conformers, protein: Protein, path: Path) -> None:
    x = objects.atoms().detach().cpu().numpy()
    wrong = ~np.isfinite(x).all((1, 2, 3))
    if wrong.any():
        raise DataError(
            f"cannot write {path}: conformer {int(wrong.argmax())} of {protein.name} is at NaN or "
            "infinity"
        )
    kind = path.suffix.lower()
    if kind == ".npy":
        archive.write_array(path, [x], (len(x), len(protein)))
        write_text(path.with_suffix(".csv"), archive.table(_told(objects)))
    elif kind == ".cif":
        write_bytes(path, b"".join(_cif(protein, x)))
    else:
        shown = path.with_suffix(".pdb") if kind == ".xtc" else path
        write_bytes(shown, b"".join(_pdb(protein, x[:1] if kind == ".xtc" else x, shown)))
        if kind == ".xtc":
            _write_xtc(path, x[:, *_atoms(protein, x)], _times(objects))


def _told(objects: Conformers) -> list[Trajectory]:
    """Returns the trajectories of conformers; where they are not in order, time says nothing."""
    times = np.diff(_times(objects))
    frame_ps = float(times[0]) if len(times) and (times == times[0]).all() else 0.0
    used = objects.where[:, 0].unique().tolist()
    return [replace(objects.trajectories[k], frame_ps=frame_ps) for k in used]


def _times(objects: Conformers) -> Float[np.ndarray, " n"]:
    """Returns the time of each conformer in its trajectory, where there is one; else zeros."""
    used = objects.where[:, 0].unique().tolist()
    frame_ps = objects.trajectories[used[0]].frame_ps if len(used) == 1 else 0.0
    return objects.where[:, 1].double().numpy() * frame_ps


def _atoms(protein: Protein, x: Atoms) -> Int[np.ndarray, "2 atoms"]:
    """Returns residue and slot of each atom that is in all conformers."""
    there = (x != 0).any(-1).all(0)
    for i, letter in enumerate(protein.sequence):
        there[i, len(residues.ATOM14[letter]) :] = False
    return np.stack(there.nonzero())


def _write_xtc(path: Path, x: Float[np.ndarray, "n atoms 3"], times: np.ndarray) -> None:
    from mdtraj.formats import XTCTrajectoryFile

    new = path.with_name(path.name + ".new")
    try:
        with XTCTrajectoryFile(str(new), "w", force_overwrite=True) as file:
            file.write(x.astype(np.float32) / 10, time=times.astype(np.float32))  # in nanometres
        new.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error})") from error
    finally:
        new.unlink(missing_ok=True)


def _pdb(protein: Protein, x: Atoms, path: Path) -> Iterator[bytes]:
    """Yields a file of models, without a crystal's cell."""
    wide = np.abs(x).max() >= 1000
    if (
        wide
        or max(map(len, protein.chains)) > 1
        or not all(-999 <= k <= 9999 for k in protein.numbers)
    ):
        raise DataError(
            f"cannot write {path}: {protein.name} does not fit into the columns of a PDB file, "
            "which has chains of one letter, numbers up to 9999 and positions up to 999 A; write "
            "a .cif file"
        )
    pairs = _atoms(protein, x)
    frame = "".join(_pdb_lines(protein, pairs.T.tolist()))
    yield f"{MARK}{protein.name}\n".encode()
    positions = x[:, pairs[0], pairs[1]].reshape(len(x), -1)
    for k, row in enumerate(positions.tolist(), 1):
        yield f"MODEL     {k:4d}\n".encode() + (frame % tuple(row)).encode() + b"ENDMDL\n"
    yield b"END\n"


def _pdb_lines(protein: Protein, pairs: list[list[int]]) -> Iterator[str]:
    """Yields the lines of a model, with places for its positions."""
    serial = 0
    for k, (i, slot) in enumerate(pairs):
        letter = protein.sequence[i]
        atom = residues.ATOM14[letter][slot]
        place = f"{residues.NAMES[letter]} {protein.chains[i]}{protein.numbers[i]:4d}"
        serial += 1
        yield f"ATOM  {serial % 100000:5d}  {atom:<3} {place}    %8.3f%8.3f%8.3f  1.00  0.00"
        yield f"          {atom[0]:>2}  \n"
        after = pairs[k + 1][0] if k + 1 < len(pairs) else None
        if after is None or protein.chains[after] != protein.chains[i]:
            serial += 1
            yield f"TER   {serial % 100000:5d}      {place}\n"


_COLUMNS = (
    "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
    "label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y",
    "Cartn_z", "occupancy", "B_iso_or_equiv", "auth_seq_id", "auth_asym_id", "pdbx_PDB_model_num",
)  # fmt: skip

_MODEL = "#MODEL#"
"""Holds the place of a model's number among the positions."""


def _cif(protein: Protein, x: Atoms) -> Iterator[bytes]:
    """Yields a file of models."""
    pairs = _atoms(protein, x)
    frame = "".join(_cif_lines(protein, pairs.T.tolist()))
    head = "".join(f"_atom_site.{c}\n" for c in _COLUMNS)
    name = "_".join(protein.name.split())
    yield f"data_{BLOCK}{name}\n#\nloop_\n{head}".encode()
    for k, row in enumerate(x[:, *pairs].reshape(len(x), -1).tolist(), 1):
        yield (frame % tuple(row)).replace(_MODEL, str(k)).encode()
    yield b"#\n"


def _cif_lines(protein: Protein, pairs: list[list[int]]) -> Iterator[str]:
    """Yields the lines of a model, with places for its positions and its number."""
    for k, (i, slot) in enumerate(pairs, 1):
        letter, chain, number = protein.sequence[i], protein.chains[i], protein.numbers[i]
        atom = residues.ATOM14[letter][slot]
        yield f"ATOM {k} {atom[0]} {atom} . {residues.NAMES[letter]} {chain} 1 {i + 1} ? "
        yield f"%.3f %.3f %.3f 1.00 0.00 {number} {chain} {_MODEL}\n"
