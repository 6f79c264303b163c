r"""Which sites depend on each other, and an order in which each depends on few before it.

How strongly two sites are coupled is told in closed form: in a Gaussian that has the covariance C
of the residues, couplings are :math:`-C^{-1}` (mean-field direct coupling analysis), which does
not take sites for coupled that only follow the same third one. What stands out of the noise makes
a graph. Its sites are eliminated one by one, each while it has the fewest neighbours, which become
neighbours of each other; drawn the other way round, a site depends on its neighbours alone. Of a
Potts model whose graph falls apart by twos, such as nested hairpins, this is the exact law.

References:
    | Direct-coupling analysis of residue coevolution captures native contacts across many protein
    | families (Morcos et al., 2011) https://doi.org/10.1073/pnas.1111471108
    | Mutual information without the influence of phylogeny or entropy dramatically improves
    | residue contact prediction (Dunn et al., 2008), for the product correction
    | https://doi.org/10.1093/bioinformatics/btm604
    | Efficient generative modeling of protein sequences using simple autoregressive models
    | (Trinquier et al., 2021) https://doi.org/10.1038/s41467-021-25756-4
"""

__all__ = ["Order", "coupled", "elimination", "strengths"]

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_PSEUDO = 0.5
"""Share of an even distribution that covariances are mixed with, as in mean-field DCA."""
_NORMAL = 1.4826  # standard deviations in a median absolute deviation
_PART = 4096


class Order(NamedTuple):
    """Sites in the order in which they are drawn, and the sites before that each depends on."""

    sites: tuple[int, ...]
    parents: tuple[tuple[int, ...], ...]
    """Of each site, by its place in the alignment; the strongest coupled first."""


def strengths(
    residues: Int[Tensor, "n sites"], weights: Float[Tensor, " n"], states: int
) -> Float[Tensor, "sites sites"]:
    """Returns how strongly sites are coupled: norms of couplings, corrected for each site's own.

    Args:
        residues: Numbers from 0 to `states` - 1.
        weights: How much each sequence counts.
        states: How many states a site has.
    """
    sites, free = residues.shape[1], states - 1
    f, ff = _frequencies(residues.long(), (weights / weights.sum()).float(), states)
    f = (1 - _PSEUDO) * f + _PSEUDO / states
    ff = ((1 - _PSEUDO) * ff + _PSEUDO / states**2).unflatten(0, (sites, free))
    at = torch.arange(sites)
    ff.unflatten(2, (sites, free))[at, :, at] = torch.diag_embed(f.unflatten(0, (sites, free)))
    covariance = ff.flatten(0, 1) - f[:, None] * f
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
    blocks = inverse.reshape(sites, free, sites, free).transpose(1, 2)
    # in the gauge of zero sums over all states, of which the first has no row of its own
    squares = blocks.square().sum((2, 3)) - blocks.sum(3).square().sum(2) / states
    squares += blocks.sum((2, 3)).square() / states**2 - blocks.sum(2).square().sum(2) / states
    norm = squares.clamp_min(0).sqrt()
    norm[at, at] = 0
    found = norm - norm.sum(0) * norm.sum(1)[:, None] / norm.sum().clamp_min(1e-12)
    found[at, at] = 0
    return found


def _frequencies(x: Tensor, w: Tensor, states: int) -> tuple[Tensor, Tensor]:
    """Returns how often sites, and pairs of sites, have each state but the first."""
    size = x.shape[1] * (states - 1)
    f, ff = torch.zeros(size), torch.zeros(size, size)
    for rows in torch.arange(len(x)).split(_PART):
        one = torch.nn.functional.one_hot(x[rows], states)[..., 1:].flatten(1).float()
        heavy = one * w[rows, None]
        f += heavy.sum(0)
        ff.addmm_(one.T, heavy)
    return f, ff


def coupled(
    strength: Float[Tensor, "sites sites"], evidence: float
) -> Bool[Tensor, "sites sites"]:
    """Returns which sites are coupled: those that stand so many deviations above the noise.

    Most pairs of sites are not, so that median and median deviation over all of them say what
    noise is.
    """
    i, j = torch.triu_indices(len(strength), len(strength), 1)
    pairs = strength[i, j]
    middle = pairs.median()
    width = _NORMAL * (pairs - middle).abs().median()
    found = strength > middle + evidence * width.clamp_min(1e-12)
    return found & ~torch.eye(len(strength), dtype=torch.bool)


def elimination(
    strength: Float[Tensor, "sites sites"], contacts: Bool[Tensor, "sites sites"], most: int
) -> Order:
    """Orders sites by eliminating them, each while it has the fewest neighbours left.

    Args:
        strength: The stronger coupled of a site's neighbours are kept, where there are too many.
        contacts: The graph.
        most: Sites, at most, that one depends on.
    """
    near = {v: {*row.nonzero()[:, 0].tolist()} for v, row in enumerate(contacts)}
    parents: dict[int, tuple[int, ...]] = {}
    while near:
        v = min(near, key=lambda u: (len(near[u]), -u))
        known = near.pop(v)
        ranked = sorted(known, key=lambda u: (-float(strength[v, u]), u))
        parents[v] = tuple(ranked[:most])
        for u in known:
            near[u] |= known
            near[u] -= {u, v}
    sites = tuple(parents)[::-1]
    return Order(sites, tuple(parents[v] for v in range(len(sites))))
