r"""What a SELFIES has left open so far: branches that run on, bonds to spare, atoms to close to.

A SELFIES says how long a branch is before it writes the branch, and how far back a ring closes
by the number of atoms in between. Who reads it has to count, across branches within branches. A
`Reader` counts: after each token it knows how many symbols the open branches still have, how many
bonds the last atom can still make, and which atoms lie on the way back to the first one. A ring
closes to one of these where a SELFIES is written depth first, so that how far back it goes says
how large it is.

References:
    | Self-referencing embedded strings (SELFIES), table 1 (Krenn et al., 2020)
    | https://doi.org/10.1088/2632-2153/aba947
"""

__all__ = ["ANCESTORS", "WIDTH", "Grammar", "Reader", "States"]

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import selfies

ANCESTORS = 20
"""Atoms on the way back that are told, the last one first."""
DEEPEST, MOST_ATOMS = 12, 128
"""Branches within branches, and atoms, that are followed; what is beyond is not."""
_SINGLE, _LEVELS = 6, DEEPEST + 1
WIDTH = _SINGLE + 3 * _LEVELS + 2 * MOST_ATOMS
"""Numbers that a reader keeps of a row."""

_ATOM, _BRANCH, _RING, _NOTHING = range(4)
_BONDS = {"": 1, "-": 1, "/": 1, "\\": 1, "=": 2, "#": 3}
_LONG = re.compile(r"\[([-=#/\\]*)(Branch|Ring)([123])\]")
_SHORT = re.compile(r"\[([=#/\\]?)\d*([A-Z][a-z]?)@{0,2}(?:H(\d))?((?:[+-]\d)?)\]")
_DIGITS = (
    "[C]", "[Ring1]", "[Ring2]", "[Branch1]", "[=Branch1]", "[#Branch1]", "[Branch2]",
    "[=Branch2]", "[#Branch2]", "[O]", "[N]", "[=N]", "[=C]", "[#C]", "[S]", "[P]",
)  # fmt: skip


@dataclass(frozen=True)
class Symbol:
    """What a symbol means where no number is awaited."""

    kind: int
    order: int = 0
    """Of its bond."""
    size: int = 0
    """Bonds that the atom can make, or digits of the number that follows a branch or a ring."""

    @classmethod
    def of(cls, text: str) -> "Symbol":
        """Reads one; what is neither atom nor branch nor ring means nothing."""
        if long := _LONG.fullmatch(text):
            bond, what, digits = long.groups()
            kind = _BRANCH if what == "Branch" else _RING
            return cls(kind, max((_BONDS[c] for c in bond), default=1), int(digits))
        if short := _SHORT.fullmatch(text):
            bond, element, hydrogens, charge = short.groups()
            rules = selfies.get_semantic_constraints()
            most = rules.get(element + charge, rules["?"])
            return cls(_ATOM, _BONDS[bond], max(most - int(hydrogens or 0), 0))
        return cls(_NOTHING)


@dataclass(frozen=True)
class States:
    """What is open behind each token, integers."""

    left: np.ndarray
    """Symbols that the innermost two branches still have, [..., 2]; 0 where none is open."""
    bonds: np.ndarray
    """Bonds that the last atom can still make, [...]."""
    awaited: np.ndarray
    """Digits of a number that are still to come, [...]: minus as many where it says how far back
    a ring closes."""
    digits: np.ndarray
    """The number so far."""
    back: np.ndarray
    """How many atoms ago the ancestors of the last atom were written, itself first (0),
    [..., ANCESTORS]; -1 where there are no more, or where one has no bond to spare."""


class Grammar:
    """The symbols of tokens, as tables.

    Args:
        pieces: The symbols that each token stands for.
    """

    def __init__(self, pieces: Sequence[tuple[str, ...]]) -> None:
        names = sorted({s for piece in pieces for s in piece})
        number = {s: k for k, s in enumerate(names)}
        said = [*(Symbol.of(s) for s in names), Symbol(_NOTHING)]
        self.kind, self.order, self.size = (
            np.array([getattr(s, what) for s in said]) for what in ("kind", "order", "size")
        )
        self.is_atom, self.is_ring = self.kind == _ATOM, self.kind == _RING
        self.digit = np.array([_DIGITS.index(s) if s in _DIGITS else 0 for s in (*names, "")])
        self.length = np.array([len(piece) for piece in pieces])
        self.symbols = np.full((len(pieces), max(self.length.max(initial=0), 1)), -1)
        for row, piece in zip(self.symbols, pieces, strict=True):
            row[: len(piece)] = [number[s] for s in piece]

    def follow(self, tokens: np.ndarray) -> States:
        """Returns what is open behind each token of some rows, [n, places]."""
        n, _places = tokens.shape
        reader, found = Reader(self, np.zeros((n, WIDTH), np.int16)), []
        ends = self.length[tokens].cumsum(1)
        symbols = self._spelled(tokens, ends)
        states = [reader.states()]
        for column in symbols.T:
            reader.read(column)
            states.append(reader.states())
        row = np.arange(n)[:, None]
        for what in ("left", "bonds", "awaited", "digits", "back"):
            every = np.stack([getattr(s, what) for s in states], 1)
            found.append(every[row, ends])
        return States(*found)

    def _spelled(self, tokens: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns the symbols of rows of tokens, [n, symbols], -1 behind the last."""
        n, places = tokens.shape
        found = np.full((n, int(ends[:, -1].max(initial=0)) if places else 0), -1)
        each = self.symbols[tokens]
        row, place, k = np.nonzero(each >= 0)
        found[row, (ends - self.length[tokens])[row, place] + k] = each[row, place, k]
        return found


class Reader:
    """Follows some rows of symbols at once, by the rules of SELFIES.

    All that it knows of a row is a row of `memory`, so that rows can be left out, repeated and
    kept as one array.

    Args:
        grammar: Of their tokens.
        memory: What is known of each row, [n, `WIDTH`]; zeros before the first symbol.
    """

    def __init__(self, grammar: Grammar, memory: np.ndarray) -> None:
        self.grammar, self.memory, self.row = grammar, memory, np.arange(len(memory))
        single, levels, atoms = np.split(memory, [_SINGLE, _SINGLE + 3 * _LEVELS], 1)
        self.level, self.atoms, self.awaited, self.digits, self.order, self.branching = single.T
        self.left, self.bonds, self.tip = np.split(levels, 3, 1)  # the last: atoms on the way
        self.way, self.spare = np.split(atoms, 2, 1)

    def read(self, symbols: np.ndarray) -> None:
        """Reads a symbol of each row; -1 is none."""
        g, row, there = self.grammar, self.row, symbols >= 0
        kind, order, size = g.kind[symbols], g.order[symbols], g.size[symbols]
        number = there & (self.awaited > 0)
        free = there & ~number
        level = self.level.copy()
        bonds = self.bonds[row, level]
        self.left[:, 1:] -= there[:, None]
        self._number(number, symbols, level, bonds)
        self._atom(free & (kind == _ATOM), order, size, level, bonds)
        opens = free & (((kind == _BRANCH) & (bonds > 1)) | ((kind == _RING) & (self.atoms > 0)))
        self.awaited[opens], self.order[opens] = size[opens], order[opens]
        self.digits[opens], self.branching[opens] = 0, (kind == _BRANCH)[opens]
        self._close()

    def _number(
        self, at: np.ndarray, symbols: np.ndarray, level: np.ndarray, bonds: np.ndarray
    ) -> None:
        """Reads a digit; the last one opens a branch or closes a ring."""
        if not at.any():
            return
        self.digits[at] = self.digits[at] * 16 + self.grammar.digit[symbols[at]]
        self.awaited[at] -= 1
        done = at & (self.awaited == 0)
        self._ring(np.flatnonzero(done & (self.branching == 0)), level, bonds)
        self._branch(
            np.flatnonzero(done & (self.branching == 1) & (level < DEEPEST)), level, bonds
        )

    def _ring(self, rows: np.ndarray, level: np.ndarray, bonds: np.ndarray) -> None:
        if not len(rows):
            return
        last = self.way[rows, self.tip[rows, level[rows]] - 1]
        first = np.maximum(last - self.digits[rows] - 1, 0)
        order = np.minimum(self.order[rows], bonds[rows])
        self.bonds[rows, level[rows]] -= order
        self.spare[rows, last] -= order
        self.spare[rows, first] -= order

    def _branch(self, rows: np.ndarray, level: np.ndarray, bonds: np.ndarray) -> None:
        if not len(rows):
            return
        at = level[rows]
        taken = np.minimum(bonds[rows] - 1, self.order[rows])
        self.bonds[rows, at] -= taken
        self.level[rows] += 1
        self.left[rows, at + 1] = self.digits[rows] + 1
        self.bonds[rows, at + 1] = taken
        self.tip[rows, at + 1] = self.tip[rows, at]

    def _atom(
        self, at: np.ndarray, order: np.ndarray, size: np.ndarray, level: np.ndarray,
        bonds: np.ndarray,
    ) -> None:  # fmt: skip
        rows = np.flatnonzero(at & (self.atoms < MOST_ATOMS) & ((bonds > 0) | (self.atoms == 0)))
        if not len(rows):
            return
        level, tip = level[rows], self.tip[rows, level[rows]]
        order = np.minimum(np.minimum(order[rows], bonds[rows]), size[rows])
        self.spare[rows, self.way[rows, tip - 1]] -= order * (tip > 0)
        self.way[rows, tip] = self.atoms[rows]
        self.spare[rows, self.atoms[rows]] = size[rows] - order
        self.bonds[rows, level] = size[rows] - order
        self.tip[rows, level] += 1
        self.atoms[rows] += 1

    def _close(self) -> None:
        """Leaves branches that have no more symbols."""
        while True:
            over = (self.level > 0) & (self.left[self.row, self.level] <= 0) & (self.awaited == 0)
            if not over.any():
                return
            self.level[over] -= 1

    def states(self) -> States:
        """Returns what is open."""
        row, level = self.row, self.level
        inner = self.left[row, level] * (level > 0)
        outer = self.left[row, np.maximum(level - 1, 0)] * (level > 1)
        tip = self.tip[row, level]
        where = tip[:, None] - 1 - np.arange(ANCESTORS)
        atom = self.way[row[:, None], np.maximum(where, 0)]
        back = np.where(where >= 0, atom[:, :1] - atom, -1)
        back = np.where(self.spare[row[:, None], atom] > 0, back, -1)
        awaited = np.where(self.branching == 1, self.awaited, -self.awaited)
        return States(
            np.stack([inner, outer], -1), self.bonds[row, level], awaited, self.digits.copy(), back
        )
