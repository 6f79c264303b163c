"""Trajectories on disk as arrays, which stay in their files and are read frame by frame.

NAME_R1.npy, NAME_R2.npy   [frames, residues, 14, 3], angstrom, in 16 or 32 bits
NAME.pdb                   optional: numbers and chains of the residues
atlas.csv                  name,seqres and, as we write it, numbers,chains,frame_ps
frame_splits.csv           name,train_start,train_end,total_frames,train_early_end,val_end
"""

__all__ = [
    "Ranges",
    "protein",
    "ranges",
    "read",
    "read_array",
    "read_lone",
    "rows",
    "table",
    "write",
    "write_array",
    "write_ranges",
]

import csv
import difflib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmatter.domains.backbone.checks import refuse_array
from genmatter.domains.backbone.conformers import Protein, Trajectory
from genmatter.domains.backbone.structures import branched, read_topology
from genmatter.errors import DataError
from genmatter.loading.mapped import memory_map
from genmatter.maths import residues
from genmatter.run import write_text

CHUNK = 2**22
"""Numbers that are written at once."""


@dataclass(frozen=True)
class Ranges:
    """Frames of a trajectory for training, validation and test, each from the last one's end."""

    start: int
    train_end: int
    val_end: int
    total: int


def read(
    folder: Path, *, suffix: str = "", atlas_csv: str = "", proteins: Sequence[str] = ()
) -> list[Trajectory]:
    """Finds the trajectories in a folder or else in those right below it, and leaves them there.

    Args:
        folder: Where to look.
        suffix: What follows the replica's number in the names of files.
        atlas_csv: Table of the sequences; atlas.csv in the folder or above it by default.
        proteins: Names of those to take; all where empty.

    Raises:
        DataError: There are none, or one is not what the table says.
    """
    files = _files(folder, suffix)
    if not files:
        raise DataError(_nothing(folder, suffix))
    known = {name for name, _, _ in files}
    for name in proteins:
        if name not in known:
            raise DataError(f"{folder} has no protein {name!r}{_meant(name, known)}")
    table = _table(folder, atlas_csv)
    wanted = [f for f in files if not proteins or f[0] in proteins]
    found = {name: _protein(name, path, table) for name, _, path in wanted}
    return [read_array(path, found[name], n, _frame_ps(table, name)) for name, n, path in wanted]


def read_array(
    path: Path, protein: Protein, replica: int = 1, frame_ps: float = 0.0
) -> Trajectory:
    """Returns the trajectory in an .npy file, which stays there.

    Raises:
        DataError: The file is damaged, or its shape is not the protein's.
    """
    try:
        atoms = memory_map(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    refuse_array(atoms, protein, str(path))
    complete = not branched(protein) or bool((np.asarray(atoms[0, :, 5:]) != 0).any())
    return Trajectory(protein, atoms, replica, frame_ps, str(path), complete)


def read_lone(path: Path) -> Trajectory:
    """Returns the trajectory in an .npy file, with the table or structure that is beside it.

    Raises:
        DataError: There is no such file, it is damaged, or nothing says what it is of.
    """
    beside, name = path.with_suffix(".csv"), re.fullmatch(r"(.+)_R(\d+).*", path.stem)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    if beside.is_file():
        table = rows(beside, "name", "seqres")
        if len(table) != 1:
            raise DataError(f"{beside} has to have one row, but has {len(table)}")
        (told,) = table
        return read_array(path, protein(table[told], str(path)), 1, _frame_ps(table, told))
    table = _table(path.parent, "")
    told = name[1] if name else path.stem
    replica = int(name[2]) if name else 1
    return read_array(path, _protein(told, path, table), replica, _frame_ps(table, told))


def _files(folder: Path, suffix: str) -> list[tuple[str, int, Path]]:
    """Returns name, replica and file of each trajectory, in that order."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    pattern = re.compile(rf"(.+)_R(\d+){re.escape(suffix)}\.npy")
    found = []
    for paths in (folder.glob("*/*.npy"), folder.glob("*.npy")):
        here = sorted((m[1], int(m[2]), p) for p in paths if (m := pattern.fullmatch(p.name)))
        found = here or found
    for (*a, first), (*b, second) in pairwise(found):
        if a == b:
            raise DataError(f"{first} and {second} are the same replica of {a[0]}")
    return found


def _nothing(folder: Path, suffix: str) -> str:
    """Says what is missing in a folder, and what is there instead."""
    others = sorted(p.name for p in (*folder.glob("*.npy"), *folder.glob("*/*.npy")))
    there = re.fullmatch(r".+_R\d+(.*)\.npy", others[0]) if others else None
    hint = f"; there is {others[0]}" if others else ""
    if there:
        hint += f": add --suffix {there[1]}" if there[1] else ": leave --suffix out"
    return f"{folder} has no file named NAME_R1{suffix}.npy{hint}"


def _meant(name: str, known: Iterable[str]) -> str:
    meant = difflib.get_close_matches(name, sorted(known), 1, cutoff=0.5)
    return f"; did you mean {meant[0]}?" if meant else f", but {', '.join(sorted(known)[:5])}"


def _table(folder: Path, atlas_csv: str) -> dict[str, dict[str, str]]:
    """Reads the table of sequences, by name."""
    places = [folder / "atlas.csv", folder.parent / "atlas.csv"]
    path = Path(atlas_csv) if atlas_csv else next((p for p in places if p.is_file()), None)
    return {} if path is None else rows(path, "name", "seqres")


def rows(path: Path, *columns: str) -> dict[str, dict[str, str]]:
    """Reads the rows of a table, by what is in its column `name`.

    Raises:
        DataError: There is no such file, or it lacks one of these columns.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig", errors="replace")))
    for column in columns:
        if column not in (reader.fieldnames or ()):
            names = ",".join(reader.fieldnames or ())
            raise DataError(f"{path} has no column {column!r}, only {names or 'nothing'}")
    return {row["name"]: {k: v or "" for k, v in row.items() if k} for row in reader}


def _protein(name: str, path: Path, table: dict[str, dict[str, str]]) -> Protein:
    """Returns a protein as table and structure have it."""
    row, beside = table.get(name), path.with_name(f"{name}.pdb")
    shape = read_topology(beside, name).protein if beside.is_file() else None
    if row is None:
        if shape is None:
            raise DataError(
                f"there is no sequence of {name}: put its row into atlas.csv "
                f"(name,seqres){_meant(name, table) if table else ''}, or {beside.name} beside "
                f"{path}"
            )
        return shape
    told = protein(row, str(path))
    if shape is None or "numbers" in row:
        return told
    if shape.sequence != told.sequence:
        raise DataError(
            f"the sequence of {name} is {told.sequence} in the table, but {shape.sequence} in "
            f"{beside}"
        )
    return shape


def protein(row: dict[str, str], where: str) -> Protein:
    """Reads a protein from the row of a table.

    Raises:
        DataError: The sequence has other letters than those of the twenty residues.
    """
    sequence = row["seqres"].strip().upper()
    wrong = [r for r in sequence if r not in residues.ALPHABET[:20]]
    if wrong or not sequence:
        why = f"{wrong[0]!r} is none of the twenty residues" if wrong else "it is empty"
        raise DataError(f"{where}: the sequence {sequence!r} of {row['name']}: {why}")
    n = len(sequence)
    numbers = [int(k) for k in row.get("numbers", "").split()] or [*range(1, n + 1)]
    chains = row.get("chains", "").split() or ["A"] * n
    if not len(numbers) == len(chains) == n:
        raise DataError(
            f"{where}: {row['name']} has {n} residues, {len(numbers)} numbers and {len(chains)} "
            "chains"
        )
    return Protein(row["name"], sequence, tuple(numbers), tuple(chains))


def _frame_ps(table: dict[str, dict[str, str]], name: str) -> float:
    return float(table.get(name, {}).get("frame_ps") or 0.0)


def ranges(path: Path) -> dict[str, Ranges]:
    """Reads the frames of each split, by the trajectory's name: NAME_R1 and so on.

    Training frames are from `train_start` (0 where empty) to `train_end`, validation frames from
    there to `val_end`, and test frames from there to the end; no end is included.

    Raises:
        DataError: There is no such table, or it says what cannot be.
    """
    needed = ("name", "train_start", "train_end", "total_frames", "val_end")
    found = {}
    for name, row in rows(path, *needed).items():
        try:
            r = Ranges(
                int(row["train_start"] or 0), int(row["train_end"]), int(row["val_end"]),
                int(row["total_frames"]),
            )  # fmt: skip
        except ValueError as error:
            raise DataError(f"{path}: the row of {name} is not of numbers ({error})") from None
        if not 0 <= r.start <= r.train_end <= r.val_end <= r.total:
            raise DataError(
                f"{path}: the row of {name} does not go up: train_start {r.start}, train_end "
                f"{r.train_end}, val_end {r.val_end}, total_frames {r.total}"
            )
        found[name] = r
    return found


def write(
    trajectories: Sequence[Trajectory], folder: Path, suffix: str = "", step: int = 1
) -> list[Path]:
    """Writes trajectories and the table of their proteins into a folder; returns their files.

    Args:
        trajectories: Which.
        folder: Where to.
        suffix: What follows the replica's number in the names of files.
        step: Every so manieth frame is written.

    Raises:
        DataError: Two of them would be one file.
        RunError: The folder cannot be written.
    """
    places = [folder / f"{t.protein.name}_R{t.replica}{suffix}.npy" for t in trajectories]
    for path in places:
        if places.count(path) > 1:
            raise DataError(f"two trajectories would be written to {path}")
    for trajectory, path in zip(trajectories, places, strict=True):
        frames = torch.arange(0, len(trajectory), step)
        write_array(path, _pieces(trajectory, frames), (len(frames), len(trajectory.protein)))
    thinned = [replace(t, frame_ps=t.frame_ps * step) for t in trajectories]
    write_text(folder / "atlas.csv", table(thinned))
    return places


def _pieces(trajectory: Trajectory, every: Int[Tensor, " n"]) -> Iterator[np.ndarray]:
    for frames in every.split(max(CHUNK // (42 * len(trajectory.protein)), 1)):
        yield trajectory.take(frames).detach().cpu().numpy()


def write_array(
    path: Path,
    pieces: Iterable[Float[np.ndarray, "n residues 14 3"]],
    shape: tuple[int, int],
) -> None:
    """Writes frames as they come into an array of [frames, residues], which appears when whole.

    Raises:
        DataError: There are fewer frames or more, or the file cannot be written.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}.new")  # others may write the same one
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(new, "w+", np.float32, (*shape, 14, 3))
        end = 0
        for piece in pieces:
            if end + len(piece) > len(array):
                raise DataError(f"{path} was to have {shape[0]} frames, but there are more")
            array[end : end + len(piece)] = piece
            end += len(piece)
        if end < len(array):
            raise DataError(f"{path} was to have {shape[0]} frames, but there are {end}")
        array.flush()
        new.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error})") from error
    finally:
        new.unlink(missing_ok=True)


def table(trajectories: Sequence[Trajectory]) -> str:
    """Returns atlas.csv, with what else is to be known of the proteins in columns of its own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "seqres", "numbers", "chains", "frame_ps"])
    first = {t.protein: t for t in reversed(trajectories)}
    for p, t in sorted(first.items(), key=lambda e: e[0].name):
        row = [p.name, p.sequence, " ".join(map(str, p.numbers)), " ".join(p.chains)]
        writer.writerow([*row, f"{t.frame_ps:g}" if t.frame_ps else ""])
    return text.getvalue()


def write_ranges(found: dict[str, Ranges], path: Path) -> None:
    """Writes the frames of each split."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["name", "train_start", "train_end", "total_frames", "train_early_end", "val_end"]
    writer.writerow(head)
    for name, r in sorted(found.items()):
        writer.writerow([name, r.start or "", r.train_end, r.total, r.total // 20, r.val_end])
    write_text(path, text.getvalue())
