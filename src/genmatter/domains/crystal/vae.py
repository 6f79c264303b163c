r"""Transformer VAE of crystals, with a latent vector for each atom.

.. math:: L = \sum_k \lambda_k L_k + \lambda_{KL}\, \mathrm{KL}(q(z|x) \parallel \mathcal N(0, I))

The terms L are errors of what is decoded: types, fractional coordinates (on their torus), lengths
over the cube root of the number of atoms, and angles. With weights like these the sum is no bound
on a likelihood, and z is a description of the crystal rather than a small one.

Latents begin as linear functions of coordinates and lattice (`Chart`), and the networks learn
what to add. The decoder is trained to undo noise in latents, and told how much there is: at none
it copies, and at some it makes of what a generative model gets nearly right what a crystal looks
like.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013) https://arxiv.org/abs/1312.6114
    | Denoising criterion for variational auto-encoding framework (Im et al., 2017)
    | https://arxiv.org/abs/1511.06406
"""

__all__ = ["Chart", "CrystalVAE", "Decoded", "build"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.domains.crystal.chart import ANGLE, LENGTHS, Chart
from genmatter.domains.crystal.config import CrystalVAEConfig
from genmatter.domains.crystal.decoded import Decoded, errors, settled
from genmatter.domains.crystal.distribution import DiagonalGaussianDistribution
from genmatter.domains.crystal.network import (
    HARMONICS,
    TransformerDecoder,
    TransformerEncoder,
    features,
)
from genmatter.domains.crystal.represent import MOST_ELEMENT, CrystalBatch, CrystalTensors
from genmatter.domains.crystal.telling import Properties
from genmatter.errors import ConfigError
from genmatter.maths import rotation
from genmatter.nn.embed import bumps
from genmatter.nn.packed import Places
from genmatter.spine import Generative, Loss

START = -6.0
"""Log-variance of latents before there is any training."""
LEVELS = 8
"""Numbers by which a level of noise is written."""
FOLLOW = 0.01
"""How fast the spread of the latents is followed."""


class CrystalVAE(Generative[CrystalBatch]):
    """Two transformers around a latent for each atom.

    Args:
        encoder: Crystals -> numbers of each atom.
        decoder: Numbers of each atom -> the same.
        latent: Latent units of an atom.
        weights: Of the terms, by name.
        lengths: Mean and standard deviation of lengths over the cube root of the number of atoms.
        properties: Tells properties from latents; None tells none.
        elements: Atomic numbers that may be decoded; any where None.
        chart: Whether latents begin as a chart.
        noise: The largest level of noise that the decoder learns to undo.
        level: The one that it undoes in `from_latent` and `sample`.
        translate: Whether training moves crystals.
        rotate: Whether training turns lattices.
        temperature: Standard deviation of the latents that are sampled.
    """

    def __init__(
        self,
        encoder: TransformerEncoder,
        decoder: TransformerDecoder,
        latent: int,
        weights: Mapping[str, float],
        *,
        lengths: tuple[float, float] = LENGTHS,
        properties: Properties | None = None,
        elements: Sequence[int] | None = None,
        chart: bool = False,
        noise: float = 0.0,
        level: float = 0.0,
        translate: bool = False,
        rotate: bool = False,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.latent = encoder, decoder, latent
        self.weights, self.properties = dict(weights), properties
        self.noise, self.level, self.temperature = noise, level, temperature
        self.translate, self.rotate = translate, rotate
        c, d = encoder.d_model, decoder.d_model
        self.quant = nn.Linear(c, 2 * latent, bias=False)
        self.post_quant = nn.Linear(latent, d)
        self.chart = Chart(latent, lengths) if chart else None
        self.told = nn.Linear(1 + LEVELS, decoder.told) if decoder.told else None
        self.seen = nn.Linear(6 * HARMONICS, d) if chart else None
        self.types, self.waves = nn.Linear(d, MOST_ELEMENT + 1), nn.Linear(d, 6)
        self.cell = nn.Linear(d, 6)
        self.register_buffer("spread", torch.ones(latent))
        here = range(1, MOST_ELEMENT + 1) if elements is None else elements
        known = torch.zeros(MOST_ELEMENT + 1).index_fill(0, torch.tensor(here), 1.0) > 0
        self.register_buffer("absent", ~known)
        self._begin(lengths)

    spread: Tensor
    absent: Tensor

    @torch.no_grad()
    def _begin(self, lengths: tuple[float, float]) -> None:
        """Lets the networks add nothing to the chart at first."""
        nn.init.zeros_(self.quant.weight[self.latent :])
        if self.chart is not None:
            for zero in (self.quant.weight, self.waves.weight, self.waves.bias, self.cell.weight):
                nn.init.zeros_(zero)
            nn.init.zeros_(self.cell.bias)
        else:
            mean, std = lengths
            self.cell.bias.copy_(torch.tensor([mean] * 3 + [ANGLE[0]] * 3))
            self.cell.weight[:3] *= std

    def posterior(self, batch: CrystalBatch) -> DiagonalGaussianDistribution:
        """Returns q(z|x) at every place."""
        places = Places.of(batch.mask)
        q = self._posterior(batch, places)
        mean, logvar = places.unpack(q.mean), places.unpack(q.logvar)
        return DiagonalGaussianDistribution(mean, logvar, batch.mask)

    def _posterior(self, batch: CrystalBatch, places: Places) -> DiagonalGaussianDistribution:
        moments = self.quant(self.encoder.packed(batch, places)).float()
        mean, logvar = moments.chunk(2, -1)
        if self.chart is not None:
            mean = mean + self.chart(batch, places)
        return DiagonalGaussianDistribution(mean, (START + logvar).clamp(-20, 4))

    def decoded(
        self, z: Float[Tensor, "places latent"], places: Places, level: Float[Tensor, " n"]
    ) -> Decoded:  # fmt: skip
        """Returns what latents with noise of a level stand for, of real atoms alone."""
        count = places.mask.sum(1)
        x, frac, told = self.post_quant(z), None, None
        if self.chart is not None and self.seen is not None:
            frac = self.chart.frac(z)
            x = x + self.seen(features(frac))
        if self.told is not None:
            share = (level / max(self.noise, 1e-6)).sqrt()
            told = self.told(torch.cat([count[:, None] / 10, bumps(share, LEVELS)], 1))
        h = self.decoder.packed(x, places, frac if self.encoder.periodic else None, told)
        cell = places.total(self.cell(h)) / count[:, None]
        waves = self.waves(h).float()
        if self.chart is not None and frac is not None:
            angle = 2 * math.pi * frac
            waves = waves + torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
            cell = cell + self.chart.lattice(places.total(z) / count[:, None])
        return Decoded(self.types(h).float(), waves, cell[:, :3].float(), cell[:, 3:].float())

    def loss(self, batch: CrystalBatch, epoch: float) -> Loss:
        """Returns the terms of the objective, means over the atoms of each crystal.

        They are those of `errors`; `kl`, that to N(0, I), in nats per atom; and `properties`, the
        squared error of what is predicted.
        """
        del epoch
        if self.training:
            batch = self._moved(batch)
        places = Places.of(batch.mask)
        q = self._posterior(batch, places)
        z = q.sample()
        shown, level = self._noised(z, places)
        found = self.decoded(shown, places, level)
        terms = errors(found, batch, places)
        mean = lambda x: places.total(x[:, None])[:, 0] / batch.num_atoms
        terms["kl"] = mean(q.kl())
        if self.properties is not None:
            known = batch.properties.isfinite()
            gap = self.properties(z.detach(), places) - batch.properties.nan_to_num()
            terms["properties"] = (gap.square() * known).sum(1) / known.sum(1).clamp_min(1)
        return Loss(terms, {k: v for k, v in self.weights.items() if k in terms})

    def _moved(self, batch: CrystalBatch) -> CrystalBatch:
        """Moves and turns each crystal by a vector and a rotation of its own."""
        n, like = len(batch), batch.lattice
        if self.translate:
            frac = (batch.frac_coords + torch.rand(n, 1, 3).to(like)) % 1
            batch = batch.replace(frac_coords=frac * batch.mask[..., None])
        if self.rotate:
            batch = batch.replace(lattice=batch.lattice @ rotation.random_matrix(n, like=like))
        return batch

    def _noised(self, z: Tensor, places: Places) -> tuple[Tensor, Float[Tensor, " n"]]:
        """Adds noise to latents: none to half of the crystals, up to the largest to others."""
        n = len(places.mask)
        if not (self.training and self.noise):
            return z, z.new_zeros(n)
        if len(z):  # a process may have no share of a batch
            self.spread.lerp_(z.detach().std(0, correction=0), FOLLOW)
        level = self.noise * (torch.rand(n).to(z) * 2 - 1).clamp_min(0)
        noise = self.spread * torch.randn_like(z) * level.index_select(0, places.row)[:, None]
        return z + noise, level

    @torch.no_grad()
    def sample(self, given: CrystalBatch) -> CrystalBatch:
        """Draws latents from N(0, I), and decodes them."""
        z = torch.randn(*given.mask.shape, self.latent).to(given.mask.device)
        return self.from_latent(self.temperature * z, given)

    def to_latent(self, batch: CrystalBatch) -> Tensor:
        """Returns the mean of q(z|x), [n, atoms, latent]; 0 where there is no atom."""
        places = Places.of(batch.mask)
        return places.unpack(self._posterior(batch, places).mean)

    def from_latent(self, z: Tensor, given: CrystalBatch) -> CrystalBatch:
        """Returns what latents stand for; gradients reach z through coordinates and lattice."""
        return self.denoised(z, given, self.level)

    def denoised(self, z: Tensor, given: CrystalBatch, level: float) -> CrystalBatch:
        """Returns what latents stand for that have noise of a level; types asked for are kept."""
        places = Places.of(given.mask)
        found = self.decoded(places.pack(z), places, z.new_full((len(z),), level))
        lengths = found.lengths * places.mask.sum(1)[:, None] ** (1 / 3)
        logits, frac = places.unpack(found.logits), places.unpack(found.frac)
        return self.settled(logits, frac, lengths, found.angles, given)

    def settled(
        self, logits: Float[Tensor, "n atoms types"], frac: Float[Tensor, "n atoms 3"],
        lengths: Float[Tensor, "n 3"], angles: Float[Tensor, "n 3"], given: CrystalBatch,
    ) -> CrystalBatch:  # fmt: skip
        """Returns crystals of the likeliest types that there may be (`decoded.settled`)."""
        known = logits.masked_fill(self.absent, -torch.inf)
        return settled(known, frac, lengths, angles, given)

    def predict(self, z: Tensor) -> dict[str, Tensor]:
        """Returns the properties that latents of crystals have, in their units."""
        if self.properties is None:
            return {}
        places = Places.of((z != 0).any(-1))
        return self.properties.named(self.properties(places.pack(z), places))

    @torch.no_grad()
    def diagnostics(self, batch: CrystalBatch) -> dict[str, float]:
        """Says how much latents tell.

        Returns:
            `kl` of a crystal and `kl_atom`, in nats; `bits_atom`, the latter in bits; and
            `kl_unit_i` of each unit of an atom.
        """
        places = Places.of(batch.mask)
        q = self._posterior(batch, places)
        units = q.kl_per_unit().mean(0)
        found = {
            "kl": float(q.kl().sum() / len(batch)),
            "kl_atom": float(units.sum()),
            "bits_atom": float(units.sum()) / math.log(2),
        }
        return found | {f"kl_unit_{i}": v for i, v in enumerate(units.tolist())}


def build(config: CrystalVAEConfig, representation: CrystalTensors) -> CrystalVAE:
    """Returns an untrained model."""
    c, s = config, config.sampling
    if c.chart and c.latent_dim < 4:
        raise ConfigError(f"a chart needs at least 4 latent units, got {c.latent_dim}")
    if s.level > c.noise:
        raise ConfigError(f"the decoder undoes noise up to {c.noise:g}, not {s.level:g}")
    encoder = TransformerEncoder(**asdict(c.encoder), index=c.index, periodic=c.periodic)
    told = c.decoder.d_model if c.noise else 0
    decoder = TransformerDecoder(**asdict(c.decoder), index=c.index, told=told)
    r = representation
    properties = Properties(c.latent_dim, c.decoder.d_model, r.properties, r.means, r.scales)
    return CrystalVAE(
        encoder, decoder, c.latent_dim, asdict(c.weights), lengths=r.lengths,
        properties=properties, elements=r.elements, chart=c.chart, noise=c.noise, level=s.level,
        translate=c.translate, rotate=c.rotate, temperature=s.temperature,
    )  # fmt: skip
