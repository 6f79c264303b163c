r"""Frequencies of residues at one, two and three sites, and what two and three have in common.

.. math:: C_{ij} = f_{ij} - f_i f_j, \qquad
    C_{ijk} = f_{ijk} - f_{ij} f_k - f_{ik} f_j - f_{jk} f_i + 2 f_i f_j f_k

Weights count. A correlation r of such numbers hides that they may all be too small: so a slope
belongs to it.

References:
    | Generative capacity of probabilistic protein sequence models (McGee et al., 2021)
    | https://doi.org/10.1038/s41467-021-26529-9
"""

__all__ = ["Agreement", "frequencies", "pairs_agree", "strongest", "triplets_agree"]

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.domains.protein.clusters import clusters
from genmatter.domains.protein.sequences import ALPHABET, Sequences

STATES = len(ALPHABET)
_ROUNDING = 1e-13
"""Variance of numbers that are 0 but for single precision."""
_BLOCK = 2**25
"""Numbers of a block of pair frequencies: 128 MB."""
_SIMILAR, _SITES = 0.8, 160
"""Share of equal residues of a cluster; sites among which triplets are looked for."""


@dataclass(frozen=True)
class Agreement:
    """How numbers y of a set follow those x of the reference."""

    r: float
    """Pearson's correlation; 0 where one of both never varies."""
    slope: float
    r"""How much of x is in y. Chance in x would make it too small, so that x is taken from two
    halves of the reference, which have no near copies in common:
    :math:`\operatorname{cov}(y, x_1 + x_2) / 2 \operatorname{cov}(x_1, x_2)`. It is 0 where the
    halves have nothing in common."""


class _Moments:
    """Sums over many numbers of a set, of its reference, and of both halves of that."""

    def __init__(self) -> None:
        self.count = 0
        self.first = torch.zeros(4, dtype=torch.float64)
        self.second = torch.zeros(4, 4, dtype=torch.float64)

    def add(self, *parts: Tensor) -> None:
        x = torch.stack(parts).double()
        self.count += x.shape[1]
        self.first += x.sum(1)
        self.second += x @ x.T

    def agreement(self) -> Agreement:
        mean = self.first / max(self.count, 1)
        cov = (self.second / max(self.count, 1) - mean[:, None] * mean).tolist()
        varies = min(cov[0][0], cov[1][1]) > _ROUNDING
        r = cov[0][1] / (cov[0][0] * cov[1][1]) ** 0.5 if varies else 0.0
        common = cov[2][3]
        return Agreement(r, (cov[0][2] + cov[0][3]) / (2 * common) if common > _ROUNDING else 0.0)


def _weights(s: Sequences) -> Float[Tensor, " n"]:
    w = torch.ones(len(s), dtype=torch.float64) if s.weights is None else s.weights
    return w / w.sum()


def one_hot(s: Sequences) -> Float[Tensor, "n both"]:
    """Returns sequences as zeros and ones, [n, sites * 21], in single precision."""
    return nn.functional.one_hot(s.residues.long(), STATES).flatten(1).float()


def frequencies(s: Sequences) -> Float[Tensor, "sites states"]:
    """Returns how often each site has each state, in double precision."""
    flat = s.residues.long() + torch.arange(s.sites) * STATES
    found = torch.zeros(s.sites * STATES, dtype=torch.float64)
    found.index_add_(0, flat.flatten(), _weights(s)[:, None].expand(-1, s.sites).flatten())
    return found.view(s.sites, STATES)


def connected(s: Sequences, sites: slice) -> Float[Tensor, "some both"]:
    """Returns C of the states of some sites and those of all sites, in single precision."""
    x, f = one_hot(s), frequencies(s).flatten().float()
    rows = slice(sites.start * STATES, sites.stop * STATES)
    return (x[:, rows] * _weights(s)[:, None].float()).T @ x - f[rows, None] * f


def _blocks(sites: int) -> list[slice]:
    step = max(1, _BLOCK // (sites * STATES * STATES))
    return [slice(k, min(k + step, sites)) for k in range(0, sites, step)]


@lru_cache(maxsize=4)
def halves(s: Sequences) -> tuple[Sequences, Sequences]:
    """Deals out clusters of similar sequences to two halves, the largest ones first.

    So near copies, whose chance is one, are in one half.
    """
    of = clusters(s.residues, _SIMILAR)
    mass = np.bincount(of, _weights(s).numpy())
    order = np.random.default_rng(0).permutation(len(mass))
    order = order[np.argsort(-mass[order], kind="stable")]
    side, sums = np.zeros(len(mass), int), [0.0, 0.0]
    for k, m in zip(order.tolist(), mass[order].tolist(), strict=True):
        side[k] = lighter = int(sums[1] < sums[0])
        sums[lighter] += m
    if len(mass) < 2:
        side = of = np.arange(len(s)) % 2
    rows = [torch.from_numpy(np.flatnonzero(side[of] == k)) for k in range(2)]
    return s[rows[0]], s[rows[1]]


def pairs_agree(samples: Sequences, test: Sequences) -> Agreement:
    """Compares C of all pairs of different sites; memory is bounded."""
    found, sets = _Moments(), (samples, test, *halves(test))
    for some in _blocks(test.sites):
        first = torch.arange(some.start, some.stop).repeat_interleave(STATES)
        second = torch.arange(test.sites).repeat_interleave(STATES)
        later = first[:, None] < second
        found.add(*(connected(s, some)[later] for s in sets))
    return found.agreement()


def strengths(s: Sequences) -> Float[Tensor, "sites sites"]:
    """Returns the norm of C over the states of each two sites; 0 of one site."""
    found = [
        connected(s, some).view(-1, STATES, s.sites, STATES).square().sum((1, 3)).sqrt()
        for some in _blocks(s.sites)
    ]
    norms = torch.cat(found)
    return norms - torch.diag(norms.diagonal())


def strongest(s: Sequences, count: int = 300) -> Int[Tensor, "triplets 3"]:
    """Returns triplets of sites i < j < k whose three pairs have most in common.

    They are looked for among the 160 sites that have most in common with any others.
    """
    norms = strengths(s)
    some = norms.sum(1).topk(min(_SITES, s.sites)).indices.sort().values
    near = norms[some][:, some]
    total = near[:, :, None] + near[:, None, :] + near[None, :, :]
    at = torch.arange(len(some))
    ordered = (at[:, None, None] < at[None, :, None]) & (at[None, :, None] < at[None, None, :])
    flat = total.masked_fill(~ordered, -torch.inf).flatten()
    n = min(count, int(ordered.sum()))
    index = flat.topk(n).indices
    k = len(some)
    return some[torch.stack([index // (k * k), index // k % k, index % k], 1)]


def _triplet(s: Sequences, at: Int[Tensor, " 3"], f: Tensor) -> Float[Tensor, " cube"]:
    """Returns C of all states of three sites."""
    x = s.residues[:, at].long()
    key = (x[:, 0] * STATES + x[:, 1]) * STATES + x[:, 2]
    cube = torch.zeros(STATES**3, dtype=torch.float64).index_add_(0, key, _weights(s))
    cube = cube.view(STATES, STATES, STATES)
    a, b, c = f[at]
    ab, ac, bc = cube.sum(2), cube.sum(1), cube.sum(0)
    lone = 2 * a[:, None, None] * b[:, None] * c
    pairs = ab[:, :, None] * c + ac[:, None, :] * b[:, None] + a[:, None, None] * bc
    return (cube - pairs + lone).flatten()


def triplets_agree(samples: Sequences, test: Sequences, triplets: Int[Tensor, "n 3"]) -> Agreement:
    """Compares C of the states of some triplets of sites."""
    found, sets = _Moments(), (samples, test, *halves(test))
    lone = [frequencies(s) for s in sets]
    for at in triplets:
        found.add(*(_triplet(s, at, f) for s, f in zip(sets, lone, strict=True)))
    return found.agreement()
