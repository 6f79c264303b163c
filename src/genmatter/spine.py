"""The contract between kinds of matter and everything that is done with them.

objects    Domain           load, read, write, observe, score, draw   knows no network
bridge     Representation   objects -> batch -> objects               knows both
batches    Generative       batch -> loss, batch -> sample            knows no object
"""

__all__ = [
    "Contrast",
    "Domain",
    "Generative",
    "Grouping",
    "Latent",
    "Likelihood",
    "Loss",
    "Observable",
    "Predictor",
    "Representation",
    "Score",
    "Splits",
    "Steerable",
    "Variants",
]

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.errors import DataError
from genmatter.loading.batch import Batch

B = TypeVar("B", bound=Batch)
X = TypeVar("X")


@dataclass(frozen=True)
class Loss:
    """The terms of an objective for each example of a batch, and their weights (1 if unnamed).

    Likelihood and KL terms are in nats per example; any other term says its unit where it is
    made. A term that only a batch has is expanded over its examples. A weight is a number, or
    differs between the examples.
    """

    terms: dict[str, Float[Tensor, " n"]]
    weights: Mapping[str, float | Float[Tensor, " n"]]

    @property
    def total(self) -> Float[Tensor, " n"]:
        """The objective of each example."""
        assert self.weights.keys() <= self.terms.keys(), "a weight without its term"
        parts = [self.weights.get(k, 1.0) * v for k, v in self.terms.items()]
        return torch.stack(parts).sum(0)


class Generative(nn.Module, abc.ABC, Generic[B]):
    """A distribution over batches that can be fitted and sampled."""

    quick_latent: ClassVar[bool] = True
    """Whether thousands of walks to and from the latent, where there is one, take seconds."""
    watched: ClassVar[bool] = False
    """Whether the history has the diagnostics of each epoch, which take time."""

    @abc.abstractmethod
    def loss(self, batch: B, epoch: float) -> Loss:
        """Returns the objective after some epochs; validation asks for `inf`, in `eval` mode."""

    @abc.abstractmethod
    def sample(self, given: B) -> B:
        """Draws one completion of each row; what `given` knows comes back unchanged."""

    def begin(self, batches: Iterable[B]) -> None:
        """Sets what has a closed form before the gradients, such as a linear start."""

    def finish(self, batches: Iterable[B]) -> None:
        """Fits what has a closed form once the gradients are done, such as a latent prior."""

    def diagnostics(self, batch: B) -> dict[str, float]:
        """Returns what there is to know of a trained model beside its loss, by name."""
        return {}

    def course(self, epoch: float) -> dict[str, float]:
        """Returns what is set by the clock, such as a share of teacher forcing, by name."""
        return {}


@runtime_checkable
class Latent(Protocol):
    """The ability behind `encode`, `interpolate` and `optimise`: samples have coordinates."""

    def to_latent(self, batch: Any) -> Tensor: ...
    def from_latent(self, z: Tensor, given: Any) -> Any: ...


@runtime_checkable
class Likelihood(Protocol):
    """The ability behind `score`: a lower bound on log p(x) of each example, in nats.

    With `importance` above 1 it is the tighter bound of that many draws of the latent. A model
    whose value is no bound but exact says so in `exact_likelihood`.
    """

    def log_likelihood(self, batch: Any, importance: int = 1) -> Tensor: ...


@runtime_checkable
class Contrast(Protocol):
    """The ability behind `score --mutants`: how much likelier objects are than a wild type.

    In nats, over draws of the wild type's latent; negative where they are less likely.
    """

    def contrast(self, batch: Any, wild: Any, draws: int) -> Tensor: ...


@runtime_checkable
class Predictor(Protocol):
    """The ability behind `search --method gradient`: properties are told from the latent.

    They are numbers of each object by the names of observables, in their units, and gradients
    flow to the latent.
    """

    def predict(self, z: Tensor) -> dict[str, Tensor]: ...


@runtime_checkable
class Grouping(Protocol):
    """The ability to sort objects into the clusters of the latent space, counted from 1."""

    def group(self, batch: Any) -> Tensor: ...


@runtime_checkable
class Steerable(Protocol):
    """The ability behind `sample --steer`: drawing where a differentiable number has a value.

    Samples are of the model's law times a normal factor of that width around the value, as
    closely as the model can.
    """

    def steer(
        self, given: Any, measure: Callable[[Any], Tensor], value: float, width: float
    ) -> Any: ...


@dataclass(frozen=True)
class Splits(Generic[X]):
    """Disjoint sets of objects. A set has a length, and takes a slice or an index of rows.

    Where a published split leaves nothing to validate on, `valid` is `test`, the same object.
    """

    train: X
    valid: X
    test: X


@dataclass(frozen=True)
class Variants(Generic[X]):
    """Changes of one object that are asked for, and what comes of those that can be scored."""

    wild: X
    """A set of the one object."""
    objects: X
    """The variants that can be scored, in their order."""
    names: tuple[str, ...]
    """All that are asked for."""
    reasons: tuple[str, ...]
    """Why each has no score; "" where it has one."""
    measured: Mapping[str, Float[Tensor, " n"]]
    """What is known of each that is asked for, by name; NaN where it is not."""

    @property
    def rows(self) -> Int[Tensor, " scored"]:
        """The numbers of those that can be scored, among all."""
        return torch.tensor([k for k, why in enumerate(self.reasons) if not why], dtype=torch.long)


@dataclass(frozen=True)
class Observable(Generic[X]):
    """A named number of each object; NaN where it is unknown."""

    name: str
    unit: str
    of: Callable[[X], Float[Tensor, " n"]]
    differentiable: bool = False
    """Whether gradients flow through it to the objects, so that it can be optimised."""


@dataclass(frozen=True)
class Score:
    """A number that says how good samples are, and the value that perfect ones would have."""

    value: float
    best: float
    unit: str = ""
    unbiased: bool = False
    """Whether it estimates a distance so that chance can put it below the best value."""

    @property
    def gap(self) -> float:
        """How far it is from the best value."""
        below = self.unbiased and self.value < self.best
        return 0.0 if below else abs(self.value - self.best)


class Representation(abc.ABC, Generic[X, B]):
    """How objects are written as tensors. A frozen dataclass of plain values: JSON keeps it."""

    measure: ClassVar[str] = ""
    """What densities are with respect to, where other representations have the same in mind."""

    @classmethod
    @abc.abstractmethod
    def fit(cls, objects: X, config: Any) -> "Representation[X, B]":
        """Learns vocabulary, scales and statistics from the training split."""

    @abc.abstractmethod
    def encode(self, objects: X) -> B:
        """Writes objects as a batch, each row by itself and without chance."""

    def teach(self, objects: X) -> B:
        """Writes objects to learn from; may add what training alone sees, without chance."""
        return self.encode(objects)

    @abc.abstractmethod
    def decode(self, batch: B) -> X:
        """Reads any batch as objects. Inverts `encode` up to the symmetries it removes."""

    @abc.abstractmethod
    def prompt(self, n: int, config: Any) -> B:
        """Returns `n` rows in which only what `config.sampling` asks for is known."""

    def wild(self) -> X | None:
        """Returns a set of the one object that variants are changes of, where data name one."""
        return None

    def sizes(self, objects: X) -> Tensor | None:
        """Returns about how long each row is, if rows differ: streams are batched by it."""


class Domain(abc.ABC, Generic[X]):
    """One kind of matter."""

    observables: ClassVar[tuple[Observable, ...]]
    representation: type[Representation]
    formats: ClassVar[tuple[str, ...]]
    """Suffixes of the files that `write` can make; samples go into the first kind."""
    precision: ClassVar[dict[str, float]] = {}
    """How closely files of a suffix hold numbers, where that is less than single precision."""
    counts_failures: ClassVar[bool] = False
    """Whether `score` takes raw draws, of which some are no objects, and counts those."""
    quest: ClassVar[tuple[str, ...]] = ()
    """What a report searches for where no gradient leads there, such as ("qed=max",)."""
    compared: ClassVar[tuple[str, ...]] = ()
    """Observables that a report draws of objects and of their reconstructions."""
    noun: ClassVar[str] = "object"
    """The heading of objects as text, where a table has them."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abc.abstractmethod
    def load(self) -> Splits[X]:
        """Returns the objects to learn from: a function of `config.data` and nothing else."""

    @abc.abstractmethod
    def read(self, path: Path) -> X:
        """Returns the objects in a file.

        Raises:
            DataError: The file is not there, not whole, or not of this kind of matter.
        """

    @abc.abstractmethod
    def write(self, objects: X, path: Path) -> None:
        """Writes objects in the format that the file's suffix names."""

    @abc.abstractmethod
    def score(self, samples: X, splits: Splits[X]) -> dict[str, Score]:
        """Compares any objects with the test split; novelty is against the training split."""

    @abc.abstractmethod
    def draw(self, objects: X, titles: Sequence[str]) -> Any:
        """Returns a matplotlib figure, or HTML to be trusted, that shows objects in a row."""

    def parse(self, text: str) -> X | None:
        """Returns a set of the one object that is written as text, such as a SMILES string.

        None: the text is no object, or objects of this kind are not written so.
        """
        return None

    def variants(self, wild: X, table: Path | None) -> Variants[X]:
        """Returns the variants of an object that a file asks for, or all of one change.

        Raises:
            DataError: This kind of matter has none, or the file asks for what there is not.
        """
        raise DataError("objects of this kind have no variants to score")

    def simplest(self, train: X, variants: Variants[X]) -> dict[str, Float[Tensor, " n"]]:
        """Returns the scores of variants by the simplest models that could do the job."""
        return {}

    def landscape(self, variants: Variants[X], scores: Float[Tensor, " n"]) -> Any:
        """Returns a figure of what every change does; None where there is none."""
        return None

    def identities(self, objects: X) -> list[str] | None:
        """Returns a text for each object, equal for equal ones; None where none ever are."""
        return None

    def told(self, objects: X, values: Mapping[str, Float[Tensor, " n"]]) -> X:
        """Returns objects that bear numbers into files, where files of them hold such."""
        return objects

    def groups(self, objects: X, member: Int[Tensor, " n"]) -> Any:
        """Returns what shows the clusters that objects belong to, counted from 1; or None."""
        return None

    def changed(self, objects: X, n: int, generator: torch.Generator) -> X | None:
        """Returns `n` random objects of one small change; None where nobody knows how."""
        return None

    def changes(self, objects: X, to: X) -> list[str] | None:
        """Says how each object differs from one; None where that is not said in words."""
        return None

    def similarity(self, objects: X, to: X) -> Float[Tensor, " n"] | None:
        """Returns how alike each object is to one, from 0 to 1; None where nobody can say."""
        return None

    def ready(self) -> None:
        """Refuses, before any work, what `config.sampling` asks for and cannot be done here.

        Raises:
            GenmatterError: A package or a file that it needs is not there, or it means nothing.
        """

    def finished(self, objects: X) -> X:
        """Returns objects as `config.sampling` asks for them at last, such as relaxed ones."""
        return objects

    def cost(self, objects: X) -> Float[Tensor, " n"] | None:
        """Returns how far each is from what `config.sampling` asks; None: it asks nothing."""
        return None

    def record(self, folder: Path) -> None:
        """Leaves in a folder what is worth keeping about the data, such as rows left out."""

    def convert(self, folder: Path) -> list[Path]:
        """Writes all data, in the form that is read fastest, into a folder; returns the files.

        Raises:
            DataError: This kind of matter has no such form, and is written to single files.
        """
        raise DataError(
            f"{str(folder)!r} names no kind of file; there are {', '.join(self.formats)}"
        )

    def pictures(self, samples: X, splits: Splits[X]) -> dict[str, Any]:
        """Returns what shows samples beside the data, by caption: figures, or trusted HTML."""
        return {}

    def map(self, objects: X, xy: Float[Tensor, "n 2"], values: dict[str, Tensor]) -> Any:
        """Returns what shows objects where they lie in a plane, by their observables.

        A figure, or HTML to be trusted; None where a plain map of points says as much.
        """
        return None

    def faults(self, objects: X) -> list[str]:
        """Says why each object is not one; "" where it is. Sampling draws those again."""
        return [""] * len(objects)  # pyright: ignore[reportArgumentType]

    def failures(self, objects: X) -> list[str]:
        """Says which draws count as failed in a score that `counts_failures`, and why.

        Faults by default; not those by which sampling options choose among what is sound.
        """
        return self.faults(objects)

    def doubts(self, objects: X, data: X) -> list[str]:
        """Says why each object could hardly stand among the data; "" where it could."""
        return self.faults(objects)

    def match(self, objects: X, copies: X) -> dict[str, Score]:
        """Compares objects with their reconstructions, one to one."""
        return {}

    def baselines(self, train: X, n: int) -> dict[str, X]:
        """Returns samples of the simplest models that could do the job."""
        return {}

    def facts(self, splits: Splits[X]) -> dict[str, str]:
        """Returns what a reader should know of the data, by name."""
        return {}

    def cautions(self, splits: Splits[X]) -> list[str]:
        """Returns what makes scores on these data look better than they are."""
        return []

    def honest(self) -> Any:
        """Returns the config whose split does not leak, where this one's does; None elsewhere."""
        return None
