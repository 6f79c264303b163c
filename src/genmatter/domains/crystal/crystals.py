"""The objects of this domain: periodic crystals in a row, each of any number of atoms."""

__all__ = ["Crystals"]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmatter.domains.crystal.elements import reduced


@dataclass(frozen=True, eq=False)
class Crystals:
    """Unit cells and the atoms in them; the atoms of all crystals lie one after another.

    A draw that is no crystal (a cell without a volume, a coordinate that is no number) stands
    among the others as it is, so that a set of samples keeps its length.
    """

    numbers: Int[Tensor, " atoms"]
    """Atomic numbers."""
    frac: Float[Tensor, "atoms 3"]
    """Fractional coordinates, in double precision."""
    counts: Int[Tensor, " n"]
    """How many atoms each crystal has."""
    lattice: Float[Tensor, "n 3 3"]
    """Lattice vectors as rows, angstrom, in double precision."""
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    """Numbers [n] of a file's own columns, in double precision; NaN where one is not given."""
    names: np.ndarray | None = None
    """What their file calls them, [n] objects; "" where it says nothing."""
    refused: np.ndarray | None = None
    """Why a record of a file cannot be read, [n] objects; "" of what was read."""

    @classmethod
    def of(
        cls,
        numbers: Sequence[Any],
        frac: Sequence[Any],
        lattice: Any,
        columns: Mapping[str, Any] | None = None,
        names: Sequence[str] | None = None,
        refused: Sequence[str] | None = None,
    ) -> "Crystals":
        """Takes crystals one by one.

        Args:
            numbers: Atomic numbers of each crystal.
            frac: Fractional coordinates `[atoms, 3]` of each.
            lattice: Lattice vectors `[n, 3, 3]`, angstrom.
            columns: Numbers `[n]` by name.
            names: A name for each.
            refused: Why each could not be read; "" where it could.
        """
        counts = torch.tensor([len(z) for z in numbers], dtype=torch.long)
        flat = [np.asarray(z, dtype=np.int64) for z in numbers]
        at = [np.asarray(x, dtype=np.float64).reshape(-1, 3) for x in frac]
        told = {k: torch.as_tensor(v, dtype=torch.float64) for k, v in (columns or {}).items()}
        return cls(
            torch.from_numpy(np.concatenate(flat) if flat else np.zeros(0, np.int64)),
            torch.from_numpy(np.concatenate(at) if at else np.zeros((0, 3))),
            counts,
            torch.as_tensor(np.asarray(lattice, dtype=np.float64).reshape(-1, 3, 3)),
            told,
            None if names is None else np.array(list(names), dtype=object),
            None if refused is None else np.array(list(refused), dtype=object),
        )

    @classmethod
    def of_structures(
        cls, structures: Iterable[Any], names: Sequence[str] | None = None
    ) -> "Crystals":
        """Takes pymatgen's structures, without what else they say of their sites."""
        found = list(structures)
        return cls.of(
            [s.atomic_numbers for s in found],
            [s.frac_coords for s in found],
            [s.lattice.matrix for s in found],
            names=names,
        )

    @classmethod
    def cat(cls, sets: Sequence["Crystals"]) -> "Crystals":
        """Joins sets; a number that one of them lacks is NaN in it, and a name is ""."""
        if not sets:
            return cls.of([], [], [])
        keys = dict.fromkeys(k for s in sets for k in s.columns)
        unknown = lambda s: torch.full((len(s),), torch.nan, dtype=torch.float64)
        columns = {k: torch.cat([s.columns.get(k, unknown(s)) for s in sets]) for k in keys}
        return cls(
            torch.cat([s.numbers for s in sets]),
            torch.cat([s.frac for s in sets]),
            torch.cat([s.counts for s in sets]),
            torch.cat([s.lattice for s in sets]),
            columns,
            _joined(sets, [s.names for s in sets]),
            _joined(sets, [s.refused for s in sets]),
        )

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, rows: Tensor | slice | list[int]) -> "Crystals":
        where = torch.arange(len(self))[rows]
        counts = self.counts[where]
        # the atoms of row k are starts[k], starts[k] + 1, ...
        first = (self.starts[where] - (counts.cumsum(0) - counts)).repeat_interleave(counts)
        atoms = first + torch.arange(len(first))
        columns = {k: v[where] for k, v in self.columns.items()}
        some = lambda texts: None if texts is None else texts[where.numpy()]
        return Crystals(
            self.numbers[atoms], self.frac[atoms], counts, self.lattice[where], columns,
            some(self.names), some(self.refused),
        )  # fmt: skip

    @cached_property
    def starts(self) -> Int[Tensor, " n"]:
        """The first atom of each crystal."""
        return self.counts.cumsum(0) - self.counts

    @cached_property
    def owner(self) -> Int[Tensor, " atoms"]:
        """The crystal of each atom."""
        return torch.arange(len(self)).repeat_interleave(self.counts)

    @property
    def labels(self) -> np.ndarray:
        """What each is called, [n] objects; "" of what has no name."""
        return _texts(self, self.names)

    @property
    def reasons(self) -> np.ndarray:
        """Why each could not be read, [n] objects; "" of what could, or is of no file."""
        return _texts(self, self.refused)

    @cached_property
    def volumes(self) -> Float[Tensor, " n"]:
        """Volumes of the cells, cubic angstrom."""
        a, b, c = self.lattice.unbind(1)
        return (a * torch.linalg.cross(b, c)).sum(-1).abs()

    @cached_property
    def lengths(self) -> Float[Tensor, "n 3"]:
        """Lengths a, b and c of the cells, angstrom."""
        return self.lattice.norm(dim=-1)

    @cached_property
    def angles(self) -> Float[Tensor, "n 3"]:
        """Angles alpha, beta and gamma of the cells, degrees."""
        units = self.lattice / self.lattice.norm(dim=-1, keepdim=True)
        cosines = torch.stack([(units[:, i] * units[:, j]).sum(-1) for i, j in _OPPOSITE], 1)
        return torch.rad2deg(cosines.clamp(-1, 1).acos())

    @cached_property
    def formulas(self) -> list[str]:
        """The reduced formula of each, the most electropositive element first: `LiFeO2`."""
        return [reduced(z) for z in self.each_numbers()]

    def each_numbers(self) -> list[np.ndarray]:
        """Returns the atomic numbers of each crystal."""
        return np.split(self.numbers.numpy(), self.starts.numpy()[1:]) if len(self) else []

    def each_frac(self) -> list[np.ndarray]:
        """Returns the fractional coordinates of each crystal."""
        return np.split(self.frac.numpy(), self.starts.numpy()[1:]) if len(self) else []

    def structures(self) -> list[Any]:
        """Returns pymatgen's structures.

        Raises:
            ValueError: An atomic number is none, as in draws with faults.
        """
        from pymatgen.core import Lattice, Structure

        parts = zip(self.each_numbers(), self.each_frac(), self.lattice.numpy(), strict=True)
        return [Structure(Lattice(m), z.tolist(), x) for z, x, m in parts]


def _texts(x: Crystals, texts: np.ndarray | None) -> np.ndarray:
    """Returns a text for each, "" where there is none."""
    return np.full(len(x), "", dtype=object) if texts is None else texts


def _joined(sets: Sequence[Crystals], texts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Returns the texts of all sets; None where none has any."""
    if all(t is None for t in texts):
        return None
    return np.concatenate([_texts(x, t) for x, t in zip(sets, texts, strict=True)])


_OPPOSITE = ((1, 2), (0, 2), (0, 1))
