r"""Networks that denoise chains.

`PairForces` sees bond vectors :math:`y_1 .. y_M`, decorrelated along the chain, and answers with

.. math:: v_k = \sum_l A_{kl}\, y_l + \sum_l B_{kl}\, \tilde{y}_l
          + \sum_{i<j} g_{ij}(r_{ij}, t)\, \frac{\partial r_{ij}}{\partial y_k}

A and B are a network's functions of all scalar products, distances and signed areas or volumes;
:math:`\tilde y` are the vectors turned by a quarter (in the plane) or their cross products (in
space). So the answer turns with the chain, and any such function can be reached (Villar et al.,
2021). The pair forces g are those of learned pair energies, blurred by the noise (`nn.blur`):
they push beads out of each other, along the direction in which the whole chain yields most
easily. What excluded volume leaves out is small, sharp, and in as many places as there are
pairs: without them a network of such width does not see it.

References:
    | Scalars are universal: equivariant machine learning, structured like classical physics
    | (Villar et al., 2021) https://arxiv.org/abs/2106.06610
"""

__all__ = ["Flat", "PairForces"]

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.domains.polymer.vectors import BondVectors
from genmatter.nn.blur import BlurredForce, TableEnergy
from genmatter.nn.embed import bumps, sinusoidal
from genmatter.nn.mlp import mlp
from genmatter.nn.pair import PairEnergy
from genmatter.nn.radial import Around, Logarithmic, looked_up


class Level(NamedTuple):
    """What a path's t means for a network that sees states of unit covariance."""

    share: Float[Tensor, " n"]
    """Of the way from the cleanest level to noise."""
    size: Float[Tensor, " n"]
    """Of the states."""
    alpha: Float[Tensor, " n"]
    """Share of the data in a state of size 1."""
    sigma: Float[Tensor, " n"]
    """And of the noise."""
    gain: Float[Tensor, " n"]
    """What the gradient of a log-density of the data adds to the answer that is asked for."""


_CORE = 1.6  # reach of the energy between beads that are not neighbours, in mean bonds
_TIME, _BUMPS = 64, 16  # widths of what a network knows of the level


class Flat(nn.Module):
    """The walkthrough's network: all numbers of a chain and a sinusoidal time, side by side."""

    def __init__(self, size: int, hidden: int, layers: int, time: int = _TIME) -> None:
        super().__init__()
        self.time = time
        self.net = mlp(size + time, *[hidden] * layers, size)

    def forward(
        self, x: Float[Tensor, "n size"], t: Float[Tensor, " #n"], given: object
    ) -> Float[Tensor, "n size"]:
        del given
        return self.net(torch.cat([x, sinusoidal(t, self.time).expand(len(x), -1)], -1))


class PairForces(nn.Module):
    """The formula above.

    Args:
        representation: What the chains are like.
        hidden: Width of the network.
        layers: Its hidden layers.
        tables: Places of the pair forces' tables; 0 leaves the pair forces out.
        level: What a path's t means.
    """

    spans: Tensor
    reach: Tensor

    def __init__(
        self,
        representation: BondVectors,
        hidden: int,
        layers: int,
        tables: int,
        level: Callable[[Tensor], Level],
    ) -> None:
        super().__init__()
        r = representation
        self.chain, self.level, self.size = r, level, r.beads - 1
        i, j = torch.triu_indices(r.beads, r.beads, 1)
        i, j = i[order := (j - i).argsort(stable=True)], j[order]  # bonds first
        k = torch.arange(self.size)
        between = (i[:, None] <= k) & (k < j[:, None])
        spans = between.float() @ r.matrix / r.bond[0]
        self.register_buffer("spans", spans, persistent=False)
        self.register_buffer("reach", spans.norm(dim=1), persistent=False)
        trial = torch.zeros(1, self.size, r.dim)
        hands = 0 if r.mirror else _hands(trial).shape[1]
        turned = 0 if r.mirror else _turned(trial).shape[1]
        self.time = nn.Sequential(mlp(_BUMPS, _TIME, _TIME, activation=nn.SiLU), nn.SiLU())
        seen = self.size**2 + len(i) + hands + 2 * len(r.conditions) + _TIME
        self.read = nn.Linear(seen, hidden)
        self.layers = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(layers - 1)])
        self.write = _quiet(nn.Linear(hidden, self.size * (self.size + turned)))
        self.forces = Forces(r, j - i, tables) if tables else None

    def forward(
        self, x: Float[Tensor, "n size"], t: Float[Tensor, " #n"], given: object
    ) -> Float[Tensor, "n size"]:
        y, gaps, r, level = self._seen(x, t)
        time = self.time(bumps(level.share, _BUMPS))
        weights = self._weights(y, r, time, given)
        return self._answer(y, gaps, r, level, weights.to(y), time.to(y))

    def _seen(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Level]:
        """Returns vectors, the pairs' gaps and distances, and the level."""
        with torch.autocast(x.device.type, enabled=False):  # short distances need all digits
            level = self.level(t)
            y = (x / level.size[:, None]).unflatten(1, (self.size, self.chain.dim))
            gaps = y.permute(2, 0, 1) @ self.spans.T  # space first: fewer, larger products
            r = gaps.square().sum(0).clamp_min(1e-12).sqrt()
            return y, gaps, r, level

    def _answer(
        self, y: Tensor, gaps: Tensor, r: Tensor, level: Level, weights: Tensor, time: Tensor
    ) -> Float[Tensor, "n size"]:
        with torch.autocast(y.device.type, enabled=False):
            basis = y if self.chain.mirror else torch.cat([y, _turned(y)], 1)
            v = weights.unflatten(1, (self.size, -1)) @ basis / self.size**0.5
            if self.forces is not None:
                push = self.forces(r, self.reach, level, time) / (self.reach * r)
                v = v + ((push * gaps) @ self.spans).permute(1, 2, 0)
            return v.flatten(1)

    def _weights(
        self, y: Float[Tensor, "n vectors space"], r: Tensor, time: Tensor, given: object
    ) -> Float[Tensor, "n weights"]:
        products = (y @ y.mT).flatten(1) / self.chain.dim**0.5
        seen = [products, (r / self.reach + 0.05).log(), time.expand(len(y), -1)]
        if not self.chain.mirror:
            seen.append(_hands(y))
        if self.chain.conditions:
            wanted: Tensor = given.wanted  # pyright: ignore[reportAttributeAccessIssue]
            seen += [wanted.nan_to_num(), wanted.isnan().to(y)]
        h = nn.functional.silu(self.read(torch.cat(seen, -1)))
        for layer in self.layers:
            h = h + nn.functional.silu(layer(h))
        return self.write(h)


class Forces(nn.Module):
    """The pair forces: energies blurred by the noise, and small tables for what is left.

    There is an energy of bonds, one of second neighbours, and one of all pairs that are not
    bonded. A blurred force is exact where the rest of the chain leaves a distance normal. What
    it leaves to do is smooth; pairs equally far apart along the chain share a table for it.
    """

    kind: Tensor

    def __init__(self, chain: BondVectors, apart: Tensor, places: int) -> None:
        super().__init__()
        width = max(chain.bond[1] / chain.bond[0], 0.03)
        far = 1 + 6 * width
        bonds = TableEnergy(Around(1.0, width, far), 32)
        second = TableEnergy(Logarithmic(0.1, 2 * far), 24)
        self.bonds = BlurredForce(bonds, far, chain.dim)
        self.second = BlurredForce(second, 2 * far, chain.dim)
        self.core = BlurredForce(PairEnergy(0.12, _CORE, 12), _CORE, chain.dim)
        self.register_buffer("kind", apart - 1, persistent=False)
        self.counts = [int((apart == k).sum()) for k in (1, 2)]
        self.scale = Logarithmic(0.04, 4.0)
        self.of_kind = _quiet(nn.Linear(_TIME, (chain.beads - 1) * places))

    def forward(
        self, r: Float[Tensor, "n pairs"], reach: Float[Tensor, " pairs"], level: Level,
        time: Tensor,
    ) -> Float[Tensor, "n pairs"]:  # fmt: skip
        """Returns forces at the distances of noisy states, in mean bonds.

        Args:
            r: The distances; bonds first, then second neighbours.
            reach: The standard deviation of a distance in each direction.
            level: What the noise is.
            time: What a network knows of it.
        """
        noise, near = level.sigma[:, None] * reach, level.alpha[:, None] * r
        n, second = self.counts
        apart = self.core(noise[:, n:], near[:, n:])
        bend = self.second(noise[:, n : n + second], near[:, n : n + second])
        apart = apart + nn.functional.pad(bend, (0, apart.shape[1] - second))
        blurred = torch.cat([self.bonds(noise[:, :n], near[:, :n]), apart], 1)
        tables = self.of_kind(time).unflatten(1, (n, -1))
        rest = looked_up(tables, self.kind, self.scale(r))
        # towards distance zero a blurred force falls off
        return blurred * level.gain[:, None] * reach + rest * r / (r + noise / 2)


def _quiet(layer: nn.Linear) -> nn.Linear:
    """Makes a layer start with answers near zero."""
    with torch.no_grad():
        layer.weight.mul_(0.01)
        layer.bias.zero_()
    return layer


def _turned(y: Float[Tensor, "n vectors space"]) -> Float[Tensor, "n _ space"]:
    """Returns vectors that turn with y, and not as it does when it is mirrored."""
    if y.shape[-1] == 2:
        return torch.stack([-y[..., 1], y[..., 0]], -1)
    return torch.linalg.cross(y[:, :-1], y[:, 1:])


def _hands(y: Float[Tensor, "n vectors space"]) -> Float[Tensor, "n _"]:
    """Returns numbers that change their sign when y is mirrored."""
    if y.shape[-1] == 2:
        area = y[..., :, None, 0] * y[..., None, :, 1]
        return (area - area.mT).flatten(1)
    return (torch.linalg.cross(y[:, :-2], y[:, 1:-1]) * y[:, 2:]).sum(-1)
