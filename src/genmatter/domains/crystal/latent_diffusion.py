r"""Composition, then structure: a model of formulas, and a flow in the latent space of a VAE.

.. math:: p(c, g, x | N) = p(c | N)\, p(g | c)\, p(x | c, g)

What a crystal of N atoms is made of, c, is drawn first, element by element (`composition`), and
its space group g, where these are known. A transformer over atoms that knows both then draws the
structure x: a flow from noise to those numbers of the latents of a frozen VAE that types leave
open (`layout`). So samples have exactly the composition that was drawn, and structure prediction,
where a formula is asked for, is the same without the first step.

The composition is told of elements, space groups and properties that are wanted, and the flow of
the latter two. Training hides these by chance, so that one network draws with and without them,
and guidance moves away from what it would draw without:
:math:`v = v_\emptyset + w (v_c - v_\emptyset)`.

References:
    | Flow matching for generative modeling (Lipman et al., 2023) https://arxiv.org/abs/2210.02747
    | High-resolution image synthesis with latent diffusion models (Rombach et al., 2022)
    | https://arxiv.org/abs/2112.10752
    | Classifier-free diffusion guidance (Ho & Salimans, 2022) https://arxiv.org/abs/2207.12598
    | Scalable diffusion models with transformers (Peebles & Xie, 2023)
    | https://arxiv.org/abs/2212.09748
"""

__all__ = ["Hiding", "LatentDiffusion", "build"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.config import closest
from genmatter.domains.crystal.composition import Composition
from genmatter.domains.crystal.config import CrystalLatentDiffusionConfig, CrystalSamplingConfig
from genmatter.domains.crystal.layout import Layout
from genmatter.domains.crystal.represent import CrystalBatch, CrystalTensors
from genmatter.domains.crystal.space_groups import SpaceGroups
from genmatter.domains.crystal.spacing import Spacing
from genmatter.domains.crystal.vae import CrystalVAE
from genmatter.domains.crystal.velocity import Velocity
from genmatter.errors import ConfigError
from genmatter.generative.diffusion import Denoiser, velocity
from genmatter.generative.path import Arc
from genmatter.generative.sampler import Estimate, Field, MultistepODE, Sampler, StochasticODE
from genmatter.spine import Generative, Loss

NATS = 0.02
"""Weight of a nat of composition beside the flow's squared error, which is of order 1: so it does
not decide how much of a step is clipped. The networks share no weights."""


@dataclass(frozen=True)
class Hiding:
    """What training hides of what it could tell.

    Args:
        everything: Share of the crystals of which no wish is told.
        each: Chance that, of the others, elements, the space group or a property is hidden.
        group: Share of the crystals whose space group the flow is not told, whatever is wished.
    """

    everything: float
    each: float
    group: float = 0.0

    def __call__(self, batch: CrystalBatch) -> CrystalBatch:
        """Draws for each crystal what is told of it; types are not its matter."""
        n, device = len(batch), batch.mask.device
        blank = torch.rand(n, 1, device=device) < self.everything
        elements = blank | (torch.rand(n, 1, device=device) < self.each)
        group = blank | (torch.rand(n, 1, device=device) < self.each)
        wanted = blank | (torch.rand_like(batch.wanted) < self.each)
        return batch.replace(
            elements=batch.elements.masked_fill(elements, torch.nan),
            space_group=batch.space_group * ~group[:, 0],
            wanted=batch.wanted.masked_fill(wanted, torch.nan),
        )


def blank(batch: CrystalBatch) -> CrystalBatch:
    """Returns crystals of which no wish is told."""
    return Hiding(1.0, 1.0)(batch)


class LatentDiffusion(Generative[CrystalBatch]):
    """Draws compositions, and with a flow the latents of a VAE, which stays as it is.

    Args:
        vae: The first stage.
        composition: Draws elements with their numbers of atoms.
        groups: Draws space groups, where any are known.
        denoiser: The velocity with its path.
        sampler: How noise is turned into latents.
        hiding: What training hides.
        guidance: How much what is told counts.
        level: Noise that the decoder takes the latents to have, in its units.
        temperature: Scale of the noise that samples begin from.
        settle: Steps in which atoms that are too close are moved apart.
    """

    quick_latent = False  # a walk begins at samples, of which each takes many network calls

    def __init__(
        self,
        vae: CrystalVAE,
        composition: Composition,
        groups: SpaceGroups | None,
        denoiser: Denoiser,
        sampler: Sampler,
        hiding: Hiding,
        *,
        guidance: float = 1.0,
        level: float = 0.0,
        temperature: float = 1.0,
        settle: int = 0,
    ) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(False)
        self.composition, self.groups, self.denoiser = composition, groups, denoiser
        self.sampler, self.hiding = sampler, hiding
        self.guidance, self.level, self.temperature = guidance, level, temperature
        self.settle, self.spacing = settle, Spacing()

    @property
    def net(self) -> Velocity:
        """The network of the flow."""
        net: Any = self.denoiser.net
        return net

    @property
    def layout(self) -> Layout:
        """Which numbers of the latents the flow draws, and in which units."""
        return self.net.layout

    @property
    def network_calls(self) -> int:
        """How often a sample asks the network of the flow."""
        return self.sampler.steps

    def train(self, mode: bool = True) -> "LatentDiffusion":
        super().train(mode)
        self.vae.eval()
        return self

    @torch.no_grad()
    def begin(self, batches: Iterable[CrystalBatch]) -> None:
        """Finds what of the latents is to be drawn, in which units, and how close atoms come."""
        batches = list(batches)
        self.spacing.fit(batches)
        self.layout.fit((self.vae.to_latent(b), b.atom_types) for b in batches)

    def loss(self, batch: CrystalBatch, epoch: float) -> Loss:
        """Returns the errors of the flow, and what compositions and space groups cost.

        `flow` and `flow_cell` are mean squared errors of the velocity, in what is of each atom and
        in what all share. `composition` and `space_group` are -ln p of a crystal's, in nats, where
        nothing is told but the number of atoms; in training the mean of that and of -ln p where
        wishes are told. Levels are an even grid over the batch with one random offset, dealt out
        at random.
        """
        del epoch
        wished = self.hiding(batch) if self.training else blank(batch)
        x, n = self._state(batch), len(batch)
        u = (torch.randperm(n, device=x.device) + torch.rand(1, device=x.device)) / max(n, 1)
        t, eps = self.denoiser.path.at(u.to(x)), self.layout.noise(x, batch.mask)
        gap = self.denoiser.gap(x, eps, t, self._shown(batch, wished))
        own, shared = self.layout.errors(gap, batch.mask)
        each = [
            self._nats(batch, w) for w in ([blank(batch), wished] if self.training else [wished])
        ]
        nats = {k: torch.stack([terms[k] for terms in each]).mean(0) for k in each[0]}
        return Loss({"flow": own, "flow_cell": shared} | nats, dict.fromkeys(nats, NATS))

    def _shown(self, batch: CrystalBatch, wished: CrystalBatch) -> CrystalBatch:
        """Returns what the flow is told: types, wishes, and of many crystals the space group."""
        hidden = torch.rand(len(batch), device=batch.mask.device) < self.hiding.group
        group = batch.space_group * ~(hidden & self.training)
        return batch.replace(space_group=group, wanted=wished.wanted)

    def _nats(self, batch: CrystalBatch, wished: CrystalBatch) -> dict[str, Float[Tensor, " n"]]:
        """Returns -ln p of compositions, and of space groups given these where any are known."""
        counts = self.composition.counts(batch.atom_types)
        found = {"composition": -self.composition.log_prob(counts, self.composition.wish(wished))}
        if self.groups is not None:
            each = self.groups.log_prob(counts, wished)
            own = each.gather(1, batch.space_group.clamp_min(1)[:, None])[:, 0]
            found["space_group"] = torch.where(batch.space_group > 0, -own, 0.0)
        return found

    @torch.no_grad()
    def _state(self, batch: CrystalBatch) -> Float[Tensor, "n atoms latent"]:
        return self.layout.state(self.vae.to_latent(batch), batch.mask)

    @torch.no_grad()
    def sample(self, given: CrystalBatch) -> CrystalBatch:
        """Draws what is unknown of composition and space group, then latents, and decodes them.

        Types that are known are kept, and so are those that are drawn.
        """
        told = self.composed(given)
        x = torch.zeros(*told.mask.shape, self.vae.latent, device=told.mask.device)
        x = self.temperature * self.layout.noise(x, told.mask)
        x = self.sampler(self._field(told, given), self.denoiser.path, x)
        found = self.vae.denoised(self.layout.latents(x, told.atom_types), told, self.level)
        return self.spacing.apart(found, self.settle).replace(space_group=given.space_group)

    @torch.no_grad()
    def composed(self, given: CrystalBatch) -> CrystalBatch:
        """Draws the types of atoms that are unknown, and space groups where any are learned."""
        it, types = self.composition, given.atom_types
        counts, lack = it.counts(types), (given.mask & (types == 0)).any(1)
        if lack.any():
            wish = it.wish(given)[lack]
            without = None if self.guidance == 1 else it.wish(blank(given))[lack]
            counts[lack] = it.draw(wish, without, self.guidance)
            types = torch.where(lack[:, None], it.types(counts, given.mask), types)
        group = given.space_group
        if self.groups is not None:
            group = torch.where(group > 0, group, self.groups.draw(counts, given))
        return given.replace(atom_types=types, space_group=group)

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
        """Says how well compositions are known, and how far velocities are off.

        Returns:
            `composition` and `space_group`, -ln p in nats per crystal; and in each quarter of the
            way, cleanest first, the errors `flow_quarter_k` of atoms and `cell_quarter_k` of what
            they share.
        """
        found = {k: v.mean().item() for k, v in self._nats(batch, blank(batch)).items()}
        x, told = self._state(batch), self._shown(batch, blank(batch))
        for k in range(4):
            t = self.denoiser.path.at(((k + torch.rand(len(x), device=x.device)) / 4).to(x))
            gap = self.denoiser.gap(x, self.layout.noise(x, batch.mask), t, told)
            own, shared = self.layout.errors(gap, batch.mask)
            found[f"flow_quarter_{k + 1}"] = own.mean().item()
            found[f"cell_quarter_{k + 1}"] = shared.mean().item()
        return found

    def _field(self, told: CrystalBatch, given: CrystalBatch) -> Field:
        """Returns the means of data and noise, guided where anything is wished."""
        w, wished = self.guidance, given.space_group > 0
        if w == 1 or not (wished.any() or given.wanted.isfinite().any()):
            return lambda x, t: self.denoiser(x, t, told)
        group = told.space_group.masked_fill(wished, 0)
        hidden = told.replace(space_group=group, wanted=torch.full_like(told.wanted, torch.nan))

        def field(x: Tensor, t: Tensor) -> Estimate:
            with_, without = self.denoiser(x, t, told), self.denoiser(x, t, hidden)
            return Estimate(*(b + w * (a - b) for a, b in zip(with_, without, strict=True)))

        return field


def build(
    config: CrystalLatentDiffusionConfig, representation: CrystalTensors, vae: CrystalVAE
) -> LatentDiffusion:
    """Returns an untrained model of compositions and a flow on top of a trained VAE."""
    c, s, r = config, config.sampling, representation
    path, where = Arc(c.low, c.high), _where(c.conditions, r)
    net = Velocity(
        Layout(vae.latent), c.d_model, c.nhead, c.num_layers, c.dim_feedforward, c.dropout,
        path=path, where=where, chart=vae.chart,
    )  # fmt: skip
    if s.level > vae.noise:
        raise ConfigError(f"the decoder undoes noise up to {vae.noise:g}, not {s.level:g}")
    how = c.composition.width, c.composition.dropout, where
    return LatentDiffusion(
        vae, Composition(*how, r.elements), SpaceGroups(*how) if r.groups else None,
        Denoiser(net, path, velocity), _sampler(s),
        Hiding(c.hide_all, c.hide_each, c.hide_group), guidance=s.guidance,
        level=s.level, temperature=s.temperature, settle=s.settle,
    )  # fmt: skip


def _sampler(s: CrystalSamplingConfig) -> Sampler:
    if s.steps < 1:
        raise ConfigError(f"a sample takes at least 1 step, got {s.steps}")
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
