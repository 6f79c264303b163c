r"""The score network: residues and pairs, refined block by block together with their bodies.

A block lets residues attend to one another in space (`nn.ipa`) and along the sequence, and moves
their bodies by what it has understood. It starts from the noisy bodies, the translations shrunk to
what is known of them (:math:`\alpha x_t`, the best linear guess), and moves in units of the noise,
so that at every level the network has about as much left to say.

Beside what the reference's network sees, each block looks at the links to a residue's neighbours
along the chain: where these lie and how they are turned, in its own frame, and how far that is
from the mean over the data in units of the noise. Bond lengths are right to hundredths of an
angstrom only if a network sees these.

References:
    | SE(3) diffusion model with application to protein backbone generation (Yim et al., 2023)
    | https://arxiv.org/abs/2302.02277
"""

__all__ = ["Embedder", "IpaScore", "Links", "Seen", "TorsionAngles"]

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from genmatter.domains.backbone.embedder import Embedder, Seen
from genmatter.generative.bodies import Bodies, Clean, FrameBatch, Level
from genmatter.maths import rotation
from genmatter.maths.rigid import Rigid
from genmatter.nn.ipa import BackboneUpdate, EdgeTransition, InvariantPointAttention
from genmatter.nn.transformer import TransformerLayer

_FINEST = 0.02  # share of the data's width, or radian: smaller deviations are not resolved


class Links(nn.Module):
    """The neighbours along the chain as a residue sees them, up to `reach` residues away.

    Of each: displacement (in units of the data's width) and relative rotation, both as they are
    and as their deviation from the mean over the data, in units of the noise.
    """

    mean: Tensor

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.offsets = [*range(-reach, 0), *range(1, reach + 1)]
        self.register_buffer("mean", torch.zeros(len(self.offsets), 12))

    @property
    def width(self) -> int:
        """Numbers of a residue."""
        return 25 * len(self.offsets)

    def begin(self, batches: Iterable[FrameBatch], scale: float) -> None:
        """Sets the means."""
        total, count = torch.zeros(self.mean.shape), torch.zeros(len(self.offsets), 1)
        for batch in batches:
            x = Bodies(batch.rots, batch.trans * scale)
            for k, offset in enumerate(self.offsets):
                near, ok = _relative(x, batch.seq_idx, batch.mask, offset)
                total[k] += (near * ok[..., None]).sum((0, 1)).cpu()
                count[k] += ok.sum().cpu()
        self.mean.copy_(total / count.clamp_min(1))

    def forward(
        self, x: Bodies, seen: Seen, sigma_r: Float[Tensor, " n"], sigma: Float[Tensor, " n"]
    ) -> Float[Tensor, "n L width"]:
        """Returns what residues see; `sigma` is the noise in units of the data's width."""
        found = []
        noise = torch.cat([sigma[:, None].expand(-1, 3), sigma_r[:, None].expand(-1, 9)], -1)
        unit = (noise.square() + _FINEST**2).sqrt()[:, None]
        for k, offset in enumerate(self.offsets):
            near, ok = _relative(x, seen.seq_idx, seen.mask, offset)
            off = near - self.mean[k].to(near)
            fine = off / unit
            fine = fine / (1 + fine.abs() / 4)
            there = ok[..., None].to(near)
            found += [off * there, fine * there, there]
        return torch.cat(found, -1)


def _relative(
    x: Bodies, seq_idx: Tensor, mask: Tensor, offset: int
) -> tuple[Float[Tensor, "n L 12"], Bool[Tensor, "n L"]]:
    """Returns where the residue so many places on is, seen from each, and whether it is there."""
    rots, trans, index, there = (
        torch.roll(y, -offset, 1) for y in (x.rots, x.trans, seq_idx, mask)
    )
    moved = (x.rots.mT @ (trans - x.trans)[..., None]).squeeze(-1)
    return torch.cat([moved, (x.rots.mT @ rots).flatten(-2)], -1), (
        mask & there & (index - seq_idx == offset)
    )


class TorsionAngles(nn.Module):
    """Reads psi, as its sine and cosine, off each residue."""

    def __init__(self, c_s: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(c_s, c_s), nn.GELU(), nn.Linear(c_s, c_s), nn.GELU())
        self.out = nn.Linear(c_s, 2)

    def forward(self, s: Float[Tensor, "n L c_s"]) -> Float[Tensor, "n L 2"]:
        """Returns unit vectors."""
        raw = self.out(self.net(s) + s)
        return F.normalize(raw.float() if raw.dtype != torch.float64 else raw, dim=-1, eps=1e-6)


class Block(nn.Module):
    """Attention in space, attention along the sequence, and a hidden layer."""

    def __init__(
        self, c_s: int, c_z: int, c_hidden: int, c_skip: int, no_heads: int, no_qk_points: int,
        no_v_points: int, layers: int, heads: int, reach: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.links = Links(reach) if reach else None
        if self.links is not None:
            wide = self.links.width
            self.look = nn.Sequential(nn.Linear(wide, c_s), nn.GELU(), nn.Linear(c_s, c_s))
        self.ipa = InvariantPointAttention(c_s, c_z, c_hidden, no_heads, no_qk_points, no_v_points)
        self.norm, self.norm_wide, self.norm_move = (nn.LayerNorm(c_s) for _ in range(3))
        self.skip = nn.Linear(c_s, c_skip) if layers else None
        width = c_s + c_skip
        self.seq_tfmr = nn.ModuleList(TransformerLayer(width, heads) for _ in range(layers))
        self.back = nn.Linear(width, c_s) if layers else None
        self.wide = nn.Sequential(nn.Linear(c_s, 2 * c_s), nn.GELU(), nn.Linear(2 * c_s, c_s))
        self.update = BackboneUpdate(c_s)

    def forward(
        self, s: Tensor, first: Tensor, z: Tensor, x: Bodies, seen: Seen, sigma_r: Tensor,
        sigma: Tensor, scale: float,
    ) -> Tensor:  # fmt: skip
        """Returns the residues anew."""
        if self.links is not None:
            with torch.autocast(s.device.type, enabled=False):
                near = self.links(Bodies(x.rots, x.trans * scale), seen, sigma_r, sigma)
            s = s + self.look(near)
        s = self.norm(s + self.ipa(s, z, Rigid(x.rots, x.trans), seen.mask))
        if self.skip is not None and self.back is not None:
            wide = torch.cat([s, self.skip(first)], -1)
            for layer in self.seq_tfmr:
                wide = layer(wide, seen.mask)
            s = s + self.back(wide)
        return s + self.wide(self.norm_wide(s))


class IpaScore(nn.Module):
    """The stack of blocks, from noisy bodies to clean ones.

    Args:
        scale: What turns angstrom into the data's width, `r3.coordinate_scaling`.
        embedder: Makes residues and pairs.
        c_s: Width of a residue.
        c_z: Width of a pair.
        c_hidden: Width of a head of the attention in space.
        c_skip: Width at which the sequence's attention sees the first residues again.
        no_heads: Heads of the attention in space.
        no_qk_points: Points that a head compares.
        no_v_points: Points that a head collects.
        seq_tfmr_num_heads: Heads of the attention along the sequence.
        seq_tfmr_num_layers: Its layers in a block; 0 for none.
        num_blocks: Blocks.
        reach: Neighbours along the chain at which each block looks, on either side.
        edge_transition: Update pairs between blocks.
        turn: Find rotations; else they are known.
        move: Find translations; else they are known.
    """

    def __init__(
        self, scale: float, embedder: Embedder, c_s: int, c_z: int, c_hidden: int = 16,
        c_skip: int = 64, no_heads: int = 12, no_qk_points: int = 4, no_v_points: int = 8,
        seq_tfmr_num_heads: int = 4, seq_tfmr_num_layers: int = 2, num_blocks: int = 4,
        reach: int = 2, *, edge_transition: bool = False, turn: bool = True, move: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.scale, self.embedder = scale, embedder
        self.turn, self.move = turn, move
        self.blocks = nn.ModuleList(
            Block(
                c_s, c_z, c_hidden, c_skip, no_heads, no_qk_points, no_v_points,
                seq_tfmr_num_layers, seq_tfmr_num_heads, reach,
            )
            for _ in range(num_blocks)
        )  # fmt: skip
        self.edges = nn.ModuleList(
            EdgeTransition(c_s, c_z) for _ in range(num_blocks - 1 if edge_transition else 0)
        )
        self.psi = TorsionAngles(c_s)

    def begin(self, batches: Iterable[FrameBatch]) -> None:
        """Sets the means of the links, the same in every block."""
        links = [m for m in self.modules() if isinstance(m, Links)]
        for one in links[:1]:
            one.begin(batches, self.scale)
        for one in links[1:]:
            one.mean.copy_(links[0].mean)

    def forward(
        self, state: Bodies, level: Level, batch: FrameBatch, seen: Tensor, fixed: Tensor,
        sc: Float[Tensor, "n L 3"],
    ) -> Clean:  # fmt: skip
        """Returns clean bodies and psi. What is not seen stays as it is, and so what is fixed."""
        told = Seen(batch.aatype, batch.seq_idx, seen, fixed)
        return self.refine(state, level, told, sc)

    def refine(self, state: Bodies, level: Level, told: Seen, sc: Float[Tensor, "n L 3"]) -> Clean:
        """Returns clean bodies and psi, of what is told of the residues."""
        free = (told.mask & ~told.fixed)[..., None]
        n = len(free)
        level = Level(*(c.expand(n) for c in level))
        shrunk = level.alpha[:, None, None] * state.trans
        x = Bodies(state.rots, torch.where(free & self.move, shrunk, state.trans))
        sigma = level.sigma_x * self.scale
        first, z = self.embedder(level, told, x.trans, sc, sigma)
        s = first
        turns = self.turn * level.sigma_r.clamp(max=1)[:, None, None]
        moves = self.move * level.sigma_x[:, None, None]
        for k, block in enumerate(self.blocks):
            s = block(s, first, z, x, told, level.sigma_r, sigma, self.scale)
            step = block.update(block.norm_move(s))  # pyright: ignore
            with torch.autocast(s.device.type, enabled=False):
                x = self._moved(x, step, free, turns, moves)
            if k < len(self.edges):
                z = self.edges[k](s, z)
        return Clean(x.rots, x.trans, self.psi(s))

    def _moved(
        self, x: Bodies, step: Tensor, free: Tensor, turns: Tensor, moves: Tensor
    ) -> Bodies:
        step = (step.float() if step.dtype != torch.float64 else step) * free
        moved = (x.rots @ (moves * step[..., 3:])[..., None]).squeeze(-1)
        return Bodies(x.rots @ rotation.exp(turns * step[..., :3]), x.trans + moved)
