r"""From noise to rigid bodies, given a field that answers with the clean ones.

For rotations the way to the data is the tangent :math:`w = \sigma^2 \nabla \log p`, along which
the flow :math:`dR/d\sigma = -\sigma \nabla \log p` would end at sigma 0 if w stayed: a step
to :math:`\sigma'` takes the share :math:`1 - \sigma' / \sigma` of it. For translations
:math:`x' = \frac{\sigma'}{\sigma} x + (\alpha' - \alpha \frac{\sigma'}{\sigma}) \hat x_0` is that
step. Both are exact for a fixed answer (DDIM); the second order takes how the answer changes.

References:
    | Denoising diffusion implicit models (Song et al., 2021) https://arxiv.org/abs/2010.02502
    | DPM-Solver++ (Lu et al., 2022) https://arxiv.org/abs/2211.01095
"""

__all__ = ["Field", "FrameODE", "FrameSDE", "ReverseSDE", "Walk", "ends", "flow"]

import abc
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.generative.bodies import Bodies, Clean, FramePath, Free, Level, mean_free
from genmatter.maths import igso3, rotation

_WRAP = 1.0  # radian: answers that differ by more are not on one line


Field = Callable[[Bodies, Tensor, Tensor], Clean]
"""Of a state, its level (a tensor of no axis) and an earlier answer's translations."""


@dataclass(frozen=True)
class Walk(abc.ABC):
    """A walk from noise to bodies.

    Attributes:
        steps: How often the field is asked.
        noise_scale: Scale of the noise that is added on the way; below 1 samples are
            more typical and less diverse than the data.
    """

    steps: int
    noise_scale: float = 1.0

    @abc.abstractmethod
    def __call__(self, field: Field, path: FramePath, x: Bodies, free: Free) -> Clean:
        """Returns samples, from noise at the noisy end of the path; only what is free changes."""

    def levels(self, path: FramePath, x: Bodies) -> Tensor:
        """Returns the levels at which the field is asked."""
        u = torch.linspace(1, 0, self.steps, dtype=x.trans.dtype, device=x.trans.device)
        return path.at(u)


def tangent(found: Clean | Bodies, x: Bodies, sigma: Tensor) -> Float[Tensor, "n L 3"]:
    """Returns how a state's rotations are to turn, in their own frames, to the data."""
    v = rotation.log(found.rots.mT @ x.rots)
    return sigma.square() * igso3.score_vector(v, sigma)


def _stepped(x: Bodies, w: Tensor, clean: Tensor, now: Level, then: Level, free: Free) -> Bodies:
    """Goes from one level to another, towards one answer."""
    share = 1 - then.sigma_r / now.sigma_r
    rots = x.rots @ rotation.exp(share * w)
    ratio = then.sigma_x / now.sigma_x
    trans = ratio * x.trans + (then.alpha - now.alpha * ratio) * clean
    return free.mix(Bodies(rots, trans), x)


def _ended(found: Clean, x: Bodies, free: Free) -> Clean:
    return Clean(*free.mix(Bodies(found.rots, found.trans), x), found.psi)


class _Answer(NamedTuple):
    """What a field said: where to turn from a place, and clean translations, at a level."""

    place: Bodies
    w: Float[Tensor, "n L 3"]
    clean: Float[Tensor, "n L 3"]
    level: Level


@dataclass(frozen=True)
class FrameODE(Walk):
    """The probability flow, of second order at one call a step; the last goes to the data."""

    def __call__(self, field: Field, path: FramePath, x: Bodies, free: Free) -> Clean:
        levels, old = self.levels(path, x), None
        before = torch.zeros_like(x.trans)
        for t, s in pairwise(levels):
            now, then = path.level(t), path.level(s)
            found = field(x, t, before)
            w, clean = tangent(found, x, now.sigma_r), found.trans
            if old is not None:
                w, clean = _extrapolated(x, w, clean, old, now, then)
            old = _Answer(x, tangent(found, x, now.sigma_r), found.trans, now)
            before = found.trans
            x = _stepped(x, w, clean, now, then, free)
        return _ended(field(x, levels[-1], before), x, free)


def _extrapolated(
    x: Bodies, w: Tensor, clean: Tensor, old: _Answer, now: Level, then: Level
) -> tuple[Tensor, Tensor]:
    """Returns the answers of half a step ahead, along those of this and the last level."""
    noise = lambda a: (a.sigma_x / a.alpha).log()
    share = (noise(now) - noise(then)) / (noise(old.level) - noise(now))
    there = rotation.log(x.rots.mT @ old.place.rots @ rotation.exp(old.w))
    change = w - there
    change = torch.where(change.norm(dim=-1, keepdim=True) < _WRAP, change, 0.0)
    turn = (now.sigma_r / then.sigma_r).log() / (old.level.sigma_r / now.sigma_r).log()
    return w + turn / 2 * change, clean + share / 2 * (clean - old.clean)


@dataclass(frozen=True)
class FrameSDE(Walk):
    """Steps of the flow, each from a level a little further up, where fresh noise leads.

    So the walk forgets the errors of its earlier steps.

    References:
        | Elucidating the design space of diffusion-based generative models (Karras et al.,
        | 2022), algorithm 2 https://arxiv.org/abs/2206.00364
    """

    churn: float = 0.5
    """The share of the last step by which the state goes back up."""

    def __call__(self, field: Field, path: FramePath, x: Bodies, free: Free) -> Clean:
        levels = self.levels(path, x)
        before, above = torch.zeros_like(x.trans), levels[0]
        found = None
        for k, t in enumerate(levels):
            high = t + self.churn * (above - t)
            if high > t:
                x = self._back(x, path.level(t), path.level(high), free)
            found = field(x, high, before)
            if k == len(levels) - 1:
                break
            now, then = path.level(high), path.level(levels[k + 1])
            before, above = found.trans, t
            x = _stepped(x, tangent(found, x, now.sigma_r), found.trans, now, then, free)
        assert found is not None, "a walk has a step"
        return _ended(found, x, free)

    def _back(self, x: Bodies, now: Level, then: Level, free: Free) -> Bodies:
        """Adds the noise that is between two levels."""
        wide = (then.sigma_r.square() - now.sigma_r.square()).clamp_min(1e-12).sqrt()
        turn = igso3.sample_vector(wide.expand(free.turn.shape)) * self.noise_scale
        shrink = then.alpha / now.alpha
        rest = (then.sigma_x.square() - (shrink * now.sigma_x).square()).clamp_min(0).sqrt()
        eps = mean_free(torch.randn_like(x.trans), free) * self.noise_scale
        return free.mix(Bodies(x.rots @ rotation.exp(turn), shrink * x.trans + rest * eps), x)


@dataclass(frozen=True)
class ReverseSDE(Walk):
    """Euler and Maruyama's steps of the reverse process, a geodesic random walk.

    It needs hundreds of steps; with a small `noise_scale` it is what protein design uses.
    """

    def __call__(self, field: Field, path: FramePath, x: Bodies, free: Free) -> Clean:
        levels, before = self.levels(path, x), torch.zeros_like(x.trans)
        for t, s in pairwise(levels):
            level, found = path.level(t), field(x, t, before)
            rot_score = tangent(found, x, level.sigma_r) / level.sigma_r.square()
            push = (level.alpha * found.trans - x.trans) / level.sigma_x.square()
            so3, r3 = path.diffuser.so3, path.diffuser.r3
            dt = t - s
            g = so3.diffusion_coef(t)
            turn = g.square() * rot_score * dt + self._noise(x, g * dt.sqrt(), free, turn=True)
            b = r3.b_t(t)
            spread = b.sqrt() / r3.coordinate_scaling
            drift = b * x.trans / 2 + spread.square() * push
            trans = x.trans + drift * dt + self._noise(x, spread * dt.sqrt(), free)
            before = found.trans
            x = free.mix(Bodies(x.rots @ rotation.exp(turn), mean_free(trans, free)), x)
        return _ended(field(x, levels[-1], before), x, free)

    def _noise(self, x: Bodies, size: Tensor, free: Free, *, turn: bool = False) -> Tensor:
        z = torch.randn_like(x.trans)
        return self.noise_scale * size * (z if turn else mean_free(z, free))


def ends(path: FramePath, steps: int, like: Tensor) -> Tensor:
    """Returns the levels of a flow, cleanest first."""
    return path.at(torch.linspace(0, 1, steps + 1, dtype=like.dtype, device=like.device))


def flow(field: Field, path: FramePath, levels: Tensor, x: Bodies, free: Free) -> Bodies:
    """Follows the probability flow through levels, up or down, by the trapezoidal rule.

    Each step goes towards the mean of the answers at both of its ends, at two calls.
    """
    before = x.trans
    for t, s in pairwise(levels):
        now, then = path.level(t), path.level(s)
        first = field(x, t, before)
        w = tangent(first, x, now.sigma_r)
        ahead = _stepped(x, w, first.trans, now, then, free)
        second = field(ahead, s, first.trans)
        there = ahead.rots @ rotation.exp(tangent(second, ahead, then.sigma_r))
        change = rotation.log(x.rots.mT @ there) - w
        change = torch.where(change.norm(dim=-1, keepdim=True) < _WRAP, change, 0.0)
        clean = (first.trans + second.trans) / 2
        x = _stepped(x, w + change / 2, clean, now, then, free)
        before = second.trans
    return x
