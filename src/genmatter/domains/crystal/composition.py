r"""What a crystal is made of, drawn one element after the other.

Elements come in the order of their electronegativity, each with how many atoms it has, until the
number of atoms N is used up. So a composition is one sequence, and its probability is exact:

.. math:: \ln p(c | N) = \sum_k \ln p(e_k | e_{<k}, n_{<k}, N) + \ln p(n_k | e_{\le k}, n_{<k}, N)

What could not be ended is never begun: where nothing can follow, an element takes all atoms that
are left. Where the elements are asked for, each leaves one atom at least to those that have to
follow, and it is the compositions of exactly these elements whose probabilities add up to one.

A step is told which choices can end in charges that balance. How much that counts is learned:
alloys have no charges.
"""

__all__ = ["GROUPS", "Composition", "Wish"]

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genmatter.domains.crystal import balance
from genmatter.domains.crystal.listing import Elements, Listing, listed, order
from genmatter.domains.crystal.represent import MOST_ELEMENT, CrystalBatch
from genmatter.nn.embed import sinusoidal
from genmatter.nn.mlp import mlp

GROUPS = 231
"""Space groups, and 0 for none."""


@dataclass(frozen=True)
class Wish:
    """What is known of compositions before they are drawn."""

    size: Int[Tensor, " n"]
    """Numbers of atoms."""
    asked: Bool[Tensor, "n elements"]
    """The elements that there have to be, and no others, in the order of electronegativity."""
    free: Bool[Tensor, " n"]
    """Whether there may be any elements instead."""
    told: Float[Tensor, "n told"]
    """What a network is told."""

    def __getitem__(self, rows: Tensor) -> "Wish":
        return Wish(self.size[rows], self.asked[rows], self.free[rows], self.told[rows])


@dataclass(frozen=True)
class Step:
    """What is known where one more element is to be drawn."""

    h: Float[Tensor, "steps c"]
    """What a network has read so far."""
    counts: Int[Tensor, "steps elements"]
    """Atoms of each element so far."""
    wish: Wish

    @property
    def left(self) -> Int[Tensor, " steps"]:
        """How many atoms are left."""
        return self.wish.size - self.counts.sum(1)


class Composition(nn.Module):
    """The distribution of elements with their numbers of atoms.

    Args:
        width: Of the networks.
        dropout: Share of their numbers that training hides.
        where: Which of the properties of a batch it is told.
        elements: Atomic numbers that may be drawn; any where None.
    """

    order: Tensor
    absent: Tensor

    def __init__(
        self, width: int, dropout: float, where: Sequence[int] = (),
        elements: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.where = width, list(where)
        here = range(1, MOST_ELEMENT + 1) if elements is None else elements
        self.register_buffer("order", order(), persistent=False)
        absent = ~torch.isin(self.order, torch.tensor(list(here)))
        self.register_buffer("absent", absent, persistent=False)
        told = MOST_ELEMENT + 1 + GROUPS + 2 * len(self.where)
        self.read = Listing(width, told, dropout)
        self.body = nn.Sequential(
            nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout)
        )
        self.element, self.which = Elements(width), nn.Linear(width, width)
        self.many = mlp(2 * width, width, width + 1, activation=nn.SiLU)
        self.number = mlp(width, width, width, activation=nn.SiLU)
        self.count_which, self.count_many = (nn.Linear(width, balance.FACTS) for _ in range(2))
        for layer in (self.count_which, self.count_many):
            nn.init.zeros_(layer.weight)

    def counts(self, types: Int[Tensor, "n atoms"]) -> Int[Tensor, "n elements"]:
        """Returns how many atoms of each element there are, in the order of electronegativity."""
        found = torch.zeros(len(types), MOST_ELEMENT + 1, dtype=torch.long, device=types.device)
        return found.scatter_add(1, types, torch.ones_like(types))[:, self.order]

    def types(
        self, counts: Int[Tensor, "n elements"], mask: Bool[Tensor, "n atoms"]
    ) -> Int[Tensor, "n atoms"]:
        """Returns atomic numbers in the order of the setting; 0 where there is no atom."""
        at = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape).contiguous()
        found = torch.searchsorted(counts.cumsum(1), at, right=True)
        return self.order[found.clamp(max=MOST_ELEMENT - 1)] * mask

    def wish(self, batch: CrystalBatch) -> Wish:
        """Returns what a batch asks of compositions, and what it says beside."""
        elements, wanted = batch.elements[:, self.order], batch.wanted[:, self.where]
        free = elements[:, :1].isnan()
        group = nn.functional.one_hot(batch.space_group, GROUPS)
        told = [elements.nan_to_num(), free, group, wanted.nan_to_num(), wanted.isfinite()]
        asked = elements.nan_to_num() > 0
        return Wish(batch.num_atoms, asked, free[:, 0], torch.cat([x.float() for x in told], 1))

    def log_prob(self, counts: Int[Tensor, "n elements"], wish: Wish) -> Float[Tensor, " n"]:
        """Returns ln p of compositions, in nats; minus infinity of what is not asked for."""
        row, element = counts.nonzero(as_tuple=True)
        before = torch.arange(MOST_ELEMENT, device=counts.device) < element[:, None]
        h = self.body(self.read(counts, wish.size, wish.told))[:, :-1][listed(counts)[1] > 0]
        step = Step(h, counts[row] * before, wish[row])
        which = self._which(step).gather(1, element[:, None])
        number = self._many(step, element).gather(1, counts[row, element][:, None])
        return which.new_zeros(len(counts)).index_add(0, row, (which + number)[:, 0])

    @torch.no_grad()
    def draw(
        self, wish: Wish, blank: Wish | None = None, guidance: float = 1.0
    ) -> Int[Tensor, "n elements"]:
        """Draws compositions.

        Args:
            wish: What is asked for.
            blank: What a network is told that is told of no wish; None guides nothing.
            guidance: How many times as far as it is from that one ln p is moved.
        """
        both = [wish] if blank is None else [wish, replace(wish, told=blank.told)]
        state = torch.zeros_like(wish.asked, dtype=torch.long)
        while (left := (state.sum(1) < wish.size).nonzero()[:, 0]).numel():
            steps = [self.step(state[left], w[left]) for w in both]
            element = drawn([self._which(s, self.absent) for s in steps], guidance)
            number = drawn([self._many(s, element, self.absent) for s in steps], guidance)
            state[left, element] = number
        return state

    def step(self, counts: Int[Tensor, "steps elements"], wish: Wish) -> Step:
        """Returns what is known where these elements are drawn, and others are not."""
        h = self.body(self.read.whole(counts, wish.size, wish.told))
        return Step(h, counts, wish)

    def _which(self, step: Step, absent: Tensor | None = None) -> Float[Tensor, "steps elements"]:
        """Returns ln p of the element that comes next."""
        here = torch.arange(MOST_ELEMENT, device=step.h.device)
        last = torch.where(step.counts > 0, here, -1).amax(1)
        right = _following(last, step.wish, absent)
        right &= step.wish.free[:, None] | (right.cumsum(1) == 1)
        facts = balance.of_elements(_states(step.counts), step.left.tolist()).to(step.h)
        logits = self.which(step.h) @ self.element().T
        logits = logits + (facts * self.count_which(step.h)[:, None]).sum(-1)
        return logits.masked_fill(~right, -torch.inf).log_softmax(-1)

    def _many(
        self, step: Step, element: Int[Tensor, " steps"], absent: Tensor | None = None
    ) -> Float[Tensor, "steps numbers"]:
        """Returns ln p of 0, 1, 2 .. atoms of an element; minus infinity of 0."""
        left, wish = step.left, step.wish
        after = _following(element, wish, absent).sum(1)
        spare = left - torch.where(wish.free, 0, after)
        k = torch.arange(int(left.max() if len(left) else 0) + 1, device=left.device)
        right = torch.where((after > 0)[:, None], k <= spare[:, None], k == left[:, None])
        # the last element may only be begun where it can take the rest
        ask = self.many(torch.cat([step.h, self.element()[element]], 1))
        states = _states(step.counts)
        facts = balance.of_numbers(states, left.tolist(), element.tolist()).to(step.h)
        logits = ask[:, 1:] @ self.number(sinusoidal(k.float(), self.width)).T
        logits = logits + ask[:, :1] * (k == left[:, None])
        logits = logits + (facts * self.count_many(step.h)[:, None]).sum(-1)
        return logits.masked_fill(~right | (k == 0), -torch.inf).log_softmax(-1)


def _states(counts: Int[Tensor, "steps elements"]) -> list[balance.State]:
    """Returns compositions as elements with their numbers of atoms."""
    elements, numbers, many = (x.tolist() for x in listed(counts))
    rows = zip(elements, numbers, many, strict=True)
    return [tuple(zip(e[:k], n[:k], strict=True)) for e, n, k in rows]


def _following(
    last: Int[Tensor, " steps"], wish: Wish, absent: Tensor | None
) -> Bool[Tensor, "steps elements"]:
    """Returns which elements may come after one, in the order of electronegativity."""
    later = torch.arange(MOST_ELEMENT, device=last.device) > last[:, None]
    if absent is not None:
        later &= ~absent
    return later & (wish.free[:, None] | wish.asked)


def drawn(ways: Sequence[Float[Tensor, "n choices"]], guidance: float = 1.0) -> Int[Tensor, " n"]:
    """Draws from ln p, guided from the second where there is one."""
    log_p = ways[0]
    if len(ways) > 1:
        log_p = torch.where(
            ways[0].isfinite(), ways[1] + guidance * (ways[0] - ways[1]), -torch.inf
        )
    return torch.multinomial(log_p.softmax(-1), 1)[:, 0]
