"""What the score network starts from: residues and pairs as they are told of."""

__all__ = ["Embedder", "Seen"]

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genmatter.generative.bodies import Level
from genmatter.nn.embed import sinusoidal

_FAR = 32  # residues along the chain beyond which pairs are alike
_TYPES = 22


class Seen(NamedTuple):
    """What a network is told of residues, [n, L] each."""

    aatype: Int[Tensor, "n L"]
    seq_idx: Int[Tensor, "n L"]
    mask: Bool[Tensor, "n L"]
    fixed: Bool[Tensor, "n L"]


class Embedder(nn.Module):
    """Levels, types, places and earlier answers as the first residues and pairs.

    Args:
        node_embed_size: Width of a residue.
        edge_embed_size: Width of a pair.
        index_embed_size: Width of a place along the chain, and of a level.
        num_bins: Bins of a distance between CA atoms.
        min_bin: The shortest distance, angstrom.
        max_bin: The longest.
        embed_self_conditioning: Look at an earlier answer.
        residue_types: Look at the types of residues.
    """

    bins: Tensor

    def __init__(
        self, node_embed_size: int, edge_embed_size: int, index_embed_size: int = 32,
        num_bins: int = 22, min_bin: float = 1e-5, max_bin: float = 20.0, *,
        embed_self_conditioning: bool = True, residue_types: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.index_embed_size, self.earlier = index_embed_size, embed_self_conditioning
        self.types = nn.Embedding(_TYPES, node_embed_size) if residue_types else None
        self.register_buffer("bins", torch.linspace(min_bin, max_bin, num_bins), persistent=False)
        level = index_embed_size + 4 + 1
        self.node = _three(index_embed_size + level, node_embed_size)
        self.places = nn.Embedding(2 * _FAR + 2, index_embed_size)
        wide = index_embed_size + num_bins * (1 + embed_self_conditioning) + 4
        self.edge = _three(wide, edge_embed_size)

    def forward(
        self, level: Level, seen: Seen, trans: Float[Tensor, "n L 3"], sc: Float[Tensor, "n L 3"],
        sigma: Float[Tensor, " n"],
    ) -> tuple[Float[Tensor, "n L c_s"], Float[Tensor, "n L L c_z"]]:  # fmt: skip
        """Returns residues and pairs; `sigma` is the noise in units of the data's width."""
        n, size = seen.seq_idx.shape
        numbers = [level.sigma_r.log(), sigma.log(), level.alpha, sigma]
        told = torch.stack(numbers, -1)
        time = torch.cat([sinusoidal(1000 * level.t, self.index_embed_size), told], -1)
        fixed = seen.fixed[..., None].to(trans)
        index = sinusoidal(seen.seq_idx.flatten().to(trans), self.index_embed_size)
        index = index.view(n, size, self.index_embed_size)
        node = self.node(torch.cat([index, time[:, None].expand(n, size, -1), fixed], -1))
        if self.types is not None:
            node = node + self.types(seen.aatype)
        apart = seen.seq_idx[:, :, None] - seen.seq_idx[:, None]
        pairs = [self.places(apart.clamp(-_FAR, _FAR) + _FAR), self._distances(trans)]
        if self.earlier:
            pairs.append(self._distances(sc))
        pairs.append(told[:, None, None].expand(n, size, size, 4))
        return node, self.edge(torch.cat(pairs, -1))

    def _distances(self, x: Float[Tensor, "n L 3"]) -> Float[Tensor, "n L L bins"]:
        """Returns soft bins, which unlike hard ones have gradients."""
        gaps = x[:, :, None] - x[:, None]
        d = (gaps.square().sum(-1) + 1e-6).sqrt()
        wide = 1.5 * (self.bins[1] - self.bins[0])
        return (-((d[..., None] - self.bins) / wide).square()).exp()


def _three(wide: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(wide, out), nn.GELU(), nn.Linear(out, out), nn.GELU(), nn.Linear(out, out),
        nn.LayerNorm(out),
    )  # fmt: skip
