"""What a SELFIES has written so far: what is open, and the atoms that there are.

A SELFIES says how long a branch is before it writes the branch, and how far back a ring closes
by the number of atoms in between. Who reads it has to count, across branches within branches. A
`Reader` counts: after each token it knows how many symbols the open branches still have, how many
bonds the last atom can still make, and which atoms lie on the way back to the first one. A ring
closes to one of these where a SELFIES is written depth first, so that how far back it goes says
how large it is. And it knows of each atom how many neighbours and hydrogens it would have if the
molecule ended here, and whether it lies in a ring.
"""

__all__ = ["ANCESTORS", "KINDS", "WIDTH", "Reader", "States", "follow"]

from dataclasses import dataclass

import numpy as np

from genmatter.domains.molecule.syntax import ATOM, BRANCH, RING, Grammar

ANCESTORS = 20
"""Atoms on the way back that are told, the last one first."""
DEEPEST, MOST_ATOMS = 12, 128
"""Branches within branches, and atoms, that are followed; what is beyond is not."""
_SINGLE, _LEVELS = 6, DEEPEST + 1
_ENDS = _SINGLE + 3 * _LEVELS
WIDTH = _ENDS + 6 * MOST_ATOMS
"""Numbers that a reader keeps of a row."""
_BONDS, _OTHERS, _RINGS = 5, 3, 3
KINDS = _BONDS**2 * _OTHERS * _RINGS
"""Kinds of atoms of one sort: by neighbours, those that are not carbon, hydrogens and rings."""
_CHAIN, _IN_RING, _FLAT = range(_RINGS)


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
    kinds: np.ndarray
    """The kind of each atom, [..., atoms]: `KINDS` times its sort, and its kind among these; -1
    where there is none."""


def follow(grammar: Grammar, tokens: np.ndarray) -> States:
    """Returns what is open, and what there is, behind each token of some rows, [n, places]."""
    n, _places = tokens.shape
    reader = Reader(grammar, np.zeros((n, WIDTH), np.int16))
    ends = grammar.length[tokens].cumsum(1)
    states = [reader.states()]
    for column in grammar.spelled(tokens, ends).T:
        reader.read(column)
        states.append(reader.states())
    row, most = np.arange(n)[:, None], int(reader.atoms.max(initial=0))
    every = {k: np.stack([getattr(s, k) for s in states], 1)[row, ends] for k in _TOLD}
    return States(**every | {"kinds": every["kinds"][..., :most]})


_TOLD = ("left", "bonds", "awaited", "digits", "back", "kinds")


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
        single, levels, atoms = np.split(memory, [_SINGLE, _ENDS], 1)
        self.level, self.atoms, self.awaited, self.digits, self.order, self.branching = single.T
        self.left, self.bonds, self.tip = np.split(levels, 3, 1)  # the last: atoms on the way
        self.way, self.spare, self.sort, self.degree, self.others, self.ring = np.split(
            atoms, 6, 1
        )

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
        self._atom(free & (kind == ATOM), symbols, level, bonds)
        opens = free & (((kind == BRANCH) & (bonds > 1)) | ((kind == RING) & (self.atoms > 0)))
        self.awaited[opens], self.order[opens] = size[opens], order[opens]
        self.digits[opens], self.branching[opens] = 0, (kind == BRANCH)[opens]
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
        self._bond(rows, last, first, order)
        self._enclose(rows, first, self.tip[rows, level[rows]])

    def _bond(self, rows: np.ndarray, a: np.ndarray, b: np.ndarray, order: np.ndarray) -> None:
        """Joins atoms by bonds of some orders; 0 is none."""
        for one, other in ((a, b), (b, a)):
            self.spare[rows, one] -= order
            self.degree[rows, one] += order > 0
            foreign = self.sort[rows, other] != self.grammar.carbon
            self.others[rows, one] += (order > 0) & foreign

    def _enclose(self, rows: np.ndarray, first: np.ndarray, tip: np.ndarray) -> None:
        """Notes which atoms lie on the way from the first one to the tip.

        A ring is flat where each atom has a double bond, or a pair of electrons to lend.
        """
        way, at = self.way[rows], np.arange(MOST_ATOMS)
        begin = np.where((way == first[:, None]) & (at < tip[:, None]), at, MOST_ATOMS).min(1)
        inside = (at >= begin[:, None]) & (at < tip[:, None])
        row = np.broadcast_to(rows[:, None], way.shape)
        g, sort = self.grammar, self.sort[row, way]
        double = g.valence[sort] - self.spare[row, way] > self.degree[row, way]
        flat = (double | g.lends[sort] | ~inside).all(1)
        found = np.where(flat, _FLAT, _IN_RING)[:, None]
        known = self.ring[row, way]
        self.ring[row[inside], way[inside]] = np.maximum(known, found)[inside]

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
        self, at: np.ndarray, symbols: np.ndarray, level: np.ndarray, bonds: np.ndarray
    ) -> None:
        rows = np.flatnonzero(at & (self.atoms < MOST_ATOMS) & ((bonds > 0) | (self.atoms == 0)))
        if not len(rows):
            return
        g, symbols = self.grammar, symbols[rows]
        level, tip, size = level[rows], self.tip[rows, level[rows]], g.size[symbols]
        order = np.minimum(np.minimum(g.order[symbols], bonds[rows]), size)
        before, atom = self.way[rows, tip - 1], self.atoms[rows]
        self.way[rows, tip] = atom
        self.spare[rows, atom], self.sort[rows, atom] = size, g.sort[symbols]
        self._bond(rows, before, atom, order * (tip > 0))
        self.bonds[rows, level] = size - order
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
            np.stack([inner, outer], -1), self.bonds[row, level], awaited, self.digits.copy(),
            back, self.kinds(),
        )  # fmt: skip

    def kinds(self) -> np.ndarray:
        """Returns the kinds of the atoms, -1 where there is none."""
        degree, spare = (x.clip(0, _BONDS - 1) for x in (self.degree, self.spare))
        kind = (self.sort.astype(np.int32) * _BONDS + degree) * _BONDS + spare
        kind = (kind * _OTHERS + self.others.clip(0, _OTHERS - 1)) * _RINGS + self.ring
        return np.where(np.arange(MOST_ATOMS) < self.atoms[:, None], kind, -1)
