"""Crystals that are ready to learn from, and what was left out on the way."""

__all__ = ["Dropped", "Prepared", "first_places"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from genmatter.domains.crystal.crystals import Crystals

_COLUMN = "column "  # before the names of a file's own columns


class Dropped(NamedTuple):
    """A record that is left out."""

    place: str
    """Where it stands: a file, or a row of one."""
    name: str
    reason: str

    @property
    def kind(self) -> str:
        """The reason without what is so in this record only."""
        return self.reason.partition(": ")[0]


@dataclass(frozen=True)
class Prepared:
    """Crystals as reduced cells, each once, in the order of their file."""

    crystals: Crystals
    places: Sequence[str]
    """Where each stands."""
    dropped: Sequence[Dropped]
    splits: np.ndarray | None = None
    """0, 1 or 2 for train, valid and test, where the file deals them out."""

    def table(self) -> pa.Table:
        """Returns what is kept, and below it what is not."""
        x, out = self.crystals, self.dropped
        none = [None] * len(out)
        cells = zip(x.each_numbers(), x.each_frac(), x.lattice.numpy(), strict=True)
        plain = [(z.tolist(), f.ravel().tolist(), m.ravel().tolist()) for z, f, m in cells]
        splits = [None] * len(x) if self.splits is None else self.splits.tolist()
        return pa.table({
            "place": pa.array([*self.places, *(d.place for d in out)], pa.string()),
            "name": pa.array([*x.labels, *(d.name for d in out)], pa.string()),
            "reason": pa.array([*[""] * len(x), *(d.reason for d in out)], pa.string()),
            "numbers": pa.array([*(p[0] for p in plain), *none], pa.list_(pa.int64())),
            "frac": pa.array([*(p[1] for p in plain), *none], pa.list_(pa.float64())),
            "lattice": pa.array([*(p[2] for p in plain), *none], pa.list_(pa.float64())),
            "split": pa.array([*splits, *none], pa.int64()),
            **{
                f"{_COLUMN}{name}": pa.array([*values.tolist(), *none], pa.float64())
                for name, values in x.columns.items()
            },
        })  # fmt: skip

    @classmethod
    def of(cls, table: pa.Table) -> "Prepared":
        """Reads what `table` has written."""
        n = table["numbers"].null_count
        above, below = table.slice(0, len(table) - n), table.slice(len(table) - n)
        flat = lambda name, kind: torch.from_numpy(
            above[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(kind)
        )
        counts = [len(z) for z in above["numbers"].to_pylist()]
        columns = {
            name.removeprefix(_COLUMN): torch.from_numpy(_floats(above[name]))
            for name in table.column_names
            if name.startswith(_COLUMN)
        }
        crystals = Crystals(
            flat("numbers", np.int64),
            flat("frac", float).view(-1, 3),
            torch.tensor(counts, dtype=torch.long),
            flat("lattice", float).view(-1, 3, 3),
            columns,
            np.array(above["name"].to_pylist(), dtype=object),
        )
        told = below.to_pydict()
        dropped = [Dropped(*d) for d in zip(*(told[k] for k in Dropped._fields), strict=True)]
        dealt = not len(above) or above["split"].null_count
        splits = None if dealt else above["split"].to_numpy()
        return cls(crystals, above["place"].to_pylist(), dropped, splits)


def _floats(column: Any) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False).astype(float).copy()


def first_places(dropped: Iterable[Dropped], most: int = 3) -> dict[str, str]:
    """Returns how many records each kind of reason left out, and where the first ones are."""
    kinds: dict[str, list[str]] = {}
    for one in dropped:
        kinds.setdefault(one.kind, []).append(one.place)
    return {
        kind: f"{len(found):,} ({', '.join(found[:most])}{' ...' * (len(found) > most)})"
        for kind, found in kinds.items()
    }
