"""A family's sequences as tensors, and all that is learned of its alignment in closed form."""

__all__ = ["AlignedBatch", "AlignedSites"]

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from genmatter.config import closest
from genmatter.domains.protein.contacts import Order, coupled, elimination, strengths
from genmatter.domains.protein.sequences import ALPHABET, Numbering, Sequences, letters
from genmatter.errors import ConfigError, RepresentationError
from genmatter.loading.batch import Batch
from genmatter.spine import Representation

UNKNOWN = -1
"""Stands for a residue that is to be drawn."""


@dataclass(frozen=True)
class AlignedBatch(Batch):
    """Sequences of one family."""

    tokens: Tensor
    """Numbers in `ALPHABET`, int8, [n, sites]; UNKNOWN where a residue is to be drawn."""
    weights: Tensor
    """How much each counts, of mean 1 over its split, [n]."""
    properties: Tensor
    """What is predicted, in standard deviations from the training split's mean, [n, properties];
    NaN where it is not known."""
    classes: Tensor
    """Which text of each label, from 1; 0 where none is known, [n, labels]."""


@dataclass(frozen=True)
class AlignedSites(Representation[Sequences, AlignedBatch]):
    """Columns of an alignment, their frequencies, their contacts and the order of drawing."""

    measure: ClassVar[str] = "residues of the alignment"

    alphabet: str
    positions: tuple[int, ...]
    """The number of each column, and what `Numbering` says besides."""
    focus: str
    sequence: str
    first: int
    effective: float
    """The effective number of training sequences."""
    frequencies: tuple[tuple[float, ...], ...]
    """How often each column has each residue, by the sequences' weights, [sites][residues]."""
    order: tuple[int, ...]
    """Columns, from 0, in the order in which residues are drawn."""
    parents: tuple[tuple[int, ...], ...]
    """The columns that each depends on beside the latent, [sites]."""
    properties: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    labels: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    """The texts of each label, [labels]."""

    @classmethod
    def fit(cls, objects: Sequences, config: Any) -> "AlignedSites":
        """Learns frequencies, contacts, scales and texts.

        Raises:
            ConfigError: A column that is to be predicted is not there or has no numbers.
        """
        weights = _weights(objects)
        order = _order(objects, weights, config.couplings, config.evidence)
        numbers = [_moments(objects, name) for name in config.predict]
        texts = {k: _texts(v) for k, v in objects.labels.items()}
        where = objects.numbering
        return cls(
            alphabet=ALPHABET,
            positions=where.positions,
            focus=where.focus,
            sequence=where.sequence,
            first=where.first,
            effective=_effective(objects),
            frequencies=_frequencies(objects.residues, weights),
            order=order.sites,
            parents=order.parents,
            properties=tuple(config.predict),
            means=tuple(mean for mean, _ in numbers),
            scales=tuple(scale for _, scale in numbers),
            labels=tuple(k for k, v in texts.items() if v),
            texts=tuple(v for v in texts.values() if v),
        )

    @property
    def sites(self) -> int:
        """How many columns there are."""
        return len(self.positions)

    @property
    def numbering(self) -> Numbering:
        """How columns are counted."""
        return Numbering(self.positions, self.focus, self.sequence, self.first)

    def encode(self, objects: Sequences) -> AlignedBatch:
        """Writes sequences of these columns; of more columns those of the same numbers.

        Raises:
            RepresentationError: They are of another length.
            DataError: They are longer, and lack a column.
        """
        if objects.sites > self.sites:
            objects = objects.onto(self.numbering)
        if objects.sites != self.sites:
            raise RepresentationError(
                f"expected sequences of {self.sites} columns, got {objects.sites}: the model was "
                "trained on an alignment of that many"
            )
        n = len(objects)
        unknown = torch.full((n,), torch.nan)
        known = [objects.columns.get(k, unknown) for k in self.properties]
        numbers = [
            ((x - mean) / scale).float()
            for x, mean, scale in zip(known, self.means, self.scales, strict=True)
        ]
        classes = [
            torch.tensor(_numbers(objects.labels.get(k), texts, n), dtype=torch.long)
            for k, texts in zip(self.labels, self.texts, strict=True)
        ]
        return AlignedBatch(
            objects.residues,
            _weights(objects).float(),
            torch.stack(numbers, 1) if numbers else torch.zeros(n, 0),
            torch.stack(classes, 1) if classes else torch.zeros(n, 0, dtype=torch.long),
        )

    def decode(self, batch: AlignedBatch) -> Sequences:
        """Reads sequences, and what a batch knows of them."""
        found = Sequences.of(batch.tokens, self.numbering)
        scales = zip(self.properties, self.means, self.scales, strict=True)
        columns = {
            name: batch.properties[:, k].double() * scale + mean
            for k, (name, mean, scale) in enumerate(scales)
        }
        labels = {
            name: np.array(["", *texts], dtype=object)[batch.classes[:, k].numpy()]
            for k, (name, texts) in enumerate(zip(self.labels, self.texts, strict=True))
        }
        return Sequences(
            found.residues, found.numbering, found.names, batch.weights.double(), columns, labels
        )

    def prompt(self, n: int, config: Any) -> AlignedBatch:
        """Asks for sequences of which nothing is known but the label that samples should have."""
        classes = torch.zeros(n, len(self.labels), dtype=torch.long)
        if config.sampling.within:
            name, text = self.wanted(config.sampling.within)
            classes[:, name] = text + 1
        return AlignedBatch(
            torch.full((n, self.sites), UNKNOWN, dtype=torch.int8),
            torch.ones(n),
            torch.full((n, len(self.properties)), torch.nan),
            classes,
        )

    def wild(self) -> Sequences | None:
        """Returns the focus sequence, where there is one."""
        text = self.numbering.wild_type
        if not text:
            return None
        return Sequences.of(letters(text)[None], self.numbering)

    def wanted(self, said: str) -> tuple[int, int]:
        """Returns the numbers, from 0, of a label and of one of its texts: COLUMN=TEXT.

        Raises:
            ConfigError: There is no such label or text.
        """
        name, _, text = said.partition("=")
        if name not in self.labels:
            what = closest(name, self.labels) if self.labels else "; the data have no labels"
            raise ConfigError(f"there is no label {name!r}{what}")
        k = self.labels.index(name)
        if text not in self.texts[k]:
            raise ConfigError(f"no {name} is {text!r}{closest(text, self.texts[k])}")
        return k, self.texts[k].index(text)


def _weights(objects: Sequences) -> Tensor:
    """Returns how much each sequence counts."""
    some = objects.weights
    return torch.ones(len(objects), dtype=torch.float64) if some is None else some


def _effective(objects: Sequences) -> float:
    """Returns how many sequences there are, of which copies count as one.

    A sequence like no other has the largest weight there is, and counts as one.
    """
    w = _weights(objects)
    return float(w.sum() / w.max())


def _frequencies(residues: Tensor, weights: Tensor) -> tuple[tuple[float, ...], ...]:
    one = torch.nn.functional.one_hot(residues.long(), len(ALPHABET)).double()
    found = torch.einsum("n,nsr->sr", weights / weights.sum(), one)
    return tuple(tuple(round(p, 7) for p in row) for row in found.tolist())


def _order(objects: Sequences, weights: Tensor, most: int, evidence: float) -> Order:
    if not most:
        return Order(tuple(range(objects.sites)), ((),) * objects.sites)
    found = strengths(objects.residues, weights, len(ALPHABET))
    return elimination(found, coupled(found, evidence), most)


def _moments(objects: Sequences, name: str) -> tuple[float, float]:
    if name not in objects.columns:
        known = closest(name, objects.columns) if objects.columns else "; give --labels"
        raise ConfigError(f"there is no column of numbers {name!r} to predict{known}")
    x = objects.columns[name]
    x = x[x.isfinite()]
    if len(x) < 2:
        raise ConfigError(f"{len(x)} training sequences have a {name}: too few to predict it")
    return float(x.mean()), max(float(x.std()), 1e-6)


MOST_TEXTS = 64
"""Different texts, at most, of a label that sequences are drawn by."""


def _texts(values: np.ndarray) -> tuple[str, ...]:
    """Returns the different texts of a label; none where there are too many to be classes."""
    found = sorted({v for v in values.tolist() if v})
    return tuple(found) if len(found) <= MOST_TEXTS else ()


def _numbers(values: np.ndarray | None, texts: tuple[str, ...], n: int) -> list[int]:
    if values is None:
        return [0] * n
    number = {text: k + 1 for k, text in enumerate(texts)}
    return [number.get(v, 0) for v in values.tolist()]
