"""The network of the flow: states, levels and what is known of crystals -> velocities."""

__all__ = ["Velocity"]

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.domains.crystal.composition import GROUPS
from genmatter.domains.crystal.layout import Layout
from genmatter.domains.crystal.network import HARMONICS, Trunk, features
from genmatter.domains.crystal.represent import MOST_ELEMENT, CrystalBatch
from genmatter.domains.crystal.vae import Chart
from genmatter.generative.path import Path
from genmatter.nn.embed import bumps, sinusoidal
from genmatter.nn.packed import Places

LEVELS = 32
"""Numbers by which the noise of a state is written."""
FAINT = 0.2
"""The least share of the signal by which a state is divided to look for coordinates in it."""


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

    def __init__(
        self, layout: Layout, width: int, heads: int, layers: int, wide: int, dropout: float, *,
        path: Path, where: list[int], chart: Chart | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layout, self.path, self.where, self.width = layout, path, where, width
        latent = len(layout.shift)
        self.into = nn.Linear(latent, width)
        self.types = nn.Embedding(MOST_ELEMENT + 1, width)
        self.locate = None if chart is None else chart.frac
        self.seen = None if chart is None else nn.Linear(6 * HARMONICS, width)
        self.shares = nn.Linear(MOST_ELEMENT + 1, width)
        self.groups = nn.Embedding(GROUPS, width)
        self.told = nn.Linear(LEVELS + width + 2 * len(where), width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.trunk = Trunk(width, heads, layers, wide, dropout, width)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, latent)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, x: Float[Tensor, "n atoms latent"], t: Float[Tensor, " m"], given: CrystalBatch
    ) -> Float[Tensor, "n atoms latent"]:
        """Returns velocities, which are states; levels may be one for all rows."""
        places = Places.of(given.mask)
        t = t.expand(len(x))
        state = places.pack(x)
        h = self.into(state) + self.types(places.pack(given.atom_types)) + self._index(places)
        frac = None
        if self.seen is not None and self.locate is not None:
            signal = self.path(t)[0].clamp_min(FAINT).index_select(0, places.row)[:, None]
            frac = self.locate(state / signal * self.layout.scale + self.layout.shift)
            h = h + self.seen(features(frac))
        h = self.trunk(h, places, frac, self._known(t, given))
        return self.layout.along(places.unpack(self.out(self.norm(h)).float()), given.mask)

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
        made = self.shares(_shares(given)) + self.groups(given.space_group)
        return self.mix(self.told(torch.cat(told, 1)) + made)


def _shares(given: CrystalBatch) -> Float[Tensor, "n numbers"]:
    """Returns the share of the atoms that each element has; 0 is none."""
    each = given.mask / given.num_atoms[:, None]
    found = each.new_zeros(len(each), MOST_ELEMENT + 1)
    return found.scatter_add(1, given.atom_types, each)
