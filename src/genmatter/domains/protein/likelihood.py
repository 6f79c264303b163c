r"""The law of a sequence at a latent point, site by site in an order.

.. math:: p(x|z) = \prod_i p(x_i \mid x_{<i}, z), \qquad \log p(x_i \mid x_{<i}, z) =
    h_i(x_i; z) + \sum_{j < i} J_{ij}(x_i, x_j) - \log Z_i

What many sites have in common goes through z; what two sites have, through their coupling. Each
factor is normalised, so that this is exact; without couplings sites are independent given z.
"""

__all__ = ["Residues"]

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmatter.domains.protein.network import Couplings
from genmatter.domains.protein.represent import AlignedBatch


@dataclass(frozen=True)
class Residues:
    """p(x|z) of a batch of latents."""

    fields: Float[Tensor, "n sites states"]
    couplings: Couplings | None
    given: AlignedBatch
    """What samples have beside their residues."""
    temperature: float = 1.0
    """Divides logits where residues are drawn."""

    def log_prob(self, batch: AlignedBatch) -> Float[Tensor, " n"]:
        """Returns log p(x|z) of each sequence, in nats."""
        x = batch.tokens.long()
        logits = self.fields if self.couplings is None else self.fields + self.couplings(x)
        return logits.log_softmax(-1).gather(-1, x[..., None])[..., 0].sum(1)

    def sample(self) -> AlignedBatch:
        """Draws sequences."""
        noise = -torch.empty_like(self.fields).exponential_().log()
        return self.given.replace(tokens=self._written(self.temperature * noise))

    def mode(self) -> AlignedBatch:
        """Returns the likeliest residue at each site, given those before."""
        return self.given.replace(tokens=self._written(torch.zeros_like(self.fields)))

    def _written(self, noise: Float[Tensor, "n sites states"]) -> Int[Tensor, "n sites"]:
        """Takes the residue of the largest logit plus noise at each site, one after the other.

        With Gumbel noise it is a draw from the softmax.
        """
        logits = self.fields + noise
        if self.couplings is None:
            return logits.argmax(-1).to(torch.int8)
        x = torch.zeros(logits.shape[:2], dtype=torch.long, device=logits.device)
        for i in self.couplings.order:
            x[:, i] = (logits[:, i] + self.couplings.at(i, x)).argmax(-1)
        return x.to(torch.int8)
