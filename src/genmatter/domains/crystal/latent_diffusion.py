r"""Composition, then structure: a model of formulas, and a flow in the latent space of a VAE.

.. math:: p(c, g, r, x | N) = p(c | N)\, p(g | c)\, p(r | c, g)\, p(x | c, g, r)

What a crystal of N atoms is made of, c, is drawn first, element by element (`composition`), then
its space group g, where these are known, and a training crystal r of that group, of elements that
are alike, after which it is drawn (`templates`). A transformer over atoms that knows these then
draws the structure x: a flow from noise to those numbers of the latents of a frozen VAE that
types leave open (`layout`), as differences from the template where there is one. So samples have
exactly the composition that was drawn, and structure prediction, where a formula is asked for, is
the same without the first step.

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

__all__ = ["LatentDiffusion", "build"]

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.config import closest
from genmatter.domains.crystal.averaging import averaged
from genmatter.domains.crystal.composition import Composition
from genmatter.domains.crystal.config import CrystalLatentDiffusionConfig, CrystalSamplingConfig
from genmatter.domains.crystal.hiding import Hiding, blank
from genmatter.domains.crystal.layout import Layout
from genmatter.domains.crystal.represent import CrystalBatch, CrystalTensors
from genmatter.domains.crystal.space_groups import SpaceGroups
from genmatter.domains.crystal.spacing import Spacing
from genmatter.domains.crystal.templates import Template, Templates
from genmatter.domains.crystal.told import Told
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


class LatentDiffusion(Generative[CrystalBatch]):
    """Draws compositions, and with a flow the latents of a VAE, which stays as it is.

    Args:
        vae: The first stage.
        composition: Draws elements with their numbers of atoms.
        groups: Draws space groups, where any are known.
        templates: Training crystals after which others are drawn.
        denoiser: The velocity with its path.
        sampler: How noise is turned into latents.
        hiding: What training hides.
        guidance: How much what is told counts.
        level: Noise that the decoder takes the latents to have, in its units.
        temperature: Scale of the noise that samples begin from.
        settle: Steps in which atoms that are too close are moved apart.
        copy: Draw after templates, where there are any.
        choice: Temperature at which space groups and templates are drawn.
        symmetrise: How far atoms and lattice vectors are moved, angstrom, to be symmetric as the
            template is.
    """

    quick_latent = False  # a walk begins at samples, of which each takes many network calls

    def __init__(
        self,
        vae: CrystalVAE,
        composition: Composition,
        groups: SpaceGroups | None,
        templates: Templates,
        denoiser: Denoiser,
        sampler: Sampler,
        hiding: Hiding,
        *,
        guidance: float = 1.0,
        level: float = 0.0,
        temperature: float = 1.0,
        settle: int = 0,
        copy: bool = True,
        choice: float = 1.0,
        symmetrise: float = 0.0,
    ) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(False)
        self.composition, self.groups, self.templates = composition, groups, templates
        self.denoiser, self.copy, self.choice = denoiser, copy, choice
        self.symmetrise = symmetrise
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
        """Keeps templates; finds what of the latents is drawn, and how close atoms come."""
        batches = list(batches)
        self.templates.fit(batches, (self.composition.counts(b.atom_types) for b in batches))
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
        near, n = self._near(batch, others=True), len(batch)
        told, x = self._state(batch, self._shown(batch, wished, near))
        u = (torch.randperm(n, device=x.device) + torch.rand(1, device=x.device)) / max(n, 1)
        t, eps = self.denoiser.path.at(u.to(x)), self.layout.noise(x, batch.mask)
        gap = self.denoiser.gap(x, eps, t, told)
        own, shared = self.layout.errors(gap, batch.mask)
        each = [
            self._nats(batch, w, near)
            for w in ([blank(batch), wished] if self.training else [wished])
        ]
        nats = {k: torch.stack([terms[k] for terms in each]).mean(0) for k in each[0]}
        return Loss({"flow": own, "flow_cell": shared} | nats, dict.fromkeys(nats, NATS))

    def _near(self, batch: CrystalBatch, *, others: bool) -> Float[Tensor, "n templates"]:
        return self.templates.near(self.composition.counts(batch.atom_types), others=others)

    def _shown(
        self, batch: CrystalBatch, wished: CrystalBatch, near: Float[Tensor, "n templates"]
    ) -> Told:
        """Returns what the flow is told: types and wishes, and of many group and template."""
        group, none = (
            (torch.rand(len(batch), device=batch.mask.device) < share) & self.training
            for share in (self.hiding.group, self.hiding.template)
        )
        template = self.templates.draw(near.detach(), batch, none)
        shown = batch.replace(space_group=batch.space_group * ~group, wanted=wished.wanted)
        return self._told(shown, template)

    @torch.no_grad()
    def _told(self, batch: CrystalBatch, template: Template) -> Told:
        there = template.there[:, None, None]
        return Told(batch, template, self.vae.to_latent(template.crystals) * there)

    def _nats(
        self, batch: CrystalBatch, wished: CrystalBatch, near: Float[Tensor, "n templates"]
    ) -> dict[str, Float[Tensor, " n"]]:
        """Returns -ln p of compositions, and of space groups given these where any are known."""
        counts = self.composition.counts(batch.atom_types)
        found = {"composition": -self.composition.log_prob(counts, self.composition.wish(wished))}
        if self.groups is not None:
            each = self.groups.log_prob(counts, wished, self.templates.of_groups(near))
            own = each.gather(1, batch.space_group.clamp_min(1)[:, None])[:, 0]
            found["space_group"] = torch.where(batch.space_group > 0, -own, 0.0)
        return found

    @torch.no_grad()
    def _state(
        self, batch: CrystalBatch, told: Told
    ) -> tuple[Told, Float[Tensor, "n atoms latent"]]:
        """Returns the numbers that the flow draws, with templates that crystals lie near to."""
        z, how = self.vae.to_latent(batch), (self.layout, self.vae.chart)
        told = told.near(z, *how)
        return told, told.state(z, *how)

    @torch.no_grad()
    def sample(self, given: CrystalBatch) -> CrystalBatch:
        """Draws what is unknown of composition and space group, then latents, and decodes them.

        Types that are known are kept, and so are those that are drawn.
        """
        made = self.composed(given)
        near = self._near(made, others=False)
        none = torch.full_like(made.num_atoms, not self.copy, dtype=torch.bool)
        told = self._told(made, self.templates.draw(near / self.choice, made, none))
        x = torch.zeros(*made.mask.shape, self.vae.latent, device=made.mask.device)
        x = self.temperature * self.layout.noise(x, made.mask)
        x = self.sampler(self._field(told, given), self.denoiser.path, x)
        found = self.vae.denoised(told.drawn(x, self.layout), made, self.level)
        found = averaged(found, told.template, self.symmetrise)
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
            near = self.templates.of_groups(self.templates.near(counts))
            group = torch.where(
                group > 0, group, self.groups.draw(counts, given, near, self.choice)
            )
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
        near = self._near(batch, others=True)
        found = {k: v.mean().item() for k, v in self._nats(batch, blank(batch), near).items()}
        told, x = self._state(batch, self._shown(batch, blank(batch), near))
        for k in range(4):
            t = self.denoiser.path.at(((k + torch.rand(len(x), device=x.device)) / 4).to(x))
            gap = self.denoiser.gap(x, self.layout.noise(x, batch.mask), t, told)
            own, shared = self.layout.errors(gap, batch.mask)
            found[f"flow_quarter_{k + 1}"] = own.mean().item()
            found[f"cell_quarter_{k + 1}"] = shared.mean().item()
        return found

    def _field(self, told: Told, given: CrystalBatch) -> Field:
        """Returns the means of data and noise, guided where anything is wished."""
        w, wished = self.guidance, given.space_group > 0
        if w == 1 or not (wished.any() or given.wanted.isfinite().any()):
            return lambda x, t: self.denoiser(x, t, told)
        group = told.batch.space_group.masked_fill(wished, 0)
        unknown = torch.full_like(given.wanted, torch.nan)
        hidden = replace(told, batch=told.batch.replace(space_group=group, wanted=unknown))

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
    if s.choice <= 0:
        raise ConfigError(f"the temperature of choices has to be above 0, got {s.choice:g}")
    of = c.composition
    groups = SpaceGroups(of.width, of.group_dropout, where) if r.groups else None
    return LatentDiffusion(
        vae, Composition(of.width, of.dropout, where, r.elements), groups, Templates(),
        Denoiser(net, path, velocity), _sampler(s),
        Hiding(c.hide_all, c.hide_each, c.hide_group, c.hide_template), guidance=s.guidance,
        level=s.level, temperature=s.temperature, settle=s.settle, copy=s.templates,
        choice=s.choice, symmetrise=s.symmetrise,
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
