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
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.domains.crystal.chemistry import table
from genmatter.domains.crystal.config import CrystalVAEConfig
from genmatter.domains.crystal.distribution import DiagonalGaussianDistribution
from genmatter.domains.crystal.network import (
    HARMONICS,
    TransformerDecoder,
    TransformerEncoder,
    features,
)
from genmatter.domains.crystal.represent import MOST_ELEMENT, CrystalBatch, CrystalTensors
from genmatter.errors import ConfigError
from genmatter.maths import rotation
from genmatter.maths.lattice import vectors
from genmatter.nn.embed import bumps
from genmatter.nn.mlp import mlp
from genmatter.nn.packed import Places
from genmatter.spine import Generative, Loss

START = -6.0
"""Log-variance of latents before there is any training."""
LEVELS = 8
"""Numbers by which a level of noise is written."""
FOLLOW = 0.01
"""How fast the spread of the latents is followed."""


@dataclass(frozen=True)
class Decoded:
    """What is decoded of latents, of real atoms alone."""

    logits: Float[Tensor, "places types"]
    waves: Float[Tensor, "places 6"]
    """Sines and cosines of the fractional coordinates, each axis after the other."""
    lengths: Float[Tensor, "n 3"]
    """Over the cube root of the number of atoms, angstrom."""
    angles: Float[Tensor, "n 3"]

    @property
    def frac(self) -> Float[Tensor, "places 3"]:
        sine, cosine = self.waves.unflatten(-1, (3, 2)).unbind(-1)
        return torch.atan2(sine, cosine) / (2 * math.pi) % 1


SPREAD = math.sqrt(12)
"""One over the standard deviation of what is even in [0, 1]."""
ANGLE = (1.5, 0.3)
"""Mean and standard deviation of angles, about, radian."""
LENGTHS = (2.7, 0.9)
"""The same of lengths over the cube root of the number of atoms, angstrom, where no data say."""
ROOM = 10
"""Latent units from which on the lattice has some of its own."""


class Chart(nn.Module):
    r"""Latents as linear functions of a crystal, each of about unit spread.

    Three units are :math:`\sqrt{12}\,(f - 1/2)`; six are lengths and angles, the same for all
    atoms, where there is room for them; the rest is learned for each element, and begins with
    what the periodic table says of it, so that elements that are taken for each other are alike.

    Args:
        latent: Latent units of an atom.
        lengths: Mean and standard deviation of lengths over the cube root of the number of atoms.
    """

    def __init__(self, latent: int, lengths: tuple[float, float]) -> None:
        super().__init__()
        self.cell = 6 if latent >= ROOM else 0
        self.types = nn.Embedding(MOST_ELEMENT + 1, latent - 3 - self.cell)
        known = torch.from_numpy(table())[:, : self.types.embedding_dim]
        with torch.no_grad():
            self.types.weight[:, : known.shape[1]] = known.float()
        shift = torch.tensor([*[lengths[0]] * 3, *[ANGLE[0]] * 3])
        scale = torch.tensor([*[lengths[1]] * 3, *[ANGLE[1]] * 3]).clamp_min(1e-3)
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    shift: Tensor
    scale: Tensor

    def forward(self, batch: CrystalBatch, places: Places) -> Float[Tensor, "places latent"]:
        """Returns the latents of a crystal."""
        frac = SPREAD * (places.pack(batch.frac_coords) - 0.5)
        parts = [frac, self.types(places.pack(batch.atom_types))]
        if self.cell:
            lengths = batch.lengths / batch.num_atoms[:, None] ** (1 / 3)
            cell = (torch.cat([lengths, batch.angles], 1) - self.shift) / self.scale
            parts.insert(1, cell.index_select(0, places.row))
        return torch.cat(parts, -1)

    def frac(self, z: Float[Tensor, "places latent"]) -> Float[Tensor, "places 3"]:
        """Returns the coordinates at latents."""
        return z[:, :3] / SPREAD + 0.5

    def lattice(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n 6"]:
        """Returns scaled lengths and angles at mean latents; those of the data without room."""
        return self.shift + (self.scale * z[:, 3:9] if self.cell else torch.zeros_like(self.shift))


class Properties(nn.Module):
    """Tells properties of crystals from latents: a mean over atoms, and networks around it.

    Args:
        latent: Latent units of an atom.
        width: Of the networks.
        names: What is told.
        means: Of the properties, over the data.
        scales: Their standard deviations.
    """

    means: Tensor
    scales: Tensor

    def __init__(
        self, latent: int, width: int, names: Sequence[str], means: Sequence[float],
        scales: Sequence[float],
    ) -> None:  # fmt: skip
        super().__init__()
        self.names = tuple(names)
        self.each = mlp(latent, width, width, activation=nn.SiLU)
        self.whole = mlp(width, width, len(names), activation=nn.SiLU)
        self.register_buffer("means", torch.tensor(means))
        self.register_buffer("scales", torch.tensor(scales))

    def forward(
        self, z: Float[Tensor, "places latent"], places: Places
    ) -> Float[Tensor, "n properties"]:
        """Returns them in standard deviations from the mean."""
        count = places.mask.sum(1, keepdim=True).clamp_min(1)
        return self.whole(places.total(self.each(z)) / count)

    def named(self, values: Float[Tensor, "n properties"]) -> dict[str, Float[Tensor, " n"]]:
        """Returns them by name, in their units."""
        found = values * self.scales + self.means
        return dict(zip(self.names, found.unbind(-1), strict=True))


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
        r"""Returns the terms of the objective, means over the atoms of each crystal.

        `atom_types` is a cross-entropy in nats per atom; `frac_coords` the squared length of the
        chord between unit vectors at :math:`2\pi f`, over :math:`4\pi^2`, which for small errors
        is the squared error along the shortest way; `lengths` (over the cube root of the number
        of atoms, square angstrom) and `angles` (square radian) are squared errors; `kl` is that
        to N(0, I), in nats per atom; `properties` the squared error of what is predicted.
        """
        del epoch
        if self.training:
            batch = self._moved(batch)
        places = Places.of(batch.mask)
        q = self._posterior(batch, places)
        z = q.sample()
        shown, level = self._noised(z, places)
        found = self.decoded(shown, places, level)
        terms = self._errors(found, batch, places)
        mean = lambda x: places.total(x[:, None])[:, 0] / batch.num_atoms
        terms["kl"] = mean(q.kl())
        if self.properties is not None:
            known = batch.properties.isfinite()
            gap = self.properties(z.detach(), places) - batch.properties.nan_to_num()
            terms["properties"] = (gap.square() * known).sum(1) / known.sum(1).clamp_min(1)
        return Loss(terms, {k: v for k, v in self.weights.items() if k in terms})

    def _errors(
        self, found: Decoded, batch: CrystalBatch, places: Places
    ) -> dict[str, Float[Tensor, " n"]]:
        mean = lambda x: places.total(x[:, None])[:, 0] / batch.num_atoms
        types = places.pack(batch.atom_types)
        angle = 2 * math.pi * places.pack(batch.frac_coords)
        target = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        chord = (found.waves - target).square().sum(-1) / 3
        lengths = batch.lengths / batch.num_atoms[:, None] ** (1 / 3)
        return {
            "atom_types": mean(nn.functional.cross_entropy(found.logits, types, reduction="none")),
            "frac_coords": mean(chord / (4 * math.pi**2)),
            "lengths": (found.lengths - lengths).square().mean(1),
            "angles": (found.angles - batch.angles).square().mean(1),
        }

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
        """Returns crystals of the likeliest types, and of those that a prompt asks for.

        Only where an atom's place is unknown is its type asked for: latents tell the types of
        whole crystals. What is known of such a crystal's properties is not known of these.
        """
        types = logits.masked_fill(self.absent, -torch.inf).argmax(-1)
        asked = (given.atom_types > 0) & given.frac_coords.isnan().any(-1)
        types = torch.where(asked, given.atom_types, types * given.mask)
        lengths, angles = lengths.clamp_min(SHORTEST), angles.clamp(*SHARPEST)
        return given.replace(
            atom_types=types,
            frac_coords=frac,
            lattice=vectors(lengths, angles),
            lengths=lengths,
            angles=angles,
            properties=torch.full_like(given.properties, torch.nan),
        )

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


SHORTEST = 1e-2
"""Lengths that are decoded are at least so, angstrom."""
SHARPEST = (0.05, math.pi - 0.05)
"""Angles that are decoded lie between these, radian."""


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
