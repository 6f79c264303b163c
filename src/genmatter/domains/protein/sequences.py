"""Aligned sequences of one protein family, and how their columns are counted."""

__all__ = ["ALPHABET", "GAP", "Numbering", "Sequences", "letters"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor

from genmatter.errors import DataError

ALPHABET = "-ACDEFGHIKLMNPQRSTVWY"
"""What each number of a residue stands for: 0 is the gap, 1 to 20 the amino acids by letter."""
GAP = 0
"""The number of a gap, which residues that nobody knows are too."""

_BYTES = np.frombuffer(ALPHABET.encode(), np.uint8)
_CODES = np.full(256, -1, np.int8)
_CODES[_BYTES] = np.arange(len(ALPHABET))


@dataclass(frozen=True)
class Numbering:
    """How the columns that are kept are counted.

    With a focus sequence each column holds one of its residues and has that residue's number;
    without one, columns have their numbers in the alignment that they come from.
    """

    positions: tuple[int, ...]
    """The number of each column, increasing."""
    focus: str = ""
    """The name of the focus sequence; "" where there is none."""
    sequence: str = ""
    """All of its residues, those in no column among them, without gaps."""
    first: int = 1
    """The number of its first residue."""

    @classmethod
    def plain(cls, sites: int) -> "Numbering":
        """Counts columns from 1."""
        return cls(tuple(range(1, sites + 1)))

    @property
    def is_plain(self) -> bool:
        """Whether columns are counted from 1, without a focus sequence."""
        return not self.focus and self.positions == tuple(range(1, len(self.positions) + 1))

    @property
    def wild_type(self) -> str:
        """The focus sequence's residue in each column; "" where there is no focus sequence."""
        return "".join(self.sequence[p - self.first] for p in self.positions if self.focus)


@dataclass(frozen=True, eq=False)
class Sequences:
    """Aligned sequences of one family, and what is known of each."""

    residues: Int8[Tensor, "n sites"]
    """Numbers in `ALPHABET`."""
    numbering: Numbering
    """How the columns are counted, the same for every sequence."""
    names: np.ndarray
    """The name of each, [n] objects."""
    weights: Float[Tensor, " n"] | None = None
    """How much each counts, in double precision, of mean 1 over its split: one over how many
    sequences of the split are like it. None: all alike."""
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    """Numbers [n] from a table of labels, in double precision; NaN where one is not given."""
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Texts [n] from it, objects; "" where one is not given."""

    @classmethod
    def of(cls, residues: Tensor, numbering: Numbering | None = None) -> "Sequences":
        """Takes residues of which nothing else is known; names are numbers from 1."""
        names = np.array([str(k) for k in range(1, len(residues) + 1)], dtype=object)
        return cls(residues.to(torch.int8), numbering or Numbering.plain(residues.shape[1]), names)

    @classmethod
    def cat(cls, sets: Sequence["Sequences"]) -> "Sequences":
        """Joins sets of the same columns; what one of them lacks is unknown in it.

        Weights are gone: they are those of a whole split.
        """
        numbers = dict.fromkeys(k for s in sets for k in s.columns)
        texts = dict.fromkeys(k for s in sets for k in s.labels)
        nan = lambda s: torch.full((len(s),), torch.nan, dtype=torch.float64)
        none = lambda s: np.full(len(s), "", dtype=object)
        return cls(
            torch.cat([s.residues for s in sets]),
            sets[0].numbering,
            np.concatenate([s.names for s in sets]),
            None,
            {k: torch.cat([s.columns.get(k, nan(s)) for s in sets]) for k in numbers},
            {k: np.concatenate([s.labels.get(k, none(s)) for s in sets]) for k in texts},
        )

    def onto(self, numbering: Numbering) -> "Sequences":
        """Returns the columns of another numbering, found by their numbers.

        Raises:
            DataError: A column is not there.
        """
        if numbering.positions == self.numbering.positions:
            return replace(self, numbering=numbering)
        at = {number: k for k, number in enumerate(self.numbering.positions)}
        if self.sites == len(numbering.positions) and self.numbering.is_plain:
            return replace(self, numbering=numbering)  # as a model's samples in a bare file
        lacking = [number for number in numbering.positions if number not in at]
        if lacking:
            raise DataError(
                f"sequences of {self.sites} columns lack {len(lacking)} of "
                f"{len(numbering.positions)} columns, number {lacking[0]} first"
            )
        some = [at[number] for number in numbering.positions]
        return replace(self, residues=self.residues[:, some], numbering=numbering)

    @property
    def sites(self) -> int:
        """How many columns there are."""
        return self.residues.shape[1]

    def __len__(self) -> int:
        return len(self.residues)

    def __getitem__(self, rows: Tensor | slice | list[int]) -> "Sequences":
        where = rows.numpy() if isinstance(rows, Tensor) else rows
        return Sequences(
            self.residues[rows],
            self.numbering,
            self.names[where],
            None if self.weights is None else self.weights[rows],
            {k: v[rows] for k, v in self.columns.items()},
            {k: v[where] for k, v in self.labels.items()},
        )

    @property
    def texts(self) -> list[str]:
        """Each sequence as letters, a hyphen for a gap."""
        found = _BYTES[self.residues.cpu().numpy()]
        return [row.tobytes().decode() for row in found]


def letters(text: str) -> Int8[Tensor, " sites"]:
    """Returns the numbers of letters; -1 of what is none of `ALPHABET`."""
    raw = np.frombuffer(text.encode("latin-1", "replace"), np.uint8)
    return torch.from_numpy(_CODES[raw])
