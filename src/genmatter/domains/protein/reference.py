r"""The reference's names: its encoder and decoder, the reparameterisation, the KL and the loss.

.. math:: \mathrm{ELBO} = \mathrm{E}_{q(z|x)} \log p(x|z) - \mathrm{KL}(q(z|x) \parallel p(z))

A sequence is a vector of one-hot residues, side by side, and the decoder answers with a logit for
each number of it. The preset `lecture` trains these two networks; the other presets have the same
encoder.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013) https://arxiv.org/abs/1312.6114
"""

__all__ = [
    "ProteinDecoder",
    "ProteinEncoder",
    "elbo_loss",
    "kl_divergence",
    "reparameterize",
]

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ProteinEncoder(nn.Module):
    """q(z|x): mean and log-variance, by one hidden layer.

    Args:
        input_dim: Numbers of a sequence: sites times residues.
        hidden_dim: Width of the hidden layer.
        latent_dim: Latent units.
        dropout: Share of the sites, and of the hidden units, that training hides.
    """

    def __init__(
        self, input_dim: int, hidden_dim: int, latent_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(input_dim, hidden_dim)
        self.fc_mu = nn.Linear(hidden_dim, latent_dim)
        self.fc_logvar = nn.Linear(hidden_dim, latent_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "n numbers"]
    ) -> tuple[Float[Tensor, "n latent"], Float[Tensor, "n latent"]]:
        """Returns mean and log-variance of one-hot sequences."""
        return self._head(self.fc1(self.dropout(x)))

    def read(
        self, tokens: Int[Tensor, "n sites"]
    ) -> tuple[Float[Tensor, "n latent"], Float[Tensor, "n latent"]]:
        """Returns the same of residues as numbers: sums of columns, without a product of zeros."""
        n, sites = tokens.shape
        states = self.fc1.in_features // sites
        at = tokens.long() + states * torch.arange(sites, device=tokens.device)
        seen = self.dropout(torch.ones(n, sites, device=tokens.device))
        columns = self.fc1.weight.T.contiguous()
        sums = nn.functional.embedding_bag(at, columns, mode="sum", per_sample_weights=seen)
        return self._head(sums + self.fc1.bias)

    def _head(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.dropout(torch.relu(x))
        return self.fc_mu(h), self.fc_logvar(h)


class ProteinDecoder(nn.Module):
    """Logits of every residue at every site, from a latent, by one hidden layer.

    Args:
        latent_dim: Latent units.
        hidden_dim: Width of the hidden layer.
        output_dim: Numbers of a sequence.
        dropout: Share of the hidden units that training hides.
    """

    def __init__(
        self, latent_dim: int, hidden_dim: int, output_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(latent_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, output_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n numbers"]:
        """Returns logits; the loss has the softmax over the residues of each site."""
        return self.fc2(self.dropout(torch.relu(self.fc1(z))))


def reparameterize(
    mu: Float[Tensor, "n latent"], logvar: Float[Tensor, "n latent"]
) -> Float[Tensor, "n latent"]:
    r"""Returns :math:`z = \mu + \sigma \epsilon` with normal noise; gradients reach both."""
    return mu + torch.exp(logvar / 2) * torch.randn_like(mu)


def kl_divergence(
    mu: Float[Tensor, "n latent"], logvar: Float[Tensor, "n latent"]
) -> Float[Tensor, " n"]:
    r"""Returns :math:`\mathrm{KL}(\mathcal N(\mu, \sigma^2) \parallel \mathcal N(0, I))` in nats.

    It is :math:`-\frac12 \sum_j (1 + \log \sigma_j^2 - \mu_j^2 - \sigma_j^2)` for each sequence.
    """
    return -(1 + logvar - mu.square() - logvar.exp()).sum(-1) / 2


def elbo_loss(
    logits: Float[Tensor, "n numbers"],
    tokens: Int[Tensor, "n sites"],
    mu: Float[Tensor, "n latent"],
    logvar: Float[Tensor, "n latent"],
    beta: float = 1.0,
) -> Float[Tensor, " n"]:
    """Returns cross-entropy and KL of each sequence, in nats; with beta 1, minus the ELBO.

    Args:
        logits: Of every residue at every site, side by side.
        tokens: The residues as numbers.
        mu: Means of the posteriors.
        logvar: Their log-variances.
        beta: Weight of the KL.
    """
    each = nn.functional.cross_entropy(
        logits.unflatten(1, (tokens.shape[1], -1)).transpose(1, 2), tokens.long(), reduction="none"
    )
    return each.sum(1) + beta * kl_divergence(mu, logvar)
