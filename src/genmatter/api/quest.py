"""One search in a latent space: where it begins, and how latents become measured objects."""

__all__ = ["Quest", "predicts"]

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from genmatter.api.oracle import Oracle
from genmatter.api.trained import CHUNK, Trained
from genmatter.loading.batch import Batch
from genmatter.maths.noise import stream
from genmatter.spine import Predictor

SCOUTS, CENTRES = 0.2, 16
"""Share of the calls that samples to begin from are given, and how many of the best are used."""


class Quest:
    """The model and the oracle of one search. Noise is a function of the seed and the turn."""

    def __init__(self, it: Trained, oracle: Oracle, start: Any, seed: int) -> None:
        self.it, self.oracle, self.seed = it, oracle, seed
        self.objective = oracle.objective
        self.model: Any = it.model
        self.start = None if start is None else next(it.batches(start))
        self.held: Batch | None = None
        self.kept: list[Batch] = []
        self.turns = itertools.count()

    def take(self, calls: Tensor) -> Any:
        """Returns the objects of some calls."""
        return self.it.representation.decode(type(self.kept[0]).cat(self.kept)[calls])

    def measure(self, batch: Batch) -> Tensor:
        """Returns the score of each row, and keeps what was measured."""
        scores, new = self.oracle(self.it.representation.decode(batch))
        if len(new):
            self.kept.append(batch[new])
        return scores

    @torch.no_grad()
    def at(self, z: Tensor) -> Tensor:
        """Returns the scores of what is decoded at latents."""
        scores = []
        for part in z.split(CHUNK):
            with stream(self.seed, "search", next(self.turns)):
                batch = self.model.from_latent(part, self._given(len(part))).to("cpu")
            scores.append(self.measure(batch))
        return torch.cat(scores)

    @torch.no_grad()
    def samples(self, n: int) -> tuple[Batch, Tensor]:
        """Draws from the model; returns the rows and their scores."""
        given = self.it.representation.prompt(n, self.it.config).to(self.it.device)
        with stream(self.seed, "search", next(self.turns)):
            batch = self.model.sample(given).to("cpu")
        return batch, self.measure(batch)

    @torch.no_grad()
    def begun(self) -> list[tuple[Any, float]]:
        """Returns the objects to begin from, each a set of one, with their scores, best first."""
        if self.start is None:
            n = min(max(math.ceil(SCOUTS * self.oracle.calls), 1), CHUNK)
            batch, scores = self.samples(n)
        else:
            batch = self.start.to("cpu")
            scores = self.measure(batch)
        best = scores.argsort(stable=True)[:CENTRES].tolist()
        decode = self.it.representation.decode
        return [(decode(batch[k : k + 1]), float(scores[k])) for k in best]

    @torch.no_grad()
    def centres(self) -> Tensor:
        """Returns the latents to begin from, the best first: the start's, or those of samples."""
        begun = self.start
        if begun is None:
            n = min(max(math.ceil(SCOUTS * self.oracle.calls), 1), CHUNK)
            batch, scores = self.samples(n)
            begun = batch[scores.argsort(stable=True)[:CENTRES]].to(self.it.device)
        z = self.model.to_latent(begun)
        if z.ndim > 2:  # places differ between objects, so that the search stays with one
            self.held = begun[:1]
            z = self.model.to_latent(self.held)
        if self.start is not None:
            self.at(z)
        return z

    def _given(self, n: int) -> Batch:
        """Returns what latents do not hold: what sampling asks for, or the places of the start."""
        if self.held is None:
            return self.it.representation.prompt(n, self.it.config).to(self.it.device)
        return self.held[torch.zeros(n, dtype=torch.long)]


def predicts(it: Trained, name: str) -> bool:
    """Says whether the model tells a property from the latent."""
    model: Any = it.model
    if not isinstance(it.model, Predictor):
        return False
    with torch.no_grad():
        z = model.to_latent(next(it.batches(it.splits.train[torch.arange(1)])))
        return name in model.predict(z)
