r"""The reference's names: its data set, its losses one by one, its decoder that samples.

.. math::
    L = L_{recon} + \beta L_{KL} + \lambda_{collapse} L_{collapse}
    - \lambda_{MI} \mathrm{MI} + \lambda_{prop} L_{prop}

Likelihood and KL are sums over tokens and units, in nats per molecule, so that :math:`\beta` is
what it is in an ELBO. The preset `reference` trains this objective with the reference's sizes and
defaults. What is resumed goes on from its last step, where the reference begins again from its
best weights: the training is the one that was never stopped, and the best weights of both are
kept.
"""

__all__ = [
    "MoleculeCVAE", "MoleculeDataset", "MoleculeEncoder", "TokenDecoder",
    "collapse_penalty", "complete_vae_loss", "decoder_loss", "encoder_loss", "kl_loss",
    "mutual_information", "prop_loss", "recon_loss", "sampling_decoder",
]  # fmt: skip

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.domains.molecule.cvae import MoleculeCVAE
from genmatter.domains.molecule.dataset import MoleculeDataset
from genmatter.domains.molecule.network import MoleculeEncoder, TokenDecoder
from genmatter.domains.molecule.represent import MoleculeBatch
from genmatter.domains.molecule.shown import Shown
from genmatter.domains.molecule.tokens import BLANK, PAD
from genmatter.generative.decoding import Choice
from genmatter.maths.gaussian import DiagonalGaussian
from genmatter.maths.information import information


def recon_loss(
    logits: Float[Tensor, "n places tokens"], tokens: Int[Tensor, "n places"]
) -> Float[Tensor, " n"]:
    """Returns minus the log-probability of each sequence up to END, in nats.

    Args:
        logits: Of the token at each place.
        tokens: Without START; what is padded or blank costs nothing.
    """
    targets = tokens.long().masked_fill(tokens == BLANK, PAD)
    each = nn.functional.cross_entropy(
        logits.float().transpose(1, 2), targets, ignore_index=PAD, reduction="none"
    )
    return each.sum(1)


def kl_loss(
    mu: Float[Tensor, "n units"], sigma: Float[Tensor, "n units"], free_bits: float = 0.5
) -> Float[Tensor, " n"]:
    r"""Returns what is charged for the KL divergence of each posterior to N(0, I), in nats.

    In the mean over the batch it is :math:`\sum_d \max(\lambda, \overline{\mathrm{KL}}_d)`: the
    allowance is of a unit's mean, not of its value for one molecule.
    """
    units = DiagonalGaussian(mu, sigma).kl_per_unit()
    return units.sum(-1) + (free_bits - units.mean(0)).relu().sum()


def mutual_information(
    mu: Float[Tensor, "n units"], sigma: Float[Tensor, "n units"], z: Float[Tensor, "n units"]
) -> Float[Tensor, ""]:
    """Returns the mutual information of molecule and latent in a batch, in nats: ln(n) at most.

    Args:
        mu: Means of the posteriors.
        sigma: Their standard deviations.
        z: One draw from each.
    """
    return information(DiagonalGaussian(mu, sigma), z).mean()


def collapse_penalty(
    mu: Float[Tensor, "n units"],
    sigma: Float[Tensor, "n units"],
    z: Float[Tensor, "n units"],
    target: float = 4.0,
) -> Float[Tensor, ""]:
    """Returns what the mutual information lacks to a target, in nats; 0 where it is above."""
    return (target - mutual_information(mu, sigma, z)).relu()


def prop_loss(
    predicted: Float[Tensor, "n properties"], properties: Float[Tensor, "n properties"]
) -> Float[Tensor, " n"]:
    """Returns half the squared errors of normalised properties; what is unknown costs nothing."""
    error = (predicted - properties.nan_to_num()).square() / 2
    return (error * properties.isfinite()).sum(-1)


def encoder_loss(
    model: MoleculeCVAE, batch: MoleculeBatch, epoch: float = math.inf
) -> Float[Tensor, ""]:
    """Returns all of the objective but the reconstruction, in the mean over a batch.

    Its gradient reaches no weight of the decoder; embeddings, which both networks read, are the
    encoder's too.
    """
    shown, vae = _shown(model, batch, model.levels.end), model.vae
    q = vae.encoder(shown)
    z, beta = q.rsample(), model.warm(epoch) * model.levels.end
    penalties = [weight(epoch) * term(q, z, shown) for weight, term in vae.penalties.values()]
    return (beta * kl_loss(q.mean, q.std, vae.free_bits) + sum(penalties)).mean()


def decoder_loss(
    model: MoleculeCVAE, batch: MoleculeBatch, epoch: float = math.inf
) -> Float[Tensor, ""]:
    """Returns the reconstruction alone, in the mean over a batch, at latents that are given.

    Its gradient reaches no weight of the encoder but the embeddings, which both networks read.
    """
    shown = _shown(model, batch, model.levels.end)
    with torch.no_grad():
        z = model.vae.encoder(shown).rsample()
    return -model.vae.decoder(z, shown, epoch).log_prob(shown).mean()


def complete_vae_loss(
    model: MoleculeCVAE, batch: MoleculeBatch, epoch: float = math.inf
) -> dict[str, Tensor]:
    """Returns `loss`, its terms in the mean over a batch, and the schedules at an epoch.

    `mutual_information` is as it is, though the objective has it with a minus, and
    `free_bits` is what the KL lacks to its allowance. A term of no weight is left out.
    """
    found = model.loss(batch, epoch)
    terms = {k: v.mean() for k, v in found.terms.items()}
    if "information" in terms:
        terms["mutual_information"] = -terms.pop("information")
    clock = {k: torch.tensor(v) for k, v in model.course(epoch).items()}
    return {"loss": found.total.mean(), **terms, **clock}


@torch.no_grad()
def sampling_decoder(
    model: MoleculeCVAE, z: Float[Tensor, "n units"], given: MoleculeBatch,
    temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0,
) -> Int[Tensor, "n places"]:  # fmt: skip
    """Draws tokens at latents, from START to END, which is the last that is returned.

    Args:
        model: In `eval` mode.
        z: Latents.
        given: What is known of each molecule; its tokens are not looked at.
        temperature: Divides the logits; at 0 the likeliest token is taken each time.
        top_k: Draw from so many of the likeliest; 0 draws from all.
        top_p: Draw from the fewest likeliest that have this share of the probability together.
    """
    p = model.vae.decoder(z, _shown(model, given, model.levels.draw), math.inf)
    return replace(p, choice=Choice(temperature, top_k, top_p), width=0).sample().tokens


def _shown(model: MoleculeCVAE, batch: MoleculeBatch, beta: float) -> Shown:
    n, device = len(batch), batch.wanted.device
    real = torch.ones(n, dtype=torch.bool, device=device)
    return model.levels.show(batch, model.levels.at(beta, n, device), real)
