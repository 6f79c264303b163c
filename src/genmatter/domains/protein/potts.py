r"""Potts models over graphs of treewidth 2: everything about them, exactly.

.. math:: p(x \mid c) = \frac{1}{Z_c} \exp\Big(\sum_i h^c_i(x_i) + \sum_{(i, j) \in E}
    J_{ij}(x_i, x_j)\Big), \qquad p(x) = \sum_c \pi_c\, p(x \mid c)

Sites are eliminated one by one, each while it has at most two neighbours; what it leaves behind
is a coupling of these. So :math:`p(x \mid c)` becomes a product of :math:`p(x_v \mid x_a, x_b)`,
of which likelihoods, marginals, entropies and independent samples follow. A sequence with arcs
that do not cross, as the contacts of nested hairpins, is such a graph.

References:
    | Bucket elimination: a unifying framework for reasoning (Dechter, 1999)
    | https://doi.org/10.1016/S0004-3702(99)00059-4
"""

__all__ = ["Potts"]

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmatter.errors import DataError

_PART = 8192
"""Sequences that are drawn at a time: their distributions stay in the cache."""

Pair = tuple[int, int]


class _Step(NamedTuple):
    """A site, its at most two neighbours when it is eliminated, and its law given them."""

    site: int
    parents: tuple[int, ...]
    log_p: Tensor
    """[c, states of the parents ..., states]."""


@dataclass(frozen=True, eq=False)
class Potts:
    """A mixture of Potts models that have their couplings in common.

    Raises:
        DataError: The pairs do not form a graph of treewidth 2, or name no two sites each.
    """

    fields: Float[Tensor, "components sites states"]
    """h, in kT; double precision."""
    pairs: tuple[Pair, ...]
    """The sites (i < j) of each coupling."""
    couplings: Float[Tensor, "pairs states states"]
    """J of each pair, in kT."""
    shares: Float[Tensor, " components"]
    """How much of the mixture each component is."""

    def __post_init__(self) -> None:
        sites = self.fields.shape[1]
        if any(not 0 <= i < j < sites for i, j in self.pairs) or len({*self.pairs}) < len(
            self.pairs
        ):
            raise DataError(f"couplings need different pairs i < j of {sites} sites")

    @property
    def sites(self) -> int:
        """How long sequences are."""
        return self.fields.shape[1]

    @property
    def states(self) -> int:
        """How many states a site has."""
        return self.fields.shape[2]

    @cached_property
    def _eliminated(self) -> tuple[list[_Step], Tensor]:
        """Eliminates all sites; returns the steps, the last one first, and log Z."""
        unary = {v: self.fields[:, v] for v in range(self.sites)}
        pair = {p: self.couplings[k][None] for k, p in enumerate(self.pairs)}
        near: dict[int, set[int]] = {v: set() for v in unary}
        for i, j in self.pairs:
            near[i].add(j)
            near[j].add(i)
        steps: list[_Step] = []
        log_z = torch.zeros(len(self.fields), dtype=self.fields.dtype)
        while near:
            v = min(near, key=lambda u: (len(near[u]), u))
            parents = tuple(sorted(near.pop(v)))
            if len(parents) > 2:
                raise DataError(f"site {v + 1} has more than 2 neighbours left: treewidth above 2")
            joint = unary.pop(v)
            for k, a in enumerate(parents):
                both = pair.pop((min(a, v), max(a, v)))
                both = both.mT if v < a else both  # [c, x_a, x_v]
                joint = joint[:, None] + both if k == 0 else joint[:, :, None] + both[:, None]
                near[a].discard(v)
            left = joint.logsumexp(-1)
            steps.append(_Step(v, parents, joint - left[..., None]))
            if not parents:
                log_z = log_z + left
            elif len(parents) == 1:
                unary[parents[0]] = unary[parents[0]] + left
            else:
                pair[parents] = pair[parents] + left if parents in pair else left
                near[parents[0]].add(parents[1])
                near[parents[1]].add(parents[0])
        return steps[::-1], log_z

    @property
    def log_z(self) -> Float[Tensor, " components"]:
        """The logarithm of each component's partition function."""
        return self._eliminated[1]

    def energies(self, x: Int[Tensor, "n sites"]) -> Float[Tensor, "n components"]:
        """Returns minus the exponent above for each component, in kT."""
        x = x.long()
        at = torch.arange(self.sites)
        h = torch.stack([f[at, x].sum(1) for f in self.fields], 1)
        i, j = torch.tensor(self.pairs, dtype=torch.long).reshape(-1, 2).T
        k = torch.arange(len(self.pairs))
        return -(h + self.couplings[k, x[:, i], x[:, j]].sum(1)[:, None])

    def log_joint(self, x: Int[Tensor, "n sites"]) -> Float[Tensor, "n components"]:
        """Returns log p(x, c), in nats."""
        return self.shares.log() - self.energies(x) - self.log_z

    def log_prob(self, x: Int[Tensor, "n sites"]) -> Float[Tensor, " n"]:
        """Returns log p(x), in nats."""
        return self.log_joint(x).logsumexp(1)

    def sample(
        self, n: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, "n sites"], Int[Tensor, " n"]]:
        """Draws independent sequences, and the component of each."""
        c = torch.multinomial(self.shares, n, replacement=True, generator=generator)
        x = torch.empty(n, self.sites, dtype=torch.long)
        u = torch.rand(n, self.sites, dtype=self.fields.dtype, generator=generator)
        steps = [(s, s.log_p.exp().cumsum(-1)[..., :-1].contiguous()) for s in self._eliminated[0]]
        for rows in torch.arange(n).split(_PART):
            some, of, chance = x[rows], c[rows], u[rows]
            for step, below in steps:
                edges = below[(of, *(some[:, a] for a in step.parents))]
                some[:, step.site] = (edges < chance[:, step.site, None]).sum(-1)
            x[rows] = some
        return x, c

    @cached_property
    def _marginals(self) -> tuple[Tensor, dict[Pair, Tensor], Tensor]:
        """Returns p(x_i | c), p(x_i, x_j | c) of pairs that meet, and the entropy of each c."""
        one: dict[int, Tensor] = {}
        two: dict[Pair, Tensor] = {}
        entropy = torch.zeros(len(self.fields), dtype=self.fields.dtype)
        for v, parents, log_p in self._eliminated[0]:
            if len(parents) == 2:
                above = two[parents]
            else:
                above = one[parents[0]] if parents else torch.ones_like(entropy)
            joint = log_p.exp() * above[..., None]
            entropy -= (joint * log_p).flatten(1).sum(1)
            one[v] = joint.flatten(1, -2).sum(1) if parents else joint
            for k, a in enumerate(parents):
                both = joint if len(parents) == 1 else joint.sum(2 - k)
                two[min(a, v), max(a, v)] = both if a < v else both.mT
        return torch.stack([one[v] for v in range(self.sites)], 1), two, entropy

    def site_marginals(self) -> Float[Tensor, "sites states"]:
        """Returns how often each site has each state."""
        return torch.einsum("c,cis->is", self.shares, self._marginals[0])

    def pair_marginals(self) -> Float[Tensor, "pairs states states"]:
        """Returns how often each pair that is coupled has each two states."""
        two = self._marginals[1]
        return torch.stack([torch.einsum("c,cab->ab", self.shares, two[p]) for p in self.pairs])

    def connected(self) -> Float[Tensor, "pairs states states"]:
        """Returns what these have beyond the product of the two sites' own marginals."""
        one = self.site_marginals()
        i, j = torch.tensor(self.pairs).T
        return self.pair_marginals() - one[i][:, :, None] * one[j][:, None, :]

    @property
    def conditional_entropy(self) -> float:
        """The entropy H(x | c), in nats per sequence."""
        return float(self.shares @ self._marginals[2])

    def entropy(self, x: Int[Tensor, "n sites"]) -> float:
        r"""Returns :math:`H(x) = H(x \mid c) + H(c) - H(c \mid x)`, in nats per sequence.

        The last term, which is at most ln of the number of components and small where these are
        easily told apart, is averaged over samples `x`; the others are exact.
        """
        post = self.log_joint(x).log_softmax(1)
        unsure = -torch.special.xlogy(post.exp(), post.exp()).sum(1).mean()
        return self.conditional_entropy + float(torch.special.entr(self.shares).sum() - unsure)
