"""A chain as its bond vectors, with what is wanted of it."""

__all__ = ["BondVectors", "WantedChains", "wishes"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.config import closest
from genmatter.domains.polymer.formats import chunk
from genmatter.domains.polymer.metrics import OBSERVABLES
from genmatter.domains.polymer.represent import ChainBatch, check_shape, moments
from genmatter.errors import ConfigError
from genmatter.loading.mapped import Mapped, parts
from genmatter.maths.geometry import align_principal, centre
from genmatter.spine import Observable, Representation


@dataclass(frozen=True)
class WantedChains(ChainBatch):
    """Chains with what is wanted of them, `wanted` [n, conditions] in standard units or NaN."""

    wanted: Tensor


@dataclass(frozen=True)
class BondVectors(Representation[Tensor, WantedChains]):
    r"""Bond vectors of chains on their principal axes, decorrelated along the chain.

    The bond vectors :math:`b = L y` of the training split have the covariance :math:`L L^T` in
    each direction of space, so that y has unit covariance, whatever way the chains are turned.

    `mixing` is L, and `bond` the mean bond length and its standard deviation. Of `conditions`,
    names of observables, the values go along, with `scales`, their means and deviations.
    """

    measure: ClassVar[str] = "bonds and angles"

    beads: int
    dim: int
    mixing: tuple[tuple[float, ...], ...]
    bond: tuple[float, float]
    mirror: bool = False
    conditions: tuple[str, ...] = ()
    scales: tuple[tuple[float, float], ...] = ()

    @classmethod
    def fit(cls, objects: Tensor | Mapped[Tensor], config: Any) -> "BondVectors":
        beads, dim = objects[:1].shape[1:]
        second = torch.zeros(beads - 1, beads - 1, dtype=torch.float64)
        for vectors in _vectors(objects):
            second += torch.einsum("nad,nbd->ab", vectors, vectors)
        second /= len(objects) * dim
        tiny = 1e-6 * second.diagonal().mean()  # stiff rods have one vector, not many
        mixing = torch.linalg.cholesky(second + tiny * torch.eye(beads - 1).double())
        names = tuple(config.conditions)
        scales = [moments(o.of(x).double() for x in _some(objects)) for o in _asked(names)]
        bond = moments(b.norm(dim=-1) for b in _vectors(objects))
        rows = tuple(map(tuple, mixing.tolist()))
        return cls(beads, dim, rows, bond, config.mirror, names, tuple(scales))

    @cached_property
    def matrix(self) -> Float[Tensor, "bonds bonds"]:
        """L."""
        return torch.tensor(self.mixing)

    @cached_property
    def inverse(self) -> Float[Tensor, "bonds bonds"]:
        """The inverse of L."""
        return torch.linalg.inv(self.matrix.double()).float()

    def encode(self, objects: Tensor) -> WantedChains:
        check_shape(objects, self.beads, self.dim)
        x = align_principal(centre(objects), mirror=self.mirror)
        wanted = [
            (o.of(objects) - m) / s
            for o, (m, s) in zip(_asked(self.conditions), self.scales, strict=True)
        ]
        y = (self.inverse @ x.diff(dim=1)).flatten(1)
        return WantedChains(y, torch.stack(wanted, 1) if wanted else y[:, :0])

    def decode(self, batch: ChainBatch) -> Tensor:
        bonds = self.matrix.to(batch.x) @ batch.x.unflatten(1, (self.beads - 1, self.dim))
        x = torch.nn.functional.pad(bonds.cumsum(1), (0, 0, 1, 0))
        return align_principal(centre(x), mirror=self.mirror)

    def prompt(self, n: int, config: Any) -> WantedChains:
        told = wishes(config.sampling.condition, self.conditions)
        row = [
            (told.get(k, torch.nan) - m) / s
            for k, (m, s) in zip(self.conditions, self.scales, strict=True)
        ]
        return WantedChains(
            torch.full((n, (self.beads - 1) * self.dim), torch.nan),
            torch.tensor([row] * n).view(n, -1),
        )


def _some(objects: Tensor | Mapped[Tensor]) -> Iterator[Tensor]:
    """Yields all chains, some at a time."""
    return parts(objects, chunk(objects[:1].shape))


def _vectors(objects: Tensor | Mapped[Tensor]) -> Iterator[Tensor]:
    """Yields the bond vectors of all chains, of some at a time."""
    for x in _some(objects):
        yield x.double().diff(dim=1)


def wishes(text: str, known: Sequence[str]) -> dict[str, float]:
    """Reads `name=value, ...`.

    Raises:
        ConfigError: A name is not among the conditions that are known, or a value is no number.
    """
    found = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = (p.strip() for p in part.partition("="))
        if name not in known:
            those = ", ".join(known) or "none: train with --conditions, or steer with --steer"
            raise ConfigError(f"this model has no condition {name!r}; its conditions: {those}")
        try:
            found[name] = float(value)
        except ValueError:
            raise ConfigError(f"condition {part!r} should read NAME=NUMBER") from None
    return found


def _asked(names: Sequence[str]) -> list[Observable]:
    """Returns observables by name."""
    known = {o.name: o for o in OBSERVABLES}
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no observable {name!r}{closest(name, known)}")
    return [known[name] for name in names]
