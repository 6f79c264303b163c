"""Protein families, from alignments to scores and pictures."""

__all__ = ["DOMAIN", "ProteinFamily"]

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from genmatter.config import replaced
from genmatter.domains.protein import data as origin
from genmatter.domains.protein import exact, figures, metrics
from genmatter.domains.protein.baselines import baselines
from genmatter.domains.protein.formats import SUFFIXES, read, write
from genmatter.domains.protein.observables import labelled, observables
from genmatter.domains.protein.represent import AlignedSites
from genmatter.domains.protein.sequences import ALPHABET, GAP, Numbering, Sequences, letters
from genmatter.domains.protein.variants import (
    all_single,
    differences,
    exchanged,
    heat,
    potts_differences,
    read_variants,
    site_differences,
)
from genmatter.errors import DataError
from genmatter.spine import Domain, Observable, Score, Splits, Variants

_CLUSTERS = 6
"""Clusters whose logos are drawn, at most."""
_SAME = 0.8
"""Share of equal residues above which a test sequence has a near copy in the training split."""


class ProteinFamily(Domain[Sequences]):
    """Aligned sequences of one family."""

    representation = AlignedSites
    formats = tuple(SUFFIXES)
    noun = "sequence"
    quest = ("net_charge=max",)

    @cached_property
    def observables(self) -> tuple[Observable[Sequences], ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of every sequence, the identity to the focus, and the table's own numbers."""
        told = self.config.data
        return observables(origin.columns(told)[0], focus=bool(told.focus))

    def load(self) -> Splits[Sequences]:
        return origin.load(self.config.data)

    def read(self, path: Path) -> Sequences:
        told = self.config.data
        return read(path, *origin.columns(told), told.focus)

    def write(self, objects: Sequences, path: Path) -> None:
        write(objects, path)

    def parse(self, text: str) -> Sequences | None:
        """Reads the name of a sequence, or one in the columns, or the focus sequence's mutant."""
        residues = letters(text)
        typed = len(text) > 1 and bool((residues >= 0).all())
        try:
            known = origin.prepared(self.config.data).sequences
        except DataError:
            return Sequences.of(residues[None]) if typed else None
        rows = [k for k, n in enumerate(known.names) if text in (n, n.partition("/")[0])]
        if self.config.data.source and len(rows) == 1:
            return known[rows]
        return _typed(residues, known.numbering) if typed else None

    def record(self, folder: Path) -> None:
        """Leaves a table of the sequences that are not learned from, where there are any."""
        if origin.prepared(self.config.data).dropped:
            origin.write_dropped(self.config.data, folder / "dropped.csv")

    def identities(self, objects: Sequences) -> list[str]:
        """Returns aligned texts."""
        return objects.texts

    def told(self, objects: Sequences, values: Mapping[str, Tensor]) -> Sequences:
        """Returns sequences that bear what is said of them into the headers of files."""
        numbers = {k: v.double().round(decimals=3) for k, v in values.items() if k != "cluster"}
        texts = {
            k: np.array([f"{n:.0f}" for n in v.tolist()], dtype=object)
            for k, v in values.items()
            if k == "cluster"
        }
        return replace(
            objects, columns={**objects.columns, **numbers}, labels={**objects.labels, **texts}
        )

    def groups(self, objects: Sequences, member: Tensor) -> Figure:
        """Draws the logos of the largest clusters."""
        motif = [*origin.motif(self.config.data, objects.numbering)]
        counts = torch.bincount(member)
        largest = [k for k in counts.argsort(descending=True).tolist() if counts[k]][:_CLUSTERS]
        sets = {f"cluster {k}, {counts[k]} sequences": objects[member == k] for k in largest}
        return figures.logos(sets, motif)

    def changed(self, objects: Sequences, n: int, generator: torch.Generator) -> Sequences:
        """Returns sequences with one residue exchanged for another one, never with a gap."""
        return exchanged(objects, n, generator)

    def changes(self, objects: Sequences, to: Sequences) -> list[str]:
        """Says how sequences differ from one: A42G:L55K."""
        return differences(objects, to)

    def similarity(self, objects: Sequences, to: Sequences) -> Tensor:
        """Returns the share of columns with the same residue, of those where either has one."""
        same = (objects.residues == to.residues) & (objects.residues != GAP)
        either = (objects.residues != GAP) | (to.residues != GAP)
        return same.double().sum(1) / either.sum(1).clamp_min(1)

    def score(self, samples: Sequences, splits: Splits[Sequences]) -> dict[str, Score]:
        """Compares sequences with the test split, and with the law of a simulated family."""
        motif = origin.motif(self.config.data, splits.test.numbering)
        samples = samples.onto(splits.test.numbering)
        found = metrics.score(samples, splits.test, splits.train, motif)
        law = origin.family(self.config.data)
        return found | (exact.against(samples, law) if law else {})

    def match(self, objects: Sequences, copies: Sequences) -> dict[str, Score]:
        return metrics.match(objects, copies)

    def baselines(self, train: Sequences, n: int) -> dict[str, Sequences]:
        return baselines(train, n)

    def variants(self, wild: Sequences, table: Path | None) -> Variants[Sequences]:
        """Returns the variants that a file asks for, or every exchange of one residue."""
        return all_single(wild) if table is None else read_variants(table, wild)

    def simplest(self, train: Sequences, variants: Variants[Sequences]) -> dict[str, Tensor]:
        """Scores variants by the frequencies of sites, and by a Potts model."""
        found = {
            "site frequencies": site_differences(train, variants),
            "Potts model": potts_differences(train, variants),
        }
        return {name: scores for name, scores in found.items() if scores is not None}

    def landscape(self, variants: Variants[Sequences], scores: Tensor) -> Figure | None:
        """Draws the scores of single exchanges by site and residue."""
        values = heat(variants, scores)
        if not values.isfinite().any():
            return None
        wild = variants.wild
        positions = wild.numbering.positions
        return figures.heat_map(values, wild.texts[0], positions, "nats beside the wild type")

    def draw(self, objects: Sequences, titles: Sequence[str]) -> str:
        return figures.strip(objects, titles)

    def map(self, objects: Sequences, xy: Tensor, values: dict[str, Tensor]) -> str:
        """Shows labels as colours first, then observables."""
        units = {o.name: o.unit for o in self.observables}
        return figures.hover_map(xy, objects, labelled(objects) | values, units)

    def pictures(self, samples: Sequences, splits: Splits[Sequences]) -> dict[str, Any]:
        """Draws logos, covariances, main components and identities beside the data's."""
        both = {"test": splits.test, "samples": samples}
        law = origin.family(self.config.data)
        marks = [*origin.motif(self.config.data, splits.test.numbering)]
        arrows = " Arrows: the motif." if marks else ""
        circles = " Circles: the true contacts." if law else ""
        return {
            f"Which residues each site has.{arrows}": figures.logos(both, marks),
            f"What each two sites have in common, beyond what each shares with all.{circles}": (
                figures.covariances(
                    {"train": splits.train} | both, law.contacts if law else ()
                )
            ),
            "Main components of the training split.": figures.planes(
                {"train": splits.train} | both, splits.train
            ),
            "How alike sequences are.": figures.identities(both, splits.train),
        }  # fmt: skip

    def doubts(self, objects: Sequences, data: Sequences) -> list[str]:
        """Finds sequences that lack a residue of the motif, or have more gaps than data may."""
        told = self.config.data
        numbering = data.numbering
        found = [""] * len(objects)
        for column, residue in origin.motif(told, numbering).items():
            lacking = (objects.residues[:, column] != residue).tolist()
            name = f"{ALPHABET[residue]}{numbering.positions[column]}"
            found = [
                f or (f"lacks {name} of the motif" if no else "")
                for f, no in zip(found, lacking, strict=True)
            ]
        gaps = ((objects.residues == GAP).double().mean(1) > told.sequence_gaps).tolist()
        return [f or ("mostly gaps" if no else "") for f, no in zip(found, gaps, strict=True)]

    def facts(self, splits: Splits[Sequences]) -> dict[str, str]:
        told = self.config.data
        facts = origin.summary(told).facts
        law = origin.family(told)
        if law:
            facts["entropy of the law"] = f"{exact.entropy(law):.4f} nats per residue"
        motif = origin.motif(told, splits.train.numbering)
        if motif:
            at = splits.train.numbering.positions
            facts["motif"] = " ".join(f"{ALPHABET[k]}{at[c]}" for c, k in motif.items())
        return facts

    def cautions(self, splits: Splits[Sequences]) -> list[str]:
        """Says where test sequences have near copies, and where there is little to learn from."""
        told, found = self.config.data, []
        if not told.source:
            return found
        near = metrics.nearest_identity(splits.test, splits.train)
        share = (near > _SAME).double().mean().item()
        if share > 0.01:
            found.append(
                f"**{share:.0%} of the test sequences** share more than {_SAME:.0%} of their "
                "residues with a training sequence: scores on them look better than on new ones. "
                "`--split cluster` keeps similar sequences together."
            )
        count = origin.effective(told)
        if count < splits.train.sites:
            found.append(
                f"There are {count:,.0f} effective training sequences for {splits.train.sites} "
                "columns: too few for what two sites have in common to be told from chance."
            )
        return found

    def honest(self) -> Any:
        """Returns the config that deals out clusters, where this one deals out sequences."""
        told = self.config.data
        if not told.source or told.split != "random":
            return None
        return replaced(self.config, {"split": "cluster"})


def _typed(residues: Tensor, numbering: Numbering) -> Sequences:
    """Returns a sequence that was typed, aligned or as long as the whole focus sequence."""
    if len(residues) == len(numbering.sequence) != len(numbering.positions):
        residues = residues[torch.tensor(numbering.positions) - numbering.first]
    same = len(residues) == len(numbering.positions)
    return Sequences.of(residues[None], numbering if same else None)


DOMAIN = ProteinFamily
