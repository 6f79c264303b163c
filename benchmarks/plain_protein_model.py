"""A VAE of sequences in the usual way: one-hot inputs, couplings of all pairs, whole sequences.

Written for comparison, by the same formulas as ours and with the same widths.
"""

__all__ = ["PlainVAE", "plain_scores"]

import torch
from torch import Tensor, nn

STATES = 21


class PlainVAE(nn.Module):
    """Fields of a latent, and couplings of every site to all sites before it, as one matrix."""

    def __init__(self, sites: int, hidden: int, latent: int) -> None:
        super().__init__()
        size = sites * STATES
        self.sites = sites
        self.into, self.mean, self.logvar = (
            nn.Linear(size, hidden),
            nn.Linear(hidden, latent),
            nn.Linear(hidden, latent),
        )
        self.back, self.out = nn.Linear(latent, hidden), nn.Linear(hidden, size)
        self.couplings = nn.Parameter(torch.zeros(size, size))
        site = torch.arange(size) // STATES
        self.register_buffer("earlier", (site[:, None] < site).float())

    earlier: Tensor

    def logits(self, z: Tensor, x: Tensor) -> Tensor:
        """Returns logits of all residues, of one-hot sequences."""
        fields = self.out(torch.relu(self.back(z)))
        return (fields + x @ (self.couplings * self.earlier)).view(len(x), self.sites, STATES)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log-variance."""
        h = torch.relu(self.into(x))
        return self.mean(h), self.logvar(h)

    def loss(self, tokens: Tensor) -> Tensor:
        """Returns minus the ELBO of each sequence, in nats."""
        x = nn.functional.one_hot(tokens.long(), STATES).flatten(1).float()
        mu, logvar = self.posterior(x)
        z = mu + (logvar / 2).exp() * torch.randn_like(mu)
        logits = self.logits(z, x)
        error = nn.functional.cross_entropy(
            logits.transpose(1, 2), tokens.long(), reduction="none"
        )
        return error.sum(1) - (1 + logvar - mu.square() - logvar.exp()).sum(1) / 2


@torch.no_grad()
def plain_scores(model: PlainVAE, tokens: Tensor, wild: Tensor, draws: int) -> Tensor:
    """Returns differences of the ELBO to the wild type; sequences are read and written whole."""
    total = torch.zeros(len(tokens))
    for _ in range(draws):
        total += model.loss(wild)[0] - model.loss(tokens)
    return total / draws
