"""A grammar of molecules: pieces of some, joined anew by the rules that they were cut by.

The molecules that come along are made so, of drugs: they are like what enters the brain.

    mass 150 to 450 g/mol, TPSA up to 90 square angstrom, logP 0.5 to 5, SA score up to 3.3
"""

__all__ = ["Grammar", "cns_like", "like_drugs", "make", "sound"]

import math
import random
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, count
from statistics import median, pstdev
from typing import Any, Generic, TypeVar

import pyarrow as pa
import selfies
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors, rdMolDescriptors
from tqdm import tqdm

from genmatter.domains.molecule.drugs import DRUGS
from genmatter.domains.molecule.pieces import Piece, bond_labels, flat, pieces
from genmatter.domains.molecule.sascore import synthetic_accessibility
from genmatter.domains.molecule.smiles import canonical, no_log
from genmatter.errors import DataError
from genmatter.loading.cached import kept, key
from genmatter.loading.parallel import processors, spread

T = TypeVar("T")
Keep = Callable[[Chem.Mol], bool]

_VERSION = 1  # of what is made here: another one makes it anew
_PIECES, _BONDS = 0.75, 0.5  # powers of how often they occur: rare ones come more often than that
_FIRST, _LAST = 10, 99  # ring-closure numbers; smaller ones are the pieces' own
_TRIES = 500  # proposals of a chunk
_PATIENCE = 40  # chunks in a row that bring nothing new
_WORTH = 1000  # molecules for each process that is worth its start
_ENDLESS = range(10**9)


@dataclass(frozen=True)
class Weighted(Generic[T]):
    """Things that are drawn as often as their weights say."""

    things: tuple[T, ...]
    sums: tuple[float, ...]

    @classmethod
    def of(cls, counts: Mapping[T, int], power: float) -> "Weighted[T]":
        """Takes powers of counts for weights."""
        return cls(tuple(counts), tuple(accumulate(n**power for n in counts.values())))

    def draw(self, stream: random.Random) -> T:
        """Returns one of them."""
        # of a stream's methods, only `random` promises the same numbers in every Python
        return self.things[bisect(self.sums, stream.random() * self.sums[-1])]


@dataclass(frozen=True)
class Grammar:
    """Pieces, and how often each is met at the end of which bond."""

    pieces: Weighted[Piece]
    partners: Mapping[int, Weighted[int]]
    """By the label of a bond's end, that of its other end."""
    ends: Mapping[int, Weighted[tuple[Piece, int]]]
    """By label, the pieces that have it, and at which of their places."""
    heaviest: float
    typical: float
    spread: float
    """Largest, median and standard deviation of the molecules' masses, in g/mol."""

    @classmethod
    def of(cls, smiles: Iterable[str]) -> "Grammar":
        """Cuts molecules, whose stereo centres are forgotten.

        Raises:
            DataError: There are none.
        """
        found: Counter[Piece] = Counter()
        partners: defaultdict[int, Counter[int]] = defaultdict(Counter)
        ends: defaultdict[int, Counter[tuple[Piece, int]]] = defaultdict(Counter)
        masses: list[float] = []
        for mol in flat(smiles):
            masses.append(_mass(mol))
            for a, b in bond_labels(mol):
                partners[a][b] += 1
                partners[b][a] += 1
            for piece in pieces(mol):
                found[piece] += 1
                for place, label in enumerate(piece.labels):
                    ends[label][piece, place] += 1
        if not masses:
            raise DataError("a grammar takes molecules to learn from; there are none")
        return cls(
            Weighted.of(found, _PIECES),
            {a: Weighted.of(b, _BONDS) for a, b in partners.items()},
            {a: Weighted.of(e, _PIECES) for a, e in ends.items()},
            max(masses), median(masses), pstdev(masses),
        )  # fmt: skip

    def draw(self, n: int, seed: int, keep: Keep | None = None) -> list[str]:
        """Returns distinct molecules that a condition holds for, as canonical SMILES.

        They are the first `n` of one sequence, a function of the seed and the condition. SELFIES
        can write each, and lead back to the same text.

        Raises:
            DataError: It does not find so many.
        """
        return _first(n, (self.chunk(seed, number, keep) for number in count()))

    def chunk(self, seed: int, number: int, keep: Keep | None = None) -> list[str]:
        """Returns one chunk of the sequence, with what it repeats."""
        stream = random.Random(f"grammar {seed} {number}")
        with no_log():
            grown = filter(None, (self.grow(stream) for _ in range(_TRIES)))
            mols = filter(None, map(Chem.MolFromSmiles, grown))
            kept = (Chem.MolToSmiles(mol) for mol in mols if keep is None or keep(mol))
            return [smiles for smiles in dict.fromkeys(kept) if sound(smiles)]

    def grow(self, stream: random.Random) -> str:
        """Returns a molecule as SMILES, or "" where it is too heavy or refused for its mass.

        Growth that ends by itself leaves too many that are light: a mass is accepted with the
        chance 1 / (1 + exp(2 (median - mass) / standard deviation)).
        """
        grown: list[tuple[Piece, list[str]]] = []
        todo = [(self.pieces.draw(stream), -1, "")]
        total, number = 0.0, _FIRST
        while todo:
            piece, entry, bond = todo.pop()
            total += piece.mass
            if total > self.heaviest or number + len(piece.labels) > _LAST:
                return ""
            bonds = [bond] * len(piece.labels)
            for place, label in enumerate(piece.labels):
                if place != entry:
                    bonds[place] = f"{'=' if label == 7 else '-'}%{number}"
                    end = self.ends[self.partners[label].draw(stream)].draw(stream)
                    todo.append((*end, bonds[place]))
                    number += 1
            grown.append((piece, bonds))
        light = 2 * (self.typical - total) / max(self.spread, 1.0)
        if stream.random() * (1 + math.exp(light)) > 1:
            return ""
        return ".".join(piece.written(bonds) for piece, bonds in grown)


@lru_cache(100_000)
def sound(smiles: str) -> bool:
    """Whether SELFIES can write a molecule, and lead back to the same canonical SMILES."""
    try:
        return canonical(str(selfies.decoder(str(selfies.encoder(smiles))))) == smiles
    except selfies.EncoderError:
        return False


def cns_like(mol: Chem.Mol) -> bool:
    """Whether a molecule could enter the brain, and be made."""
    return (
        150 <= _mass(mol) <= 450
        and rdMolDescriptors.CalcTPSA(mol) <= 90
        and synthetic_accessibility(mol) <= 3.3
        and 0.5 <= rdMolDescriptors.CalcCrippenDescriptors(mol)[0] <= 5
    )


def _mass(mol: Chem.Mol) -> float:
    return Descriptors.MolWt(mol)  # pyright: ignore[reportAttributeAccessIssue]


def make(n: int, seed: int) -> list[str]:
    """Returns distinct molecules of the drugs' grammar that could enter the brain.

    They are canonical SMILES, and a function of the arguments however many processes share the
    work. They are kept in the cache.

    Raises:
        DataError: It does not find so many.
        MissingExtraError: RDKit was installed without its contributions.
    """
    facts = _VERSION, rdBase.rdkitVersion, selfies.__version__, sorted(DRUGS.values())
    table = lambda: pa.table({"smiles": pa.array(_made(n, seed), pa.string())})
    return kept(f"molecules/grammar-{n}-{seed}-{key(b'', *facts)}", table)["smiles"].to_pylist()


def _made(n: int, seed: int) -> list[str]:
    processes = max(min(processors(), n // _WORTH), 1)
    with closing(spread(like_drugs, {"seed": seed}, _ENDLESS, "", processes, part=1)) as chunks:
        return _first(n, chunks)


def like_drugs(told: dict[str, Any], numbers: list[int]) -> list[list[str]]:
    """Returns chunks of molecules of the drugs' grammar that could enter the brain."""
    return [_of_drugs().chunk(told["seed"], number, cns_like) for number in numbers]


@cache
def _of_drugs() -> Grammar:
    return Grammar.of(DRUGS.values())


def _first(n: int, chunks: Iterator[list[str]]) -> list[str]:
    """Returns the first `n` that differ, of chunks that have no end."""
    found: dict[str, None] = {}
    idle = 0
    with tqdm(total=n, desc="molecules", disable=None, leave=False) as bar:
        while len(found) < n:
            before = len(found)
            found |= dict.fromkeys(next(chunks))
            bar.update(min(len(found), n) - before)
            idle = 0 if len(found) > before else idle + 1
            if idle == _PATIENCE:
                raise DataError(
                    f"{n} different molecules were asked for, but the grammar seems to make only "
                    f"{len(found)} that are wanted; give it more molecules to learn from"
                )
    return list(found)[:n]
