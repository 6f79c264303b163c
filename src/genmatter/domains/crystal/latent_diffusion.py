r"""Flow in the latent space of a crystal VAE: what generates crystals.

A transformer over atoms learns the velocity from latents, in standard units, to noise. It is told
the number of atoms and, where they are known, the elements or all types, the space group and
properties; training hides these by chance, so that one network draws with and without them, and
guidance moves away from what it would draw without:
:math:`v = v_\emptyset + w (v_c - v_\emptyset)`.

Samples are drawn so; what is copied, moved and searched is in the latent space of the first stage.
Where all types are known, as of a formula, what is left to draw is the structure: crystal
structure prediction. Types that are known stay as they are, whatever is decoded.

References:
    | Flow matching for generative modeling (Lipman et al., 2023) https://arxiv.org/abs/2210.02747
    | High-resolution image synthesis with latent diffusion models (Rombach et al., 2022)
    | https://arxiv.org/abs/2112.10752
    | Classifier-free diffusion guidance (Ho & Salimans, 2022) https://arxiv.org/abs/2207.12598
    | Scalable diffusion models with transformers (Peebles & Xie, 2023)
    | https://arxiv.org/abs/2212.09748
"""

__all__ = ["Hiding", "LatentDiffusion", "Velocity", "build"]

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.config import closest
from genmatter.domains.crystal.config import CrystalLatentDiffusionConfig, CrystalSamplingConfig
from genmatter.domains.crystal.network import HARMONICS, Trunk, features
from genmatter.domains.crystal.represent import (
    MOST_ELEMENT,
    CrystalBatch,
    CrystalTensors,
    elements_of,
)
from genmatter.domains.crystal.spacing import Spacing
from genmatter.domains.crystal.vae import Chart, CrystalVAE
from genmatter.errors import ConfigError
from genmatter.generative.diffusion import Denoiser, velocity
from genmatter.generative.path import Arc, Path
from genmatter.generative.sampler import Estimate, Field, MultistepODE, Sampler, StochasticODE
from genmatter.nn.embed import bumps, sinusoidal
from genmatter.nn.packed import Places
from genmatter.spine import Generative, Loss

GROUPS = 231
"""Space groups, and 0 for none."""
LEVELS = 32
"""Numbers by which the noise of a state is written."""
FAINT = 0.2
"""The least share of the signal by which a state is divided to look for coordinates in it."""


class Velocity(nn.Module):
    """The network: states, levels and what is known of crystals -> velocities.

    Args:
        latent: Latent units of an atom.
        width: Numbers of an atom.
        heads: Heads of the attention.
        layers: Layers.
        wide: Width of the hidden layer of each.
        dropout: Share of the numbers between layers that training hides.
        path: What the levels are levels of.
        where: Which of the properties of a batch it is told.
        chart: Says where atoms lie, of latents that do.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, latent: int, width: int, heads: int, layers: int, wide: int, dropout: float, *,
        path: Path, where: list[int], chart: Chart | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.path, self.where, self.width = path, where, width
        self.into = nn.Linear(latent, width)
        self.types = nn.Embedding(MOST_ELEMENT + 1, width)
        self.locate = None if chart is None else chart.frac
        self.seen = None if chart is None else nn.Linear(6 * HARMONICS, width)
        self.elements = nn.Linear(MOST_ELEMENT + 2, width)
        self.groups = nn.Embedding(GROUPS, width)
        self.told = nn.Linear(LEVELS + width + 2 * len(where), width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.trunk = Trunk(width, heads, layers, wide, dropout, width)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, latent)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("shift", torch.zeros(latent))
        self.register_buffer("scale", torch.ones(latent))

    def forward(
        self, x: Float[Tensor, "n atoms latent"], t: Float[Tensor, " m"], given: CrystalBatch
    ) -> Float[Tensor, "n atoms latent"]:
        """Returns velocities, zero where there is no atom; levels may be one for all rows."""
        places = Places.of(given.mask)
        t = t.expand(len(x))
        state = places.pack(x)
        h = self.into(state) + self.types(places.pack(given.atom_types)) + self._index(places)
        frac = None
        if self.seen is not None and self.locate is not None:
            signal = self.path(t)[0].clamp_min(FAINT).index_select(0, places.row)[:, None]
            frac = self.locate(state / signal * self.scale + self.shift)
            h = h + self.seen(features(frac))
        h = self.trunk(h, places, frac, self._known(t, given))
        return places.unpack(self.out(self.norm(h)).float())

    def _index(self, places: Places) -> Float[Tensor, "places c"]:
        """Writes the place of each atom in the setting."""
        n = places.mask.shape[1]
        at = torch.arange(n, dtype=torch.float32, device=places.at.device)
        return sinusoidal(at, self.width).index_select(0, places.at % max(n, 1))

    def _known(self, t: Float[Tensor, " n"], given: CrystalBatch) -> Float[Tensor, "n c"]:
        """Writes what is known of each crystal, and the level."""
        alpha, sigma = self.path(t)
        share = torch.atan2(sigma, alpha) / (math.pi / 2)
        wanted = given.wanted[:, self.where]
        size = sinusoidal(given.num_atoms.float(), self.width)
        told = [bumps(share, LEVELS), size, wanted.nan_to_num(), wanted.isfinite().float()]
        hidden = given.elements[:, :1].isnan().float()
        present = self.elements(torch.cat([given.elements.nan_to_num(), hidden], 1))
        return self.mix(self.told(torch.cat(told, 1)) + present + self.groups(given.space_group))


@dataclass(frozen=True)
class Hiding:
    """What training hides of what it could tell.

    Args:
        everything: Share of the crystals of which nothing is told.
        each: Chance that, of the others, elements, the space group or a property is hidden.
        types: Share of the others whose types are all told.
    """

    everything: float
    each: float
    types: float

    def __call__(self, batch: CrystalBatch) -> CrystalBatch:
        """Draws for each crystal what is told of it."""
        n, device = len(batch), batch.mask.device
        blank = torch.rand(n, 1, device=device) < self.everything
        types = ~blank & (torch.rand(n, 1, device=device) < self.types)
        elements = types | ~(blank | (torch.rand(n, 1, device=device) < self.each))
        group = blank | (torch.rand(n, 1, device=device) < self.each)
        wanted = blank | (torch.rand_like(batch.wanted) < self.each)
        return batch.replace(
            atom_types=batch.atom_types * types,
            elements=batch.elements.masked_fill(~elements, torch.nan),
            space_group=batch.space_group * ~group[:, 0],
            wanted=batch.wanted.masked_fill(wanted, torch.nan),
        )


def blank(batch: CrystalBatch) -> CrystalBatch:
    """Returns crystals of which nothing is told but how many atoms they have."""
    return Hiding(1.0, 1.0, 0.0)(batch)


class LatentDiffusion(Generative[CrystalBatch]):
    """A flow from noise to the latents of a VAE, which stays as it is.

    Args:
        vae: The first stage.
        denoiser: The velocity with its path.
        sampler: How noise is turned into latents.
        hiding: What training hides.
        guidance: How much what is told counts.
        level: Noise that the decoder takes the latents to have, in its units.
        temperature: Scale of the noise that samples begin from.
        passes: How often samples are drawn; each time but the first, the types of the last are
            told.
        settle: Steps in which atoms that are too close are moved apart.
    """

    quick_latent = False  # a walk begins at samples, of which each takes many network calls

    def __init__(
        self,
        vae: CrystalVAE,
        denoiser: Denoiser,
        sampler: Sampler,
        hiding: Hiding,
        *,
        guidance: float = 1.0,
        level: float = 0.0,
        temperature: float = 1.0,
        passes: int = 1,
        settle: int = 0,
    ) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(False)
        self.denoiser, self.sampler, self.hiding = denoiser, sampler, hiding
        self.guidance, self.level, self.temperature = guidance, level, temperature
        self.passes, self.settle, self.spacing = passes, settle, Spacing()

    @property
    def net(self) -> Velocity:
        """The network."""
        net: Any = self.denoiser.net
        return net

    @property
    def network_calls(self) -> int:
        """How often a sample asks the network."""
        return self.sampler.steps * self.passes

    def train(self, mode: bool = True) -> "LatentDiffusion":
        super().train(mode)
        self.vae.eval()
        return self

    @torch.no_grad()
    def begin(self, batches: Iterable[CrystalBatch]) -> None:
        """Finds the units in which latents have mean 0 and spread 1, and how close atoms come."""
        batches = list(batches)
        self.spacing.fit(batches)
        z = torch.cat([self.vae.to_latent(b)[b.mask] for b in batches])
        self.net.shift.copy_(z.mean(0))
        self.net.scale.copy_(z.std(0).clamp_min(1e-3))

    def loss(self, batch: CrystalBatch, epoch: float) -> Loss:
        """Returns the term `flow`: the squared error of the velocity, a mean over atoms' numbers.

        Levels are an even grid over the batch with one random offset, dealt out at random.
        """
        del epoch
        x = self._state(batch)
        told = self.hiding(batch) if self.training else batch
        n = len(x)
        u = (torch.randperm(n, device=x.device) + torch.rand(1, device=x.device)) / max(n, 1)
        eps = torch.randn_like(x) * batch.mask[..., None]
        error = self.denoiser.error(x, eps, self.denoiser.path.at(u.to(x)), told)
        return Loss({"flow": error / (batch.num_atoms * x.shape[-1])}, {})

    @torch.no_grad()
    def _state(self, batch: CrystalBatch) -> Float[Tensor, "n atoms latent"]:
        z = (self.vae.to_latent(batch) - self.net.shift) / self.net.scale
        return z * batch.mask[..., None]

    @torch.no_grad()
    def sample(self, given: CrystalBatch) -> CrystalBatch:
        """Walks from noise to latents, and decodes them; types that are known are kept."""
        found = self._drawn(given, given)
        for _ in range(self.passes - 1):
            types = found.atom_types
            found = self._drawn(
                given.replace(atom_types=types, elements=elements_of(types)), given
            )
        return found

    def _drawn(self, told: CrystalBatch, given: CrystalBatch) -> CrystalBatch:
        mask = given.mask[..., None]
        x = torch.randn(*given.mask.shape, self.vae.latent).to(mask.device) * mask
        field = self._field(told)
        x = self.sampler(field, self.denoiser.path, self.temperature * x) * mask
        z = x * self.net.scale + self.net.shift
        found = self.vae.denoised(z, told, self.level)
        return self.spacing.apart(found, self.settle).replace(elements=given.elements)

    def to_latent(self, batch: CrystalBatch) -> Tensor:
        """Returns the latents of the first stage."""
        return self.vae.to_latent(batch)

    def from_latent(self, z: Tensor, given: CrystalBatch) -> CrystalBatch:
        """Decodes latents of the first stage, as it does by itself."""
        return self.vae.from_latent(z, given)

    def predict(self, z: Tensor) -> dict[str, Tensor]:
        """Returns the properties that the first stage tells from latents."""
        return self.vae.predict(z)

    @torch.no_grad()
    def diagnostics(self, batch: CrystalBatch) -> dict[str, float]:
        """Returns the error of the velocity in each quarter of the way, cleanest first."""
        x, found = self._state(batch), {}
        for k in range(4):
            t = self.denoiser.path.at(((k + torch.rand(len(x), device=x.device)) / 4).to(x))
            eps = torch.randn_like(x) * batch.mask[..., None]
            error = self.denoiser.error(x, eps, t, blank(batch))
            found[f"flow_quarter_{k + 1}"] = error.sum().item() / (
                float(batch.num_atoms.sum()) * x.shape[-1]
            )
        return found

    def _field(self, told: CrystalBatch) -> Field:
        """Returns the means of data and noise, guided where anything is told."""
        hidden, w = blank(told), self.guidance
        if w == 1 or same(told, hidden):
            return lambda x, t: self.denoiser(x, t, told)

        def field(x: Tensor, t: Tensor) -> Estimate:
            with_, without = self.denoiser(x, t, told), self.denoiser(x, t, hidden)
            return Estimate(*(b + w * (a - b) for a, b in zip(with_, without, strict=True)))

        return field


def same(a: CrystalBatch, b: CrystalBatch) -> bool:
    """Says whether as much is told of both."""
    names = ("atom_types", "elements", "space_group", "wanted")
    pairs = ((a.tensors[k].nan_to_num(), b.tensors[k].nan_to_num()) for k in names)
    return all(torch.equal(x, y) for x, y in pairs)


def build(
    config: CrystalLatentDiffusionConfig, representation: CrystalTensors, vae: CrystalVAE
) -> LatentDiffusion:
    """Returns an untrained flow on top of a trained VAE."""
    c, s = config, config.sampling
    path = Arc(c.low, c.high)
    net = Velocity(
        vae.latent, c.d_model, c.nhead, c.num_layers, c.dim_feedforward, c.dropout,
        path=path, where=_where(c.conditions, representation), chart=vae.chart,
    )  # fmt: skip
    if s.level > vae.noise:
        raise ConfigError(f"the decoder undoes noise up to {vae.noise:g}, not {s.level:g}")
    hiding = Hiding(c.hide_all, c.hide_each, c.show_types)
    return LatentDiffusion(
        vae, Denoiser(net, path, velocity), _sampler(s), hiding, guidance=s.guidance,
        level=s.level, temperature=s.temperature, passes=s.passes, settle=s.settle,
    )  # fmt: skip


def _sampler(s: CrystalSamplingConfig) -> Sampler:
    if min(s.steps, s.passes) < 1:
        raise ConfigError("a sample takes at least 1 step and 1 pass")
    match s.sampler:
        case "ode":
            return MultistepODE(s.steps)
        case "sde":
            return StochasticODE(s.steps, churn=s.churn)


def _where(names: tuple[str, ...], representation: CrystalTensors) -> list[int]:
    """Returns which properties a model is told."""
    known = representation.properties
    for name in names:
        if name not in known:
            raise ConfigError(f"the data have no property {name!r}{closest(name, known)}")
    return [k for k, name in enumerate(known) if not names or name in names]
