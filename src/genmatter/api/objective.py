"""What a search is for: wishes about properties, and how near objects come to them.

An object that keeps every bound is better than one that does not. Of those that do, the better
one has the smaller weighted sum of what is to become small, in standard deviations of the data;
of those that do not, the one that misses the bounds by less.
"""

__all__ = ["SIMILARITY", "Assessed", "Objective", "Wish"]

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from genmatter.api.naming import function
from genmatter.api.trained import Trained
from genmatter.config import closest
from genmatter.errors import ConfigError, RecipeError
from genmatter.spine import Likelihood

SIMILARITY = "similarity"
"""The property that is said of an object and the start of a search."""
ELBO = "elbo"
"""What the model itself says of an object: log p(x) or its bound, in nats."""
EXAMPLES = '"qed=max", "sa=min", "tpsa=60", "sa<=3", or "2*qed=max" for twice the weight'
KNOWN = 1000
"""Training objects whose spread makes the unit of a property."""
_GRAMMAR = re.compile(
    r"(?:(?P<weight>[0-9.]+)\s*\*)?\s*(?P<name>[^<>=]+?)\s*(?P<sign><=|>=|=)\s*(?P<value>\S+)"
)


@dataclass(frozen=True)
class Wish:
    """What one property should become."""

    name: str
    sense: Literal["max", "min", "=", "<=", ">="]
    value: float = math.nan
    """What it should be, or its bound; NaN where it is to be as large or small as can be."""
    weight: float = 1.0

    @classmethod
    def read(cls, text: str) -> "Wish":
        """Reads `NAME=max`, `NAME=min`, `NAME=NUMBER`, `NAME<=NUMBER` or `NAME>=NUMBER`.

        A weight may stand before it: `2*NAME=max`.

        Raises:
            ConfigError: It reads otherwise.
        """
        found = _GRAMMAR.fullmatch(text.strip())
        wrong = ConfigError(f"cannot read the wish {text!r}; wishes read {EXAMPLES}")
        if not found:
            raise wrong
        name, value = found["name"], found["value"]
        sign: Any = found["sign"]
        try:
            weight = float(found["weight"] or 1)
            if sign == "=" and value in {"max", "min"}:
                return cls(name, "max" if value == "max" else "min", weight=weight)
            number = float(value)
        except ValueError:
            raise wrong from None
        if not math.isfinite(number):
            raise wrong
        return cls(name, sign, number, weight)

    @property
    def is_bound(self) -> bool:
        return self.sense in {"<=", ">="}

    def __str__(self) -> str:
        value = self.sense if math.isnan(self.value) else f"{self.value:g}"
        sign = self.sense if self.is_bound else "="
        return f"{'' if self.weight == 1 else f'{self.weight:g}*'}{self.name}{sign}{value}"

    def lack(self, x: Tensor) -> Tensor:
        """Returns what is to become small, in units of the property; of a bound, the miss."""
        match self.sense:
            case "max":
                return -x
            case "min":
                return x
            case "=":
                return (x - self.value).abs()
            case "<=":
                return (x - self.value).relu()
            case ">=":
                return (self.value - x).relu()


@dataclass(frozen=True)
class Assessed:
    """Objects by what was wanted of them."""

    values: Mapping[str, Float[Tensor, " n"]]
    miss: Float[Tensor, " n"]
    """By how much they miss the bounds; 0 where they keep them, inf where it is not known."""
    cost: Float[Tensor, " n"]
    """What is to become small; inf where it is not known."""

    @property
    def feasible(self) -> Bool[Tensor, " n"]:
        return (self.miss == 0) & self.cost.isfinite()


@dataclass(frozen=True)
class Objective:
    """Wishes, how their properties are found, and the unit of each."""

    wishes: tuple[Wish, ...]
    of: Mapping[str, Callable[[Any], Tensor]]
    scale: Mapping[str, float]
    units: Mapping[str, str]

    @classmethod
    def make(cls, it: Trained, wishes: Iterable[str | Wish], start: Any = None) -> "Objective":
        """Looks up the properties that are wished, and their spread over the training data.

        Args:
            it: Whose observables. A property may be `FILE.py:FUNCTION` as well, `similarity` to
                the start, where the domain knows it, or the model's own `elbo`.
            wishes: At least one, as texts or read.
            start: A set of one object.

        Raises:
            ConfigError: A text is no wish, no property is known by the name, or nothing but
                bounds is wished.
        """
        read = tuple(w if isinstance(w, Wish) else Wish.read(w) for w in wishes)
        if all(w.is_bound for w in read):
            raise ConfigError(f"nothing is to become better: wishes read {EXAMPLES}")
        of = {w.name: _property(it, w.name, start) for w in read}
        train = it.splits.train
        some = train[torch.linspace(0, len(train) - 1, min(KNOWN, len(train))).long()]
        scale = {name: 1.0 if name == SIMILARITY else _spread(f(some)) for name, f in of.items()}
        units = {o.name: o.unit for o in it.domain.observables}
        return cls(read, of, scale, {name: units.get(name, "") for name in of})

    @property
    def leading(self) -> str:
        """The property of the first wish that is no bound."""
        return next(w.name for w in self.wishes if not w.is_bound)

    @torch.no_grad()
    def assess(self, objects: Any) -> Assessed:
        """Measures objects by their true properties."""
        values = {name: of(objects).double().cpu() for name, of in self.of.items()}
        unknown = torch.stack(list(values.values())).isnan().any(0)
        miss = self._sum(values, bounds=True).masked_fill(unknown, torch.inf)
        return Assessed(values, miss, self.cost(values).masked_fill(unknown, torch.inf))

    def cost(self, values: Mapping[str, Tensor]) -> Tensor:
        """Returns the weighted sum of what is to become small; gradients flow through it."""
        return self._sum(values, bounds=False)

    def predicted(self, values: Mapping[str, Tensor]) -> Tensor:
        """Returns a cost with the bounds in it, by those properties that are among the values."""
        return self.cost(values) + FIRMNESS * self._sum(values, bounds=True)

    def _sum(self, values: Mapping[str, Tensor], *, bounds: bool) -> Tensor:
        known = next(iter(values.values()))
        total = torch.zeros_like(known)
        for w in self.wishes:
            if w.is_bound == bounds and w.name in values:
                total = total + w.weight * w.lack(values[w.name]) / self.scale[w.name]
        return total


FIRMNESS = 10.0
"""Standard deviations that a gradient gains by one of a bound's that it does not miss."""


def _property(it: Trained, name: str, start: Any) -> Callable[[Any], Tensor]:
    known = {o.name: o.of for o in it.domain.observables}
    if name in known:
        return known[name]
    if name == ELBO and isinstance(it.model, Likelihood):
        return lambda objects: next(iter(it.bound(objects).values()))
    if ":" in name:
        return function(name)
    if name != SIMILARITY:
        options = [*known, SIMILARITY, ELBO]
        raise ConfigError(f"there is no observable {name!r}{closest(name, options)}")
    if start is None:
        raise ConfigError("similarity is to the start of a search: say which one with --start")
    if it.domain.similarity(start, start) is None:
        raise RecipeError(f"{it.recipe} does not know how alike two objects are")
    return lambda objects: it.domain.similarity(objects, start)  # pyright: ignore[reportReturnType]


def _spread(x: Tensor) -> float:
    known = x[~x.isnan()].double()
    return float(known.std().clamp(min=1e-6)) if len(known) > 1 else 1.0
