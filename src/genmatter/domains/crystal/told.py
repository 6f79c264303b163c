"""What the flow is told of a crystal, and states as differences from its template."""

__all__ = ["Told"]

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.crystal.chart import Chart
from genmatter.domains.crystal.layout import Layout
from genmatter.domains.crystal.represent import CrystalBatch
from genmatter.domains.crystal.templates import Template

FAR = 0.3
"""Where numbers of the flow are off by more from the template's, in standard deviations, a crystal
is of another structure, or has another origin or other axes."""


@dataclass(frozen=True)
class Told:
    """What is known of crystals before their structures are drawn."""

    batch: CrystalBatch
    """Types, space groups (0 is unknown) and what is wanted of properties."""
    template: Template
    """Crystals after which they are drawn."""
    latents: Float[Tensor, "n atoms latent"]
    """Of the templates; 0 where there is none."""

    def state(
        self, z: Float[Tensor, "n atoms latent"], layout: Layout, chart: Chart | None
    ) -> Float[Tensor, "n atoms latent"]:
        """Returns the numbers that the flow draws: from the template, where there is one."""
        gap = z - self.latents
        gap = gap if chart is None else chart.between(gap)
        after = layout.along(gap / layout.scale, self.batch.mask)
        return torch.where(self._there, after, layout.state(z, self.batch.mask))

    def drawn(self, x: Float[Tensor, "n atoms latent"], layout: Layout) -> Tensor:
        """Returns the latents of states."""
        base = layout.state(self.latents, self.batch.mask)
        return layout.latents(torch.where(self._there, base + x, x), self.batch.atom_types)

    def near(
        self, z: Float[Tensor, "n atoms latent"], layout: Layout, chart: Chart | None
    ) -> "Told":
        """Leaves out templates that crystals do not lie near to, and are not drawn after."""
        off = layout.errors(self.state(z, layout, chart), self.batch.mask)
        there = self.template.there & (torch.stack(off).amax(0) < FAR**2)
        latents = self.latents * there[:, None, None]
        return replace(self, template=replace(self.template, there=there), latents=latents)

    @property
    def _there(self) -> Tensor:
        return self.template.there[:, None, None]
