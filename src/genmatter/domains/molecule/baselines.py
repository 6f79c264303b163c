r"""The simplest models of molecules that could do the job: what a learned model has to beat.

BRICS grammar                       of drugs, whatever the training set: it has learned nothing
BRICS grammar of the training set   the same, of the training molecules' pieces
n-gram                              SELFIES symbols, each drawn by those before it
character n-gram                    SMILES symbols, so that not each sequence is a molecule
"""

__all__ = ["NGram", "baselines"]

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import selfies
import torch

from genmatter.domains.molecule.grammar import Grammar, make
from genmatter.domains.molecule.molecules import Molecules, canonical, no_log
from genmatter.domains.molecule.smiles import decoded
from genmatter.domains.molecule.soundness import reads_back
from genmatter.errors import DataError
from genmatter.maths.noise import generator

_EDGE = ""  # before a sequence, and after it
_SMILES = re.compile(r"\[[^]]*\]|%\d\d|Br|Cl|.")
_CUT, _READ = 2000, 5000  # training molecules for the grammar, and for n-grams
_ORDER = 10  # lower ones are worse on both
_PATIENCE = 20  # draws for each that is wanted
_LONGEST = 300  # symbols at which a sequence is given up


@dataclass(frozen=True)
class NGram:
    r"""Sequences whose symbols are drawn by the `order - 1` before them (Witten-Bell smoothing).

    With c(h, w) how often w followed the context h, c(h) their sum, t(h) how many symbols did, and
    h' the context without its first symbol,

    .. math:: p(w | h) = \frac{c(h, w) + t(h) p(w | h')}{c(h) + t(h)},

    down to the even law over all symbols.

    References:
        | The zero-frequency problem (Witten & Bell, 1991) https://doi.org/10.1109/18.87000
    """

    order: int
    counts: Mapping[tuple[str, ...], Mapping[str, int]]
    """What followed each context of up to `order - 1` symbols; "" is an end."""

    @classmethod
    def of(cls, sequences: Iterable[Sequence[str]], order: int) -> "NGram":
        """Counts what follows what.

        Raises:
            DataError: There are no sequences.
        """
        counts: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for sequence in sequences:
            symbols = (_EDGE,) * (order - 1) + tuple(sequence) + (_EDGE,)
            for end in range(order - 1, len(symbols)):
                for start in range(end - order + 1, end + 1):
                    counts[symbols[start:end]][symbols[end]] += 1
        if not counts:
            raise DataError("an n-gram takes sequences to learn from; there are none")
        return cls(order, dict(counts))

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, and "" for the end."""
        return tuple(self.counts[()])

    def probability(self, symbol: str, before: Sequence[str]) -> float:
        """Returns how likely a symbol is after others that a sequence begins with."""
        context = self._context(before)
        p = float(symbol in self.counts[()]) / len(self.counts[()])
        for start in range(self.order - 1, -1, -1):
            found = self.counts.get(context[start:])
            if found is None:
                break  # nor is there any longer one
            kinds = len(found)
            p = (found.get(symbol, 0) + kinds * p) / (sum(found.values()) + kinds)
        return p

    def log_prob(self, sequence: Sequence[str]) -> float:
        """Returns the log-likelihood of a whole sequence in nats; -inf with an unknown symbol."""
        steps = enumerate((*sequence, _EDGE))
        p = [self.probability(symbol, sequence[:k]) for k, symbol in steps]
        return sum(map(math.log, p)) if min(p) > 0 else -math.inf

    def sample(self, stream: random.Random) -> list[str]:
        """Draws a sequence, which is given up at 300 symbols."""
        drawn: list[str] = []
        while len(drawn) < _LONGEST and (symbol := self._next(drawn, stream)) != _EDGE:
            drawn.append(symbol)
        return drawn

    def _context(self, before: Sequence[str]) -> tuple[str, ...]:
        known = (_EDGE,) * (self.order - 1) + tuple(before[-self.order :])
        return known[len(known) - self.order + 1 :]

    def _next(self, before: Sequence[str], stream: random.Random) -> str:
        """Draws from the sum above: a context's own counts, or what the shorter one says."""
        context = self._context(before)
        for start in range(self.order):
            found = self.counts.get(context[start:], {})
            place = stream.random() * (sum(found.values()) + len(found))
            for symbol, times in found.items():
                place -= times
                if place < 0:
                    return symbol
        return self.symbols[int(stream.random() * len(self.symbols))]


def baselines(train: Molecules, n: int) -> dict[str, Molecules]:
    """Returns `n` samples of each simple model; "" where one is no molecule.

    Grammars are fitted to 2,000 training molecules at most, n-grams to 5,000. A training set
    whose grammar makes fewer than `n` different molecules has no such baseline.
    """
    made = {"BRICS grammar": make(n, 0)}
    with suppress(DataError):
        made["BRICS grammar of the training set"] = _grammar(_some(train, _CUT), n)
    rows = _some(train, _READ)
    made["character n-gram"] = _smiles_ngram(rows, n)
    found = {name: Molecules.of(smiles) for name, smiles in made.items()}
    return found | {"n-gram": _selfies_ngram(rows, n)}


def _some(train: Molecules, most: int) -> Molecules:
    """Returns some of the training molecules, without what is none."""
    rows = torch.randperm(len(train), generator=generator("baselines", "rows"))
    there = torch.tensor([bool(s) for s in train.smiles], dtype=torch.bool)
    return train[rows[there[rows]][:most]]


def _grammar(train: Molecules, n: int) -> list[str]:
    return Grammar.of(train.smiles).draw(n, 0)


def _selfies_ngram(train: Molecules, n: int) -> Molecules:
    """Draws until `n` read back as they are written, or 20 times as many; all are kept."""
    model = NGram.of([list(selfies.split_selfies(s)) for s in train.selfies], _ORDER)
    stream, texts, sound = random.Random("n-gram"), [], 0
    while sound < n and len(texts) < _PATIENCE * n:
        texts.append("".join(model.sample(stream)))
        sound += reads_back(texts[-1])
    smiles = [canonical(decoded(text)) for text in texts]
    found, drawn = (np.array(x, dtype=object) for x in (smiles, texts))
    return Molecules(found, drawn=drawn)


def _smiles_ngram(train: Molecules, n: int) -> list[str]:
    model = NGram.of([_SMILES.findall(s) for s in train.smiles], _ORDER)
    stream = random.Random("character n-gram")
    with no_log():
        return [canonical("".join(model.sample(stream))) for _ in range(n)]
