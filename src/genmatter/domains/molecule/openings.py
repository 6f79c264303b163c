"""What a network is told of the open ends of a SELFIES, and rings that it judges by their size.

Tokens that close a ring say how many atoms back; which of them makes a ring of six depends on all
that was written in between. So the logit of such a token has a part that depends on the size of
the ring that it would close, counted along the way that was written.
"""

__all__ = ["Openings"]

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.domains.molecule.following import Open
from genmatter.domains.molecule.reader import ANCESTORS
from genmatter.domains.molecule.syntax import Grammar

_LONGEST = 40  # symbols of a branch, and atoms back, that are told apart
_FIVE, _SIX = 4, 5  # ancestors that rings of these sizes close to
_REACH = 80  # atoms back that a ring may close to
_BONDS, _DIGITS = 7, 3  # bonds to spare, and digits awaited, that are told apart
_NONE, _NOWHERE = 0, 1  # no ring that is known of; one that closes to no ancestor with a bond
_SIZES = ANCESTORS + 6  # so large, and larger ones alike


class Openings(nn.Module):
    """Reads the open ends of token sequences, and scores the rings that a next token closes.

    Args:
        grammar: Of the tokens.
        hidden: Numbers of the state that judges rings.
        width: Numbers that each of four facts is written with.
    """

    back: Tensor
    before: Tensor
    first: Tensor
    both: Tensor

    def __init__(self, grammar: Grammar, hidden: int, width: int = 16) -> None:
        super().__init__()
        self.width = 4 * width
        self.inner, self.outer = (nn.Embedding(_LONGEST, width) for _ in range(2))
        self.ends = nn.Embedding(_BONDS * (2 * _DIGITS + 1), width)
        self.five, self.six = (nn.Embedding(_LONGEST + 2, width) for _ in range(2))
        self.judge = nn.Linear(hidden, _SIZES)
        for name, value in _closings(grammar).items():
            self.register_buffer(name, torch.from_numpy(value), persistent=False)

    def forward(self, seen: Open) -> Float[Tensor, "*places width"]:
        """Writes what is open as numbers."""
        inner, outer = seen.left.clamp(0, _LONGEST - 1).unbind(-1)
        awaited = seen.awaited.clamp(-_DIGITS, _DIGITS) + _DIGITS
        ends = seen.bonds.clamp(0, _BONDS - 1) * (2 * _DIGITS + 1) + awaited
        five, six = (seen.back[..., k].clamp(-1, _LONGEST) + 1 for k in (_FIVE, _SIX))
        rings = self.five(five) + self.six(six)
        return torch.cat([self.inner(inner), self.outer(outer), self.ends(ends), rings], -1)

    def rings(
        self, hidden: Float[Tensor, "*places hidden"], seen: Open
    ) -> Float[Tensor, "*places tokens"]:
        """Returns what each token's logit gains by the ring that it closes."""
        scores = self.judge(hidden)
        known = torch.cat([torch.zeros_like(scores[..., :1]), scores[..., 1:]], -1)
        return known.gather(-1, self.sizes(seen))

    def sizes(self, seen: Open) -> Int[Tensor, "*places tokens"]:
        """Returns one more than the atoms of the ring that each token would close first.

        0 is no ring that is known of, 1 one to an atom that is no ancestor or has no bond left.
        """
        atom = torch.arange(2, ANCESTORS + 2, device=seen.back.device).expand_as(seen.back)
        known = (seen.back >= 0) & (seen.back < _REACH)
        table = seen.back.new_full((*seen.back.shape[:-1], _REACH + 1), _NOWHERE)
        where = torch.where(known, seen.back, _REACH)
        table = table.scatter(-1, where, torch.where(known, atom, _NOWHERE))
        awaited, digits = seen.awaited[..., None], seen.digits[..., None]
        last = torch.where(awaited == -1, digits * 16 + self.first + 1, -1)
        pair = torch.where((awaited == -2) & (self.both >= 0), self.both + 1, -1)
        back = torch.where(awaited == 0, self.back, torch.maximum(last, pair))
        size = table.gather(-1, back.clamp(0, _REACH))
        grown = (size + torch.where(awaited == 0, self.before, 0)).clamp(max=_SIZES - 1)
        size = torch.where(size > _NOWHERE, grown, size)
        return torch.where(back < 0, _NONE, size)


def _closings(grammar: Grammar) -> dict[str, np.ndarray]:
    """Returns how each token begins.

    `back` is how many atoms before the first of its own its first ring closes to, if nothing but
    atoms comes before that; -1 if it does not. `before` counts those atoms. `first` is its first
    symbol as a digit, `both` its first two as a number, -1 where it has but one.
    """
    n = len(grammar.symbols)
    back, before, first, both = np.full(n, -1), np.zeros(n, int), np.zeros(n, int), np.full(n, -1)
    for token, symbols in enumerate(grammar.symbols):
        symbols = symbols[: grammar.length[token]]
        digits = grammar.digit[symbols]
        if len(symbols):
            first[token] = digits[0]
        if len(symbols) > 1:
            both[token] = digits[0] * 16 + digits[1]
        others = np.flatnonzero(~grammar.is_atom[symbols])
        atoms = others[0] if len(others) else len(symbols)
        if atoms < len(symbols) and grammar.is_ring[symbols[atoms]]:
            told = digits[atoms + 1 : atoms + 1 + grammar.size[symbols[atoms]]]
            number = int((told * 16 ** np.arange(len(told))[::-1]).sum())
            if len(told) == grammar.size[symbols[atoms]] and number + 1 >= atoms:
                back[token], before[token] = number + 1 - atoms, atoms
    return {"back": back, "before": before, "first": first, "both": both}
