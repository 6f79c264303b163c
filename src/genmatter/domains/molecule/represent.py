"""Molecules as tensors: tokens of their SELFIES, and the properties that a model is told."""

__all__ = ["MoleculeBatch", "MoleculeTokens", "wishes"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import selfies
import torch
from torch import Tensor

from genmatter.config import closest, numbers_named
from genmatter.domains.molecule import orders, tokens
from genmatter.domains.molecule.molecules import Molecules, canonical, no_log
from genmatter.domains.molecule.observables import observables
from genmatter.domains.molecule.properties import PROPERTIES
from genmatter.domains.molecule.tokens import BLANK, END, PAD, SPECIAL
from genmatter.errors import ConfigError, RepresentationError
from genmatter.loading.batch import Batch
from genmatter.spine import Representation

MOST = 100_000
"""Molecules, evenly spread, that merges are learned from."""


@dataclass(frozen=True)
class MoleculeBatch(Batch):
    """Sequences of tokens, and what is known of each molecule."""

    tokens: Tensor
    """[n, places], END behind the last; PAD where `mask` is not set."""
    mask: Tensor
    """[n, places], set up to END."""
    wanted: Tensor
    """The conditions that a model is told, in standard deviations from the training split's mean,
    [n, conditions]; NaN where one is not."""
    properties: Tensor
    """All that is known, [n, properties]: the conditions and what else is predicted."""
    others: Tensor
    """Tokens of the same molecules in other orders of their atoms, [n, orders, places], END behind
    the last and PAD behind that; what is not learned from has none."""

    padding: ClassVar[dict[str, Any]] = {"tokens": PAD}


@dataclass(frozen=True)
class MoleculeTokens(Representation[Molecules, MoleculeBatch]):
    """SELFIES, as symbols or as merged pieces, and properties on the scale of the data."""

    measure: ClassVar[str] = "SELFIES"

    symbols: tuple[str, ...]
    """SELFIES symbols of the training split, in the order of their alphabet."""
    left: tuple[int, ...]
    right: tuple[int, ...]
    """The tokens that each merge joins."""
    conditions: tuple[str, ...]
    """Properties that a model is told."""
    predicted: tuple[str, ...]
    """Others that it predicts."""
    means: tuple[float, ...]
    scales: tuple[float, ...]
    """Of `properties`, over the training split."""
    longest: int
    """Tokens of the longest training molecule, with END."""
    orders: int = 0
    """In how many other orders each molecule is written to learn from."""
    unknown: str = "refuse"
    """What becomes of other symbols: an error (`refuse`) or BLANK (`mask`)."""

    @classmethod
    def fit(cls, objects: Molecules, config: Any) -> "MoleculeTokens":
        each = orders.count(config.orders, len(objects))
        texts = objects.selfies + [s for row in orders.orders(objects, each) for s in row]
        symbols = _alphabet(texts)
        number = {s: k + len(SPECIAL) for k, s in enumerate(symbols)}
        some = objects.selfies[:: max(len(objects) // MOST, 1)]
        rows = [[number[s] for s in selfies.split_selfies(text)] for text in some]
        count = config.merges if config.tokens == "merged" else 0
        pairs = tokens.learn(rows, len(SPECIAL) + len(symbols), count)
        predicted = tuple(name for name in config.predict if name not in config.conditions)
        names = (*config.conditions, *predicted)
        moments = [_moments(name, _values(objects, name)) for name in names]
        it = cls(
            symbols=symbols,
            left=tuple(a for a, _ in pairs),
            right=tuple(b for _, b in pairs),
            conditions=config.conditions,
            predicted=predicted,
            means=tuple(mean for mean, _ in moments),
            scales=tuple(scale for _, scale in moments),
            longest=0,
            orders=each,
            unknown=config.unknown,
        )
        return replace(it, longest=int(it.sizes(objects).max()))

    @property
    def properties(self) -> tuple[str, ...]:
        """The properties that are told, and those that are only predicted."""
        return (*self.conditions, *self.predicted)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The merges, the first made first."""
        return list(zip(self.left, self.right, strict=True))

    @cached_property
    def pieces(self) -> list[tuple[str, ...]]:
        """The symbols that each token stands for."""
        return tokens.pieces(self.symbols, self.pairs)

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return len(SPECIAL) + len(self.symbols) + len(self.left)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {s: k + len(SPECIAL) for k, s in enumerate(self.symbols)}

    def _written(self, rows: list[list[int]]) -> list[np.ndarray]:
        return tokens.merged(rows, len(SPECIAL) + len(self.symbols), self.pairs)

    def encode(self, objects: Molecules) -> MoleculeBatch:
        """Writes molecules; what is none is a sequence that ends at once.

        Raises:
            RepresentationError: One has a symbol that no training molecule has.
        """
        return self.batch(self._written(self._symbols(objects)), self._known(objects))

    def teach(self, objects: Molecules) -> MoleculeBatch:
        """Writes molecules to learn from, in other orders of their atoms too.

        Raises:
            RepresentationError: What `encode` raises.
        """
        plain = self.encode(objects)
        if not self.orders:
            return plain
        pairs = zip(objects.smiles, orders.orders(objects, self.orders), strict=True)
        rows = [self._numbers(s, text) for s, several in pairs for text in several]
        known = torch.zeros(len(rows), 0)
        others = self.batch(self._written(rows), known).tokens.view(len(plain), self.orders, -1)
        return plain.replace(others=others)

    def _symbols(self, objects: Molecules) -> list[list[int]]:
        texts = objects.selfies if objects.drawn is None else objects.drawn
        both = zip(objects.smiles, texts, strict=True)
        return [self._numbers(s, text) for s, text in both]

    def batch(self, rows: Sequence[np.ndarray], properties: Tensor) -> MoleculeBatch:
        """Returns tokens as a batch, with END behind each row."""
        places = max(map(len, rows), default=0) + 1
        ids = np.full((len(rows), places), PAD, dtype=np.int16 if self.size < 2**15 else np.int32)
        for k, row in enumerate(rows):
            ids[k, : len(row)] = row
            ids[k, len(row)] = END
        x = torch.from_numpy(ids)
        none = x.new_zeros(len(x), 0, 0)
        return MoleculeBatch(x, x != PAD, properties[:, : len(self.conditions)], properties, none)

    def _numbers(self, smiles: str, text: str) -> list[int]:
        found = []
        for symbol in selfies.split_selfies(text):
            k = self._number.get(symbol)
            if k is None and self.unknown == "refuse":
                raise RepresentationError(
                    f"{smiles} has the symbol {symbol}, which no training molecule has; train on "
                    "molecules that have it, or with --unknown mask, which shows a blank instead"
                )
            found.append(BLANK if k is None else k)
        return found

    def _known(self, objects: Molecules) -> Tensor:
        # a column that this set lacks, such as of a molecule given as text, is unknown
        of = {o.name: o.of for o in observables((*self.properties, *objects.columns))}
        scaled = [
            (of[name](objects).double() - mean) / scale
            for name, mean, scale in zip(self.properties, self.means, self.scales, strict=True)
        ]
        return torch.stack(scaled, 1).float() if scaled else torch.zeros(len(objects), 0)

    def decode(self, batch: MoleculeBatch) -> Molecules:
        """Reads tokens up to END; what is no molecule is "".

        What was written is kept for `encode`: RDKit's own SELFIES may have symbols that the model
        lacks.
        """
        texts = self.texts(batch)
        with no_log():
            smiles = [canonical(_smiles(text)) for text in texts]
        written = [text if s else "" for s, text in zip(smiles, texts, strict=True)]
        x, drawn = (np.array(texts, dtype=object) for texts in (smiles, written))
        return Molecules(x, drawn=drawn)

    def texts(self, batch: MoleculeBatch) -> list[str]:
        """Returns the SELFIES that tokens spell, up to END."""
        lengths = ((batch.tokens != END) & batch.mask).int().cumprod(1).sum(1).tolist()
        names = ["".join(piece) for piece in self.pieces]
        rows = batch.tokens.tolist()
        return ["".join(names[k] for k in row[:n]) for row, n in zip(rows, lengths, strict=True)]

    def prompt(self, n: int, config: Any) -> MoleculeBatch:
        """Returns rows of which only the targets are known.

        Raises:
            ConfigError: A target is no condition of the model, or no number.
        """
        told = wishes(config.sampling.target, self.conditions)
        wanted = [
            (told.get(name, float("nan")) - mean) / scale
            for name, mean, scale in zip(self.conditions, self.means, self.scales, strict=False)
        ]
        empty = torch.zeros(n, 0, dtype=torch.int16)
        unknown = torch.full((n, len(self.properties)), torch.nan)
        known = torch.tensor(wanted).expand(n, -1).clone()
        return MoleculeBatch(empty, empty.bool(), known, unknown, empty[..., None])

    def sizes(self, objects: Molecules) -> Tensor:
        """Returns the tokens of each molecule, with END."""
        return torch.tensor([len(row) + 1 for row in self._written(self._symbols(objects))])


def _alphabet(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns the symbols of SELFIES in the order of their alphabet."""
    return tuple(sorted({s for text in texts for s in selfies.split_selfies(text)}))


def wishes(texts: Sequence[str], conditions: Sequence[str]) -> dict[str, float]:
    """Reads targets such as `tpsa=60`.

    Raises:
        ConfigError: One reads otherwise, or names no condition of the model.
    """
    found = numbers_named(texts)
    for name in found:
        if name not in conditions:
            raise ConfigError(
                f"the model was not told {name!r}{closest(name, conditions)}: train with "
                "--conditions"
            )
    return found


def _values(objects: Molecules, name: str) -> Tensor:
    """Returns a property of molecules: of the file's own columns, or of RDKit's."""
    more = [name] if name in PROPERTIES else []
    known = {o.name: o.of for o in observables(tuple(objects.columns), more)}
    if name not in known:
        raise ConfigError(f"there is no property {name!r}{closest(name, known)}")
    return known[name](objects).double()


def _moments(name: str, values: Tensor) -> tuple[float, float]:
    values = values[values.isfinite()]
    if len(values) < 2:
        raise ConfigError(f"the property {name!r} is known of {len(values)} training molecules")
    return float(values.mean()), max(float(values.std()), 1e-6)


def _smiles(text: str) -> str:
    try:
        return str(selfies.decoder(text)) if text else ""
    except selfies.DecoderError:
        return ""
