"""The network of the flow: states, levels and what is known of crystals -> velocities.

Where latents say where atoms lie, and in which cell, attention is told how far atoms are apart: in
the crystal that the state would be if the noise in it were none.

A crystal that is drawn after a template is the template and a state, and where the state is all
noise, it is taken for the template.
"""

__all__ = ["Velocity"]

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.domains.crystal.chart import Chart
from genmatter.domains.crystal.chemistry import charges, table
from genmatter.domains.crystal.composition import GROUPS
from genmatter.domains.crystal.elements import RADII
from genmatter.domains.crystal.layout import Layout
from genmatter.domains.crystal.network import HARMONICS, Trunk, features
from genmatter.domains.crystal.represent import MOST_ELEMENT, CrystalBatch
from genmatter.domains.crystal.told import Told
from genmatter.generative.path import Path
from genmatter.maths.lattice import vectors, wrapped
from genmatter.nn.embed import bumps, sinusoidal
from genmatter.nn.mlp import mlp
from genmatter.nn.packed import Places

NEAR = -4.0
"""What the network takes for the variance about a template at the start, as a logit."""
LEVELS = 32
"""Numbers by which the noise of a state is written."""
FAINT = 0.2
"""The least share of the signal by which a state is divided to look for coordinates in it."""


PAIRS = 32
"""Numbers that attention is told of two atoms."""
WAVES = 3
"""Waves along each axis by which their difference is written."""
BINS, REACH = 16, 8.0
"""Bumps by which their distance is written, and up to which one, angstrom."""
SHORTEST, SHARPEST = 0.3, (0.3, 2.8)
"""What lengths, over the cube root of the number of atoms, and angles are taken to be at least and
at most, angstrom and radian, where a noisy state says otherwise."""


class Pairs(nn.Module):
    """Writes how two atoms of a crystal lie: their difference in the cell, and their distance."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            mlp(6 * WAVES + BINS + 1, PAIRS, PAIRS, activation=nn.SiLU), nn.SiLU()
        )

    def forward(
        self, frac: Float[Tensor, "n atoms 3"], cell: Float[Tensor, "n 6"],
        count: Int[Tensor, " n"],
    ) -> Float[Tensor, "n atoms atoms c"]:  # fmt: skip
        """Returns what is written of coordinates and of scaled lengths and angles."""
        lengths = cell[:, :3].clamp_min(SHORTEST) * count[:, None] ** (1 / 3)
        apart = wrapped(frac[:, :, None] - frac[:, None])
        far = (apart @ vectors(lengths, cell[:, 3:].clamp(*SHARPEST))[:, None]).norm(dim=-1)
        itself = torch.eye(frac.shape[1], device=frac.device).expand(far.shape)[..., None]
        m = 2 * math.pi * torch.arange(1, WAVES + 1, device=frac.device)
        phase = (apart[..., None] * m).flatten(-2)
        bins = bumps((far / REACH).flatten(), BINS).unflatten(0, far.shape)
        return self.net(torch.cat([phase.sin(), phase.cos(), bins, itself], -1))


class Velocity(nn.Module):
    """A transformer over the atoms of a crystal, whose types it knows.

    Args:
        layout: What states are.
        width: Numbers of an atom.
        heads: Heads of the attention.
        layers: Layers.
        wide: Width of the hidden layer of each.
        dropout: Share of the numbers between layers that training hides.
        path: What the levels are levels of.
        where: Which of the properties of a batch it is told.
        chart: Says where atoms lie, of latents that do.
    """

    known: Tensor

    def __init__(
        self, layout: Layout, width: int, heads: int, layers: int, wide: int, dropout: float, *,
        path: Path, where: list[int], chart: Chart | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layout, self.path, self.where, self.width = layout, path, where, width
        latent = len(layout.shift)
        self.into = nn.Linear(latent, width)
        self.types = nn.Embedding(MOST_ELEMENT + 1, width)
        known = np.concatenate([table(), charges(), RADII[: MOST_ELEMENT + 1, None]], 1)
        self.register_buffer("known", torch.from_numpy(known).float(), persistent=False)
        self.element = nn.Linear(known.shape[1], width)
        self.seen = None if chart is None else nn.Linear(6 * HARMONICS, width)
        self.pairs = None if chart is None else Pairs()
        self.read = None if chart is None else (chart.frac, chart.lattice)
        self.before = nn.Linear(latent, width)
        self.exchanged = nn.Linear(known.shape[1], width)
        self.shares = nn.Linear(MOST_ELEMENT + 1, width)
        self.groups = nn.Embedding(GROUPS, width)
        self.told = nn.Linear(LEVELS + 1 + width + 2 * len(where), width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        pairs = 0 if chart is None else PAIRS
        self.trunk = Trunk(width, heads, layers, wide, dropout, width, pairs)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, latent)
        self.gate = nn.Linear(width, latent)
        for layer in (self.out, self.gate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: Float[Tensor, "n atoms latent"], t: Float[Tensor, " m"], told: Told
    ) -> Float[Tensor, "n atoms latent"]:
        r"""Returns velocities, which are states; levels may be one for all rows.

        Without a template they are the numbers f of the network: where those are 0 data are taken
        to be :math:`x \cos t`, the mean of what has unit spread. With one they are

        .. math:: f + x \cos t \sin t\, (1 - s^2) / (s^2 \cos^2 t + \sin^2 t),

        which for f = 0 is right of data that have spread s about their template; the network says
        how large s is in each number (Karras et al., 2022, precondition by it).

        References:
            | Elucidating the design space of diffusion-based generative models (Karras et al.,
            | 2022) https://arxiv.org/abs/2206.00364
        """
        given, there = told.batch, told.template.there
        places = Places.of(given.mask)
        t = t.expand(len(x))
        state = places.pack(x)
        types = places.pack(given.atom_types)
        h = self.into(state) + self.types(types) + self.element(self.known[types])
        h = h + self._index(places) + self._template(told, places)
        frac = pairs = None
        if self.seen is not None and self.pairs is not None and self.read is not None:
            z = self._clean(x, t, told)
            locate, lattice = self.read
            frac = locate(places.pack(z))
            cell = lattice(z.sum(1) / given.num_atoms[:, None])
            pairs = self.pairs(places.unpack(frac), cell, given.num_atoms)
            h = h + self.seen(features(frac))
        h = self.norm(self.trunk(h, places, frac, self._known(t, told), pairs))
        v = places.unpack(self.out(h).float())
        near = torch.sigmoid(places.unpack(self.gate(h).float()) + NEAR)
        alpha, sigma = (c[:, None, None] for c in self.path(t))
        pull = alpha * sigma * (1 - near) / (near * alpha.square() + sigma.square())
        v = torch.where(there[:, None, None], v + pull * x, v)
        return self.layout.along(v, given.mask)

    def _clean(
        self, x: Float[Tensor, "n atoms latent"], t: Float[Tensor, " n"], told: Told
    ) -> Float[Tensor, "n atoms latent"]:
        """Returns the latents of what states are taken for, to see how atoms lie in it.

        That is what they would be without noise; after a template the mean of what has unit
        spread about it.
        """
        alpha = self.path(t)[0][:, None, None]
        free = x / alpha.clamp_min(FAINT) * self.layout.scale + self.layout.shift
        after = alpha * x * self.layout.scale + told.latents
        z = torch.where(told.template.there[:, None, None], after, free)
        return z * told.batch.mask[..., None]

    def _template(self, told: Told, places: Places) -> Float[Tensor, "places c"]:
        """Writes where the template has its atoms, and which elements are exchanged in it."""
        there = told.template.there[:, None, None]
        state = self.layout.state(told.latents, told.batch.mask) * there
        gap = (self.known[told.batch.atom_types] - self.known[told.template.types]) * there
        return self.before(places.pack(state)) + self.exchanged(places.pack(gap))

    def _index(self, places: Places) -> Float[Tensor, "places c"]:
        """Writes the place of each atom in the setting."""
        n = places.mask.shape[1]
        at = torch.arange(n, dtype=torch.float32, device=places.at.device)
        return sinusoidal(at, self.width).index_select(0, places.at % max(n, 1))

    def _known(self, t: Float[Tensor, " n"], told: Told) -> Float[Tensor, "n c"]:
        """Writes what is known of each crystal, and the level."""
        given, there = told.batch, told.template.there.float()[:, None]
        alpha, sigma = self.path(t)
        share = torch.atan2(sigma, alpha) / (math.pi / 2)
        wanted = given.wanted[:, self.where]
        size = sinusoidal(given.num_atoms.float(), self.width)
        whole = [bumps(share, LEVELS), there, size, wanted.nan_to_num(), wanted.isfinite().float()]
        made = self.shares(_shares(given)) + self.groups(given.space_group)
        return self.mix(self.told(torch.cat(whole, 1)) + made)


def _shares(given: CrystalBatch) -> Float[Tensor, "n numbers"]:
    """Returns the share of the atoms that each element has; 0 is none."""
    each = given.mask / given.num_atoms[:, None]
    found = each.new_zeros(len(each), MOST_ELEMENT + 1)
    return found.scatter_add(1, given.atom_types, each)
