"""What a reader of SELFIES says, as tensors."""

__all__ = ["Follower", "Open"]

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from genmatter.domains.molecule.reader import WIDTH, Reader, States, follow
from genmatter.domains.molecule.syntax import Grammar


class Open:
    """What is open, and what there is, at some places; as `States` has it."""

    def __init__(
        self, left: Tensor, bonds: Tensor, awaited: Tensor, digits: Tensor, back: Tensor,
        kinds: Tensor,
    ) -> None:  # fmt: skip
        self.left, self.bonds, self.awaited = left, bonds, awaited
        self.digits, self.back, self.kinds = digits, back, kinds

    @classmethod
    def of(cls, states: States, device: torch.device) -> "Open":
        """Takes what a reader says."""
        x = (
            states.left, states.bonds, states.awaited, states.digits, states.back, states.kinds
        )  # fmt: skip
        return cls(*(torch.from_numpy(a.astype(np.int64)).to(device) for a in x))


class Follower:
    """Reads rows of tokens, all at once or one by one.

    Args:
        grammar: Of the tokens.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar

    def follow(self, tokens: Int[Tensor, "n places"]) -> Open:
        """Returns what is open behind each token."""
        return Open.of(follow(self.grammar, tokens.cpu().numpy()), tokens.device)

    def begin(self, n: int, device: torch.device) -> Tensor:
        """Returns what `read` begins with, [n, numbers]."""
        return torch.zeros(n, WIDTH, dtype=torch.int16, device=device)

    def read(self, tokens: Int[Tensor, " n"], memory: Tensor) -> tuple[Open, Tensor]:
        """Reads a token of each row."""
        reader = Reader(self.grammar, memory.cpu().numpy().copy())
        for symbols in self.grammar.symbols[tokens.cpu().numpy()].T:
            if (symbols < 0).all():
                break
            reader.read(symbols)
        found = Open.of(reader.states(), tokens.device)
        return found, torch.from_numpy(reader.memory).to(tokens.device)
