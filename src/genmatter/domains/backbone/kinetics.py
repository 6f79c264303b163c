r"""Slow motions of trajectories: which coordinates forget last, and where the time is spent.

Everything is fitted on frames in the order of time, and can then look at any conformers.
"""

__all__ = ["Slow", "Surface", "features", "free_energy", "slow_components"]

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.backbone.observables import pair_distances, phi, psi
from genmatter.errors import DataError
from genmatter.evaluation.compare import spread

Series = Float[Tensor, "frames features"]

_LANDMARKS = 16
"""Longer chains give distances of this many evenly spaced residues: pairs grow as the square."""

_RANK = 50
"""Principal components that are searched for slow ones: with more, chance finds slow sums."""


def features(x: Float[Tensor, "n residues 5 3"]) -> Float[Tensor, "n features"]:
    """Returns sine and cosine of phi and psi, and CA distances: numbers that motions change."""
    torsions = torch.cat([phi(x), psi(x)], 1)
    places = torch.linspace(0, x.shape[1] - 1, min(x.shape[1], _LANDMARKS), device=x.device)
    distances = pair_distances(x[:, places.round().long()])
    return torch.cat([torsions.sin(), torsions.cos(), distances], 1)


@dataclass(frozen=True)
class Slow:
    """Slow coordinates, each of mean 0 and variance 1 over the series, the slowest first."""

    mean: Float[Tensor, " features"]
    axes: Float[Tensor, "features components"]
    correlation: Float[Tensor, " components"]
    """How well each remembers itself after the lag."""
    lag: int
    """Frames."""

    def of(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n components"]:
        """Returns the coordinates of any conformers' features."""
        return (x.to(self.mean) - self.mean) @ self.axes

    @property
    def timescales(self) -> Float[Tensor, " components"]:
        r"""The times :math:`-\tau / \ln \rho` in frames; NaN where nothing is remembered."""
        return -self.lag / torch.where(self.correlation > 0, self.correlation, torch.nan).log()


def slow_components(series: Sequence[Series], lag: int, components: int = 2) -> Slow:
    r"""Finds the sums of features that remember themselves best, by TICA.

    With the covariance :math:`C_0` of features and :math:`C_\tau` of features with those a lag
    later, both averaged with time running backwards, the coordinates solve
    :math:`C_\tau u = \rho\, C_0 u`. It is solved among at most fifty leading principal
    components of the standardised features, where :math:`C_0` is the identity.

    References:
        | Identification of slow molecular order parameters for Markov model construction
        | (Pérez-Hernández et al., 2013) https://doi.org/10.1063/1.4811489

    Args:
        series: Features of trajectories, each in the order of time.
        lag: Frames.
        components: How many coordinates to return, or fewer where there are no more features.

    Raises:
        DataError: No series has more than two frames beyond the lag.
    """
    pairs = [(x[:-lag].double(), x[lag:].double()) for x in series if len(x) > lag + 2]
    if lag < 1 or not pairs:
        frames = ", ".join(str(len(x)) for x in series) or "no series"
        raise DataError(
            f"a lag of {lag} frames asks for trajectories of more than {lag + 2}; given: {frames}"
        )
    now, later = (torch.cat(part) for part in zip(*pairs, strict=True))
    both = torch.cat([now, later])
    mean, scale = both.mean(0), spread(both)
    white = _whitening((both - mean) / scale) / scale[:, None]
    a, b = (now - mean) @ white, (later - mean) @ white
    cross = a.T @ b / len(a)
    values, vectors = torch.linalg.eigh((cross + cross.T) / 2)
    values, vectors = values.flip(0)[:components], vectors.flip(1)[:, :components]
    return Slow(mean, white @ vectors, values, lag)


def _whitening(x: Series) -> Float[Tensor, "features rank"]:
    """Returns the matrix after which the leading components have unit covariance."""
    values, axes = torch.linalg.eigh(x.T @ x / len(x))
    values, axes = values.flip(0)[:_RANK], axes.flip(1)[:, :_RANK]
    kept = values > 1e-6 * values[0]
    return axes[:, kept] / values[kept].sqrt()


@dataclass(frozen=True)
class Surface:
    """Free energy on a grid of two coordinates."""

    x: Float[Tensor, " edges_x"]
    y: Float[Tensor, " edges_y"]
    energy: Float[Tensor, "x y"]
    """In kT above the lowest cell; inf where nothing was seen."""


def free_energy(
    points: Float[Tensor, "n 2"],
    bins: int = 40,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Surface:
    r"""Returns :math:`-\ln p / p_\mathrm{max}` of the cells of a grid.

    Limits are those of the points, unless they are given, as to show two sets on one grid.
    """
    points = points.double().cpu()
    if limits is None:
        low, high = points.amin(0).tolist(), points.amax(0).tolist()
        limits = (low[0], high[0]), (low[1], high[1])
    flat = [edge for pair in limits for edge in pair]
    counts, (x, y) = torch.histogramdd(points, [bins, bins], range=flat)
    return Surface(x, y, -(counts / counts.amax()).log())
