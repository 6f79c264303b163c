"""Protein backbones, from trajectories to scores and pictures."""

__all__ = ["DOMAIN", "Backbone"]

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.backbone import baselines, data, ensemble, figures, metrics, viewer
from genmatter.domains.backbone.config import BackboneDataConfig
from genmatter.domains.backbone.conformers import Conformers, Protein, Trajectory
from genmatter.domains.backbone.formats import SUFFIXES, read, write
from genmatter.domains.backbone.motifs import residues_named
from genmatter.domains.backbone.observables import OBSERVABLES, alphas, rmsd_to
from genmatter.domains.backbone.represent import BackboneFrames, ideal
from genmatter.domains.backbone.traces import strip
from genmatter.errors import ConfigError, DataError
from genmatter.maths.superpose import rmsd
from genmatter.spine import Domain, Observable, Score, Splits

SHOWN = 3
"""Proteins that are pictured one by one."""
_STATISTICS = 5000
"""Frames of each protein that statistics are taken from."""


class Backbone(Domain[Conformers]):
    """Conformers of proteins, up to rigid motion."""

    representation = BackboneFrames
    formats = tuple(SUFFIXES)
    precision = {".pdb": 2e-3, ".cif": 2e-3, ".xtc": 2e-2}

    @cached_property
    def observables(self) -> tuple[Observable[Conformers], ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of every conformer, and the distance and the target that sampling names."""
        told, more = self.config.sampling, []
        if told.pair:
            more.append(Observable("distance", "angstrom", partial(_distance, told.pair), True))
        if told.target:
            target = _single(read(Path(told.target)), told.target)
            more.append(Observable("rmsd", "angstrom", partial(_rmsd, target, told.target), True))
        known = (
            Observable(o.name, o.unit, partial(_of_each, o.of), o.differentiable)
            for o in OBSERVABLES
        )
        return (*known, *more)

    def load(self) -> Splits[Conformers]:
        return data.load(self.config.data, stream=self.config.optim.stream)

    def read(self, path: Path) -> Conformers:
        return read(path)

    def write(self, objects: Conformers, path: Path) -> None:
        write(objects, path)

    def convert(self, folder: Path) -> list[Path]:
        """Writes all trajectories as arrays with their tables into a folder."""
        return data.convert(self.config.data, folder)

    def score(self, samples: Conformers, splits: Splits[Conformers]) -> dict[str, Score]:
        """Compares conformers with the test frames of the same protein; of several, the mean.

        Raises:
            DataError: None of the samples is of a protein in the test split.
        """
        tables, shown = [], []
        for protein in splits.test.proteins:
            x = _alike(samples, protein)
            if not len(x):
                continue
            test, train = splits.test.of(protein), splits.train.of(protein)
            known = train if len(train) else test
            y, z = _some(test), _some(known)
            series = [_some(t).double() for t in _series(splits, protein)]
            tables.append(metrics.score(x.backbone(), y, z, series=series))
            finite = x.alphas()
            finite = finite[finite.isfinite().flatten(1).all(1)]
            if len(finite) > 1:
                shown.append(ensemble.figures(finite, alphas(y), alphas(z)[0]))
        if not tables:
            raise DataError(
                f"the samples are of {', '.join(p.name for p in samples.proteins)}, and the test "
                f"frames of {', '.join(p.name for p in splits.test.proteins)}"
            )
        return _mean(tables) | (ensemble.scores(shown) if shown else {})

    def match(self, objects: Conformers, copies: Conformers) -> dict[str, Score]:
        """Compares conformers with their reconstructions, one to one, after superposition."""
        found = [
            rmsd(_backbone4(objects.of(p)), _backbone4(_alike(copies, p)))
            for p in objects.proteins
        ]
        return {"rmsd": Score(torch.cat(found).mean().item(), 0.0, "angstrom, N CA C O")}

    def baselines(self, train: Conformers, n: int) -> dict[str, Conformers]:
        """Returns the simple models, each replica alone, and frames as a network sees them."""
        proteins, found = train.proteins, {}
        share = -(-n // len(proteins))
        for name, model in baselines.BASELINES.items():
            parts = [_made(p, model(_some(train.of(p)), share)) for p in proteins]
            found[name] = Conformers.cat(parts)
        found["training set, ideal residues"] = ideal(_evenly(train, n))
        numbers = sorted({train.trajectories[k].replica for k in train.where[:, 0].tolist()})
        if len(numbers) > 1:
            for k in numbers:
                found[f"training set, replica {k}"] = _evenly(train.of_replica(k), n)
        return found

    def draw(self, objects: Conformers, titles: Sequence[str]) -> Any:
        """Draws conformers in a row, those of the first one's protein."""
        first = objects[:1].proteins[0]
        return strip(objects.of(first).backbone(), titles)

    def pictures(self, samples: Conformers, splits: Splits[Conformers]) -> dict[str, Any]:
        """Draws torsions, fluctuations, contacts, free energies and overlays by protein."""
        found = {}
        told: BackboneDataConfig = self.config.data
        for protein in splits.test.proteins[:SHOWN]:
            x, y = _alike(samples, protein).backbone(), _some(splits.test.of(protein))
            if not len(x):
                continue
            train = _some(splits.train.of(protein))
            series = [_some(t) for t in _series(splits, protein)]
            step = max(told.frame_interval, 1)
            frame_ps = step * splits.test.of(protein)[:1].trajectories[0].frame_ps
            lag = min(10, max(min(len(t) for t in series) // 4, 1))
            of = f" of {protein.name}"
            found |= {
                f"Ramachandran densities{of}: samples beside molecular dynamics.":
                    figures.ramachandran(x, y),
                f"Fluctuations of CA{of}.": figures.rmsf(x, y, train, protein.numbers),
                f"Contacts{of}: CA closer than 8 angstrom.":
                    figures.contacts(x, y, protein.numbers),
                f"Free energy{of} on the two slowest coordinates of the molecular dynamics.":
                    figures.free_energy(x, series, lag, frame_ps),
                f"Conformers{of}: drag to turn.":
                    viewer.overlay({"samples": x, "test": y}),
            }  # fmt: skip
        return found

    def faults(self, objects: Conformers) -> list[str]:
        return _reasons(objects, metrics.faults)

    def doubts(self, objects: Conformers, data: Conformers) -> list[str]:
        """Finds clashes and broken chains of CA."""
        del data
        return _reasons(objects, metrics.doubts)

    def facts(self, splits: Splits[Conformers]) -> dict[str, str]:
        told: BackboneDataConfig = self.config.data
        sizes = ((name, getattr(splits, name)) for name in ("train", "valid", "test"))
        names = {"openmm": "simulated with OpenMM", "torsions": "random torsions"}
        found = {
            "data": told.source or told.pdb or names[told.peptide.simulator],
            "frames": ", ".join(f"{len(x):,} {name}" for name, x in sizes),
            "split": told.train_split or "whole replicas held out, where there are several",
            "proteins": ", ".join(
                f"{p.name} ({len(p)} residues)" for p in splits.train.proteins[:8]
            ),
        }
        times = {t.frame_ps for t in splits.train.trajectories}
        if times != {0.0}:
            found["time between frames"] = ", ".join(f"{t:g} ps" for t in sorted(times))
        for k, note in enumerate(data.notes(splits)):
            found[f"note {k + 1}"] = note
        return found

    def cautions(self, splits: Splits[Conformers]) -> list[str]:
        """Says how much of the test split the training split has almost seen."""
        both = {*splits.train.where[:, 0].tolist()} & {*splits.test.where[:, 0].tolist()}
        known = data.correlation(splits) if both else []
        shared = torch.isin(splits.test.where[:, 0], torch.tensor(sorted(both))).double().mean()
        times = ", ".join(f"{c.protein} {c.time:.3g} {c.unit}" for c in known)
        found = [
            f"**{shared:.0%} of the test frames are of replicas that training frames are of "
            f"too.** What is slower than these is shared (the radius of gyration remembers itself "
            f"for: {times}), so test scores can be too good; whole replicas that are held out "
            "say more."
        ]
        return (found if both else []) + [
            f"{c.protein}: **{c.leak:.0%} of its test frames have a training frame of the same "
            f"replica within {c.time:.3g} {c.unit}**, the time that its radius of gyration "
            "remembers itself: they are near copies."
            for c in known
            if c.leak > 0
        ]


def _alike(objects: Conformers, protein: Protein) -> Conformers:
    """Returns those of a protein, or of its residues under another name."""
    same = [t.protein == protein for t in objects.trajectories]
    if not any(same):
        same = [t.protein.sequence == protein.sequence for t in objects.trajectories]
    those = torch.tensor(same, dtype=torch.bool)
    return objects[those[objects.where[:, 0]]] if len(objects) else objects


def _evenly(objects: Conformers, n: int) -> Conformers:
    n = min(n, len(objects))
    return objects[torch.arange(n) * len(objects) // max(n, 1)]


def _some(objects: Conformers) -> Float[Tensor, "n L 5 3"]:
    """Reads N, CA, C, O and CB, of so many frames as statistics need."""
    return _evenly(objects, _STATISTICS).backbone()


def _series(splits: Splits[Conformers], protein: Protein) -> list[Conformers]:
    """Returns the test frames of a protein trajectory by trajectory, in the order of time."""
    test = splits.test.of(protein)
    return [test[test.where[:, 0] == k] for k in test.where[:, 0].unique().tolist()]


def _made(protein: Protein, x: Float[Tensor, "n L 5 3"]) -> Conformers:
    atoms = torch.nn.functional.pad(x, (0, 0, 0, 9)).float()
    return Conformers.all([Trajectory(protein, atoms, complete=False)])


def _backbone4(objects: Conformers) -> Float[Tensor, "n points 3"]:
    return objects.backbone()[:, :, :4].flatten(1, 2)


def _mean(tables: list[dict[str, Score]]) -> dict[str, Score]:
    """Returns the means of scores over proteins."""
    names = [k for k in tables[0] if all(k in t for t in tables)]
    mean = lambda values: sum(values) / len(values)
    return {
        k: replace(
            tables[0][k],
            value=mean([t[k].value for t in tables]), best=mean([t[k].best for t in tables]),
        )
        for k in names
    }  # fmt: skip


def _of_each(of: Callable[[Tensor], Tensor], objects: Conformers) -> Float[Tensor, " n"]:
    """Observes conformers protein by protein."""
    parts, rows = [], []
    for protein in objects.proteins:
        those = torch.tensor([t.protein == protein for t in objects.trajectories])
        here = those[objects.where[:, 0]].nonzero()[:, 0]
        parts.append(of(objects[here].backbone()))
        rows.append(here)
    if not parts:
        return torch.zeros(0)
    return torch.cat(parts)[torch.cat(rows).argsort()]


def _reasons(objects: Conformers, of: Callable[[Tensor], list[str]]) -> list[str]:
    found = [""] * len(objects)
    for protein in objects.proteins:
        those = torch.tensor([t.protein == protein for t in objects.trajectories])
        here = those[objects.where[:, 0]].nonzero()[:, 0]
        for row, why in zip(here.tolist(), of(objects[here].backbone()), strict=True):
            found[row] = why
    return found


def _distance(pair: str, objects: Conformers) -> Float[Tensor, " n"]:
    """Returns the distance of two CA atoms, named by residue."""
    proteins = objects.proteins
    if len(proteins) != 1:
        raise ConfigError("a distance needs --protein, where the model knows several")
    those = residues_named(pair, proteins[0]).nonzero()[:, 0]
    if len(those) != 2:
        raise ConfigError(f"{pair!r} names {len(those)} residues, and a distance has two")
    found = objects.alphas()[:, those]
    return torch.linalg.vector_norm(found[:, 0] - found[:, 1], dim=-1)


def _single(objects: Conformers, path: str) -> tuple[Protein, Float[Tensor, "L 5 3"]]:
    if len(objects.proteins) != 1:
        raise DataError(f"{path} should hold one protein, and holds {len(objects.proteins)}")
    return objects.proteins[0], objects[:1].backbone()[0]


def _rmsd(
    target: tuple[Protein, Float[Tensor, "L 5 3"]], path: str, objects: Conformers
) -> Float[Tensor, " n"]:
    """Returns how far CA atoms are from a target's, after superposition."""
    for protein in objects.proteins:
        if protein.sequence != target[0].sequence:
            raise ConfigError(
                f"{path} holds {target[0].sequence}, but conformers are of {protein.sequence}"
            )
    return _of_each(rmsd_to(target[1]).of, objects)


DOMAIN = Backbone
