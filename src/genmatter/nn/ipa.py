r"""Invariant point attention: residues attend to one another by what they are and where they are.

The weight of residue j for residue i is the softmax over j of

.. math:: w_L \Big( \tfrac{1}{\sqrt c}\, q_i \cdot k_j + b_{ij} - \tfrac{\gamma w_C}{2}
          \sum_p \lVert T_i \tilde q_{ip} - T_j \tilde k_{jp} \rVert^2 \Big).

Written out, the square is a scalar product of points, a number of j and a number of i alone, which
the softmax does not see: so the logits are one matrix product, and no tensor has both a pair and a
point. Every point is that of a body's own frame, so that nothing changes where all of space moves.

References:
    | Highly accurate protein structure prediction with AlphaFold (Jumper et al., 2021),
    | supplement 1.8.2, algorithm 22 https://doi.org/10.1038/s41586-021-03819-2
"""

__all__ = ["BackboneUpdate", "EdgeTransition", "InvariantPointAttention"]

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genmatter.maths.rigid import Rigid

FAR, NEAR = 0.01, 1.0
"""Reach of the heads at the start: weights of squared distances, evenly on a log scale."""


class InvariantPointAttention(nn.Module):
    """Attention of residues over residues.

    Args:
        c_s: Width of a residue.
        c_z: Width of a pair.
        c_hidden: Width of a head.
        no_heads: Heads.
        no_qk_points: Points that a head compares.
        no_v_points: Points that a head collects.
    """

    def __init__(
        self, c_s: int, c_z: int, c_hidden: int = 16, no_heads: int = 12, no_qk_points: int = 4,
        no_v_points: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.no_heads, self.c_hidden = no_heads, c_hidden
        self.no_qk_points, self.no_v_points = no_qk_points, no_v_points
        self.c_pair = max(c_z // 4, 1)
        self.linear_q = nn.Linear(c_s, no_heads * c_hidden)
        self.linear_kv = nn.Linear(c_s, 2 * no_heads * c_hidden)
        self.linear_q_points = nn.Linear(c_s, 3 * no_heads * no_qk_points)
        self.linear_kv_points = nn.Linear(c_s, 3 * no_heads * (no_qk_points + no_v_points))
        self.linear_b = nn.Linear(c_z, no_heads)
        self.down_z = nn.Linear(c_z, self.c_pair)
        reach = torch.logspace(math.log10(NEAR), math.log10(FAR), no_heads)
        self.head_weights = nn.Parameter(reach.expm1().log())
        self.linear_out = nn.Linear(no_heads * (c_hidden + 4 * no_v_points + self.c_pair), c_s)
        nn.init.normal_(self.linear_out.weight, std=0.01 / math.sqrt(c_s))
        nn.init.zeros_(self.linear_out.bias)

    def forward(
        self, s: Float[Tensor, "n L c_s"], z: Float[Tensor, "n L L c_z"], r: Rigid,
        mask: Bool[Tensor, "n L"],
    ) -> Float[Tensor, "n L c_s"]:  # fmt: skip
        """Returns what each residue is to add to itself; masked residues are not seen."""
        h, c, p, v = self.no_heads, self.c_hidden, self.no_qk_points, self.no_v_points
        n, size = mask.shape
        q = self.linear_q(s).view(n, size, h, c)
        k, value = self.linear_kv(s).view(n, size, h, 2 * c).split(c, -1)
        bias, pairs = self.linear_b(z), self.down_z(z)
        raw_q, raw_kv = self.linear_q_points(s), self.linear_kv_points(s)
        with torch.autocast(s.device.type, enabled=False):  # places need all their digits
            full = raw_q.dtype if raw_q.dtype == torch.float64 else torch.float32
            q, k, value, bias, pairs, raw_q, raw_kv = (
                x.to(full) for x in (q, k, value, bias, pairs, raw_q, raw_kv)
            )
            shown = mask[..., None]
            middle = (r.trans * shown).sum(1, keepdim=True) / shown.sum(1, keepdim=True).clamp(1)
            at = Rigid(r.rots, r.trans - middle)  # near the origin, or the squares would cancel
            q_points = _placed(raw_q, at, (h, p))
            k_points, v_points = _placed(raw_kv, at, (h, p + v)).split((p, v), 3)
            gain = nn.functional.softplus(self.head_weights) * math.sqrt(2 / (27 * p))
            a = torch.cat([q / math.sqrt(3 * c), gain[:, None] * q_points.flatten(3)], -1)
            b = torch.cat([k, k_points.flatten(3)], -1)
            far = gain / 2 * k_points.square().sum((-2, -1))
            logits = torch.einsum("nihc,njhc->nhij", a, b) - far.mT[:, :, None]
            logits = logits + bias.permute(0, 3, 1, 2) / math.sqrt(3)
            weights = logits.masked_fill(~mask[:, None, None], -1e9).softmax(-1)
            seen = torch.cat([value, v_points.flatten(3)], -1)
            o, points = torch.einsum("nhij,njhc->nihc", weights, seen).split((c, 3 * v), -1)
            points = points.reshape(n, size, h * v, 3) - at.trans[:, :, None]
            points = torch.einsum("nlji,nlpj->nlpi", at.rots, points)
            norms = (points.square().sum(-1) + 1e-8).sqrt()
            about = torch.einsum("nhij,nijc->nihc", weights, pairs)
            found = [o.flatten(2), points.flatten(2), norms, about.flatten(2)]
        return self.linear_out(torch.cat(found, -1))


def _placed(
    raw: Float[Tensor, "n L c"], r: Rigid, shape: tuple[int, int]
) -> Float[Tensor, "n L h p 3"]:
    """Moves points of each body's frame into space."""
    points = raw.unflatten(-1, (raw.shape[-1] // 3, 3))
    moved = torch.einsum("nlij,nlpj->nlpi", r.rots, points) + r.trans[:, :, None]
    return moved.unflatten(2, shape)


class BackboneUpdate(nn.Linear):
    """Reads off each residue how its body is to turn (rotation vector) and to move, in its frame.

    Rotation vectors, unlike the quaternions (1, b, c, d) of AlphaFold, reach any rotation, and
    their exponential has finite gradients where a network starts: at no motion.
    """

    def __init__(self, c_s: int) -> None:
        super().__init__(c_s, 6)
        nn.init.normal_(self.weight, std=0.01 / math.sqrt(c_s))
        nn.init.zeros_(self.bias)


class EdgeTransition(nn.Module):
    """Updates pairs by the two residues of each. Takes most of the time and memory."""

    def __init__(self, c_s: int, c_z: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(c_s, c_s // 2)
        wide = c_z + 2 * (c_s // 2)
        self.trunk = nn.Sequential(
            nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU()
        )
        self.out, self.norm = nn.Linear(wide, c_z), nn.LayerNorm(c_z)

    def forward(
        self, s: Float[Tensor, "n L c_s"], z: Float[Tensor, "n L L c_z"]
    ) -> Float[Tensor, "n L L c_z"]:
        """Returns the new pairs."""
        one = self.narrow(s)
        size = s.shape[1]
        both = [one[:, :, None].expand(-1, -1, size, -1), one[:, None].expand(-1, size, -1, -1)]
        x = torch.cat([z, *both], -1)
        return self.norm(self.out(self.trunk(x) + x))
