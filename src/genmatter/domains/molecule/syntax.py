r"""The symbols of SELFIES: atoms, branches, rings, and numbers that say how long and how far.

References:
    | Self-referencing embedded strings (SELFIES), table 1 (Krenn et al., 2020)
    | https://doi.org/10.1088/2632-2153/aba947
"""

__all__ = ["ATOM", "BRANCH", "RING", "Grammar", "Symbol"]

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import selfies

ATOM, BRANCH, RING, NOTHING = range(4)
"""What a symbol is."""
_BONDS = {"": 1, "-": 1, "/": 1, "\\": 1, "=": 2, "#": 3}
_LONG = re.compile(r"\[([-=#/\\]*)(Branch|Ring)([123])\]")
_SHORT = re.compile(r"\[([=#/\\]?)\d*([A-Z][a-z]?)@{0,2}(?:H(\d))?((?:[+-]\d)?)\]")
_DIGITS = (
    "[C]", "[Ring1]", "[Ring2]", "[Branch1]", "[=Branch1]", "[#Branch1]", "[Branch2]",
    "[=Branch2]", "[#Branch2]", "[O]", "[N]", "[=N]", "[=C]", "[#C]", "[S]", "[P]",
)  # fmt: skip
_LENDS = {"N", "O", "S", "P", "Se"}  # their pair of electrons may take part in a flat ring


@dataclass(frozen=True)
class Symbol:
    """What a symbol means where no number is awaited."""

    kind: int
    order: int = 0
    """Of its bond."""
    size: int = 0
    """Bonds that the atom can make, or digits of the number that follows a branch or a ring."""
    sort: str = ""
    """Element, hydrogens and charge of an atom."""

    @classmethod
    def of(cls, text: str) -> "Symbol":
        """Reads one; what is neither atom nor branch nor ring means nothing."""
        if long := _LONG.fullmatch(text):
            bond, what, digits = long.groups()
            kind = BRANCH if what == "Branch" else RING
            return cls(kind, max((_BONDS[c] for c in bond), default=1), int(digits))
        if short := _SHORT.fullmatch(text):
            bond, element, hydrogens, charge = short.groups()
            rules = selfies.get_semantic_constraints()
            most = rules.get(element + charge, rules["?"])
            size = max(most - int(hydrogens or 0), 0)
            return cls(ATOM, _BONDS[bond], size, f"{element}{hydrogens or ''}{charge}")
        return cls(NOTHING)


class Grammar:
    """The symbols of tokens, as tables.

    Args:
        pieces: The symbols that each token stands for.
    """

    def __init__(self, pieces: Sequence[tuple[str, ...]]) -> None:
        names = sorted({s for piece in pieces for s in piece})
        number = {s: k for k, s in enumerate(names)}
        said = [*(Symbol.of(s) for s in names), Symbol(NOTHING)]
        self.kind, self.order, self.size = (
            np.array([getattr(s, what) for s in said]) for what in ("kind", "order", "size")
        )
        self.sorts = sorted({s.sort for s in said})
        self.sort = np.array([self.sorts.index(s.sort) for s in said])
        self.carbon = self.sorts.index("C") if "C" in self.sorts else -1
        bonds = {s.sort: s.size for s in said if s.kind == ATOM}
        self.valence = np.array([bonds.get(sort, 0) for sort in self.sorts])
        self.lends = np.array([sort.rstrip("123") in _LENDS for sort in self.sorts])
        self.is_atom, self.is_ring = self.kind == ATOM, self.kind == RING
        self.digit = np.array([_DIGITS.index(s) if s in _DIGITS else 0 for s in (*names, "")])
        self.length = np.array([len(piece) for piece in pieces])
        self.symbols = np.full((len(pieces), max(self.length.max(initial=0), 1)), -1)
        for row, piece in zip(self.symbols, pieces, strict=True):
            row[: len(piece)] = [number[s] for s in piece]

    def spelled(self, tokens: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns the symbols of rows of tokens, [n, symbols], -1 behind the last."""
        n, places = tokens.shape
        found = np.full((n, int(ends[:, -1].max(initial=0)) if places else 0), -1)
        each = self.symbols[tokens]
        row, place, k = np.nonzero(each >= 0)
        found[row, (ends - self.length[tokens])[row, place] + k] = each[row, place, k]
        return found
