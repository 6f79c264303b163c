"""Replicas of a peptide, simulated once and kept.

A replica goes on in stretches. Each begins with the positions and velocities that the one before
ended with, and its noise is a function of (seed, replica, stretch). So no random state is kept,
and a simulation that was killed goes on behind its last whole stretch with the same frames.
"""

__all__ = ["simulate"]

import hashlib
import io
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from genmatter.domains.backbone.config import PeptideConfig
from genmatter.domains.backbone.conformers import Protein, Trajectory
from genmatter.domains.backbone.dynamics import Dynamics, State, openmm
from genmatter.domains.backbone.peptide import protein
from genmatter.errors import DataError
from genmatter.loading.fetch import cache_folder
from genmatter.maths.noise import seed_of
from genmatter.run import write_bytes

_VERSION = 1  # of what is computed here: another one simulates anew
_SETTLE_PS = 20.0  # dropped, so that the start is forgotten
_STRETCH_PS = 500.0  # divided by the residues' square: seconds of work for most peptides
_STARTS = ((-120.0, 140.0), (-60.0, -45.0))  # extended, and helical: phi and psi in degrees


def simulate(peptide: PeptideConfig, seed: int) -> list[Trajectory]:
    """Simulates a peptide, one replica after the other, or takes what was simulated before.

    Replicas start extended and helical in turn. Frames are kept in `fetch.cache_folder()` and
    stay in their files; several processes that simulate the same write the same.

    Args:
        peptide: What is simulated.
        seed: Key of the random numbers; on one machine the frames are a function of the
            arguments.

    Returns:
        A trajectory for each replica, without hydrogens and caps, centred on the CA atoms.

    Raises:
        ConfigError: No such peptide can be simulated, or not with such a force field.
        DataError: The simulation breaks down, or cannot be kept.
        MissingExtraError: OpenMM or PeptideBuilder is not installed.
    """
    who = protein(peptide)
    folder = cache_folder() / "simulations" / f"{who.name}-{_key(peptide, seed)}"
    total = peptide.replicas * _count(peptide)
    with (
        _writing(folder),
        tqdm(total=total, desc="simulate", unit="frame", disable=None, leave=False) as bar,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        return [
            _replica(peptide, who, number, seed, folder, bar)
            for number in range(1, peptide.replicas + 1)
        ]


def _replica(
    peptide: PeptideConfig, who: Protein, number: int, seed: int, folder: Path, bar: tqdm
) -> Trajectory:
    path = folder / f"{who.name}_R{number}.npy"
    shape, plan = (_count(peptide), len(who), 14, 3), _plan(peptide)
    state = _resumed(path, shape)
    made = state.stretches if state else 0
    bar.update(sum(len(stretch) for stretch in plan[:made] if stretch.start >= 0))
    if made < len(plan):
        dynamics = Dynamics.of(peptide, _STARTS[(number - 1) % 2])
        if state is None:
            np.lib.format.open_memmap(path, "w+", np.float32, shape=shape)
            state = dynamics.start(_seed(seed, number, "start"))
        for k, stretch in enumerate(plan[made:], made):
            found = dynamics.follow(state, len(stretch), _seed(seed, number, k))
            state = found.state._replace(stretches=k + 1)
            if stretch.start >= 0:
                _put(path, stretch.start, found.frames)
                bar.update(len(stretch))
            _save(path, state)
    return Trajectory(who, np.load(path, mmap_mode="r"), number, peptide.save_ps, str(path))


def _count(peptide: PeptideConfig) -> int:
    return max(1, round(1000 * peptide.nanoseconds / peptide.save_ps))


def _plan(peptide: PeptideConfig) -> list[range]:
    """Returns the frames of each stretch; those below 0 are dropped."""
    each = max(1, round(_STRETCH_PS / len(peptide.sequence) ** 2 / peptide.save_ps))
    settle = each * math.ceil(_SETTLE_PS / peptide.save_ps / each)
    count = _count(peptide)
    return [range(a, min(a + each, count)) for a in range(-settle, count, each)]


def _seed(*key: int | str) -> int:
    """Returns a seed above 0, which to OpenMM means any."""
    return seed_of("backbone", "openmm", *key) % (2**31 - 1) + 1


def _key(peptide: PeptideConfig, seed: int) -> str:
    """Returns what differs between simulations that differ; replicas are files of their own."""
    files = [name.strip() for name in peptide.force_field.split(",")]
    own = [hashlib.sha256(Path(f).read_bytes()).hexdigest() for f in files if Path(f).is_file()]
    facts = (
        _VERSION, openmm().__version__, peptide.sequence, peptide.temperature,
        peptide.nanoseconds, peptide.save_ps, files, own, seed,
    )  # fmt: skip
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=6).hexdigest()


def _state_file(path: Path) -> Path:
    return path.with_suffix(".state.npz")


def _resumed(path: Path, shape: tuple[int, ...]) -> State | None:
    """Returns how far a simulation came, None where it has to begin."""
    try:
        frames = np.load(path, mmap_mode="r")
        found = np.load(io.BytesIO(_state_file(path).read_bytes()))
        state = State(found["positions"], found["velocities"], int(found["stretches"]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return state if frames.shape == shape else None


def _save(path: Path, state: State) -> None:
    content = io.BytesIO()
    np.savez(content, **state._asdict())
    write_bytes(_state_file(path), content.getvalue())


def _put(path: Path, first: int, frames: np.ndarray) -> None:
    """Writes frames into their place: by the file, for a map crashes where a disk is full."""
    start = np.load(path, mmap_mode="r").offset
    with path.open("r+b") as file:
        file.seek(start + first * frames[0].nbytes)
        file.write(frames.tobytes())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Says what helps where a simulation cannot be kept.

    Raises:
        DataError: It cannot.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot keep simulations in {folder} ({error.strerror or error}); set "
            "GENMATTER_CACHE to a folder that can be written"
        ) from None
