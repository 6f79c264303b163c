"""Rigid bodies by the book: attention by pairs, a truncated series, one conformer at a time."""

__all__ = ["PlainAttention", "plain_network", "sample", "series_score", "table"]

import copy
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genmatter.domains.backbone.network import IpaScore
from genmatter.generative.bodies import Bodies, FrameBatch, FramePath
from genmatter.maths import rotation
from genmatter.maths.rigid import Rigid
from genmatter.nn.ipa import InvariantPointAttention

TERMS = 2000


class PlainAttention(nn.Module):
    """Algorithm 22 of AlphaFold line by line, with the weights of our attention."""

    def __init__(self, ours: InvariantPointAttention) -> None:
        super().__init__()
        self.ours = ours

    def forward(
        self, s: Float[Tensor, "n L c_s"], z: Float[Tensor, "n L L c_z"], r: Rigid,
        mask: Bool[Tensor, "n L"],
    ) -> Float[Tensor, "n L c_s"]:  # fmt: skip
        """Returns what our attention should, by way of tensors of pairs and points."""
        o = self.ours
        h, c, p, v = o.no_heads, o.c_hidden, o.no_qk_points, o.no_v_points
        q = o.linear_q(s).unflatten(-1, (h, c))
        k, value = o.linear_kv(s).unflatten(-1, (h, 2 * c)).split(c, -1)
        q_points = o.linear_q_points(s).unflatten(-1, (h, p, 3))
        k_points, v_points = o.linear_kv_points(s).unflatten(-1, (h, p + v, 3)).split((p, v), 3)
        q_points, k_points, v_points = (_placed(x, r) for x in (q_points, k_points, v_points))
        apart = q_points[:, :, None] - k_points[:, None]  # [n, L, L, h, p, 3]
        gamma, w_c = nn.functional.softplus(o.head_weights), math.sqrt(2 / (9 * p))
        alike = (q[:, :, None] * k[:, None]).sum(-1) / math.sqrt(c)
        far = gamma * w_c / 2 * apart.square().sum((-2, -1))
        logits = math.sqrt(1 / 3) * (alike + o.linear_b(z) - far)
        weights = logits.masked_fill(~mask[:, None, :, None], -torch.inf).softmax(2)[..., None]
        found = (weights * value[:, None]).sum(2)
        points = (weights[..., None] * v_points[:, None]).sum(2)
        points = _seen(points, r)
        norms = (points.square().sum(-1) + 1e-8).sqrt()
        about = (weights * o.down_z(z)[:, :, :, None]).sum(2)
        parts = [found.flatten(2), points.flatten(2), norms.flatten(2), about.flatten(2)]
        return o.linear_out(torch.cat(parts, -1))


def _placed(x: Float[Tensor, "n L h p 3"], r: Rigid) -> Float[Tensor, "n L h p 3"]:
    """Moves points of each body's frame into space."""
    turned = (r.rots[:, :, None, None] @ x[..., None]).squeeze(-1)
    return turned + r.trans[:, :, None, None]


def _seen(x: Float[Tensor, "n L h p 3"], r: Rigid) -> Float[Tensor, "n L h p 3"]:
    """Moves points of space into each body's frame."""
    there = (x - r.trans[:, :, None, None])[..., None]
    return (r.rots.mT[:, :, None, None] @ there).squeeze(-1)


def plain_network(net: IpaScore) -> IpaScore:
    """Returns a copy of a network, with plain attention in its blocks."""
    plain = copy.deepcopy(net)
    for block in plain.blocks:
        block.ipa = PlainAttention(block.ipa)  # pyright: ignore[reportArgumentType]
    return plain


def series_score(
    omega: Float[Tensor, "*n"], sigma: Float[Tensor, "*n"], terms: int = TERMS
) -> Float[Tensor, "*n"]:
    """Returns the score of IGSO(3) from the truncated sum over waves, and of its derivative."""
    w, s = omega[..., None], sigma[..., None]
    l = torch.arange(terms, dtype=w.dtype)
    weight = (2 * l + 1) * (-l * (l + 1) * s.square() / 2).exp()
    high, low = ((l + 0.5) * w).sin(), (w / 2).sin()
    slope = ((l + 0.5) * ((l + 0.5) * w).cos() * low - high * (w / 2).cos() / 2) / low.square()
    return (weight * slope).sum(-1) / ((weight * high / low).sum(-1) + 1e-4)


def table(widths: int, angles: int = 1000, terms: int = TERMS) -> Tensor:
    """Returns so many of the 1000 rows of a table of scores."""
    omega = torch.linspace(0, math.pi, angles + 1)[1:]
    sigma = torch.linspace(0.1, 1.5, 1000)[:widths]
    return torch.stack([series_score(omega, s.expand(angles), terms) for s in sigma])


@torch.no_grad()
def sample(net: IpaScore, path: FramePath, given: FrameBatch, steps: int) -> list[Bodies]:
    """Walks down the reverse process by Euler's steps, conformer by conformer."""
    return [_one(net, path, given[k : k + 1], steps) for k in range(len(given))]


def _one(net: IpaScore, path: FramePath, given: FrameBatch, steps: int) -> Bodies:
    so3, r3 = path.diffuser.so3, path.diffuser.r3
    size, before = given.mask.shape[1], torch.zeros_like(given.trans)
    x = Bodies(rotation.random_matrix(1, size), r3.sample_ref(1, size))
    dt = (1 - path.min_t) / steps
    for t in torch.linspace(1, path.min_t + dt, steps):
        level = path.level(t.expand(1))
        found = net(x, level, given, given.mask, given.fixed, before)
        v = rotation.log(found.rots.mT @ x.rots)
        omega = v.norm(dim=-1).clamp_min(1e-4)
        slope = series_score(omega, level.sigma_r.expand_as(omega)) / omega
        rots = so3.reverse(x.rots, slope[..., None] * v, t, dt)
        trans = r3.reverse(x.trans, r3.score(x.trans, found.trans, t), t, dt)
        before, x = found.trans, Bodies(rots, trans - trans.mean(1, keepdim=True))
    return x
