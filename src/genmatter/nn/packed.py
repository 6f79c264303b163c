"""Attention among the places of rows that differ in length, where padding costs nothing.

Real places lie one after another, whatever row they are of, and linear layers and norms see these
alone. Only the attention itself, in which places of a row look at each other, is padded.
"""

__all__ = ["PackedLayer", "Places"]

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class Places:
    """Which places of a padded batch are real."""

    mask: Bool[Tensor, "n L"]
    at: Int[Tensor, " places"]
    """Where each real place lies, counted along the rows."""
    bias: Tensor | None
    """What keeps attention off the padding, [n, 1, 1, L]; None where there is none."""

    @classmethod
    def of(cls, mask: Bool[Tensor, "n L"]) -> "Places":
        at = mask.flatten().nonzero()[:, 0]
        if len(at) == mask.numel():
            return cls(mask, at, None)
        return cls(mask, at, torch.where(mask, 0.0, -torch.inf)[:, None, None])

    @property
    def row(self) -> Int[Tensor, " places"]:
        """The row of each real place."""
        return self.at // max(self.mask.shape[1], 1)

    def pack(self, x: Tensor) -> Tensor:
        """Takes the real places, [n, L, ...] -> [places, ...]."""
        flat = x.flatten(0, 1)
        return flat if self.bias is None else flat.index_select(0, self.at)

    def unpack(self, x: Tensor) -> Tensor:
        """Puts them back, with zeros in the padding."""
        shape = self.mask.shape
        if self.bias is not None:
            x = x.new_zeros(shape.numel(), *x.shape[1:]).index_copy(0, self.at, x)
        return x.unflatten(0, shape)

    def total(self, x: Float[Tensor, "places c"]) -> Float[Tensor, "n c"]:
        """Sums over the places of each row."""
        return x.new_zeros(len(self.mask), x.shape[1]).index_add(0, self.row, x)


class PackedLayer(nn.Module):
    """Self-attention and a wide hidden layer, each added to what it reads, with the norms before.

    Args:
        width: Numbers of a place; a multiple of `heads`.
        heads: Heads of the attention.
        wide: Width of the hidden layer.
        dropout: Share of what is added that training hides.
        told: Numbers that are known of each row, which scale and shift what is read and scale
            what is added, by nothing at first; 0 for none.
        pairs: Numbers that are known of each two places of a row: they say how much places look
            at each other, and are read along with what is looked at; 0 for none.

    References:
        | On layer normalization in the transformer architecture (Xiong et al., 2020)
        | https://arxiv.org/abs/2002.04745
        | Scalable diffusion models with transformers (Peebles & Xie, 2023), for what is told
        | https://arxiv.org/abs/2212.09748
    """

    def __init__(
        self, width: int, heads: int, wide: int, dropout: float = 0.0, told: int = 0,
        pairs: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads = heads
        affine = not told
        self.norm = nn.LayerNorm(width, elementwise_affine=affine)
        self.norm_wide = nn.LayerNorm(width, elementwise_affine=affine)
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Sequential(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))
        self.drop = nn.Dropout(dropout)
        self.near = nn.Linear(pairs, heads) if pairs else None
        self.between = nn.Linear(heads * pairs, width, bias=False) if pairs else None
        self.turn = nn.Linear(told, 6 * width) if told else None
        if self.turn is not None:
            nn.init.zeros_(self.turn.weight)
            nn.init.zeros_(self.turn.bias)

    def forward(
        self,
        x: Float[Tensor, "places c"],
        places: Places,
        told: Float[Tensor, "n told"] | None = None,
        turn: Complex[Tensor, "places half"] | None = None,
        pairs: Float[Tensor, "n L L pairs"] | None = None,
    ) -> Float[Tensor, "places c"]:
        """Returns the places anew.

        Args:
            x: What stands at each place.
            places: Which places are of which row.
            told: What is known of each row.
            turn: By which phases the queries and keys of each place are turned, so that attention
                sees the difference of two; of all heads alike.
            pairs: What is known of each two places of a row.
        """
        if self.turn is None or told is None:
            x = x + self.drop(self.attend(self.norm(x), places, turn, pairs))
            return x + self.drop(self.wide(self.norm_wide(x)))
        turns = self.turn(told).index_select(0, places.row).chunk(6, -1)
        scale, shift, gain, scale_wide, shift_wide, gain_wide = turns
        read = torch.addcmul(shift, self.norm(x), 1 + scale)
        x = x + self.drop((1 + gain) * self.attend(read, places, turn, pairs))
        read = torch.addcmul(shift_wide, self.norm_wide(x), 1 + scale_wide)
        return x + self.drop((1 + gain_wide) * self.wide(read))

    def attend(
        self,
        x: Float[Tensor, "places c"],
        places: Places,
        turn: Complex[Tensor, "places half"] | None,
        pairs: Float[Tensor, "n L L pairs"] | None = None,
    ) -> Float[Tensor, "places c"]:
        """Returns what each place reads from those of its row."""
        qkv = self.into(x).unflatten(-1, (3, self.heads, -1))
        if turn is not None:
            qkv = torch.cat([_turned(qkv[:, :2], turn), qkv[:, 2:]], 1)
        q, k, v = places.unpack(qkv).permute(2, 0, 3, 1, 4)
        if self.near is None or self.between is None or pairs is None:
            seen = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=places.bias)
            return self.out(places.pack(seen.transpose(1, 2).flatten(2)))
        score = q @ k.mT / math.sqrt(q.shape[-1]) + self.near(pairs).permute(0, 3, 1, 2)
        look = (score if places.bias is None else score + places.bias).softmax(-1)
        read = torch.einsum("nhij,nijc->nihc", look, pairs).flatten(2)
        seen = (look @ v).transpose(1, 2).flatten(2)
        return self.out(places.pack(seen)) + self.between(places.pack(read))


def _turned(
    x: Float[Tensor, "places two heads size"], turn: Complex[Tensor, "places half"]
) -> Float[Tensor, "places two heads size"]:
    """Turns pairs of numbers by phases."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turn[:, None, None]).flatten(-2).to(x)
