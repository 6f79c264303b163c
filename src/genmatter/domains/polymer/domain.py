"""Bead-spring polymers, from data to scores and pictures."""

__all__ = ["DOMAIN", "Polymer"]

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from genmatter.domains.polymer import data, figures, metrics
from genmatter.domains.polymer.baselines import baselines
from genmatter.domains.polymer.config import PolymerDataConfig
from genmatter.domains.polymer.data import even
from genmatter.domains.polymer.formats import SUFFIXES, read, write
from genmatter.domains.polymer.potential import energy
from genmatter.domains.polymer.represent import Cartesian, Internal
from genmatter.domains.polymer.vectors import BondVectors
from genmatter.loading.mapped import Mapped, parts
from genmatter.loading.split import autocorrelation, leak
from genmatter.maths.geometry import radius_of_gyration
from genmatter.spine import Domain, Representation, Score, Splits


def _in_parts(of: Callable[[Tensor], Tensor], chains: Tensor | Mapped[Tensor]) -> Tensor:
    """Observes chains that stay in a file, some at a time."""
    if not isinstance(chains, Mapped):
        return of(chains)
    return torch.cat([of(x) for x in parts(chains, data.MOST)])


class Polymer(Domain[Tensor]):
    """Chains of beads, up to rigid motion: `[n, beads, dim]` in the data's unit of length."""

    observables = tuple(replace(o, of=partial(_in_parts, o.of)) for o in metrics.OBSERVABLES)
    formats = tuple(SUFFIXES)

    @property
    def representation(self) -> type[Representation]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return {"cartesian": Cartesian, "internal": Internal, "bonds": BondVectors}[
            self.config.representation
        ]

    def load(self) -> Splits[Tensor]:
        return data.load(self.config.data, stream=self.config.optim.stream)

    def read(self, path: Path) -> Tensor:
        return read(path, self.config.data.array)

    def write(self, objects: Tensor, path: Path) -> None:
        write(objects[:], path)

    @cached_property
    def energy(self) -> Callable[[Tensor], Tensor] | None:
        """The energy of chains in kT, where they were simulated and so it is known."""
        told: PolymerDataConfig = self.config.data
        return None if told.source else partial(energy, potential=told.potential)

    @cached_property
    def clash(self) -> float:
        """The distance below which two beads clash."""
        told: PolymerDataConfig = self.config.data
        if told.clash:
            return told.clash
        if told.source:
            return metrics.clash_distance(even(self.load().train))
        return metrics.CLASH * told.potential.lj_sigma / 0.158

    def score(self, samples: Tensor, splits: Splits[Tensor]) -> dict[str, Score]:
        test, train = even(splits.test), even(splits.train)
        return metrics.score(even(samples), test, train, self.energy, self.clash)

    def match(self, objects: Tensor, copies: Tensor) -> dict[str, Score]:
        return metrics.match(objects[:], copies)

    def baselines(self, train: Tensor, n: int) -> dict[str, Tensor]:
        return baselines(even(train), n)

    def draw(self, objects: Tensor, titles: Sequence[str]) -> Figure:
        return figures.strip(objects, titles, clash=self.clash)

    def faults(self, objects: Tensor) -> list[str]:
        clash = self.clash if self.config.sampling.reject_clashes else 0.0
        return metrics.faults(objects, clash)

    def doubts(self, objects: Tensor, data: Tensor) -> list[str]:
        """Finds clashes, bonds longer than any of the data's, and energies 3 sigma above them."""
        reasons, data = metrics.faults(objects, self.clash), even(data)
        longest = metrics.bond_lengths(data).max()
        far = metrics.bond_lengths(objects).amax(1) > longest
        high = torch.zeros_like(far)
        if self.energy:
            known = self.energy(data)
            high = ~(self.energy(objects) <= known.mean() + 3 * known.std())
        return [
            reason or ("a bond longer than any in the data" if f else "")
            or ("an energy over 3 sigma above the data's" if h else "")
            for reason, f, h in zip(reasons, far.tolist(), high.tolist(), strict=True)
        ]  # fmt: skip

    def facts(self, splits: Splits[Tensor]) -> dict[str, str]:
        told: PolymerDataConfig = self.config.data
        train = even(splits.train)
        sizes = ((name, getattr(splits, name)) for name in ("train", "valid", "test"))
        names = {"exact": "simulated, exact Boltzmann sampler", "langevin": "simulated, Langevin"}
        return {
            "data": told.source or names[told.simulator],
            "chains": ", ".join(f"{len(x):,} {name}" for name, x in sizes),
            "split": "independent chains" if self._independent else told.split,
            "beads": f"{train.shape[1]} in {train.shape[2]}D",
            "bond length": _spread(metrics.bond_lengths(train)),
            "radius of gyration": _spread(radius_of_gyration(train)),
            "end to end": _spread(metrics.end_to_end(train)),
            "clash below": f"{self.clash:.3g}",
        }

    @property
    def _independent(self) -> bool:
        return not self.config.data.source and self.config.data.simulator == "exact"

    def cautions(self, splits: Splits[Tensor]) -> list[str]:
        """Says how much a random split of correlated frames leaks."""
        if self.honest() is None:
            return []
        told: PolymerDataConfig = self.config.data
        stream = self.config.optim.stream
        series, rows = data.series(told, stream=stream), data.rows(told, stream=stream)
        memory = autocorrelation(radius_of_gyration(series[: data.MOST]), 1)[1]
        share = leak(rows.train, rows.test)
        return [
            f"The frames are a time series (autocorrelation of Rg {memory:.2f} from one to the "
            f"next), and the split is random: **{share:.0%} of the test frames have a training "
            "frame right beside them in time**. Test scores can be too good. The same recipe on a "
            "split in blocks with gaps stands beside it."
        ]

    def honest(self) -> Any:
        if self._independent or self.config.data.split == "blocks":
            return None
        apart = dataclasses.replace(self.config.data, split="blocks", valid_fraction=0.1)
        return dataclasses.replace(self.config, data=apart)


def _spread(x: Tensor) -> str:
    return f"{float(x.mean()):.3f} ± {float(x.std()):.3f}"


DOMAIN = Polymer
