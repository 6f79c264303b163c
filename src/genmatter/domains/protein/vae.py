r"""Variational auto-encoder of a protein family's sequences.

.. math:: \log p(x) \ge \mathrm{E}_{q(z|x)} \log p(x|z) - \mathrm{KL}(q(z|x) \parallel p(z))

The latent says what distinguishes subfamilies, over all sites at once; residues of sites that are
in contact depend on each other beside it, through couplings that are normalised site by site
(`likelihood`). A sequence counts by its weight, and couplings have a normal prior, so that the
objective is minus the log-posterior per effective sequence.

References:
    | Deep generative models of genetic variation capture the effects of mutations
    | (Riesselman et al., 2018) https://doi.org/10.1038/s41592-018-0138-4
    | Disease variant prediction with deep generative models of evolutionary data
    | (Frazer et al., 2021) https://doi.org/10.1038/s41586-021-04043-8
"""

__all__ = ["ProteinVAE", "build"]

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.domains.protein.config import ProteinVAEConfig
from genmatter.domains.protein.groups import MOST_CLUSTERS, Groups, clustered
from genmatter.domains.protein.likelihood import Residues
from genmatter.domains.protein.network import Couplings, ProfileDecoder
from genmatter.domains.protein.reference import ProteinDecoder, ProteinEncoder
from genmatter.domains.protein.represent import AlignedBatch, AlignedSites
from genmatter.errors import ConfigError
from genmatter.generative.prior import MixturePrior
from genmatter.generative.vae import VAE, Penalty, Weight
from genmatter.maths.gaussian import DiagonalGaussian, ramp
from genmatter.nn.mlp import mlp
from genmatter.spine import Generative, Loss

_RARE = 1e-4
"""Share that a residue has at least where logits start."""
_DRAWS = 8
"""Latents over which the ELBO of a sequence is averaged."""
_MOST_FITTED = 8192
"""Latents, drawn by their sequences' weights, that the prior is fitted to."""
_HELD = 5
"""One in so many sequences chooses how many Gaussians there are."""


class Encoder(nn.Module):
    """q(z|x)."""

    def __init__(self, net: ProteinEncoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: AlignedBatch) -> DiagonalGaussian:
        mu, logvar = self.net.read(batch.tokens)
        return DiagonalGaussian(mu, (logvar.clamp(-14, 6) / 2).exp())


class Decoder(nn.Module):
    """p(x|z): fields by a network, beside fixed ones, and couplings that do not depend on z."""

    fields: Tensor

    def __init__(
        self, net: nn.Module, fields: Float[Tensor, "sites states"], couplings: Couplings | None,
        temperature: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.net, self.couplings, self.temperature = net, couplings, temperature
        self.register_buffer("fields", fields)

    def forward(self, z: Tensor, given: AlignedBatch, epoch: float) -> Residues:
        fields = self.net(z).unflatten(1, self.fields.shape) + self.fields
        return Residues(fields, self.couplings, given, self.temperature)


class ProteinVAE(Generative[AlignedBatch]):
    """A VAE of sequences that count by their weights, with groups in its latent space.

    Args:
        vae: Over the sequences.
        predictor: z -> properties in standard deviations; None where none are told.
        representation: Names and scales of the properties, and texts of the labels.
        clusters: Clusters of the latents; `wanted` of them, or as many as are told apart best.
        wanted: How many clusters; 0 leaves it to the data.
        cluster: The one that samples are drawn from, from 1; 0: any.
        consensus: Whether latents are decoded to the likeliest residues, or to a draw.
    """

    def __init__(
        self, vae: VAE, predictor: nn.Module | None, representation: AlignedSites,
        clusters: Groups, wanted: int, cluster: int, *, consensus: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.vae, self.predictor, self.clusters = vae, predictor, clusters
        self.names, self.wanted, self.cluster = representation.properties, wanted, cluster
        self.consensus = consensus
        size = clusters.mean.shape[1]
        self.labels = nn.ModuleList(Groups(size, len(t)) for t in representation.texts)
        self.register_buffer("means", torch.tensor(representation.means))
        self.register_buffer("scales", torch.tensor(representation.scales))

    means: Tensor
    scales: Tensor

    def loss(self, batch: AlignedBatch, epoch: float) -> Loss:
        """Returns the terms of the VAE, in nats per sequence, each counted by its weight.

        `prior` is minus the log-density of couplings and of the decoder's last weights, in nats
        per effective training sequence, which validation is not charged, and `properties` half
        the squared errors of what is predicted.
        """
        found = self.vae.loss(batch, epoch)
        weights: dict[str, float | Tensor] = {
            k: found.weights.get(k, 1.0) * batch.weights for k in found.terms
        }
        if "prior" in weights:
            weights["prior"] = float(self.training)
        return Loss(found.terms, weights)

    def course(self, epoch: float) -> dict[str, float]:
        """Returns the weight of the KL."""
        return {"beta": self.vae.beta(epoch)}

    @torch.no_grad()
    def sample(self, given: AlignedBatch) -> AlignedBatch:
        """Draws latents from the prior, or of a cluster or label, and residues at them."""
        p = self.vae.decoder(self.vae.temperature * self._latents(given), given, math.inf)
        return p.sample() if self.vae.noise else p.mode()

    def _latents(self, given: AlignedBatch) -> Tensor:
        if self.cluster:
            if not self.cluster <= self.clusters.count:
                raise ConfigError(
                    f"there is no cluster {self.cluster}: the latent map has "
                    f"{self.clusters.count}, from 1"
                )
            return self.clusters.sample(given.classes.new_full((len(given),), self.cluster - 1))
        z = self.vae.prior.sample(self.vae.shape(given))
        for k, groups in enumerate(self.labels):
            member = given.classes[:, k] - 1
            z = torch.where(member[:, None] >= 0, groups.sample(member.clamp_min(0)), z)  # pyright: ignore[reportCallIssue]
        return z

    @torch.no_grad()
    def finish(self, batches: Iterable[AlignedBatch]) -> None:
        """Fits the prior to draws from the posteriors, and groups to their means."""
        parts = [(self.vae.encoder(b), b) for b in batches]
        mean, std = (torch.cat([getattr(q, k) for q, _ in parts]) for k in ("mean", "std"))
        weights = torch.cat([b.weights for _, b in parts])
        classes = torch.cat([b.classes for _, b in parts])
        order = torch.randperm(len(mean), device=mean.device)
        cut = len(order) - max(len(order) // _HELD, 1)
        rows, held = (_drawn(weights, some) for some in (order[:cut], order[cut:]))
        draw = lambda at: DiagonalGaussian(mean[at], std[at]).rsample()
        self.vae.prior.fit(draw(rows), draw(held))
        self.clusters.fit(mean, clustered(mean, self.wanted))
        for k, groups in enumerate(self.labels):
            groups.fit(draw(order), classes[order, k] - 1)  # pyright: ignore[reportCallIssue]

    def to_latent(self, batch: AlignedBatch) -> Tensor:
        """Returns the mean of q(z|x)."""
        return self.vae.to_latent(batch)

    def from_latent(self, z: Tensor, given: AlignedBatch) -> AlignedBatch:
        """Returns the likeliest residues at a latent, or a draw where the options say so.

        What is known of the sequences that latents come from is not known of these.
        """
        unknown = {
            "classes": torch.zeros_like(given.classes),
            "properties": torch.full_like(given.properties, torch.nan),
        }
        p = self.vae.decoder(z, given.replace(**unknown), math.inf)
        return p.mode() if self.consensus else p.sample()

    def group(self, batch: AlignedBatch) -> Int[Tensor, " n"]:
        """Returns the cluster of each sequence, from 1."""
        return self.clusters.nearest(self.to_latent(batch)) + 1

    def log_likelihood(self, batch: AlignedBatch, importance: int = 1) -> Tensor:
        """Returns a bound on log p(x) of each sequence, in nats; the ELBO is a mean over draws."""
        if importance > 1:
            return self.vae.log_likelihood(batch, importance)
        return torch.stack([self.vae.log_likelihood(batch) for _ in range(_DRAWS)]).mean(0)

    def predict(self, z: Tensor) -> dict[str, Tensor]:
        """Returns the properties that latents have, in their units."""
        if self.predictor is None:
            return {}
        found = self.predictor(z) * self.scales + self.means
        return dict(zip(self.names, found.unbind(-1), strict=True))

    @torch.no_grad()
    def contrast(self, batch: AlignedBatch, wild: AlignedBatch, draws: int) -> Tensor:
        r"""Returns :math:`\mathrm{E} \log p(x|z) - \log p(w|z)` over latents of the wild type w.

        Only sites that differ, and those that depend on them, are looked at.
        """
        x, w = batch.tokens.long(), wild.tokens.long()
        z = self.vae.encoder(wild[torch.zeros(draws, dtype=torch.long)]).rsample()
        law: Residues = self.vae.decoder(z, wild, math.inf)
        touched, coupled, before = x != w, 0.0, 0.0
        if law.couplings is not None:
            touched = law.couplings.touched(touched)
            coupled, before = law.couplings(x)[touched], law.couplings(w)[0]
        row, site = touched.nonzero(as_tuple=True)
        own, old = x[row, site], w[0, site]
        total = torch.zeros(len(x), device=z.device)
        for fields in law.fields:
            new = (fields[site] + coupled).log_softmax(-1).gather(1, own[:, None])[:, 0]
            was = (fields + before).log_softmax(-1)[site, old]
            total.index_add_(0, row, new - was)
        return total / draws

    @torch.no_grad()
    def diagnostics(self, batch: AlignedBatch) -> dict[str, float]:
        """Says how much the latent is used, and what a residue costs by the bound."""
        elbo = self.log_likelihood(batch)
        nats = float(-(elbo * batch.weights).sum() / batch.weights.sum()) / batch.tokens.shape[1]
        told = {"nats_per_residue": nats, "perplexity": math.exp(nats)}
        return told | self.vae.diagnostics(batch)


def _drawn(weights: Float[Tensor, " n"], rows: Int[Tensor, " some"]) -> Int[Tensor, " drawn"]:
    """Returns rows as often as they count."""
    count = min(len(rows), _MOST_FITTED)
    return rows[torch.multinomial(weights[rows], count, replacement=True)]


def build(config: ProteinVAEConfig, representation: AlignedSites) -> ProteinVAE:
    """Returns an untrained model.

    Raises:
        ConfigError: A share, a number of clusters or a scale is impossible.
    """
    c, r, s = config, representation, config.sampling
    _check(c)
    states = len(r.alphabet)
    size = r.sites * states
    couplings = Couplings(r.order, r.parents, states) if any(r.parents) else None
    known = torch.tensor(r.frequencies).clamp_min(_RARE).log()
    fields = known if c.site_frequencies else torch.zeros_like(known)
    predictor = mlp(c.latent_dim, c.encoder_dim, len(c.predict)) if c.predict else None
    net = _fields_of(c, r.sites, states)
    vae = VAE(
        encoder=Encoder(ProteinEncoder(size, c.encoder_dim, c.latent_dim, c.dropout)),
        decoder=Decoder(net, fields, couplings, s.temperature),
        shape=lambda given: (len(given), c.latent_dim),
        prior=MixturePrior(c.latent_dim, c.prior_parts),
        beta=lambda epoch: ramp(epoch, c.beta_start, c.beta, c.beta_warmup_epochs),
        free_bits=c.free_bits,
        penalties=_penalties(c, r, net, couplings, predictor),
        temperature=s.latent_temperature,
        noise=s.draw == "sample",
    )
    clusters = Groups(c.latent_dim, c.clusters or MOST_CLUSTERS)
    consensus = s.copy == "mode"
    return ProteinVAE(vae, predictor, r, clusters, c.clusters, s.cluster, consensus=consensus)


def _fields_of(c: ProteinVAEConfig, sites: int, states: int) -> ProteinDecoder | ProfileDecoder:
    """Returns the network of the fields: the reference's where one hidden layer is all."""
    if len(c.decoder_dims) == 1 and not c.dictionary:
        return ProteinDecoder(c.latent_dim, c.decoder_dims[0], sites * states, c.dropout)
    told = (c.latent_dim, c.decoder_dims, sites, states, c.dictionary, c.dropout)
    return ProfileDecoder(*told)


def _penalties(
    c: ProteinVAEConfig, r: AlignedSites, net: ProteinDecoder | ProfileDecoder,
    couplings: Couplings | None, predictor: nn.Module | None,
) -> dict[str, tuple[Weight, Penalty]]:  # fmt: skip
    """Returns the terms beside reconstruction and KL, with their weights."""
    last = net.fc2.weight if isinstance(net, ProteinDecoder) else net.out.weight
    scaled = [(last, c.weight_scale)]
    if couplings is not None:
        scaled.append((couplings.table, c.coupling_scale))

    def prior(q: DiagonalGaussian, z: Tensor, batch: Any) -> Tensor:
        nats = [w.square().sum() / (2 * scale**2) for w, scale in scaled if scale]
        return (torch.stack(nats).sum() / r.effective).expand(len(batch))

    def properties(q: DiagonalGaussian, z: Tensor, batch: Any) -> Tensor:
        error = (predictor(z) - batch.properties.nan_to_num()).square() / 2  # pyright: ignore[reportOptionalCall]
        return (error * batch.properties.isfinite()).sum(-1)

    found: dict[str, tuple[Callable[[float], float], Penalty]] = {}
    if any(scale for _, scale in scaled):
        found["prior"] = (lambda epoch: 1.0), prior
    if predictor is not None:
        found["properties"] = (lambda epoch: c.lambda_predict), properties
    return found


def _check(c: ProteinVAEConfig) -> None:
    """Refuses what cannot be meant.

    Raises:
        ConfigError: A share, a number of clusters or a scale is impossible.
    """
    if not 0 <= c.dropout < 1:
        raise ConfigError(f"dropout is a share from 0 to below 1, got {c.dropout}")
    if c.sampling.temperature < 0 or c.sampling.latent_temperature < 0:
        raise ConfigError("temperatures are at least 0")
    whole = ("couplings", "clusters", "dictionary", "prior_parts")
    for name in (*whole, "coupling_scale", "weight_scale"):
        if getattr(c, name) < 0:
            raise ConfigError(f"{name} is at least 0, got {getattr(c, name)}")
    if not c.decoder_dims:
        raise ConfigError("decoder_dims names the width of one hidden layer at least")
