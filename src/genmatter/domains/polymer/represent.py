"""A chain as tensors: its aligned coordinates, its bonds and angles, or its bond vectors."""

__all__ = ["BondVectors", "Cartesian", "ChainBatch", "Internal", "WantedChains"]

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.config import closest
from genmatter.domains.polymer.metrics import OBSERVABLES
from genmatter.errors import ConfigError, RepresentationError
from genmatter.loading.batch import Batch
from genmatter.maths import geometry
from genmatter.maths.density import SoftplusMixture
from genmatter.maths.geometry import align_principal, centre
from genmatter.spine import Observable, Representation

_CHUNK = 1 << 16  # chains that are looked at at once


@dataclass(frozen=True)
class ChainBatch(Batch):
    """Chains of one length, `x` [n, numbers of a chain] in the order of their representation."""

    x: Tensor


@dataclass(frozen=True)
class WantedChains(ChainBatch):
    """Chains with what is wanted of them, `wanted` [n, conditions] in standard units or NaN."""

    wanted: Tensor


@dataclass(frozen=True)
class Cartesian(Representation[Tensor, ChainBatch]):
    """Coordinates, centred and turned to their principal axes, bead by bead.

    Rigid motion is removed, and reflection if `mirror` is set.
    """

    beads: int
    dim: int
    mirror: bool = False

    @classmethod
    def fit(cls, objects: Tensor, config: Any) -> "Cartesian":
        return cls(*objects.shape[1:], mirror=config.mirror)

    @property
    def width(self) -> int:
        """Numbers of a chain."""
        return self.beads * self.dim

    def encode(self, objects: Tensor) -> ChainBatch:
        _check(objects, self.beads, self.dim)
        return ChainBatch(align_principal(centre(objects), mirror=self.mirror).flatten(1))

    def decode(self, batch: ChainBatch) -> Tensor:
        return batch.x.unflatten(1, (self.beads, self.dim))

    def prompt(self, n: int, config: Any) -> ChainBatch:
        del config
        return ChainBatch(torch.full((n, self.width), torch.nan))


@dataclass(frozen=True)
class Internal(Representation[Tensor, ChainBatch]):
    """Bond lengths, bend angles (in space) and turn angles: `InternalCoordinates`, in a row.

    `bond` is the mean bond length of the training split, the unit of the networks' inputs, and
    `spread` the mean and standard deviation of bonds on the scale of `SoftplusMixture`.
    """

    beads: int
    dim: int
    bond: float
    spread: tuple[float, float]
    mirror: bool = False

    @classmethod
    def fit(cls, objects: Tensor, config: Any) -> "Internal":
        bonds = objects.double().diff(dim=1).norm(dim=-1)
        mean = bonds.mean().item()
        y = SoftplusMixture.inverse(bonds, mean)
        std = max(y.std().item(), 1e-3)  # rods have none
        beads, dim = objects.shape[1:]
        return cls(beads, dim, mean, (y.mean().item(), std), config.mirror)

    @property
    def widths(self) -> list[int]:
        """How many bonds, bends and turns there are."""
        n = self.beads
        return [n - 1, 0, n - 2] if self.dim == 2 else [n - 1, n - 2, n - 3]

    def split(self, batch: ChainBatch) -> geometry.InternalCoordinates:
        """Returns the parts of a batch."""
        return geometry.InternalCoordinates(*batch.x.split(self.widths, -1))

    def encode(self, objects: Tensor) -> ChainBatch:
        _check(objects, self.beads, self.dim)
        if self.mirror:
            objects = align_principal(centre(objects), mirror=True)
        return ChainBatch(torch.cat(geometry.internal(objects), -1))

    def rough(self, batch: ChainBatch) -> Tensor:
        """Returns the shapes in mean bonds, turned to their Rouse modes: smooth in the chain."""
        x, _ = geometry.grow(self.split(batch))
        return geometry.align_rouse(centre(x)) / self.bond

    def decode(self, batch: ChainBatch) -> Tensor:
        x, _ = geometry.grow(self.split(batch))
        return align_principal(centre(x), mirror=self.mirror)

    def prompt(self, n: int, config: Any) -> ChainBatch:
        del config
        return ChainBatch(torch.full((n, sum(self.widths)), torch.nan))


@dataclass(frozen=True)
class BondVectors(Representation[Tensor, WantedChains]):
    r"""Bond vectors of chains on their principal axes, decorrelated along the chain.

    The bond vectors :math:`b = L y` of the training split have the covariance :math:`L L^T` in
    each direction of space, so that y has unit covariance, whatever way the chains are turned.

    `mixing` is L, and `bond` the mean bond length and its standard deviation. Of `conditions`,
    names of observables, the values go along, with `scales`, their means and deviations.
    """

    beads: int
    dim: int
    mixing: tuple[tuple[float, ...], ...]
    bond: tuple[float, float]
    mirror: bool = False
    conditions: tuple[str, ...] = ()
    scales: tuple[tuple[float, float], ...] = ()

    @classmethod
    def fit(cls, objects: Tensor, config: Any) -> "BondVectors":
        beads, dim = objects.shape[1:]
        second, lengths = torch.zeros(beads - 1, beads - 1, dtype=torch.float64), []
        for part in objects.split(_CHUNK):
            bonds = part.double().diff(dim=1)
            second += torch.einsum("nad,nbd->ab", bonds, bonds)
            lengths.append(bonds.norm(dim=-1).flatten())
        b, names = torch.cat(lengths), tuple(config.conditions)
        second /= len(objects) * dim
        tiny = 1e-6 * second.diagonal().mean()  # stiff rods have one vector, not many
        mixing = torch.linalg.cholesky(second + tiny * torch.eye(beads - 1).double())
        seen = [torch.cat([o.of(p) for p in objects.split(_CHUNK)]) for o in _asked(names)]
        return cls(
            beads, dim, tuple(map(tuple, mixing.tolist())), (b.mean().item(), b.std().item()),
            config.mirror, names, tuple((v.mean().item(), v.std().item()) for v in seen),
        )  # fmt: skip

    @cached_property
    def matrix(self) -> Float[Tensor, "bonds bonds"]:
        """L."""
        return torch.tensor(self.mixing)

    @cached_property
    def inverse(self) -> Float[Tensor, "bonds bonds"]:
        """The inverse of L."""
        return torch.linalg.inv(self.matrix.double()).float()

    def encode(self, objects: Tensor) -> WantedChains:
        _check(objects, self.beads, self.dim)
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


def _check(objects: Tensor, beads: int, dim: int) -> None:
    if objects.ndim != 3 or tuple(objects.shape[1:]) != (beads, dim):
        raise RepresentationError(
            f"expected chains of {beads} beads in {dim}D, a tensor [n, {beads}, {dim}], "
            f"got {list(objects.shape)}; the model was trained on chains of that shape"
        )
