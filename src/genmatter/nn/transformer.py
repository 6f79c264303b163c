"""Attention over a sequence, with the norms before the layers."""

__all__ = ["TransformerLayer"]

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class TransformerLayer(nn.Module):
    """Self-attention and a wide hidden layer, each added to what it reads.

    Args:
        width: Numbers of a place; a multiple of `heads`.
        heads: Heads of the attention.
        wide: How many times wider the hidden layer is.
        dropout: Share of what is added that training hides.

    References:
        | On layer normalization in the transformer architecture (Xiong et al., 2020)
        | https://arxiv.org/abs/2002.04745
    """

    def __init__(self, width: int, heads: int, wide: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_wide = nn.LayerNorm(width), nn.LayerNorm(width)
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Sequential(
            nn.Linear(width, wide * width), nn.GELU(), nn.Linear(wide * width, width)
        )
        self.drop = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "n L c"], mask: Bool[Tensor, "n L"]
    ) -> Float[Tensor, "n L c"]:
        """Returns the places anew; masked ones are not seen."""
        shape = (*x.shape[:2], 3, self.heads, x.shape[-1] // self.heads)
        q, k, v = self.into(self.norm(x)).view(shape).permute(2, 0, 3, 1, 4)
        seen = torch.where(mask, 0.0, -1e9).to(q)[:, None, None]
        told = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.drop(self.out(told.transpose(1, 2).flatten(2)))
        return x + self.drop(self.wide(self.norm_wide(x)))
