"""Conformers: frames of trajectories, of one protein or of several.

Atoms are in the order of `maths.residues`' fourteen slots of a residue, in angstrom; the first
five are N, CA, C, O and CB. A slot that a residue does not have holds zeros.
"""

__all__ = ["Conformers", "Protein", "Trajectory", "centred"]

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Protein:
    """What all frames of a trajectory share: one letter, number and chain of each residue."""

    name: str
    sequence: str
    numbers: tuple[int, ...]
    chains: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sequence)


def centred(atoms: Float[Tensor, "n residues 14 3"]) -> Float[Tensor, "n residues 14 3"]:
    """Moves the mean of the CA atoms to the origin; a slot without an atom stays at zero.

    The mean is taken in 64 bits, where its order does not matter: a frame has the same bits
    whichever others are read with it.
    """
    centre = atoms[:, :, 1].double().mean(1)[:, None, None].to(atoms)
    x, y, z = (atoms != 0).unbind(-1)
    return torch.where((x | y | z)[..., None], atoms - centre, 0)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Frames of one protein in the order of time, `[frames, residues, 14, 3]` in angstrom.

    An array is as its file has it, may stay there, and is centred when frames are taken; a
    tensor is taken as it is and may carry gradients.
    """

    protein: Protein
    atoms: Any
    replica: int = 1
    frame_ps: float = 0.0
    """Time between two frames in picoseconds; 0 where it is unknown."""
    source: str = ""
    """The file that it is from."""
    complete: bool = True
    """Whether side chains are there; generated frames have N, CA, C, O and CB only."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how it was read, such as what was left out."""

    def __len__(self) -> int:
        return len(self.atoms)

    def take(self, frames: Int[Tensor, " n"]) -> Float[Tensor, "n residues 14 3"]:
        """Reads frames, those of an array in 32 bits."""
        if isinstance(self.atoms, Tensor):
            return self.atoms[frames]
        return centred(torch.from_numpy(self.atoms[frames.numpy()]).float())

    def raw(self, start: int, stop: int, slots: slice = slice(None)) -> Tensor:
        """Reads frames in a row as they are, not centred, in 32 bits."""
        x = self.atoms[start:stop, :, slots]
        return x.float() if isinstance(x, Tensor) else torch.from_numpy(np.array(x)).float()


@dataclass(frozen=True, eq=False)
class Conformers:
    """Some frames of some trajectories: which trajectory, and which of its frames."""

    trajectories: tuple[Trajectory, ...]
    where: Int[Tensor, "n 2"]

    @classmethod
    def all(cls, trajectories: Sequence[Trajectory]) -> "Conformers":
        """Takes every frame."""
        return cls.some(trajectories, [torch.arange(len(t)) for t in trajectories])

    @classmethod
    def some(cls, trajectories: Sequence[Trajectory], frames: Sequence[Tensor]) -> "Conformers":
        """Takes those frames of each trajectory."""
        pairs = [torch.stack([torch.full_like(f, k), f], 1) for k, f in enumerate(frames)]
        return cls(tuple(trajectories), torch.cat(pairs))

    @classmethod
    def cat(cls, sets: Sequence["Conformers"]) -> "Conformers":
        """Joins sets."""
        shifts = np.cumsum([0, *(len(s.trajectories) for s in sets)])
        pairs = [s.where + torch.tensor([int(k), 0]) for s, k in zip(sets, shifts, strict=False)]
        return cls(tuple(t for s in sets for t in s.trajectories), torch.cat(pairs))

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, rows: Tensor | slice) -> "Conformers":
        return dataclasses.replace(self, where=self.where[rows])

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """Residues of each conformer."""
        sizes = torch.tensor([len(t.protein) for t in self.trajectories])
        return sizes[self.where[:, 0]] if len(self) else sizes[:0]

    @property
    def proteins(self) -> tuple[Protein, ...]:
        """The proteins that there are, each once."""
        used = self.where[:, 0].unique().tolist()
        return tuple(dict.fromkeys(self.trajectories[k].protein for k in used))

    def of(self, protein: Protein) -> "Conformers":
        """Returns those of one protein."""
        those = torch.tensor([t.protein == protein for t in self.trajectories])
        return self[those[self.where[:, 0]]]

    def of_replica(self, number: int) -> "Conformers":
        """Returns those of one replica."""
        those = torch.tensor([t.replica == number for t in self.trajectories])
        return self[those[self.where[:, 0]]]

    def atoms(self) -> Float[Tensor, "n residues 14 3"]:
        """Reads all of them; shorter proteins are padded with zeros."""
        size = int(self.lengths.max()) if len(self) else 0
        parts, places = [], []
        for k in self.where[:, 0].unique().tolist():
            rows = (self.where[:, 0] == k).nonzero()[:, 0]
            x = self.trajectories[k].take(self.where[rows, 1])
            parts.append(torch.nn.functional.pad(x, (0, 0, 0, 0, 0, size - x.shape[1])))
            places.append(rows)
        if not parts:
            return torch.zeros(0, size, 14, 3)
        return torch.cat(parts)[torch.cat(places).argsort()]

    def backbone(self) -> Float[Tensor, "n residues 5 3"]:
        """Reads N, CA, C, O and CB."""
        return self.atoms()[:, :, :5]

    def alphas(self) -> Float[Tensor, "n residues 3"]:
        """Reads the CA atoms."""
        return self.atoms()[:, :, 1]
