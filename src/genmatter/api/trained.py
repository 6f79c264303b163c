"""A trained model with what it takes to speak about objects. Works in memory, writes nothing."""

__all__ = ["Reconstruction", "Samples", "Trained"]

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from genmatter.api.drawing import Chunk, Rule, kept
from genmatter.api.optimising import Goal, Optimised, choose, frozen, judge, walk
from genmatter.api.progress import bar
from genmatter.api.results import Reconstruction, Samples, joined, used
from genmatter.config import Config
from genmatter.errors import ConfigError, DataError, RecipeError, RepresentationError
from genmatter.generative.latent import interpolate
from genmatter.loading.batch import Batch
from genmatter.maths.noise import stream
from genmatter.recipes import able, find_all
from genmatter.run import Run
from genmatter.spine import (
    Contrast,
    Domain,
    Generative,
    Grouping,
    Latent,
    Likelihood,
    Representation,
    Splits,
    Steerable,
)
from genmatter.training.processes import place, shared_out

X = TypeVar("X")

NEEDS: dict[str, type] = {
    "encode": Latent,
    "interpolate": Latent,
    "optimise": Latent,
    "reconstruct": Latent,
    "score": Likelihood,
    "score variants": Contrast,
    "search": Latent,
    "steer": Steerable,
}
CHUNK = 1024
"""Objects that are sampled or encoded at once."""
WIDTH, LOOKED_AT = 0.1, 512
"""How closely samples are steered, in standard deviations over so many that are not."""
PATIENCE = 20
"""How many times as many objects as wanted are drawn, at most, where failed ones are kept."""
MOST_RANDOM = 20_000
"""Random samples that an optimisation is compared with, at most."""


@dataclass(frozen=True)
class Trained:
    """A model with its domain, its representation and the config that it was trained by."""

    recipe: str
    config: Config
    domain: Domain
    representation: Representation
    model: Generative
    run: Run | None = None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @cached_property
    def splits(self) -> Splits[Any]:
        """The objects that the run learned from, loaded again."""
        return self.domain.load()

    @property
    def is_exact(self) -> bool:
        """Whether the model's likelihood is no bound."""
        return getattr(self.model, "exact_likelihood", False)

    def require(self, verb: str) -> None:
        """Refuses a verb that the model cannot do, and says which recipes can.

        Raises:
            RecipeError: The model lacks the ability.
        """
        if not isinstance(self.model, NEEDS[verb]):
            those = ", ".join(r for r in find_all() if able(r, NEEDS[verb])) or "no recipe"
            raise RecipeError(f"{self.recipe} cannot {verb}; {those} can")

    def sample(self, n: int, *, seed: int = 0) -> Samples:
        """Draws until `n` objects are sound, and says what was wrong with the others.

        Where sampling options ask for it none is given twice, and each is the nearest of several
        to what they ask.

        Raises:
            DataError: Fewer than `n` of 100 times as many draws were sound.
        """
        return self._sound(n, seed, self.model.sample)

    def steer(
        self,
        observable: str | Callable[[Any], Tensor],
        value: float,
        n: int = 100,
        *,
        width: float | None = None,
        seed: int = 0,
    ) -> Samples:
        """Draws sound objects of which a differentiable number is about what is wanted.

        Args:
            observable: The name of a differentiable observable, or a differentiable function
                from objects to a number of each.
            value: What it should be.
            n: How many objects.
            width: How closely, as a standard deviation; a tenth of what samples have by default.
            seed: Seed of the draws.

        Raises:
            RecipeError: The model cannot be steered, or there is no such observable.
            ConfigError: The width is not positive.
            DataError: Too few of the draws were sound.
        """
        self.require("steer")
        of = observable if callable(observable) else choose(self.domain, observable).of
        if width is None:
            width = WIDTH * float(of(self.sample(LOOKED_AT, seed=seed).objects).std())
        if not width > 0:
            raise ConfigError(f"the width should be above 0, got {width}")
        model: Any = self.model
        measure = lambda batch: of(self.representation.decode(batch))
        with frozen(self.model):
            return self._sound(n, seed, lambda given: model.steer(given, measure, value, width))

    def draw(self, n: int, *, seed: int = 0) -> Any:
        """Draws `n` objects and keeps them all, as the model gives them: none is drawn again.

        Raises:
            DataError: The number is not positive.
        """
        return self._drawn(n, seed, lambda batch: [""] * len(batch))

    def _drawn(self, n: int, seed: int, failures: Callable[[Batch], list[str]]) -> Any:
        """Draws until `n` have not failed, or there are 20 times as many; all are kept."""
        judged = lambda batch: (batch, failures(batch))
        batches: list[Batch] = []
        why: list[str] = []
        for batch, more in self._chunks(_positive(n), seed, self.model.sample, judged):
            batches.append(batch)
            why += more
            if why.count("") >= n or len(why) >= PATIENCE * n:
                break
        most = min(used(why, n), PATIENCE * n)
        return self.representation.decode(type(batches[0]).cat(batches)[:most])

    @property
    def is_choosy(self) -> bool:
        """Whether `sample` gives other objects than `fair`."""
        return self.domain.counts_failures or Rule.of(self.config) != Rule()

    def fair(self, n: int, *, seed: int = 0) -> Any:
        """Draws what scores should be of: objects among which nothing was chosen.

        `n` of them are sound; the failed draws in between come along where the domain's score
        counts those. Repetitions are not drawn again, nor is the best taken of several.
        """
        if self.domain.counts_failures:
            return self._drawn(n, seed, self._failures)
        return self._sound(n, seed, self.model.sample, Rule()).objects

    def _failures(self, batch: Batch) -> list[str]:
        return self.domain.failures(self.representation.decode(batch))

    @torch.no_grad()
    def _sound(
        self, n: int, seed: int, draw: Callable[[Batch], Batch], rule: Rule | None = None
    ) -> Samples:
        rule = rule or Rule.of(self.config)

        def judged(batch: Batch) -> Chunk:
            return Chunk.judged(batch, self.domain, self.representation.decode(batch), rule)

        draws = self._chunks(_positive(n), seed, draw, judged, rule.best_of)
        batch, drawn, rejected = kept(n, rule, draws, CHUNK)
        return Samples(self.representation.decode(batch), drawn, rejected)

    def _chunks(
        self,
        n: int,
        seed: int,
        draw: Callable[[Batch], Batch],
        of: Callable[[Batch], X],
        group: int = 1,
    ) -> Iterator[X]:
        """Draws one chunk after the other, and returns what `of` makes of each.

        A chunk depends on the seed and its number, so that processes take turns at them, and
        what is drawn beyond need is not missed. The rows of a group have the same prompt.
        """
        world, most = place()[1], max(CHUNK // group, 1)

        @torch.no_grad()
        def chunk(number: int) -> X:
            given = self.representation.prompt(most if number else min(most, n), self.config)
            given = given[torch.arange(len(given)).repeat_interleave(group)]
            with stream(seed, "sample", number):
                batch = draw(given.to(self.device)).to("cpu")
            return of(batch)

        for begin in itertools.count(0, world):
            yield from shared_out(chunk, range(begin, begin + world))

    def batches(self, objects: Any) -> Iterator[Batch]:
        """Writes objects as batches on the model's device, in their order."""
        for rows in torch.arange(len(objects)).split(CHUNK):
            yield self.representation.encode(objects[rows]).to(self.device)

    def _each(self, verb: str, of: Callable[[Batch], X], objects: Any) -> list[X]:
        """Returns what `of` makes of each chunk of objects. Processes share the chunks out."""
        chunks = torch.arange(len(objects)).split(CHUNK)

        @torch.no_grad()
        def result(number: int) -> X:
            with stream(0, verb, number):
                return of(next(self.batches(objects[chunks[number]])))

        return shared_out(result, range(len(chunks)))

    def encode(self, objects: Any) -> Tensor:
        """Returns the latent coordinates of objects; what is padded of those with places is 0.

        Raises:
            RecipeError: The model has no latent.
        """
        self.require("encode")
        model: Any = self.model
        found = self._each("encode", lambda b: model.to_latent(b).cpu(), objects)
        return joined(found) if found[0].ndim == 3 else torch.cat(found)

    def reconstruct(self, objects: Any) -> Reconstruction:
        """Encodes and decodes objects.

        Raises:
            RecipeError: The model has no latent.
        """
        self.require("reconstruct")
        model: Any = self.model
        again = lambda b: model.from_latent(model.to_latent(b), b).to("cpu")
        found = self._each("reconstruct", again, objects)
        copies = self.representation.decode(type(found[0]).cat(found))
        return Reconstruction(objects, copies, self.domain.match(objects, copies))

    def observe(self, objects: Any, importance: int = 1) -> dict[str, Tensor]:
        """Returns every observable of every object; a model with a likelihood adds its own.

        `log_likelihood` is log p(x) in nats, of a model that knows it. Of another, `elbo` is a
        lower bound; with `importance` above 1 it is the tighter `iwae` of that many draws of the
        latent.
        """
        with torch.no_grad():
            found = {o.name: o.of(objects) for o in self.domain.observables}
        return found | self.bound(objects, importance)

    def bound(self, objects: Any, importance: int = 1) -> dict[str, Tensor]:
        """Returns what a model with a likelihood says of objects, by its name; else nothing."""
        model: Any = self.model
        if not isinstance(self.model, Likelihood):
            return {}
        name = "elbo" if importance == 1 else "iwae"
        name = "log_likelihood" if self.is_exact else name
        bound = lambda b: model.log_likelihood(b, importance).cpu()
        with torch.no_grad():
            return {name: torch.cat(self._each("observe", bound, objects))}

    def group(self, objects: Any) -> Tensor | None:
        """Returns the cluster of each object, from 1; None where the model knows of none."""
        model: Any = self.model
        if not isinstance(self.model, Grouping):
            return None
        return torch.cat(self._each("group", lambda b: model.group(b).cpu(), objects))

    @property
    def bears(self) -> bool:
        """Whether files of objects hold numbers of them."""
        return type(self.domain).told is not Domain.told

    def told(self, objects: Any) -> Any:
        """Returns objects that bear what the model says of them into files, where these can."""
        if not (self.bears and len(objects)):
            return objects
        member = self.group(objects)
        grouped = {} if member is None else {"cluster": member.double()}
        values = {k: v.double() for k, v in self.bound(objects).items()}
        return self.domain.told(objects, values | grouped)

    @torch.no_grad()
    def interpolate(
        self,
        a: Any,
        b: Any,
        steps: int = 8,
        *,
        path: Literal["straight", "spherical"] = "straight",
    ) -> tuple[Any, Tensor]:
        """Returns the objects between two, both ends included, and their shares of the way.

        Args:
            a: A set that holds one object.
            b: Another.
            steps: How many objects.
            path: Along the line between their latents, or along the arc.

        Raises:
            RecipeError: The model has no latent.
            RepresentationError: The two differ in size, so that no line joins their latents.
        """
        self.require("interpolate")
        model: Any = self.model
        if steps < 2:
            raise DataError(f"an interpolation has at least 2 steps, got {steps}")
        first, second = next(self.batches(a)), next(self.batches(b))
        z, w = model.to_latent(first)[0], model.to_latent(second)[0]
        if z.shape != w.shape:
            sizes = f"{tuple(z.shape)} and {tuple(w.shape)}"
            raise RepresentationError(f"the two latents differ in shape: {sizes}")
        alphas = torch.linspace(0, 1, steps, device=z.device)
        given = first[torch.zeros(steps, dtype=torch.long)]
        with stream(0, "interpolate"):
            between = model.from_latent(interpolate(z, w, alphas, path), given)
        return self.representation.decode(between.to("cpu")), alphas.cpu()

    def optimise(
        self,
        observable: str | Callable[[Any], Tensor],
        goal: Goal = "minimise",
        *,
        starts: int = 64,
        steps: int = 200,
        lr: float = 0.02,
        prior: float = 0.02,
        seed: int = 0,
    ) -> Optimised:
        """Follows the gradient of a property in latent space, from many samples.

        Args:
            observable: The name of a differentiable observable, or a differentiable function
                from objects to a number of each.
            goal: Make it small, large, or hit a value.
            starts: How many walks.
            steps: Steps of each.
            lr: Step size of Adam, in prior standard deviations.
            prior: Weight of the prior's negative log-density, against the property in units
                of its standard deviation over the starts.
            seed: Seed of the starts.

        Raises:
            RecipeError: The model has no latent, or there is no such differentiable observable.
        """
        self.require("optimise")
        model: Any = self.model
        of = observable if callable(observable) else choose(self.domain, observable).of
        begun = self.sample(starts, seed=seed).objects
        given = self.representation.encode(begun).to(self.device)
        with torch.no_grad():
            z = model.to_latent(given)

        def decoded(z: Tensor) -> Any:
            return self.representation.decode(model.from_latent(z, given))

        def doubts(objects: Any) -> list[str]:
            return self.domain.doubts(objects, self.splits.train)

        with bar("optimise", total=steps) as shown, frozen(self.model):
            found = walk(z, decoded, of, goal, steps=steps, lr=lr, prior=prior, tell=shown.update)
        with torch.no_grad():
            draws = min(starts * (steps + 1), MOST_RANDOM)
            random = self.sample(draws, seed=seed + 1).objects
            return judge(found, decoded, of, goal, doubts, begun, random)


def _positive(n: int) -> int:
    if n < 1:
        raise DataError(f"the number of samples should be positive, got {n}")
    return n
