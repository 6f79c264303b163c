r"""What the tokens so far leave of each property that is wanted.

Many properties are sums over atoms, or nearly so: mass exactly, polar surface and logP by their
definitions, each atom counting by its neighbours. So a linear estimate is fitted to the kinds of
atoms that a reader tells apart, in closed form before any gradient,

.. math:: c \approx b + \sum_a w_{k(a)},

and the decoder is told at every step what would be left of c if the molecule ended there. It would
have to count otherwise. Where the estimate is poor the network learns to make little of it.
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

from genmatter.domains.molecule.following import Follower
from genmatter.domains.molecule.reader import KINDS
from genmatter.domains.molecule.represent import MoleculeBatch
from genmatter.nn.embed import bumps

_RIDGE = 0.3  # squared standard deviations of a weight that cost as much as one of the property
_FARTHEST = 6.0  # standard deviations that are told apart
_NEAR, _BUMPS = 0.1, 13  # standard deviations told apart near 0, and marks from end to end


class Tally(nn.Module):
    """A linear estimate of properties from the kinds of a molecule's atoms.

    Args:
        follower: Reads the tokens.
        properties: How many are told.
    """

    weights: Tensor
    base: Tensor

    def __init__(self, follower: Follower, properties: int) -> None:
        super().__init__()
        self.follower, self.kinds = follower, len(follower.grammar.sorts) * KINDS
        self.register_buffer("weights", torch.zeros(self.kinds + 1, properties))
        self.register_buffer("base", torch.zeros(properties))
        self.width = properties * (1 + _BUMPS)

    def spent(self, kinds: Int[Tensor, "*places atoms"]) -> Float[Tensor, "*places properties"]:
        """Returns the properties of a molecule of such atoms."""
        return self.base + self.weights[kinds].sum(-2)  # the last weight, of no atom, is 0

    def left(
        self,
        wanted: Float[Tensor, "*places properties"],
        kinds: Int[Tensor, "*places atoms"],
    ) -> Float[Tensor, "*places properties"]:
        """Returns what is left of what is wanted, once some atoms are counted.

        Args:
            wanted: Properties; NaN is unknown, and nothing is left of it.
            kinds: Of the atoms that there are; -1 is none.
        """
        left = (wanted - self.spent(kinds)).nan_to_num()
        return left.clamp(-_FARTHEST, _FARTHEST)

    def written(
        self,
        left: Float[Tensor, "*places properties"],
        wanted: Float[Tensor, "*places properties"],
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
        if not len(self.base):
            return
        rows = [(self._counted(batch), batch.properties) for batch in batches]
        counts = sp.csr_matrix(sp.vstack([counted for counted, _ in rows]))
        values = torch.cat([known for _, known in rows]).double().cpu().numpy()
        for k in range(len(self.base)):
            there = np.isfinite(values[:, k])
            found = lsqr(counts[there], values[there, k], damp=_RIDGE**0.5, iter_lim=200)[0]
            self.weights[:-1, k] = torch.from_numpy(found[:-1]).to(self.weights)
            self.base[k] = float(found[-1])

    def _counted(self, batch: MoleculeBatch) -> sp.csr_matrix:
        """Returns how many atoms of each kind each molecule has, and a 1."""
        kinds = self.follower.follow(batch.tokens.long()).kinds[:, -1].cpu().numpy()
        row, atom = np.nonzero(kinds >= 0)
        counts = (np.ones(len(row)), (row, kinds[row, atom]))
        atoms = sp.csr_matrix(counts, shape=(len(kinds), self.kinds))
        return sp.csr_matrix(sp.hstack([atoms, np.ones((len(kinds), 1))]))
