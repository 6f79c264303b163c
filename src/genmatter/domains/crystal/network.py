r"""The networks of both recipes: transformers whose places are the atoms of a crystal.

Attention is periodic: queries and keys are turned by :math:`2\pi\, k \cdot f` with integer vectors
k, so that the score of two atoms depends on :math:`f_i - f_j` and on nothing that a whole cell
changes, nor the origin.

References:
    | Attention is all you need (Vaswani et al., 2017) https://arxiv.org/abs/1706.03762
    | RoFormer: enhanced transformer with rotary position embedding (Su et al., 2021)
    | https://arxiv.org/abs/2104.09864
"""

__all__ = ["TransformerDecoder", "TransformerEncoder", "features", "waves"]

import math
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genmatter.domains.crystal.represent import MOST_ELEMENT, CrystalBatch
from genmatter.nn.embed import sinusoidal
from genmatter.nn.packed import PackedLayer, Places

LATTICE = 9
"""Numbers of a lattice that a network reads: its matrix."""
HARMONICS = 2
"""Waves along each axis by which a coordinate is read."""
SIZE = 5.0
"""A typical length, angstrom, by which lattices are divided before they are read."""


def features(frac: Float[Tensor, "places 3"]) -> Float[Tensor, "places c"]:
    r"""Returns :math:`\sin 2\pi m f` and :math:`\cos 2\pi m f` for m = 1, 2 along each axis."""
    m = torch.arange(1, HARMONICS + 1, device=frac.device, dtype=frac.dtype)
    angle = 2 * math.pi * frac[..., None] * m
    return torch.cat([angle.sin(), angle.cos()], -1).flatten(1)


def waves(count: int) -> Int[Tensor, "count 3"]:
    """Returns so many integer vectors, the shortest first, one of each with its opposite."""
    reach = range(-4, 5)
    every = [k for k in product(reach, reach, reach) if k > (0, 0, 0)]
    every.sort(key=lambda k: (sum(i * i for i in k), k))
    return torch.tensor(every[:count])


class Trunk(nn.Module):
    """Layers of attention among the atoms of each crystal.

    Args:
        width: Numbers of an atom.
        heads: Heads of the attention.
        layers: How many layers.
        wide: Width of the hidden layer of each.
        dropout: Share of what is added that training hides.
        told: Numbers that are known of each crystal; 0 for none.
        pairs: Numbers that are known of each two atoms; 0 for none.
    """

    waves: Tensor

    def __init__(
        self, width: int, heads: int, layers: int, wide: int, dropout: float = 0.0, told: int = 0,
        pairs: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = nn.ModuleList(
            PackedLayer(width, heads, wide, dropout, told, pairs) for _ in range(layers)
        )
        size = width // heads
        self.register_buffer("waves", 2 * math.pi * waves(size // 2).float(), persistent=False)

    def forward(
        self, x: Float[Tensor, "places c"], places: Places, frac: Float[Tensor, "places 3"] | None,
        told: Tensor | None = None, pairs: Float[Tensor, "n atoms atoms pairs"] | None = None,
    ) -> Float[Tensor, "places c"]:  # fmt: skip
        """Returns the atoms anew; with no coordinates, attention knows none."""
        turn = None if frac is None else torch.polar(*self._angles(frac))
        for layer in self.layers:
            x = layer(x, places, told, turn, pairs)
        return x

    def _angles(self, frac: Tensor) -> tuple[Tensor, Tensor]:
        angle = frac.float() @ self.waves.T
        return torch.ones_like(angle), angle


class TransformerEncoder(nn.Module):
    """Reads the atoms and the lattice of a crystal.

    Args:
        d_model: Width of an atom.
        nhead: Heads of the attention.
        num_layers: Layers.
        dim_feedforward: Width of the hidden layer of each; 0 for four times `d_model`.
        dropout: Share of the numbers between layers that training hides.
        index: Whether atoms are told their place in the order that they stand in.
        periodic: Whether attention sees where atoms are.
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_layers: int = 8, dim_feedforward: int = 0,
        dropout: float = 0.0, *, index: bool = True, periodic: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.d_model, self.index, self.periodic = d_model, index, periodic
        self.types = nn.Embedding(MOST_ELEMENT + 1, d_model)
        nn.init.normal_(self.types.weight, std=0.5)
        self.lattice = nn.Sequential(
            nn.Linear(LATTICE, d_model), nn.SiLU(), nn.Linear(d_model, d_model)
        )
        self.frac = nn.Sequential(
            nn.Linear(6 * HARMONICS, d_model), nn.SiLU(), nn.Linear(d_model, d_model)
        )
        wide = dim_feedforward or 4 * d_model
        self.sizes = {
            "d_model": d_model, "nhead": nhead, "num_layers": num_layers,
            "dim_feedforward": wide, "dropout": dropout, "index": index,
        }  # fmt: skip
        self.trunk = Trunk(d_model, nhead, num_layers, wide, dropout)

    def forward(self, batch: CrystalBatch) -> Float[Tensor, "n atoms c"]:
        """Returns what is read at each atom; zeros where there is none."""
        places = Places.of(batch.mask)
        return places.unpack(self.packed(batch, places))

    def packed(self, batch: CrystalBatch, places: Places) -> Float[Tensor, "places c"]:
        """Returns the same without the padding."""
        frac = places.pack(batch.frac_coords)
        x = self.types(places.pack(batch.atom_types)) + self.frac(features(frac))
        x = x + self.lattice(batch.lattice.flatten(1) / SIZE).index_select(0, places.row)
        if self.index:
            x = x + _index(places, self.d_model).to(x)
        return self.trunk(x, places, frac if self.periodic else None)


class TransformerDecoder(nn.Module):
    """Reads the latents of the atoms of a crystal.

    Args:
        d_model: Width of an atom.
        nhead: Heads of the attention.
        num_layers: Layers.
        dim_feedforward: Width of the hidden layer of each; 0 for four times `d_model`.
        dropout: Share of the numbers between layers that training hides.
        index: Whether atoms are told their place in the order that they stand in.
        told: Numbers that are known of each crystal; 0 for none.
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_layers: int = 8, dim_feedforward: int = 0,
        dropout: float = 0.0, *, index: bool = True, told: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.d_model, self.index, self.told = d_model, index, told
        wide = dim_feedforward or 4 * d_model
        self.sizes = {
            "d_model": d_model, "nhead": nhead, "num_layers": num_layers,
            "dim_feedforward": wide, "dropout": dropout, "index": index,
        }  # fmt: skip
        self.trunk = Trunk(d_model, nhead, num_layers, wide, dropout, told)

    def forward(
        self, x: Float[Tensor, "n atoms c"], mask: Bool[Tensor, "n atoms"]
    ) -> Float[Tensor, "n atoms c"]:
        """Returns what is read at each atom; zeros where there is none."""
        places = Places.of(mask)
        return places.unpack(self.packed(places.pack(x), places))

    def packed(
        self, x: Float[Tensor, "places c"], places: Places,
        frac: Float[Tensor, "places 3"] | None = None, told: Tensor | None = None,
    ) -> Float[Tensor, "places c"]:  # fmt: skip
        """Returns the same without the padding, and with attention that sees where atoms are."""
        if self.index:
            x = x + _index(places, self.d_model).to(x)
        return self.trunk(x, places, frac, told)


def _index(places: Places, width: int) -> Float[Tensor, "places c"]:
    """Writes the place of each atom in its crystal."""
    n = places.mask.shape[1]
    each = sinusoidal(torch.arange(n, dtype=torch.float32, device=places.at.device), width)
    return each.index_select(0, places.at % max(n, 1))
