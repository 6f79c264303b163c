r"""Walks of rigid bodies that are steered to where a number has a wanted value.

At each level the mean and variance of f over the data that a state could come from are those over
a few draws around the clean bodies, and the gradient of
:math:`(\bar f - y)^2 / 2 (w^2 + \mathrm{Var} f)` with respect to the state, rotations included,
is added to the score. It moves a body by four deviations of its noise at most.

References:
    | Diffusion posterior sampling (Chung et al., 2023) https://arxiv.org/abs/2209.14687
    | Loss-guided diffusion models for plug-and-play controllable generation (Song et al., 2023)
    | https://proceedings.mlr.press/v202/song23k.html
"""

__all__ = ["pulled"]

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genmatter.generative.bodies import Bodies, Clean, FrameBatch, FramePath, Level
from genmatter.generative.walks import Field
from genmatter.maths import rotation

_LOOKS = 8  # draws of the data that a state could come from
_FARTHEST = 4.0  # standard deviations of them that steering moves their mean


def pulled(
    plain: Field, path: FramePath, given: FrameBatch, measure: Callable[[Any], Tensor],
    value: float, width: float,
) -> Field:  # fmt: skip
    """Returns the field of a steered walk.

    Args:
        plain: That of a walk which is not steered; gradients go through it.
        path: What its levels mean.
        given: What is known of each row.
        measure: The differentiable number of each row of a batch.
        value: What is wanted of it.
        width: How closely.
    """
    free = (given.mask & ~given.fixed)[..., None]

    def field(state: Bodies, t: Tensor, before: Tensor) -> Clean:
        level = path.level(t.expand(len(given)))
        with torch.enable_grad():
            turn = torch.zeros_like(state.trans, requires_grad=True)
            x = state.trans.detach().requires_grad_(True)
            moved = Bodies(state.rots.detach() @ rotation.exp(turn), x)
            found = plain(moved, t, before)
            f = torch.stack([measure(_could(given, found, level)) for _ in range(_LOOKS)])
            spread = width**2 + f.detach().var(0)
            cost = ((f.mean(0) - value).square() / (2 * spread)).sum()
            slopes = torch.autograd.grad(
                cost, [turn, x], allow_unused=True, materialize_grads=True
            )
        r, s = level.sigma_r[:, None, None], level.sigma_x[:, None, None]
        a = level.alpha[:, None, None].clamp_min(1e-6)
        turns = _limited(r.square() * slopes[0] * free, _FARTHEST * _uncertain(r))
        shifts = _limited(s.square() / a * slopes[1] * free, _FARTHEST * s)
        rots, trans, psi = (x.detach() for x in found)
        return Clean(rots @ rotation.exp(-turns), trans - shifts, psi)

    return field


def _could(given: FrameBatch, found: Clean, level: Level) -> FrameBatch:
    """Draws data that a state could come from, as if data were of unit width."""
    free = (given.mask & ~given.fixed)[..., None]
    turn = _uncertain(level.sigma_r)[:, None, None] * torch.randn_like(found.trans) * free
    shift = level.sigma_x[:, None, None] * torch.randn_like(found.trans) * free
    return given.replace(
        rots=found.rots @ rotation.exp(turn), trans=found.trans + shift, psi=found.psi
    )


def _uncertain(sigma: Tensor) -> Tensor:
    """Returns the deviation of data of unit width that are seen with such noise."""
    return sigma / torch.hypot(sigma, torch.ones_like(sigma))


def _limited(x: Tensor, most: Tensor) -> Tensor:
    """Shortens the vectors that are longer than allowed."""
    return x * (most / x.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp(max=1)
