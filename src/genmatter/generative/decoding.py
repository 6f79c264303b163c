r"""Sequences from a model of the next token: drawn, or searched for the likeliest.

A model is a step: the last tokens and a state go in, the logits of the next tokens and the new
state come out. States are tuples of tensors whose first axis is the row, so that rows that have
ended can be left out, and others followed several times.

References:
    | The curious case of neural text degeneration (Holtzman et al., 2020), for top-p
    | https://arxiv.org/abs/1904.09751
    | Hierarchical neural story generation (Fan et al., 2018), for top-k
    | https://doi.org/10.18653/v1/P18-1082
"""

__all__ = ["Choice", "Ends", "State", "Step", "beam", "draw"]

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], tuple[Tensor, State]]

_DROPPED = 0.9  # rows are left out once so many of them are still going on


@dataclass(frozen=True)
class Ends:
    """The tokens that begin and end a sequence, what fills up a row, and the longest row."""

    start: int
    end: int
    pad: int
    longest: int
    """Tokens at which a sequence that has not ended is given up."""


@dataclass(frozen=True)
class Choice:
    """How the next token is taken from its logits: the likeliest at temperature 0, else by chance.

    Args:
        temperature: Divides the logits.
        top_k: Only so many of the likeliest are left; 0 leaves all.
        top_p: Only the fewest likeliest are left that have this share together.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __call__(self, logits: Float[Tensor, "n tokens"]) -> Int[Tensor, " n"]:
        """Returns a token of each row."""
        if not self.temperature:
            return logits.argmax(-1)
        logits = self.kept(logits.float() / self.temperature)
        # by the inverse of the distribution: one random number a row, and not one a token
        below = logits.softmax(-1).cumsum(-1)
        u = torch.rand_like(below[:, :1]) * below[:, -1:]
        found = torch.searchsorted(below, u, right=True).squeeze(-1)
        return found.clamp(max=logits.shape[-1] - 1)  # only what is not a number is above

    def kept(self, logits: Float[Tensor, "n tokens"]) -> Float[Tensor, "n tokens"]:
        """Returns logits in which what may not be chosen is -inf."""
        if self.top_k:
            least = logits.topk(min(self.top_k, logits.shape[-1]), -1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if self.top_p < 1:
            best, where = logits.softmax(-1).sort(-1, descending=True)
            above = best.cumsum(-1) - best  # the share of those before it
            out = torch.zeros_like(above, dtype=torch.bool).scatter(-1, where, above >= self.top_p)
            logits = logits.masked_fill(out, -torch.inf)
        return logits


def draw(step: Step, state: State, ends: Ends, choice: Choice) -> Int[Tensor, "n places"]:
    """Returns a sequence of each row, up to its end, which is filled up behind it.

    Rows that have ended are left out of the work.
    """
    n, device = len(state[0]), state[0].device
    found = torch.full((n, ends.longest), ends.pad, device=device)
    rows = torch.arange(n, device=device)
    last = torch.full((n,), ends.start, device=device)
    going = torch.ones(n, dtype=torch.bool, device=device)
    for place in range(ends.longest):
        logits, state = step(last, state)
        last = choice(logits)
        found[rows[going], place] = last[going]
        going = going & (last != ends.end)
        if not going.any():
            return found[:, : place + 1]
        if going.float().mean() < _DROPPED:
            rows, last, state = rows[going], last[going], tuple(s[going] for s in state)
            going = going[going]
    return found


def beam(step: Step, state: State, ends: Ends, width: int) -> Int[Tensor, "n places"]:
    """Returns the likeliest sequence of each row that a search over so many at once finds.

    With a width of 1 it takes the likeliest token each time. What has ended stays in the beam
    with its log-probability, and the search is over when the best of a row has ended.
    """
    n, device = len(state[0]), state[0].device
    first = torch.arange(n, device=device).repeat_interleave(width)
    state = tuple(s[first] for s in state)
    last = torch.full((n * width,), ends.start, device=device)
    total = torch.full((n, width), -torch.inf, device=device)
    total[:, 0] = 0.0
    over = torch.zeros(n, width, dtype=torch.bool, device=device)
    found = torch.zeros(n, width, 0, dtype=torch.long, device=device)
    base = torch.arange(n, device=device)[:, None] * width
    for _ in range(ends.longest):
        logits, state = step(last, state)
        more = logits.float().log_softmax(-1).view(n, width, -1)
        stay = torch.full_like(more, -torch.inf)
        stay[..., ends.pad] = 0.0
        size = more.shape[-1]
        sums = (total[..., None] + torch.where(over[..., None], stay, more)).flatten(1)
        total, code = sums.topk(width, -1)
        parent, token = code // size, code % size
        over = over.gather(1, parent) | (token == ends.end)
        found = torch.cat(
            [found.gather(1, parent[..., None].expand(-1, -1, found.shape[-1])), token[..., None]],
            -1,
        )
        if over[:, 0].all():
            break
        rows = (base + parent).flatten()
        last, state = token.flatten(), tuple(s[rows] for s in state)
    return found[:, 0]
