r"""What a crystal is made of, drawn one element after the other, and then its space group.

Elements come in the order of their electronegativity, each with how many atoms it has, until the
number of atoms N is used up. So a composition is one sequence, and its probability is exact:

.. math:: \ln p(c | N) = \sum_k \ln p(e_k | e_{<k}, n_{<k}, N) + \ln p(n_k | e_{\le k}, n_{<k}, N)

What could not be ended is never begun: where nothing can follow, an element takes all atoms that
are left. Where the elements are asked for, each leaves one atom at least to those that have to
follow, and it is the compositions of exactly these elements whose probabilities add up to one.
"""

__all__ = ["Composition", "Wish"]

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genmatter.domains.crystal.chemistry import charges, rank, table
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


class Composition(nn.Module):
    """The distribution of elements with their numbers of atoms, and of space groups given these.

    Args:
        width: Of the networks.
        dropout: Share of their numbers that training hides.
        where: Which of the properties of a batch it is told.
        elements: Atomic numbers that may be drawn; any where None.
        groups: Whether space groups are known.
    """

    order: Tensor
    known: Tensor
    absent: Tensor

    def __init__(
        self, width: int, dropout: float, where: Sequence[int] = (),
        elements: Sequence[int] | None = None, *, groups: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.where = width, list(where)
        order = torch.from_numpy(rank()).argsort()[:MOST_ELEMENT]
        known = torch.cat([torch.from_numpy(table()), torch.from_numpy(charges())], 1)[order]
        here = range(1, MOST_ELEMENT + 1) if elements is None else elements
        for name, x in {
            "order": order, "known": known.float(),
            "absent": ~torch.isin(order, torch.tensor(list(here))),
        }.items():  # fmt: skip
            self.register_buffer(name, x, persistent=False)
        self.state = nn.Linear(2 * MOST_ELEMENT + known.shape[1] + 2 * width, width)
        self.told = nn.Linear(MOST_ELEMENT + 1 + GROUPS + 2 * len(self.where), width)
        self.body = nn.Sequential(
            nn.SiLU(), nn.Dropout(dropout), mlp(width, width, width, activation=nn.SiLU),
            nn.SiLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.element = nn.Linear(known.shape[1], width)
        self.own = nn.Embedding(MOST_ELEMENT, width)
        self.which = nn.Linear(width, width)
        self.many = mlp(2 * width, width, width + 1, activation=nn.SiLU)
        self.number = mlp(width, width, width, activation=nn.SiLU)
        self.group = nn.Linear(width, GROUPS) if groups else None

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
        state, wish = counts[row] * before, wish[row]
        h = self._read(state, wish)
        which = self._which(h, state, wish)[torch.arange(len(row)), element]
        many = self._many(h, state, element, wish)[torch.arange(len(row)), counts[row, element]]
        return which.new_zeros(len(counts)).index_add(0, row, which + many)

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
            now, some = state[left], [w[left] for w in both]
            read = [self._read(now, w) for w in some]
            ways = zip(read, some, strict=True)
            element = _drawn([self._which(h, now, w, self.absent) for h, w in ways], guidance)
            ways = zip(read, some, strict=True)
            state[left, element] = _drawn(
                [self._many(h, now, element, w, self.absent) for h, w in ways], guidance
            )
        return state

    def log_group(
        self, counts: Int[Tensor, "n elements"], wish: Wish
    ) -> Float[Tensor, "n groups"]:
        """Returns ln p of each space group; minus infinity of 0, which is none."""
        assert self.group is not None, "space groups are not known"
        logits = self.group(self._read(counts, wish))
        none = torch.arange(GROUPS, device=logits.device) == 0
        return logits.masked_fill(none, -torch.inf).log_softmax(-1)

    @torch.no_grad()
    def draw_group(self, counts: Int[Tensor, "n elements"], wish: Wish) -> Int[Tensor, " n"]:
        """Draws a space group for each composition."""
        return _drawn([self.log_group(counts, wish)], 1.0)

    def _read(self, state: Int[Tensor, "steps elements"], wish: Wish) -> Float[Tensor, "steps c"]:
        """Returns what is known where the elements of a state are drawn and others are not."""
        size, left = wish.size, wish.size - state.sum(1)
        share = state / size[:, None]
        parts = [
            share, (state > 0).float(), share @ self.known,
            sinusoidal(size.float(), self.width), sinusoidal(left.float(), self.width),
        ]  # fmt: skip
        return self.body(self.state(torch.cat(parts, 1)) + self.told(wish.told))

    def _which(
        self, h: Tensor, state: Tensor, wish: Wish, absent: Tensor | None = None
    ) -> Float[Tensor, "steps elements"]:
        """Returns ln p of the element that comes next."""
        here = torch.arange(MOST_ELEMENT, device=h.device)
        last = torch.where(state > 0, here, -1).amax(1)
        right = _following(last, wish, absent)
        right &= wish.free[:, None] | (right.cumsum(1) == 1)
        logits = self.which(h) @ self._elements().T
        return logits.masked_fill(~right, -torch.inf).log_softmax(-1)

    def _many(
        self, h: Tensor, state: Tensor, element: Int[Tensor, " steps"], wish: Wish,
        absent: Tensor | None = None,
    ) -> Float[Tensor, "steps numbers"]:  # fmt: skip
        """Returns ln p of 0, 1, 2 .. atoms of an element; minus infinity of 0."""
        left = wish.size - state.sum(1)
        after = _following(element, wish, absent).sum(1)
        spare = left - torch.where(wish.free, 0, after)
        k = torch.arange(int(left.max() if len(left) else 0) + 1, device=h.device)
        right = torch.where((after > 0)[:, None], k <= spare[:, None], k == left[:, None])
        # the last element may only be begun where it can take the rest
        ask = self.many(torch.cat([h, self._elements()[element]], 1))
        logits = ask[:, 1:] @ self.number(sinusoidal(k.float(), self.width)).T
        logits = logits + ask[:, :1] * (k == left[:, None])
        return logits.masked_fill(~right | (k == 0), -torch.inf).log_softmax(-1)

    def _elements(self) -> Float[Tensor, "elements c"]:
        return self.element(self.known) + self.own.weight


def _following(
    last: Int[Tensor, " steps"], wish: Wish, absent: Tensor | None
) -> Bool[Tensor, "steps elements"]:
    """Returns which elements may come after one, in the order of electronegativity."""
    later = torch.arange(MOST_ELEMENT, device=last.device) > last[:, None]
    if absent is not None:
        later &= ~absent
    return later & (wish.free[:, None] | wish.asked)


def _drawn(ways: Sequence[Float[Tensor, "n choices"]], guidance: float) -> Int[Tensor, " n"]:
    """Draws from ln p, guided from the second where there is one."""
    log_p = ways[0]
    if len(ways) > 1:
        log_p = torch.where(
            ways[0].isfinite(), ways[1] + guidance * (ways[0] - ways[1]), -torch.inf
        )
    return torch.multinomial(log_p.softmax(-1), 1)[:, 0]
