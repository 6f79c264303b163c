"""Trajectories as a config names them: arrays, simulation programs' files, structures."""

__all__ = ["trajectories"]

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genmatter.domains.backbone import archive, checks
from genmatter.domains.backbone.config import BackboneDataConfig
from genmatter.domains.backbone.conformers import Trajectory
from genmatter.domains.backbone.structures import read_models
from genmatter.domains.backbone.trajectories import SUFFIXES, converted
from genmatter.errors import DataError
from genmatter.loading.mapped import enough_memory

LARGE = 2**32
"""Bytes of all frames in 32 bits above which those of 16 bits stay as they are in memory."""
CHUNK = 64
"""Frames that are read together."""
STRUCTURES = (".pdb", ".cif")


@lru_cache(maxsize=2)
def trajectories(config: BackboneDataConfig, *, stream: bool = False) -> tuple[Trajectory, ...]:
    """Returns all trajectories, once each of their frames has been looked at.

    Raises:
        DataError: The files or the simulation cannot give them.
    """
    if not (config.source or config.pdb or config.traj):
        return tuple(_simulated(config))
    found = _read(config)
    for protein in dict.fromkeys(t.protein for t in found):
        where = next(t.source for t in found if t.protein == protein)
        checks.refuse_gaps(protein, where)
    for trajectory in found:
        checks.refuse_frames(trajectory)
    told = [replace(t, frame_ps=config.frame_ps or t.frame_ps) for t in found]
    return tuple(told if stream else _resident(told))


def _simulated(config: BackboneDataConfig) -> list[Trajectory]:
    if config.peptide.simulator == "openmm":
        from genmatter.domains.backbone.simulate import simulate

        return simulate(config.peptide, seed=config.data_seed)
    from genmatter.domains.backbone.torsions import torsions

    return torsions(config.peptide, seed=config.data_seed)


def _read(config: BackboneDataConfig) -> list[Trajectory]:
    """Finds the trajectories of files."""
    pdb, traj = config.pdb, [_path(t) for t in config.traj]
    if config.source and (pdb or traj):
        raise DataError("give either --data, or --pdb with --traj")
    if traj and not pdb:
        raise DataError("--traj needs --pdb, the structure that names the atoms")
    if traj:
        return converted(_path(pdb), traj)
    path = _path(config.source or pdb)
    if path.is_dir() and any(p.suffix == ".npy" for p in path.glob("**/*")):
        return archive.read(
            path, suffix=config.suffix, atlas_csv=config.atlas_csv, proteins=config.proteins
        )
    if path.is_dir():
        return _folder(path, config.proteins)
    if path.suffix.lower() in SUFFIXES:
        raise DataError(
            f"{path} holds positions only: give it as --traj, and --pdb with its atoms"
        )
    if path.suffix.lower() == ".npy":
        return [archive.read_lone(path)]
    if path.suffix.lower() not in STRUCTURES:
        raise DataError(f"{path} is neither a folder nor a .pdb, .cif or .npy file")
    return [_models(path)]


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _models(path: Path, name: str = "", replica: int = 1) -> Trajectory:
    """Reads the models of a structure's file as the frames of a trajectory."""
    topology, atoms = read_models(path, name)
    return Trajectory(
        topology.protein, atoms, replica, source=str(path), complete=topology.complete,
        notes=topology.notes,
    )  # fmt: skip


def _folder(path: Path, proteins: Sequence[str]) -> list[Trajectory]:
    """Reads a folder of structures: NAME.pdb or NAME_R1.pdb, or a file for each conformer."""
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in STRUCTURES)
    if not files:
        raise DataError(f"{path} has neither NAME_R1.npy files nor .pdb or .cif files")
    found = []
    for file in files:
        parts = re.fullmatch(r"(.+)_R(\d+)", file.stem)
        name, replica = (parts[1], int(parts[2])) if parts else (file.stem, 1)
        found.append(_models(file, name, replica))
    like = [replace(t.protein, name=path.name) for t in found]
    if len(found) > 1 and len({*like}) == 1 and all(len(t) == 1 for t in found):
        return [replace(found[0], protein=like[0], atoms=np.concatenate([t.atoms for t in found]))]
    known = {t.protein.name for t in found}
    for name in proteins:
        if name not in known:
            raise DataError(f"{path} has no protein {name!r}, but {', '.join(sorted(known)[:5])}")
    return [t for t in found if not proteins or t.protein.name in proteins]


def _resident(found: list[Trajectory]) -> list[Trajectory]:
    """Reads all frames into memory."""
    large = sum(t.atoms.size for t in found) * 4 > LARGE
    with enough_memory():
        return [
            replace(t, atoms=np.array(t.atoms) if large and _half(t) else _whole(t)) for t in found
        ]


def _half(trajectory: Trajectory) -> bool:
    return trajectory.atoms.dtype.itemsize == 2


def _whole(trajectory: Trajectory) -> Tensor:
    """Takes all frames, some at a time: of what that needs on the way there is little then."""
    found = torch.empty(trajectory.atoms.shape)
    for frames in torch.arange(len(trajectory)).split(CHUNK):
        found[frames[0] : frames[-1] + 1] = trajectory.take(frames)
    return found
