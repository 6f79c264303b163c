"""Chains on disk, in the formats of the field."""

__all__ = ["SUFFIXES", "mapped", "read", "write"]

import difflib
import zipfile
import zlib
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from genmatter.errors import DataError
from genmatter.loading.mapped import Mapped, memory_map, parts

Chains = Float[Tensor, "n beads dim"]

SUFFIXES = {
    ".npz": "npz",
    ".npy": "npy",
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".lammpstrj": "lammps-dump-text",
    ".dump": "lammps-dump-text",
}
"""The files that can be read and written, and what they hold."""
CHUNK = 2**20
"""Numbers of a file larger than memory that are read at once."""


def read(path: Path, array: str = "") -> Chains:
    """Reads chains, centres each in float64, and returns them in float32.

    Arrays are [frames, beads, 2 or 3]. extXYZ and LAMMPS dumps are read by ASE, which puts the
    atoms of a dump in the order of their ids. Both always have three dimensions: where the beads
    of every frame share one z, the chains are taken to be in the plane. Chains that a periodic
    box has cut are made whole, on the understanding that bonds are shorter than half the box.

    Args:
        path: A file with one of the `SUFFIXES`.
        array: Which array of an .npz file; not needed where only one can be meant.

    Raises:
        DataError: There is no such file, it is damaged, or a record in it, which the message
            names (counting from 0), is not a chain like the others.
    """
    kind = _present(path, array)
    found = _array(path, array) if kind in ("npz", "npy") else _positions(path, kind)
    _refuse_shape(found, str(path))
    return _chains(found, str(path))


def mapped(path: Path, array: str = "") -> Chains | Mapped[Chains]:
    """Returns what `read` does, but leaves arrays in their file and reads chains when asked.

    All are looked at once, some at a time, so that what is wrong with them is said now.

    Raises:
        DataError: As `read`, or an array cannot stay in its file because it is compressed.
    """
    kind = _present(path, array)
    if kind not in ("npz", "npy"):
        return read(path, array)
    found = _array(path, array, stay=True)
    _refuse_shape(found, str(path))
    chains = Mapped(
        lambda rows: _chains(found[rows.numpy()], str(path), rows), torch.arange(len(found))
    )
    for _ in parts(chains, chunk(found.shape)):
        pass
    return chains


def chunk(shape: tuple[int, ...]) -> int:
    """Returns how many chains of an array to read at once."""
    return max(CHUNK // (shape[1] * shape[2]), 1)


def _present(path: Path, array: str) -> str:
    """Returns which kind of file it is, if it is there."""
    kind = _kind(path)
    if not path.is_file():
        near = path.parent.iterdir() if path.parent.is_dir() else ()
        meant = difflib.get_close_matches(path.name, [p.name for p in near], 1)
        raise DataError(f"there is no file {path}" + _suggestion(meant))
    if array and kind != "npz":
        raise DataError(f"{path} is one array; {array!r} can only be chosen from an .npz file")
    return kind


def _kind(path: Path) -> str:
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is none of the known kinds of file: {' '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix.lower()]


def _suggestion(meant: list[str]) -> str:
    return f"; did you mean {meant[0]}?" if meant else ""


def _array(path: Path, name: str, *, stay: bool = False) -> np.ndarray:
    """Reads an array of NumPy's, or leaves it in its file, never unpickling anything."""
    try:
        with path.open("rb") as file:
            if stay and _kind(path) == "npy":
                return memory_map(path)
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            name = _chosen(found, name, path)
            return memory_map(path, name) if stay else found[name]
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read ({error}): it is damaged, or holds Python objects such as "
            "chains of different lengths instead of one array of numbers"
        ) from error


def _chosen(file: np.lib.npyio.NpzFile, name: str, path: Path) -> str:
    """Returns the one array of an archive that can be meant."""
    if name in file.files or (not name and len(file.files) == 1):
        return name or file.files[0]
    if name:
        meant = difflib.get_close_matches(name, file.files, 1) or file.files[:1]
        raise DataError(f"{path} has no array {name!r}" + _suggestion(meant))
    shapes = {key: _shape(file, key) for key in file.files}
    likely = [key for key, shape in shapes.items() if len(shape) == 3 and shape[2] in (2, 3)]
    if len(likely) == 1:
        return likely[0]
    listed = ", ".join(f"{key} {list(shape)}" for key, shape in shapes.items()) or "no array"
    raise DataError(f"{path} holds {listed}: choose one [frames, beads, 2 or 3] with --array")


def _shape(file: np.lib.npyio.NpzFile, name: str) -> tuple[int, ...]:
    try:
        return file[name].shape
    except ValueError:  # Python objects, which cannot be meant
        return ()


def _positions(path: Path, kind: str) -> np.ndarray:
    """Reads the frames of a text file by ASE; in the plane if no frame leaves it."""
    from ase.io import iread  # costs a third of a second

    frames: list[np.ndarray] = []
    try:
        text = path.read_text()
        source = StringIO("".join(_unnamed(text)) if kind == "extxyz" else text)
        for atoms in iread(source, index=":", format=kind):
            periodic = atoms.pbc & atoms.cell.mask()
            frames.append(_whole(atoms.positions, atoms.cell.complete().array, periodic))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # ASE's readers raise whatever a line makes them stumble over
        raise DataError(
            f"{path}: frame {len(frames)} cannot be read as {kind} ({error})"
        ) from error
    beads = [len(frame) for frame in frames]
    for i, found in enumerate(beads):
        if found != beads[0]:
            raise DataError(f"{path}: frame {i} has {found} beads, but frame 0 has {beads[0]}")
    x = np.stack(frames) if frames else np.empty((0, 3, 3))
    return x[..., :2] if (x[..., 2] == x[:, :1, 2]).all() else x


def _unnamed(text: str) -> Iterator[str]:
    """Yields the lines of an XYZ file with every bead called X.

    ASE takes the names of elements only, and stops at an empty line without a word.
    """
    lines = list(enumerate(text.splitlines(), 1))[::-1]
    while lines:
        number, line = lines.pop()
        if not line.strip():
            continue
        if not line.strip().isdecimal() or len(lines) <= int(line):
            raise DataError(f"line {number} is {line[:40]!r}, which begins no complete frame")
        comment = lines.pop()[1]
        yield f"{line}\n{comment}\n"
        named = "Properties=" not in comment or "Properties=species:S:1" in comment
        for _ in range(int(line)):
            bead = lines.pop()[1]
            yield f"X {bead.split(None, 1)[-1]}\n" if named else f"{bead}\n"


def _whole(x: np.ndarray, cell: np.ndarray, periodic: np.ndarray) -> np.ndarray:
    """Returns a chain whose bonds lead to the nearest image of the next bead."""
    if not periodic.any():
        return x
    bonds = np.diff(x, axis=0)
    turns = np.where(periodic, np.rint(bonds @ np.linalg.inv(cell)), 0)
    return np.concatenate([x[:1], x[0] + np.cumsum(bonds - turns @ cell, axis=0)])


def _refuse_shape(found: np.ndarray, where: str) -> None:
    """Refuses an array that no chains can be in."""
    if found.dtype.kind not in "fiu":
        raise DataError(f"{where} holds {found.dtype}, but positions are real numbers")
    if found.ndim != 3 or found.shape[2] not in (2, 3):
        raise DataError(
            f"{where} has the shape {list(found.shape)}, but chains are [frames, beads, 2 or 3]"
            + _hint(found.shape)
        )
    if len(found) == 0:
        raise DataError(f"{where} holds no frame")
    if found.shape[1] < 3:
        raise DataError(f"{where} has chains of {found.shape[1]} beads; it takes at least 3")


def _chains(found: np.ndarray, where: str, rows: Tensor | None = None) -> Chains:
    """Returns an array as centred chains; `rows` are its frames' numbers in the file."""
    x = torch.from_numpy(found.astype(np.float64))
    told = where, torch.arange(len(x)) if rows is None else rows
    _refuse(~x.isfinite().all(-1), *told, "is at NaN or infinity")
    x = x - x.mean(-2, keepdim=True)
    size = x.abs().amax(-1)
    _refuse(size > 1e12, *told, "is more than 1e12 from its chain's centre: use another unit")
    x = x.float()
    same = x.diff(dim=-2).abs().amax(-1) < 1e-12
    _refuse(same, *told, "is where the next bead is: the bond between them has no length")
    return x


def _hint(shape: tuple[int, ...]) -> str:
    """Guesses what an array of another shape may be."""
    if len(shape) == 2 and shape[1] in (2, 3):
        return f"; a single chain would be {[1, *shape]}"
    if len(shape) == 2 and shape[1] % 2 == 0:
        return f"; flat chains in the plane would be {[shape[0], shape[1] // 2, 2]}"
    if len(shape) == 3 and shape[1] in (2, 3):
        return "; are beads and dimensions exchanged?"
    return ""


def _refuse(wrong: Bool[Tensor, "n beads"], where: str, rows: Tensor, why: str) -> None:
    """Names the first bead at which something is wrong."""
    if wrong.any():
        frame, bead = wrong.nonzero()[0].tolist()
        more = int(wrong.any(-1).sum()) - 1
        others = f" (so it is in {more} more frames)" if more else ""
        raise DataError(f"{where}: frame {int(rows[frame])}, bead {bead} {why}{others}")


def write(objects: Float[Tensor, "n beads dim"], path: Path) -> None:
    """Writes chains in the format of the file's suffix, with all their digits.

    Arrays are written as they are, under the name `arr` in an .npz file. The text formats have
    three dimensions, so that chains in the plane get z = 0; they say that nothing is periodic.
    Beads are of the element X (extXYZ) or of type 1 (LAMMPS).

    Raises:
        DataError: The suffix is none of the `SUFFIXES`, the chains are none or not finite, or
            the file cannot be written.
    """
    kind = _kind(path)
    x = objects.detach().cpu().numpy()
    if len(x) == 0 or x.shape[2] not in (2, 3) or not np.isfinite(x).all():
        raise DataError(f"cannot write {list(x.shape)} numbers, which are no chains, to {path}")
    try:
        if kind in ("npz", "npy"):
            with path.open("wb") as file:
                np.savez(file, arr=x) if kind == "npz" else np.save(file, x)
        else:
            with path.open("w") as file:
                file.writelines(_extxyz(x) if kind == "extxyz" else _dump(x))
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror})") from error


def _extxyz(x: np.ndarray) -> Iterator[str]:
    head = f'{x.shape[1]}\nProperties=species:S:1:pos:R:3 pbc="F F F"\n'
    frame = head + _rows(["X"] * x.shape[1], x)
    return (frame % tuple(numbers) for numbers in x.reshape(len(x), -1).tolist())


def _dump(x: np.ndarray) -> Iterator[str]:
    low, high = x.min((0, 1)) - 1, x.max((0, 1)) + 1
    bounds = "".join(f"{a:.9g} {b:.9g}\n" for a, b in zip(low, high, strict=True))
    flat = "-0.5 0.5\n" if x.shape[2] == 2 else ""
    head = (
        f"ITEM: TIMESTEP\n%d\nITEM: NUMBER OF ATOMS\n{x.shape[1]}\nITEM: BOX BOUNDS ff ff ff\n"
        f"{bounds}{flat}ITEM: ATOMS id type x y z\n"
    )
    frame = head + _rows([f"{i} 1" for i in range(1, x.shape[1] + 1)], x)
    return (frame % (i, *numbers) for i, numbers in enumerate(x.reshape(len(x), -1).tolist()))


def _rows(labels: list[str], x: np.ndarray) -> str:
    """Returns a template of a frame's lines, with all the digits that the numbers have."""
    number = " %.17g" if x.dtype == np.float64 else " %.9g"
    end = number * x.shape[2] + " 0" * (3 - x.shape[2]) + "\n"
    return "".join(label + end for label in labels)
