"""Crystals, from data to scores and pictures."""

__all__ = ["DOMAIN", "CrystalStructures"]

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from genmatter.domains.crystal import data, figures, matching, metrics, stability, validity, viewer
from genmatter.domains.crystal.baselines import baselines
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.formats import SUFFIXES, read, write
from genmatter.domains.crystal.observables import observables
from genmatter.domains.crystal.represent import CrystalTensors
from genmatter.domains.crystal.wishes import composition
from genmatter.domains.crystal.writing import parquet_file
from genmatter.errors import DataError
from genmatter.spine import Domain, Observable, Score, Splits

SHOWN = 24
"""Crystals of a viewer."""
LEAKS = 0.01
"""Share of test crystals whose formula training has, above which a split is not honest."""


class CrystalStructures(Domain[Crystals]):
    """Periodic crystals, whatever their cell, its origin, its axes and the order of atoms."""

    representation = CrystalTensors
    formats = tuple(SUFFIXES)
    counts_failures = True
    noun = "crystal"
    compared = ("density", "volume_per_atom", "shortest_axis", "longest_axis", "skew", "spacing")

    @cached_property
    def observables(self) -> tuple[Observable[Crystals], ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of every crystal, and the file's own columns."""
        return observables(self._columns)

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        """Returns the columns that are named, or else those that the data have, if they do."""
        told = self.config.data
        if told.columns or not told.source:
            return told.columns
        try:
            return tuple(data.load(told).train.columns)
        except DataError:  # the data are gone, and a run goes on without
            return ()

    def load(self) -> Splits[Crystals]:
        return data.load(self.config.data)

    def read(self, path: Path) -> Crystals:
        return read(path, self.config.data.cif_column)

    def write(self, objects: Crystals, path: Path) -> None:
        write(objects, path)

    def convert(self, folder: Path) -> list[Path]:
        """Writes one Parquet table of all crystals, with a column `split`."""
        splits = self.load()
        parts = {"train": splits.train, "val": splits.valid, "test": splits.test}
        if splits.valid is splits.test:
            del parts["val"]
        names = [name for name, x in parts.items() for _ in range(len(x))]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "crystals.parquet"
        path.write_bytes(parquet_file(Crystals.cat(list(parts.values())), {"split": names}))
        return [path]

    def record(self, folder: Path) -> None:
        """Leaves a table of the records that are not learned from, where there are any."""
        if data.summary(self.config.data).dropped:
            data.write_dropped(self.config.data, folder / "dropped.csv")

    def similarity(self, objects: Crystals, to: Crystals) -> Tensor:
        """Returns how alike crystals are to one, from 0 to 1, by fingerprint and composition."""
        return metrics.similarity(objects, to)

    def score(self, samples: Crystals, splits: Splits[Crystals]) -> dict[str, Score]:
        """Compares crystals with the test split; where a formula is asked for, counts it too.

        Where `sampling.relax` says so, the first ones are relaxed (`stability`).
        """
        self.ready()
        found = metrics.score(samples, splits.test, splits.train)
        if formula := self.config.sampling.formula:
            found["formula"] = metrics.of_formula(samples, composition(formula))
        s = self.config.sampling
        return found | stability.score(samples, splits.train, s.relax, s.hull)

    def ready(self) -> None:
        """Refuses to relax without CHGNet, and to tell stability without energies to compare."""
        stability.check(self.config.sampling.relax, self.config.sampling.hull)

    def finished(self, objects: Crystals) -> Crystals:
        """Brings the first ones to rest, as many as `sampling.relax` says."""
        return stability.finished(objects, self.config.sampling.relax)

    def match(self, objects: Crystals, copies: Crystals) -> dict[str, Score]:
        return metrics.match(objects, copies)

    def baselines(self, train: Crystals, n: int) -> dict[str, Crystals]:
        return baselines(train, n)

    def draw(self, objects: Crystals, titles: Sequence[str]) -> str:
        return figures.strip(objects, stability.titled(objects, titles))

    def map(self, objects: Crystals, xy: Tensor, values: dict[str, Tensor]) -> str:
        units = {o.name: o.unit for o in self.observables}
        return figures.hover_map(xy, objects, values, units)

    def pictures(self, samples: Crystals, splits: Splits[Crystals]) -> dict[str, Any]:
        """Shows samples that turn, and their symmetry beside the data's."""
        return {
            "Samples, the first ones drawn: drag to turn.": viewer.turned(samples[:SHOWN]),
            "Crystal systems of samples and of the test split, within 0.1 angstrom.":
                figures.symmetries(samples, splits.test),
        }  # fmt: skip

    def faults(self, objects: Crystals) -> list[str]:
        return validity.faults(objects)

    def doubts(self, objects: Crystals, data: Crystals) -> list[str]:
        """Finds atoms too close for their elements, charges that do not balance, odd volumes."""
        each = data.volumes / data.counts
        low, high = float(each.min()), float(each.max())
        own = objects.volumes / objects.counts
        spaced = validity.spaced(objects).tolist()
        balanced = validity.valid_composition(objects).tolist()
        return [
            fault or ("" if s else "atoms too close for their elements")
            or ("" if b else "charges that do not balance")
            or ("" if low <= v <= high else "a volume per atom that no crystal of the data has")
            for fault, s, b, v in zip(
                self.faults(objects), spaced, balanced, own.tolist(), strict=True
            )
        ]  # fmt: skip

    def facts(self, splits: Splits[Crystals]) -> dict[str, str]:
        train = splits.train
        sizes = ((name, getattr(splits, name)) for name in ("train", "valid", "test"))
        return {
            **data.summary(self.config.data).facts,
            "splits": ", ".join(f"{len(x):,} {name}" for name, x in sizes),
            "atoms": f"{int(train.counts.min())} to {int(train.counts.max())} in a primitive cell",
            "elements": f"{len(train.numbers.unique())}",
            "tolerances": _tolerances(),
            **{o.name: _moments(o, train) for o in self.observables[:2]},
        }

    def cautions(self, splits: Splits[Crystals]) -> list[str]:
        """Says how much the training split knows of the compositions of the test split."""
        share = data.leaking(splits)
        if share <= LEAKS:
            return []
        return [
            f"**{share:.0%} of the test crystals have a training crystal of the same formula** "
            "(polymorphs, or the same crystal again): test scores are better than for new "
            "compositions. Compositions are kept together by `--split composition`."
        ]

    def honest(self) -> Any:
        told = self.config.data
        if told.split == "composition" or data.leaking(self.load()) <= LEAKS:
            return None
        apart = dataclasses.replace(told, split="composition")
        return dataclasses.replace(self.config, data=apart)


def _tolerances() -> str:
    return "; ".join(
        f"{t.name}: lengths {t.ltol:g}, sites {t.stol:g}, angles {t.angle_tol:g}°"
        for t in (matching.CDVAE, matching.DEFAULT)
    )


def _moments(what: Observable[Crystals], objects: Crystals) -> str:
    x = what.of(objects)
    x = x[x.isfinite()]
    return f"{float(x.mean()):.3g} ± {float(x.std()):.3g} {what.unit}".strip()


DOMAIN = CrystalStructures
