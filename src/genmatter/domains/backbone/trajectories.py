"""Trajectories of simulation programs (.xtc .dcd .trr .nc .h5), read by MDTraj with a topology.

They are written once as arrays into the cache, whose frames can be read in any order; when the
files change, so does the name in the cache.
"""

__all__ = ["SUFFIXES", "converted", "frames"]

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from genmatter.domains.backbone import archive
from genmatter.domains.backbone.conformers import Trajectory
from genmatter.domains.backbone.structures import Topology, read_topology
from genmatter.errors import DataError, MissingExtraError
from genmatter.loading.fetch import cache_folder
from genmatter.run import write_json
from genmatter.units import in_angstrom

SUFFIXES = (".xtc", ".trr", ".dcd", ".nc", ".h5")
"""Files with positions only, whose atoms a topology names."""
TIMED = (".xtc", ".trr", ".nc", ".h5")
"""Those that know the time of each frame."""
VERSION = 1
"""Of what is in the cache; another number makes it anew."""
CHUNK = 2**23
"""Numbers that are read at once."""

Place = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Frames:
    """The frames of a file: how many, and some at a time with their times in picoseconds."""

    count: int
    pieces: Iterator[tuple[Float[np.ndarray, "n residues 14 3"], Float[np.ndarray, " n"]]]


def converted(pdb: Path, files: Sequence[Path], name: str = "") -> list[Trajectory]:
    """Returns trajectories of one protein, each a replica, which lie in the cache from now on.

    Raises:
        DataError: A file is not there, damaged, or not of the topology's atoms.
        MissingExtraError: It is of a kind that takes another package to read.
    """
    topology = read_topology(pdb, name)
    return [_converted(pdb, topology, path, n) for n, path in enumerate(files, 1)]


def _converted(pdb: Path, topology: Topology, path: Path, replica: int) -> Trajectory:
    if path.suffix.lower() == ".npy":
        return replace(archive.read_array(path, topology.protein, replica), notes=topology.notes)
    place = cache_folder() / "trajectories" / f"{path.stem}-{_key(pdb, path)}.npy"
    told = place.with_suffix(".json")
    if not (place.is_file() and told.is_file()):
        _convert(path, topology, place, told)
    frame_ps = json.loads(told.read_text())["frame_ps"]
    found = archive.read_array(place, topology.protein, replica, frame_ps)
    return replace(found, source=str(path), complete=topology.complete, notes=topology.notes)


def _key(*paths: Path) -> str:
    """Returns what differs when one of the files does."""
    for path in paths:
        if not path.is_file():
            raise DataError(f"there is no file {path}")
    states = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
    return hashlib.sha256(repr((VERSION, states)).encode()).hexdigest()[:16]


def _convert(path: Path, topology: Topology, place: Path, told: Path) -> None:
    times: list[np.ndarray] = []

    def pieces() -> Iterator[np.ndarray]:
        for x, t in found.pieces:
            times.append(t)
            yield x

    with frames(path, topology) as found:
        shape = found.count, len(topology.protein)
        archive.write_array(place, pieces(), shape)
    write_json(told, {"source": str(path), "frame_ps": interval(path, np.concatenate(times))})


def interval(path: Path, times: Float[np.ndarray, " n"]) -> float:
    """Returns the time between frames where it is known and always the same, else 0."""
    steps = np.diff(times)
    if path.suffix.lower() not in TIMED or not len(steps):
        return 0.0
    even = np.allclose(steps, steps[0], rtol=1e-3, atol=1e-4 * abs(times[-1]) / len(times))
    return round(float(np.median(steps)), 6) if even and steps[0] > 0 else 0.0


@contextmanager
def frames(path: Path, topology: Topology) -> Iterator[Frames]:
    """Opens a trajectory and yields its frames, in angstrom.

    Raises:
        DataError: The file is damaged, or not of the topology's atoms.
        MissingExtraError: It is of a kind that takes another package to read.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of .nc files: another reader would be faster
            import mdtraj

            with mdtraj.open(str(path)) as file:
                count = len(file)
                if not count:
                    raise DataError(f"{path} holds no frame")
                yield Frames(count, _pieces(path, file, count, topology))
    except ImportError as error:
        raise MissingExtraError(
            f"{path} cannot be read without PyTables (pip install tables); or convert it to .xtc"
        ) from error
    except DataError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, EOFError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error}): it is damaged, or no trajectory") from (
            error
        )


def _pieces(path: Path, file: Any, count: int, topology: Topology) -> Iterator[Any]:
    first = _xyz(file.read(1))[0]
    _refuse_atoms(path, first.shape[1], topology)
    file.seek(0)
    unit = {"nanometers": "nm", "angstroms": "angstrom"}[file.distance_unit]
    step, done = max(CHUNK // first.size, 1), 0
    while done < count:
        x, times = _xyz(file.read(min(step, count - done)))
        if not len(x):
            raise DataError(f"{path} breaks off after {done} of {count} frames")
        yield topology.place(in_angstrom(x[:, topology.atoms], unit)), times
        done += len(x)


def _xyz(read: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions and times, whichever way a format hands them over."""
    x, times = (read.coordinates, read.time) if hasattr(read, "coordinates") else read[:2]
    return np.asarray(x), np.zeros(len(x)) if times is None else np.asarray(times, float)


def _refuse_atoms(path: Path, found: int, topology: Topology) -> None:
    if found != topology.size:
        hint = (
            ", as many as its protein alone: give a topology without water"
            if found == topology.whole
            else ""
        )
        raise DataError(
            f"{path} has {found} atoms, but the topology of {topology.protein.name} has "
            f"{topology.size}{hint}"
        )
