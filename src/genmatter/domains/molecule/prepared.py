"""Molecules that are ready to learn from, and what was left out on the way."""

__all__ = ["Dropped", "Prepared", "first_lines"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch

from genmatter.domains.molecule.molecules import Molecules

_COLUMN = "column "  # before the names of a file's own columns


class Dropped(NamedTuple):
    """A row that is left out."""

    line: int
    text: str
    """What stands there, or its beginning."""
    reason: str

    @property
    def kind(self) -> str:
        """The reason without what is so in this row only."""
        return self.reason.partition(": ")[0]


@dataclass(frozen=True)
class Prepared:
    """Molecules in one form, each once, in the order of their file."""

    molecules: Molecules
    lines: np.ndarray
    """Line or record of each in its file."""
    dropped: Sequence[Dropped]
    stripped: int
    """How many of the molecules were parts of salts or mixtures."""
    neutralised: int
    """How many of them had charges that are gone."""
    unit: str = "line"

    @property
    def counts(self) -> dict[str, int]:
        """How many rows were read and kept, how many of these changed, and what was left out."""
        kinds: dict[str, int] = {}
        for row in self.dropped:
            kinds[row.kind] = kinds.get(row.kind, 0) + 1
        kept = len(self.molecules)
        changed = {"stripped": self.stripped, "neutralised": self.neutralised}
        return {"read": kept + len(self.dropped), "kept": kept, **changed, **kinds}

    def table(self) -> pa.Table:
        """Returns what is kept, and below it what is not."""
        out, none = self.dropped, [None] * len(self.dropped)
        absent = [None] * len(self.lines)
        text = lambda some: pa.array(some, pa.string())
        columns = {
            "line": pa.array([*self.lines.tolist(), *(row.line for row in out)], pa.int64()),
            "smiles": text([*self.molecules.smiles, *none]),
            "selfies": text([*self.molecules.selfies, *none]),
            "text": text([*absent, *(row.text for row in out)]),
            "reason": text([*absent, *(row.reason for row in out)]),
            **{
                f"{_COLUMN}{name}": pa.array([*values.tolist(), *none], pa.float64())
                for name, values in self.molecules.columns.items()
            },
        }
        facts = {"stripped": self.stripped, "neutralised": self.neutralised, "unit": self.unit}
        return pa.table(columns).replace_schema_metadata({k: str(v) for k, v in facts.items()})

    @classmethod
    def of(cls, table: pa.Table) -> "Prepared":
        """Reads what `table` has written."""
        n = len(table) - table["smiles"].null_count
        above, below = table.slice(0, n), table.slice(n).to_pydict()
        facts = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
        columns = {
            name.removeprefix(_COLUMN): torch.from_numpy(above[name].to_numpy().copy())
            for name in table.column_names
            if name.startswith(_COLUMN)
        }
        molecules = Molecules(above["smiles"].to_numpy(), columns, above["selfies"].to_numpy())
        rows = zip(below["line"], below["text"], below["reason"], strict=True)
        return cls(
            molecules, above["line"].to_numpy(), [Dropped(*row) for row in rows],
            int(facts["stripped"]), int(facts["neutralised"]), facts["unit"],
        )  # fmt: skip


def first_lines(dropped: Iterable[Dropped], unit: str, most: int = 3) -> dict[str, str]:
    """Returns how many rows each kind of reason left out, and where the first ones are."""
    kinds: dict[str, list[int]] = {}
    for row in sorted(dropped, key=lambda row: row.line):
        kinds.setdefault(row.kind, []).append(row.line)
    return {
        kind: f"{len(found):,} ({unit}{'s' * (len(found) > 1)} {', '.join(map(str, found[:most]))}"
        f"{' ...' * (len(found) > most)})"
        for kind, found in kinds.items()
    }
