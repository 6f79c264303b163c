"""A chain as tensors: its aligned coordinates, or its bonds and angles."""

__all__ = ["Cartesian", "ChainBatch", "Internal", "check_shape", "moments"]

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from genmatter.domains.polymer.formats import chunk
from genmatter.errors import RepresentationError
from genmatter.loading.batch import Batch
from genmatter.loading.mapped import Mapped, parts
from genmatter.maths import geometry
from genmatter.maths.density import SoftplusMixture
from genmatter.maths.geometry import align_principal, centre
from genmatter.spine import Representation


@dataclass(frozen=True)
class ChainBatch(Batch):
    """Chains of one length, `x` [n, numbers of a chain] in the order of their representation."""

    x: Tensor


@dataclass(frozen=True)
class Cartesian(Representation[Tensor, ChainBatch]):
    """Coordinates, centred and turned to their principal axes, bead by bead.

    Rigid motion is removed, and reflection if `mirror` is set.
    """

    beads: int
    dim: int
    mirror: bool = False

    @classmethod
    def fit(cls, objects: Tensor | Mapped[Tensor], config: Any) -> "Cartesian":
        return cls(*objects[:1].shape[1:], mirror=config.mirror)

    @property
    def width(self) -> int:
        """Numbers of a chain."""
        return self.beads * self.dim

    def encode(self, objects: Tensor) -> ChainBatch:
        objects = objects[:]  # reads chains that stay in a file
        check_shape(objects, self.beads, self.dim)
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

    measure: ClassVar[str] = "bonds and angles"

    beads: int
    dim: int
    bond: float
    spread: tuple[float, float]
    mirror: bool = False

    @classmethod
    def fit(cls, objects: Tensor | Mapped[Tensor], config: Any) -> "Internal":
        beads, dim = objects[:1].shape[1:]
        bond, _ = moments(_bonds(objects))
        mean, std = moments(SoftplusMixture.inverse(b, bond) for b in _bonds(objects))
        return cls(beads, dim, bond, (mean, max(std, 1e-3)), config.mirror)  # rods have no spread

    @property
    def widths(self) -> list[int]:
        """How many bonds, bends and turns there are."""
        n = self.beads
        return [n - 1, 0, n - 2] if self.dim == 2 else [n - 1, n - 2, n - 3]

    def split(self, batch: ChainBatch) -> geometry.InternalCoordinates:
        """Returns the parts of a batch."""
        return geometry.InternalCoordinates(*batch.x.split(self.widths, -1))

    def encode(self, objects: Tensor) -> ChainBatch:
        objects = objects[:]  # reads chains that stay in a file
        check_shape(objects, self.beads, self.dim)
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


def _bonds(objects: Tensor | Mapped[Tensor]) -> Iterator[Tensor]:
    """Yields the bond lengths of all chains, of some at a time."""
    for x in parts(objects, chunk(objects[:1].shape)):
        yield x.double().diff(dim=1).norm(dim=-1)


def moments(values: Iterable[Tensor]) -> tuple[float, float]:
    """Returns mean and standard deviation of numbers that come in parts.

    References:
        | Updating formulae and a pairwise algorithm for computing sample variances
        | (Chan, Golub & LeVeque, 1979), https://doi.org/10.1007/978-3-642-51461-6_3
    """
    n, mean, squares = 0, 0.0, 0.0
    for x in values:
        m, centre = x.numel(), x.mean()
        gap = centre.item() - mean
        squares += (x - centre).square().sum().item() + gap**2 * n * m / (n + m)
        n, mean = n + m, mean + gap * m / (n + m)
    return mean, math.sqrt(squares / (n - 1))


def check_shape(objects: Tensor, beads: int, dim: int) -> None:
    """Raises a RepresentationError where chains are not of that length and space."""
    if objects.ndim != 3 or tuple(objects.shape[1:]) != (beads, dim):
        raise RepresentationError(
            f"expected chains of {beads} beads in {dim}D, a tensor [n, {beads}, {dim}], "
            f"got {list(objects.shape)}; the model was trained on chains of that shape"
        )
