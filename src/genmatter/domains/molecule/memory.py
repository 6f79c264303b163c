"""What is known of molecules, by their SMILES; above a limit the oldest is forgotten."""

__all__ = ["Memory"]

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True, eq=False)
class Memory(Generic[V]):
    """Values of up to `most` molecules."""

    most: int
    known: dict[str, V] = field(default_factory=dict)

    def recall(self, smiles: Iterable[str]) -> dict[str, V]:
        """Returns what is known of these."""
        return {s: self.known[s] for s in smiles if s in self.known}

    def keep(self, values: dict[str, V]) -> None:
        """Remembers values, and forgets the oldest where they are too many."""
        self.known.update(values)
        for old in list(islice(self.known, max(len(self.known) - self.most, 0))):
            del self.known[old]

    def complete(
        self, smiles: Iterable[str], compute: Callable[[list[str]], Iterable[V]]
    ) -> dict[str, V]:
        """Returns values of all of these, of which what is not known is computed, each once."""
        wanted = dict.fromkeys(smiles)
        found = self.recall(wanted)
        lacking = [s for s in wanted if s not in found]
        new = dict(zip(lacking, compute(lacking), strict=True)) if lacking else {}
        self.keep(new)
        return found | new
