r"""Diffusion of bead-spring polymers.

The default learns the velocity of an arc (`generative.path.Arc`) from decorrelated bond vectors
to noise, with a network that turns with the chain and has forces between pairs (`denoiser`). With
the `cartesian` or `internal` representation a plain network sees the numbers as they are, which is
what the walkthrough does, and simple flow matching.
"""

__all__ = ["AsTheyAre", "BondsAndAngles", "Whitened", "build"]

import dataclasses
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.domains.polymer.config import PolymerDiffusionConfig
from genmatter.domains.polymer.denoiser import Flat, Level, PairForces
from genmatter.domains.polymer.represent import Cartesian, ChainBatch, Internal
from genmatter.domains.polymer.vectors import BondVectors, WantedChains
from genmatter.errors import ConfigError
from genmatter.generative import diffusion
from genmatter.generative.diffusion import Denoiser, Diffusion
from genmatter.generative.path import Arc, Betas, Line, Path
from genmatter.generative.sampler import Ancestral, MultistepODE, Sampler, StochasticODE
from genmatter.maths.density import SoftplusMixture


class AsTheyAre:
    """A chart that leaves the numbers of a batch alone."""

    def to_state(self, batch: ChainBatch) -> Tensor:
        return batch.x

    def to_batch(self, x: Tensor, given: ChainBatch) -> ChainBatch:
        return dataclasses.replace(given, x=x)

    def log_volume(self, batch: ChainBatch) -> Float[Tensor, " n"]:
        """Returns zero: the density is that of the numbers."""
        return batch.x.new_zeros(len(batch))


class Whitened(AsTheyAre):
    """A chart of bond vectors, whose densities are those of bonds and angles."""

    def __init__(self, representation: BondVectors) -> None:
        self.chain = representation

    def log_volume(self, batch: ChainBatch) -> Float[Tensor, " n"]:
        r"""Returns :math:`\ln \lvert dy / d(b, \text{angles}) \rvert`, and that of all turns.

        The density of y is that of a chain and of the way it is turned; the latter is uniform
        over :math:`2 \pi` in the plane and :math:`8 \pi^2` in space. Bond vectors have polar
        coordinates, in space with bends :math:`\theta`: :math:`\prod b^{d-1} \prod \sin\theta`.
        """
        r = self.chain
        u = r.matrix.to(batch.x) @ batch.x.unflatten(1, (r.beads - 1, r.dim))
        b = u.norm(dim=-1)
        total = (r.dim - 1) * b.log().sum(1) - r.dim * r.matrix.diagonal().log().sum()
        if r.dim == 3:
            across = torch.linalg.cross(u[:, 1:], u[:, :-1]).norm(dim=-1) / (b[:, 1:] * b[:, :-1])
            total = total + across.clamp_min(1e-6).log().sum(1)
        turns = 2 * math.pi if r.dim == 2 else 8 * math.pi**2
        return total + math.log(turns * (2 if r.mirror else 1))


class BondsAndAngles(AsTheyAre):
    r"""A chart of bonds and angles as if they were numbers: what has no seam gets one.

    Bonds go through the inverse of softplus, in standard units. An angle that is even on its
    interval becomes a standard normal number; turns have their seam where the chain folds back.
    """

    def __init__(self, representation: Internal) -> None:
        self.chain = representation

    def to_state(self, batch: ChainBatch) -> Tensor:
        bonds, bends, turns = self.chain.split(batch)
        mean, std = self.chain.spread
        y = (SoftplusMixture.inverse(bonds, self.chain.bond) - mean) / std
        shares = torch.cat([bends / math.pi, turns / (2 * math.pi) + 0.5], -1)
        return torch.cat([y, torch.special.ndtri(shares.clamp(1e-6, 1 - 1e-6))], -1)

    def to_batch(self, x: Tensor, given: ChainBatch) -> ChainBatch:
        bonds, bends, turns = x.split(self.chain.widths, -1)
        mean, std = self.chain.spread
        b = self.chain.bond * nn.functional.softplus(bonds * std + mean)
        turns = (torch.special.ndtr(turns) - 0.5) * 2 * math.pi
        parts = [b, torch.special.ndtr(bends) * math.pi, turns]
        return dataclasses.replace(given, x=torch.cat(parts, -1))

    def log_volume(self, batch: ChainBatch) -> Float[Tensor, " n"]:
        """Returns the logarithm of the chart's volume."""
        b, x = self.chain.split(batch).bonds / self.chain.bond, self.to_state(batch)
        n = b.shape[1]
        # dy/db = 1 / (s (1 - e^(-b/s))), in standard units
        bonds = -torch.log(-torch.expm1(-b)).sum(1) - n * math.log(
            self.chain.bond * self.chain.spread[1]
        )
        angles = x[:, n:].square().sum(1) / 2 + (x.shape[1] - n) * math.log(2 * math.pi) / 2
        _, bends, turns = self.chain.widths
        return bonds + angles - bends * math.log(math.pi) - turns * math.log(2 * math.pi)


def build(
    config: PolymerDiffusionConfig, representation: Cartesian | Internal | BondVectors
) -> Diffusion:
    """Returns an untrained model."""
    c, r, path = config, representation, _path(config)
    if not isinstance(r, BondVectors) and c.conditions:
        raise ConfigError("conditions need --representation bonds")
    target = {"velocity": diffusion.velocity, "noise": diffusion.noise, "data": diffusion.data}[
        c.predict
    ]
    match r:
        case BondVectors():
            level = _level(path, target, c.low, c.high)
            net = PairForces(r, c.hidden_dim, c.layers, c.tables, level)
            chart = Whitened(r)
        case Internal():
            net, chart = Flat(sum(r.widths), c.hidden_dim, c.layers), BondsAndAngles(r)
        case Cartesian():
            net, chart = Flat(r.width, c.hidden_dim, c.layers), AsTheyAre()
    return Diffusion(
        Denoiser(net, path, target), chart, _sampler(c),
        hide=_hidden if c.conditions else _as_it_is, hidden=c.hide_conditions,
        antithetic=c.antithetic, latent_steps=c.sampling.latent_steps,
    )  # fmt: skip


def _path(c: PolymerDiffusionConfig) -> Path:
    if c.path == "line" and c.predict == "noise":
        raise ConfigError(
            "at the end of a line the noise says nothing of the data: predict velocity"
        )
    match c.path:
        case "arc":
            return Arc(c.low, c.high)
        case "line":
            return Line(c.low)
        case "betas":
            return Betas(c.noise_steps, c.beta_start, c.beta_end)


def _sampler(c: PolymerDiffusionConfig) -> Sampler:
    s = c.sampling
    if s.steps < 1:
        raise ConfigError(f"steps is {s.steps}, but a sample takes at least 1")
    match s.sampler:
        case "ode":
            return MultistepODE(s.steps, s.last)
        case "sde":
            return StochasticODE(s.steps, s.last, s.churn)
        case "ancestral":
            return Ancestral(s.steps, s.last)


def _level(
    path: Path, target: diffusion.Target, low: float, high: float
) -> Callable[[Tensor], Level]:
    r"""Returns what a chain's network is told of a path's t.

    For data of unit covariance a gradient :math:`\delta` of the log-density of states moves the
    means of data and noise by :math:`\sigma^2 \delta / \alpha` and :math:`-\sigma \delta`.
    """
    start, width = math.log(low), math.log(high / low)

    def level(t: Tensor) -> Level:
        (alpha, sigma), (a, b) = path(t), target(path, t)
        size = torch.hypot(alpha, sigma)
        ratio = (sigma / alpha.clamp_min(1e-6)).clamp(low, high)
        gain = (a * sigma - b * alpha) * sigma / size.square()
        return Level((ratio.log() - start) / width, size, alpha / size, sigma / size, gain)

    return level


def _hidden(batch: WantedChains, share: float) -> WantedChains:
    gone = torch.rand_like(batch.wanted) < share
    return dataclasses.replace(batch, wanted=batch.wanted.masked_fill(gone, torch.nan))


def _as_it_is(batch: ChainBatch, share: float) -> ChainBatch:
    del share
    return batch
