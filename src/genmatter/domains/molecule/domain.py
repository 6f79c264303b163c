"""Small molecules, from data to scores and pictures."""

__all__ = ["DOMAIN", "SmallMolecules"]

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rdkit import Chem
from torch import Tensor

from genmatter.domains.molecule import data, figures, metrics
from genmatter.domains.molecule.baselines import baselines
from genmatter.domains.molecule.formats import SUFFIXES, read_molecules, write
from genmatter.domains.molecule.molecules import Molecules, canonical, no_log
from genmatter.domains.molecule.observables import observables
from genmatter.domains.molecule.represent import MoleculeTokens, wishes
from genmatter.domains.molecule.soundness import sound
from genmatter.errors import ConfigError
from genmatter.spine import Domain, Observable, Score, Splits

SHOWN = 24
"""Molecules of a grid."""
SLIP = "written otherwise than its molecule"
"""Why a molecule is drawn again though it is one."""


class SmallMolecules(Domain[Molecules]):
    """Molecules without coordinates: canonical SMILES, and what is known of each."""

    representation = MoleculeTokens
    formats = tuple(SUFFIXES)
    counts_failures = True
    noun = "smiles"
    quest = ("qed=max",)

    @cached_property
    def observables(self) -> tuple[Observable[Molecules], ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of every molecule, what the model is told beside, and the file's own columns."""
        told = self.config
        own = {*told.data.columns}
        more = [name for name in (*told.conditions, *told.predict) if name not in own]
        return observables(told.data.columns, more)

    def load(self) -> Splits[Molecules]:
        return data.load(self.config.data)

    def read(self, path: Path) -> Molecules:
        told = self.config.data
        return read_molecules(path, told.smiles_column, told.columns, lacking=True)

    def write(self, objects: Molecules, path: Path) -> None:
        write(objects, path)

    def parse(self, text: str) -> Molecules | None:
        """Reads a SMILES."""
        with no_log():
            smiles = canonical(text)
        return Molecules.of([smiles]) if smiles else None

    def record(self, folder: Path) -> None:
        """Leaves a table of the rows that are not learned from, where there are any."""
        if data.summary(self.config.data).dropped:
            data.write_dropped(self.config.data, folder / "dropped.csv")

    def identities(self, objects: Molecules) -> list[str]:
        """Returns canonical SMILES."""
        return objects.smiles.tolist()

    def similarity(self, objects: Molecules, to: Molecules) -> Tensor:
        """Returns the Tanimoto similarity of each to one molecule, by Morgan fingerprints."""
        return metrics.similarity(objects, to)

    def cost(self, objects: Molecules) -> Tensor | None:
        """Returns how far molecules are from the targets, in standard deviations of the data."""
        told = wishes(self.config.sampling.target, self.config.conditions)
        if not told:
            return None
        known = {o.name: o.of for o in self.observables}
        far = [
            (known[name](objects) - value).abs() / self._spread(name)
            for name, value in told.items()
        ]
        return torch.stack(far).square().sum(0).nan_to_num(torch.inf)

    def _spread(self, name: str) -> float:
        known = {o.name: o.of for o in self.observables}
        return max(float(known[name](self.load().train).std()), 1e-6)

    def score(self, samples: Molecules, splits: Splits[Molecules]) -> dict[str, Score]:
        """Compares molecules with the test split by the measures of MOSES and GuacaMol.

        Where the sampling options ask for values of properties, the error of each joins.
        """
        samples = self._sound(samples)
        found = metrics.score(samples, splits.test, splits.train)
        known = {o.name: o for o in self.observables}
        for name, value in wishes(self.config.sampling.target, self.config.conditions).items():
            it = known[name]
            sound = samples[torch.tensor([bool(s) for s in samples.smiles])]
            error = metrics.conditional_error(it.of(sound), value, it.unit)
            found[f"{name}_error"] = error
        return found

    def match(self, objects: Molecules, copies: Molecules) -> dict[str, Score]:
        return metrics.match(objects, copies)

    def baselines(self, train: Molecules, n: int) -> dict[str, Molecules]:
        return baselines(train, n)

    def draw(self, objects: Molecules, titles: Sequence[str]) -> str:
        return figures.strip(objects, titles)

    def map(self, objects: Molecules, xy: Tensor, values: dict[str, Tensor]) -> str:
        return figures.hover_map(xy, objects, values, self._units)

    def pictures(self, samples: Molecules, splits: Splits[Molecules]) -> dict[str, Any]:
        """Draws more samples with their properties, and the conditions beside the data."""
        names = self.config.conditions
        known = {o.name: o.of for o in self.observables}
        some = samples[:SHOWN]
        told = {name: known[name](some) for name in (*names, "qed", "sa")}
        wanted = wishes(self.config.sampling.target, names)
        found: dict[str, Any] = {
            "Samples with their properties.": figures.grid(some, told, self._units)
        }
        if names:
            found["The properties that the model is told, of samples and of the test split."] = (
                figures.histograms(
                    {name: known[name](samples) for name in names},
                    {name: known[name](splits.test) for name in names},
                    wanted, self._units,
                )
            )  # fmt: skip
        return found

    @property
    def _units(self) -> dict[str, str]:
        return {o.name: o.unit for o in self.observables}

    def faults(self, objects: Molecules) -> list[str]:
        """Finds what has failed, and what lacks the scaffold that is asked for."""
        pattern, failed = self._scaffold, self.failures(objects)
        if pattern is None:
            return failed
        found = zip(failed, objects.smiles, strict=True)
        return [why or ("" if _has(s, pattern) else "lacks the scaffold") for why, s in found]

    def failures(self, objects: Molecules) -> list[str]:
        """Finds what is no molecule, and SELFIES that their molecules are not written by."""
        both = zip(objects.smiles, self._sound(objects).smiles, strict=True)
        return ["no molecule" if not s else "" if sound else SLIP for s, sound in both]

    def _sound(self, objects: Molecules) -> Molecules:
        return sound(objects) if self.config.sampling.sound else objects

    @cached_property
    def _scaffold(self) -> Chem.Mol | None:
        text = self.config.sampling.scaffold
        if not text:
            return None
        with no_log():
            found = Chem.MolFromSmiles(text)
            pattern = Chem.MolFromSmarts(text) if found is None else _open(found)
        if pattern is None:
            raise ConfigError(f"the scaffold {text!r} is neither SMILES nor SMARTS")
        return pattern

    def facts(self, splits: Splits[Molecules]) -> dict[str, str]:
        told = self.config.data
        sizes = ((name, getattr(splits, name)) for name in ("train", "valid", "test"))
        return {
            **data.summary(told).facts,
            "split": told.split,
            "splits": ", ".join(f"{len(x):,} {name}" for name, x in sizes),
            **{o.name: _moments(o, splits.train) for o in self.observables[:4]},
        }


def _open(mol: Chem.Mol) -> Chem.Mol:
    """Returns a molecule as a pattern whose attachment points (*) match any atom."""
    how = Chem.AdjustQueryParameters.NoAdjustments()
    how.makeDummiesQueries = True
    return Chem.AdjustQueryProperties(mol, how)


def _has(smiles: str, pattern: Chem.Mol) -> bool:
    return Chem.MolFromSmiles(smiles).HasSubstructMatch(pattern)


def _moments(what: Observable[Molecules], objects: Molecules) -> str:
    x = what.of(objects)
    x = x[x.isfinite()]
    return f"{float(x.mean()):.3g} ± {float(x.std()):.3g} {what.unit}".strip()


DOMAIN = SmallMolecules
