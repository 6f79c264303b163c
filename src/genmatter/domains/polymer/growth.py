r"""Chains that grow bead by bead: an exact likelihood of their internal coordinates.

.. math:: p(x | z) = \prod_i p(b_i | z, \text{past})\; p(\phi_i | z, \text{past}, b_i)

Bond lengths are mixtures (`SoftplusMixture`). Turn angles have a piecewise linear density on the
circle, whose logits are a network's, less a learned pair energy between the bead that would be
there and every earlier one. So excluded volume is a part of a density that stays normalised.
In space a step has a bend (a density of its cosine) and then a dihedral.

The latent says what the whole shape is like: a network sketches it. At each step the sketch is
laid over the beads that are there, and the beads to come are read off it. All this is seen from
the last bead, in its own frame: rigid motions change nothing, mirroring does.
"""

__all__ = ["Grown", "Growth", "PairEnergy"]

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genmatter.domains.polymer.represent import ChainBatch, Internal
from genmatter.maths.density import Density, PiecewiseLinear, SoftplusMixture
from genmatter.maths.geometry import first_frame, grow, nearest_rotation, step
from genmatter.nn.mlp import mlp
from genmatter.nn.pair import PairEnergy

Choose = Callable[[Density, int, int], Tensor]
"""Picks a value of a density; told the step, and which of the step's numbers it is."""

_PARTS, _WAVES = 8, 12  # parts of a bond's mixture; harmonics of a network's logits


class View(NamedTuple):
    """What growth sees from the last bead at each step, in its frame."""

    local: Float[Tensor, "n steps earlier space"]
    """Earlier beads, the newest first; zero where there is none."""
    there: Bool[Tensor, "steps earlier"]
    ahead: Float[Tensor, "n steps beads*space"]
    """The sketch."""
    step: Tensor


@dataclass(frozen=True)
class Grown:
    """The distribution p(x | z) of chains."""

    growth: "Growth"
    z: Float[Tensor, "n latent"]

    def log_prob(self, batch: ChainBatch) -> Float[Tensor, " n"]:
        """Returns the log-density with respect to bonds and angles, in nats."""
        return self.growth.log_prob(self.z, batch)

    def sample(self) -> ChainBatch:
        """Draws one chain for each latent."""
        return self.transport(torch.rand(len(self.z), *self.growth.numbers).to(self.z))

    def mode(self) -> ChainBatch:
        """Grows each chain by its likeliest turns and middling bonds, one step at a time."""
        return self.growth.roll(self.z, lambda density, i, k: density.typical())

    def quantiles(self, batch: ChainBatch) -> Float[Tensor, "n steps numbers"]:
        """Returns what `transport` turns into these chains: all of them that z does not say."""
        return self.growth.quantiles(self.z, batch)

    def transport(self, u: Float[Tensor, "n steps numbers"]) -> ChainBatch:
        """Returns chains at those quantiles: at fixed `u` in (0, 1), a function of z."""
        return self.growth.roll(self.z, lambda density, i, k: density.quantile(u[:, i, k, None]))


class Growth(nn.Module):
    """The networks of p(x | z), run for all steps at once or for one after the other.

    Args:
        representation: What the chains are like.
        latent: Size of the latent.
        hidden: Width of the layers.
        memory: How many of the last beads the network sees; the pair energy sees them all.
        nodes: Nodes of the densities of angles.
    """

    circle: Tensor
    waves: Tensor
    cosines: Tensor
    bend_waves: Tensor

    def __init__(
        self, representation: Internal, latent: int, hidden: int, memory: int, nodes: int
    ) -> None:
        super().__init__()
        self.chain, dim = representation, representation.dim
        self.steps, self.size = representation.beads - 1, representation.beads * dim
        self.memory = min(memory, self.steps - 1)
        self.outline = mlp(latent, hidden, hidden, self.size, activation=nn.SiLU)
        self.place = nn.Embedding(self.steps, hidden)
        self.read = nn.Linear(self.memory * dim + self.size + latent, hidden)
        self.trunk = nn.Sequential(
            nn.SiLU(), mlp(hidden, hidden, hidden, activation=nn.SiLU), nn.SiLU()
        )
        self.bond = nn.Linear(hidden, 3 * _PARTS)
        self.turn = mlp(hidden + dim - 1, hidden, 2 * _WAVES, activation=nn.SiLU)
        self.bend = mlp(hidden + 1, hidden, _WAVES, activation=nn.SiLU) if dim == 3 else None
        self.energy = PairEnergy(0.12 * representation.bond, 0.9 * representation.bond)
        angle = torch.arange(nodes) * (2 * math.pi / nodes) - math.pi
        k = torch.arange(1, _WAVES + 1)[:, None]
        self.register_buffer("circle", torch.stack([angle.cos(), angle.sin()]))
        self.register_buffer("waves", torch.cat([(k * angle).cos(), (k * angle).sin()]))
        cosines = torch.linspace(-1, 1, nodes // 2 + 1)
        self.register_buffer("cosines", cosines)
        self.register_buffer("bend_waves", torch.cos(k * cosines.acos()))
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Starts near what is known: bonds spread as in the data, angles even."""
        self.bond.weight.mul_(0.1)
        self.bond.bias[_PARTS : 2 * _PARTS].copy_(torch.linspace(-2, 2, _PARTS))
        for net in (self.turn, self.bend):
            if isinstance(net, nn.Sequential):
                net[-1].weight.mul_(0.1)  # pyright: ignore[reportCallIssue, reportArgumentType]

    @property
    def numbers(self) -> tuple[int, int]:
        """How many steps a chain has, and the most numbers that one of them chooses."""
        return self.steps, self.chain.dim

    def forward(self, z: Tensor, given: ChainBatch, epoch: float) -> Grown:
        del given, epoch
        return Grown(self, z)

    def sketch(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n beads space"]:
        """Returns the rough shape that a latent stands for, aligned, in mean bonds."""
        return self.outline(z).unflatten(-1, (-1, self.chain.dim))

    def sketch_error(self, q: object, z: Tensor, batch: ChainBatch) -> Float[Tensor, " n"]:
        """Returns half the squared distance of the sketch from the chains, in mean bonds."""
        del q
        gap = self.sketch(z) - self.chain.rough(batch)
        return gap.square().sum((1, 2)) / 2

    def log_prob(self, z: Tensor, batch: ChainBatch) -> Float[Tensor, " n"]:
        """Returns the log-density of bonds and angles, in nats."""
        parts = [density.log_prob(x).sum(-1) for density, x in self._read(z, batch)]
        if self.bend is not None:  # from the density of a cosine to that of its angle
            parts.append(self.chain.split(batch).bends.sin().clamp_min(1e-6).log().sum(-1))
        return torch.stack(parts).sum(0)

    def quantiles(self, z: Tensor, batch: ChainBatch) -> Float[Tensor, "n steps numbers"]:
        """Returns the `u` for which `roll` grows these chains; .5 where a step has no number."""
        u = z.new_full((len(z), *self.numbers), 0.5)
        for k, (density, x) in enumerate(self._read(z, batch)):
            u[:, u.shape[1] - x.shape[1] :, k] = density.cdf(x)
        return u

    def _read(self, z: Tensor, batch: ChainBatch) -> list[tuple[Density, Tensor]]:
        """Returns the densities of the numbers of chains, all steps at once, and those numbers."""
        bonds, bends, turns = chain = self.chain.split(batch)
        x, frames = grow(chain)
        frames = torch.cat([first_frame(x[:, None, :1]), frames[:, :-1]], 1)
        view = self._view(self.sketch(z), x[:, :-1], frames, torch.arange(self.steps))
        h = self._context(z, view)
        read: list[tuple[Density, Tensor]] = [(self._bonds(h), bonds)]
        if self.bend is not None:
            read.append((self._bends(h[:, 1:], bonds[:, :-1], bonds[:, 1:]), bends.cos()))
        late = slice(self.chain.dim - 1, None)
        seen = View(view.local[:, late], view.there[late], view.ahead[:, late], view.step[late])
        return [*read, (self._turns(h[:, late], seen, bonds[:, late], bends[:, 1:]), turns)]

    def roll(self, z: Float[Tensor, "n latent"], choose: Choose) -> ChainBatch:
        """Grows chains step by step."""
        sketch, x = self.sketch(z), z.new_zeros(len(z), 1, self.chain.dim)
        frame = first_frame(x)
        bonds: list[Tensor] = []
        bends: list[Tensor] = []
        turns: list[Tensor] = []
        for i in range(self.steps):
            view = self._view(sketch, x, frame[:, None], torch.tensor([i]))
            h = self._context(z, view)
            bonds.append(choose(self._bonds(h), i, 0))
            bend = None
            if i and self.bend is not None:
                cosine = choose(self._bends(h, bonds[-2], bonds[-1]), i, 1)
                bends.append(bend := cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos())
            if i >= self.chain.dim - 1:
                past = bends[-1] if bends else bonds[-1][:, :0]
                turns.append(choose(self._turns(h, view, bonds[-1], past), i, self.chain.dim - 1))
            if i:
                turn = turns[-1][:, 0] if turns else torch.zeros_like(bonds[-1][:, 0])
                frame = step(frame, None if bend is None else bend[:, 0], turn)
            x = torch.cat([x, x[:, -1:] + bonds[-1][..., None] * frame[:, :1]], 1)
        return ChainBatch(torch.cat([*bonds, *bends, *turns], -1))

    def _view(self, sketch: Tensor, x: Tensor, frames: Tensor, at: Tensor) -> View:
        """Returns what is seen at steps `at`, the last of which has the last bead of `x`."""
        at = at.to(x.device)
        back = torch.arange(1, max(x.shape[1], self.memory + 1), device=x.device)
        j = at[:, None] - back
        there = j >= 0
        last = x[:, at]
        local = (x[:, j.clamp_min(0)] - last[:, :, None]) * there[..., None]
        ahead = _laid_over(sketch * self.chain.bond, x, at) - last[:, :, None]
        return View(local @ frames.mT, there, (ahead @ frames.mT).flatten(2), at)

    def _context(self, z: Tensor, view: View) -> Float[Tensor, "n steps hidden"]:
        past = view.local[:, :, : self.memory].flatten(2)
        seen = torch.cat([past, view.ahead], -1) / self.chain.bond
        z = z[:, None].expand(-1, seen.shape[1], -1)
        return self.trunk(self.read(torch.cat([seen, z], -1)) + self.place(view.step))

    def _bonds(self, h: Tensor) -> SoftplusMixture:
        logits, mean, raw = self.bond(h).chunk(3, -1)
        shift, scale = self.chain.spread
        std = scale * (nn.functional.softplus(raw) + 0.01)
        return SoftplusMixture(logits, shift + scale * mean, std, self.chain.bond)

    def _bends(self, h: Tensor, before: Tensor, b: Tensor) -> PiecewiseLinear:
        assert self.bend is not None
        logits = self.bend(torch.cat([h, (b / self.chain.bond)[..., None]], -1)) @ self.bend_waves
        r2 = (before.square() + b.square())[..., None]
        r2 = r2 + 2 * (before * b)[..., None] * self.cosines
        return PiecewiseLinear(logits - self.energy(r2), -1.0, 1.0)

    def _turns(self, h: Tensor, view: View, b: Tensor, bend: Tensor) -> PiecewiseLinear:
        """The next bead is on a circle: around the last bead, or around the line of its bond."""
        a = view.local.square().sum(-1) + b.square()[..., None]
        if self.bend is None:
            told, v = [b / self.chain.bond], view.local
        else:
            told, v = [b / self.chain.bond, bend.cos()], view.local[..., 1:]
            a = a - 2 * (b * bend.cos())[..., None] * view.local[..., 0]
            b = b * bend.sin()
        logits = self.turn(torch.cat([h, torch.stack(told, -1)], -1)) @ self.waves
        v = 2 * b[..., None, None] * v
        return PiecewiseLinear.periodic(
            logits - self.energy.crowding(a, v, view.there, self.circle)
        )


def _laid_over(
    y: Float[Tensor, "n beads space"], x: Float[Tensor, "n grown space"], at: Tensor
) -> Float[Tensor, "n steps beads space"]:
    """Moves `y` rigidly to where it is closest to the beads of `x` up to each step.

    The rotation is Kabsch's. It is held fixed: what gradients would pass through it is little,
    and in space there is none where it is not unique.
    """
    count = (at + 1.0)[:, None]
    own = y[:, : x.shape[1]]
    mean_y, mean_x = (t.cumsum(1)[:, at] / count for t in (own, x))
    with torch.no_grad():
        cross = (own[..., None] * x[..., None, :]).cumsum(1)[:, at]
        turn = nearest_rotation(
            cross - count[..., None] * mean_y[..., None] * mean_x[..., None, :]
        )
    return (y[:, None] - mean_y[:, :, None]) @ turn + mean_x[:, :, None]
