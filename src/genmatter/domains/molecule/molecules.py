"""The objects of this domain: molecules in a row."""

__all__ = ["Molecules", "canonical", "no_log"]

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import selfies
import torch
from rdkit import Chem
from torch import Tensor

from genmatter.domains.molecule.smiles import canonical, no_log


@dataclass(frozen=True, eq=False)
class Molecules:
    """Molecules as canonical SMILES, and the numbers that their file says of them.

    A text that is no molecule stands as "", so that a set of samples keeps its length.
    """

    smiles: np.ndarray
    """Canonical SMILES, [n] objects."""
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    """Numbers [n] of a file's own columns, in double precision; NaN where one is not given."""
    written: np.ndarray | None = None
    """The SELFIES of each, [n] objects, where they are known already."""
    drawn: np.ndarray | None = None
    """The SELFIES that a model wrote for each, [n] objects, which RDKit would write otherwise."""

    @classmethod
    def of(cls, smiles: Sequence[str]) -> "Molecules":
        """Takes SMILES that are canonical already."""
        return cls(np.array(smiles, dtype=object))

    @classmethod
    def cat(cls, sets: Sequence["Molecules"]) -> "Molecules":
        """Joins sets; a number that one of them lacks is NaN in it."""
        names = dict.fromkeys(k for s in sets for k in s.columns)
        unknown = lambda s: torch.full((len(s),), torch.nan, dtype=torch.float64)
        columns = {k: torch.cat([s.columns.get(k, unknown(s)) for s in sets]) for k in names}
        known = [s.written for s in sets if s.written is not None]
        written = np.concatenate(known) if sets and len(known) == len(sets) else None
        return cls(np.concatenate([s.smiles for s in sets]), columns, written)  # no longer drawn

    def __len__(self) -> int:
        return len(self.smiles)

    def __getitem__(self, rows: Tensor | slice | list[int]) -> "Molecules":
        where = rows.numpy() if isinstance(rows, Tensor) else rows
        texts = (None if x is None else x[where] for x in (self.written, self.drawn))
        columns = {k: v[rows] for k, v in self.columns.items()}
        return Molecules(self.smiles[where], columns, *texts)

    @cached_property
    def selfies(self) -> list[str]:
        """The SELFIES of each; "" of what is no molecule.

        Raises:
            selfies.EncoderError: A molecule cannot be written so; prepared data can.
        """
        if self.written is not None:
            return self.written.tolist()
        return [selfies.encoder(s) if s else "" for s in self.smiles]

    def mols(self) -> Iterator[Chem.Mol | None]:
        """Yields RDKit's molecules; None of what is none."""
        for s in self.smiles:
            yield Chem.MolFromSmiles(s) if s else None
