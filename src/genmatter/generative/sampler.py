r"""From noise to data along a Gaussian path, given a field that tells both apart.

A field answers at a level t with the mean of the data and of the noise in what it sees. The
probability flow :math:`dx/dt = \alpha' \hat{x} + \sigma' \hat\epsilon` has the marginals of the
path; the same is true of the stochastic walks, which forget their errors as they go.

References:
    | Score-based generative modeling through SDEs (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
"""

__all__ = [
    "Ancestral",
    "Estimate",
    "Field",
    "MultistepODE",
    "Sampler",
    "StochasticODE",
    "drift_of",
    "flow",
    "flow_with_divergence",
]

import abc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.generative.path import Path

_ROWS = 8192  # states whose derivatives are taken at once

State = Float[Tensor, "n *shape"]


class Estimate(NamedTuple):
    """The means of data and noise, given where a walk stands."""

    data: State
    noise: State


Field = Callable[[State, Tensor], Estimate]
"""Of a state and a level, a tensor of no axis."""


@dataclass(frozen=True)
class Sampler(abc.ABC):
    """A walk from noise to data.

    Attributes:
        steps: How often the field is asked.
        last: Share of the way at which the walk takes its last step, to the data.
    """

    steps: int
    last: float = 0.0

    @abc.abstractmethod
    def __call__(self, field: Field, path: Path, x: State) -> State:
        """Returns samples, from noise `x` at the noisy end of the path."""

    def levels(self, path: Path, x: State) -> Tensor:
        """Returns the levels at which the field is asked, and 0."""
        u = torch.linspace(1, self.last, self.steps, dtype=x.dtype, device=x.device)
        return torch.cat([path.at(u), u.new_zeros(1)])


@dataclass(frozen=True)
class MultistepODE(Sampler):
    r"""The probability flow by the two-step method of Adams and Bashforth, with uneven steps.

    It is of second order at one call a step. The last step goes to the data themselves.

    References:
        Solving ordinary differential equations I (Hairer et al., 1993), section III.5.
    """

    def __call__(self, field: Field, path: Path, x: State) -> State:
        drift, levels = drift_of(field, path), self.levels(path, x)
        before, old = levels[0], x
        for t, s in pairwise(levels):
            v = drift(x, t)
            w = (s - t) / (2 * (t - before)) if t < before else 0.0
            x = x + (s - t) * ((1 + w) * v - w * old)
            before, old = t, v
        return x


@dataclass(frozen=True)
class StochasticODE(Sampler):
    r"""Euler's method for the flow, from a point a little further up at each step.

    Between two steps noise is added, and the state goes up the path as data do: :math:`x_{t'} =
    \frac{\alpha'}{\alpha} x_t + \sqrt{\sigma'^2 - (\alpha'/\alpha)^2 \sigma^2}\,\epsilon`. So the
    walk forgets the errors of its earlier steps. A step of higher order would take that noise
    for a slope.

    References:
        | Elucidating the design space of diffusion-based generative models (Karras et al.,
        | 2022), algorithm 2 https://arxiv.org/abs/2206.00364
    """

    churn: float = 0.5
    """The share of the last step by which the state goes back up."""

    def __call__(self, field: Field, path: Path, x: State) -> State:
        drift, levels = drift_of(field, path), self.levels(path, x)
        before = levels[0]
        for t, s in pairwise(levels):
            above = t + self.churn * (before - t)
            if above > t:
                x = _back(x, path(t), path(above))
            x = x + (s - above) * drift(x, above)
            before = t
        return x


def _back(x: State, now: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]) -> State:
    """Moves states up the path, from one alpha and sigma to others."""
    keep = then[0] / now[0]
    fresh = (then[1].square() - (keep * now[1]).square()).clamp_min(0).sqrt()
    return keep * x + fresh * torch.randn_like(x)


@dataclass(frozen=True)
class Ancestral(Sampler):
    r"""The reverse Markov chain of DDPM: :math:`x_s` from :math:`q(x_s | x_t, \hat{x})`, s < t.

    Its variance is that of the forward step, :math:`\beta_t` where levels are DDPM's; `steps`
    is then T.

    References:
        Denoising diffusion probabilistic models (Ho et al., 2020), algorithm 2.
    """

    def __call__(self, field: Field, path: Path, x: State) -> State:
        for t, s in pairwise(self.levels(path, x)):
            (alpha, sigma), (alpha_s, sigma_s) = path(t), path(s)
            keep = alpha / alpha_s
            step2 = sigma.square() - (keep * sigma_s).square()
            known = alpha_s * step2 * field(x, t).data
            x = (keep * sigma_s.square() * x + known) / sigma.square()
            if s > 0:
                x = x + step2.sqrt() * torch.randn_like(x)
        return x


Drift = Callable[[State, Tensor], State]


def drift_of(field: Field, path: Path) -> Drift:
    """Returns the velocity of the probability flow."""

    def drift(x: State, t: Tensor) -> State:
        data, noise = field(x, t)
        alpha, sigma = path.rates(t)
        return alpha * data + sigma * noise

    return drift


def flow(drift: Drift, levels: Tensor, x: State) -> State:
    """Follows a drift along levels, up or down, by Heun's method: the way back is the same."""
    for t, s in pairwise(levels):
        v = drift(x, t)
        x = x + (s - t) / 2 * (v + drift(x + (s - t) * v, s))
    return x


def flow_with_divergence(
    drift: Drift, levels: Tensor, x: State
) -> tuple[State, Float[Tensor, " n"]]:
    """Does the same, and returns the integral of the drift's divergence along the way.

    The integral is by the trapezoid rule over the levels: one divergence at each.
    """
    v, before = divergence(drift, x, levels[0])
    total = torch.zeros_like(before)
    for t, s in pairwise(levels):
        x = x + (s - t) / 2 * (v + drift(x + (s - t) * v, s))
        v, after = divergence(drift, x, s)
        total, before = total + (s - t) / 2 * (before + after), after
    return x, total


def divergence(drift: Drift, x: State, t: Tensor) -> tuple[State, Float[Tensor, " n"]]:
    """Returns the drift and its exact divergence, by forward derivatives along coordinates."""
    size = x[0].numel()

    def along(e: Tensor) -> tuple[Tensor, Tensor]:
        tangent = e.expand(len(x), -1).view_as(x)
        found: Any = torch.func.jvp(lambda y: drift(y, t), (x,), (tangent,))
        v, slope = found
        return v, (slope.flatten(1) * e).sum(1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's about itself
        every = torch.func.vmap(along, chunk_size=max(1, _ROWS // max(len(x), 1)))
        v, slopes = every(torch.eye(size, dtype=x.dtype, device=x.device))
    return v[0], slopes.sum(0)
