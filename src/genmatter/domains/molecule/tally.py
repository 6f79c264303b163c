r"""What the tokens so far leave of each property that is wanted.

Many properties are nearly sums over the pieces of a molecule: its mass exactly, its polar surface
and logP by their definitions as sums over atoms. So a linear estimate is fitted to tokens and
pairs of neighbouring tokens,

.. math:: c \approx b + \sum_t w_{x_{t-1} x_t},

in closed form before any gradient, and the decoder is told at every step what is left of c. It
would have to count otherwise. Where the estimate is poor the network learns to make little of it.
"""

__all__ = ["Tally"]

import math
from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from scipy.sparse.linalg import lsqr
from torch import Tensor, nn

from genmatter.domains.molecule.represent import MoleculeBatch
from genmatter.domains.molecule.tokens import START
from genmatter.nn.embed import bumps

_RIDGE = 3.0  # squared standard deviations of a weight that cost as much as one of the property
_PAIR = 0.5  # how much likelier a weight of a token is to be large than one of a pair, squared
_FARTHEST = 6.0  # standard deviations that are told apart
_NEAR, _BUMPS = (
    0.1,
    13,
)  # standard deviations that are told apart near 0, and marks from end to end


class Tally(nn.Module):
    """A linear estimate of properties from pairs of neighbouring tokens.

    Args:
        tokens: How many there are.
        properties: How many are told.
    """

    pairs: Tensor
    base: Tensor

    def __init__(self, tokens: int, properties: int) -> None:
        super().__init__()
        self.register_buffer("pairs", torch.zeros(tokens, tokens, properties))
        self.register_buffer("base", torch.zeros(properties))
        self.width = properties * (1 + _BUMPS)

    def begin(self, wanted: Float[Tensor, "n properties"]) -> Float[Tensor, "n properties"]:
        """Returns what is left before the first token; 0 of what is unknown."""
        return (wanted - self.base).nan_to_num()

    def spent(
        self, before: Int[Tensor, "*places"], tokens: Int[Tensor, "*places"]
    ) -> Float[Tensor, "*places properties"]:
        """Returns what each token takes, given the one before it."""
        return self.pairs[before, tokens]

    def left(
        self, wanted: Float[Tensor, "n properties"], shown: Int[Tensor, "n places"]
    ) -> Float[Tensor, "n places properties"]:
        """Returns what is left at each place, once the token that is shown there is counted.

        Args:
            wanted: Properties; NaN is unknown, and nothing is left of it.
            shown: The token before each place, START before the first.
        """
        spent = self.spent(shown[:, :-1], shown[:, 1:]).cumsum(1)
        spent = nn.functional.pad(spent, (0, 0, 1, 0))
        left = self.begin(wanted)[:, None] - spent
        return self.bounded(left, wanted[:, None])

    def bounded(self, left: Tensor, wanted: Tensor) -> Tensor:
        """Returns what a network is told: nothing of the unknown, and no extremes."""
        return (left * wanted.isfinite()).clamp(-_FARTHEST, _FARTHEST)

    def written(
        self, left: Float[Tensor, "*places properties"], wanted: Float[Tensor, "*rows properties"]
    ) -> Float[Tensor, "*places told"]:
        """Returns what is left as a network reads it.

        Each is told as it is, and by bumps that stand close together near 0, since whether a
        little is left or nothing decides if a molecule can end.
        """
        known = wanted.isfinite()
        near = (left / _NEAR).asinh() / math.asinh(_FARTHEST / _NEAR)
        marks = bumps(((near + 1) / 2).flatten(), _BUMPS).unflatten(0, left.shape)
        return torch.cat([left, (marks * known[..., None]).flatten(-2)], -1)

    @torch.no_grad()
    def fit(self, batches: Iterable[MoleculeBatch]) -> None:
        """Fits the estimate by ridge regression, each property to the molecules it is known of."""
        tokens, properties = len(self.pairs), len(self.base)
        if not properties:
            return
        rows = [_counted(batch, tokens) for batch in batches]
        counts = sp.csr_matrix(sp.vstack([counted for counted, _ in rows]))
        values = np.concatenate([known for _, known in rows])[:, :properties]
        for k in range(properties):
            there = np.isfinite(values[:, k])
            weights = lsqr(counts[there], values[there, k], damp=_RIDGE**0.5, iter_lim=100)[0]
            single, double = weights[:tokens], weights[tokens:-1].reshape(tokens, tokens)
            found = single[None] + _PAIR**0.5 * double
            self.pairs[..., k] = torch.from_numpy(found).to(self.pairs)
            self.base[k] = float(weights[-1])


def _counted(batch: MoleculeBatch, tokens: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """Returns how often each molecule has each token and each pair, a 1, and its properties."""
    x = batch.tokens.long().cpu()
    before = nn.functional.pad(x[:, :-1], (1, 0), value=START)
    mask = batch.mask.cpu()
    row = torch.arange(len(x))[:, None].expand_as(x)[mask].numpy()
    single, double = x[mask].numpy(), (before * tokens + x)[mask].numpy()
    shape = len(x), tokens
    parts = [
        sp.csr_matrix((np.ones(len(row)), (row, single)), shape=shape),
        sp.csr_matrix((np.full(len(row), _PAIR**0.5), (row, double)), shape=(len(x), tokens**2)),
        sp.csr_matrix(np.ones((len(x), 1))),
    ]
    return sp.csr_matrix(sp.hstack(parts)), batch.properties.cpu().double().numpy()
