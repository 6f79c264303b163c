"""How long trajectories remember, and what of that a split lets through."""

__all__ = ["Correlation", "correlation", "memory"]

import math
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmatter.domains.backbone.conformers import Conformers, Protein, Trajectory
from genmatter.loading import split
from genmatter.maths.geometry import radius_of_gyration
from genmatter.spine import Splits

MOST = 20_000
"""Frames that are enough to know how long a trajectory remembers."""


@dataclass(frozen=True)
class Correlation:
    """How long a protein's trajectories remember, and what of that its split lets through."""

    protein: str
    time: float
    """Integrated autocorrelation time of the radius of gyration."""
    unit: str
    """`ps`, or `frames` where their distance is unknown."""
    leak: float
    """Share of test frames with a training frame of their own replica within that time."""


def correlation(splits: Splits[Conformers]) -> list[Correlation]:
    """Returns how correlated the frames of each protein are, and how much the split leaks."""
    found = splits.train.trajectories
    order = sorted(range(len(found)), key=lambda k: found[k].protein.name)
    return [
        _correlation(protein, [*some], splits)
        for protein, some in groupby(order, key=lambda k: found[k].protein)
    ]


def _correlation(protein: Protein, some: list[int], splits: Splits[Conformers]) -> Correlation:
    all_ = splits.train.trajectories
    times = {k: memory(_gyration(all_[k])) for k in some}
    time = sum(times.values()) / len(times)
    frame_ps = all_[some[0]].frame_ps
    shares = [
        (len(test), split.leak(_frames(splits.train, k), test, math.ceil(time)))
        for k in some
        if len(test := _frames(splits.test, k))
    ]
    n = sum(count for count, _ in shares)
    leak = sum(count * share for count, share in shares) / n if n else 0.0
    return Correlation(protein.name, time * (frame_ps or 1), "ps" if frame_ps else "frames", leak)


def _frames(objects: Conformers, k: int) -> Int[Tensor, " n"]:
    return objects.where[objects.where[:, 0] == k, 1]


def _gyration(trajectory: Trajectory) -> Float[Tensor, " n"]:
    n, step = min(len(trajectory), MOST), 1000
    parts = [trajectory.raw(k, min(k + step, n), slice(1, 2)) for k in range(0, n, step)]
    return torch.cat([radius_of_gyration(x[:, :, 0]) for x in parts])


def memory(values: Float[Tensor, " n"]) -> float:
    r"""Returns the integrated autocorrelation time of a series, in its steps.

    .. math:: \tau(M) = \frac12 + \sum_{k=1}^{M} \rho_k

    with the smallest window :math:`M \ge 5 \tau(M)` (Sokal, Monte Carlo methods in statistical
    mechanics, 1997, section 3, https://doi.org/10.1007/978-1-4899-0319-8_6). Independent values
    have 1/2, and a series that does not vary is said to have that too.
    """
    rho = split.autocorrelation(values, len(values) // 2)
    if not rho.isfinite().all():
        return 0.5
    tau = rho.cumsum(0) - 0.5
    enough = (torch.arange(len(tau)) >= 5 * tau).nonzero()
    return max(0.5, float(tau[enough[0, 0] if len(enough) else -1]))
