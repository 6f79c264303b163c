"""What lies around an object in latent space."""

__all__ = ["Neighbours", "around", "neighbours"]

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genmatter.api.files import RunLike, _loaded, _place, _write, draw
from genmatter.api.naming import one
from genmatter.api.trained import Trained
from genmatter.errors import ConfigError, DataError
from genmatter.generative import latent
from genmatter.loading.batch import Batch
from genmatter.maths.noise import stream
from genmatter.run import write_json
from genmatter.training.processes import once

MOST = 10
"""How many times as many directions as objects are tried."""


@dataclass(frozen=True)
class Neighbours:
    """Different objects that are decoded at one latent distance from another."""

    objects: Any
    distance: float
    times: list[int]
    """How many of the directions lead to each."""
    same: list[bool]
    """Whether each is the object that lies in the middle."""
    tried: int
    """Directions that were tried, those to what is no object among them."""


def neighbours(
    run: RunLike,
    a: str = "test:0",
    distance: float = 1.0,
    n: int = 20,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    **sampling: Any,
) -> Neighbours:
    """Writes the objects around one in latent space, a picture of them, and how often each came.

    Args:
        run: Which model.
        a: The object in the middle, named as in `interpolate`.
        distance: How far, in the latent's own units: standard deviations of its prior.
        n: How many different ones.
        seed: Seed of the directions.
        out: Where to write the objects.
        **sampling: Other sampling options than the run's.

    Raises:
        RecipeError: The model has no latent.
        ConfigError: The distance is negative.
        DataError: No such object, or nothing around it is one.
    """
    it = _loaded(run, **sampling)
    found = around(it, one(it, a), distance, n, seed=seed)
    place = _place(it, out, f"neighbours{it.domain.formats[0]}")
    _write(it.domain, it.told(found.objects), place)
    facts = {"distance": distance, "tried": found.tried, "times": found.times, "same": found.same}
    once(lambda: write_json(place.with_suffix(".json"), facts))
    titles = [
        f"{t} x{', itself' if s else ''}" for t, s in zip(found.times, found.same, strict=True)
    ]
    once(lambda: draw(it, found.objects, titles, place))
    return found


@torch.no_grad()
def around(it: Trained, a: Any, distance: float, n: int, *, seed: int = 0) -> Neighbours:
    """Decodes random directions from an object until `n` different objects are found, or 10 n.

    Raises:
        RecipeError: The model has no latent.
        ConfigError: The distance is negative.
        DataError: The number is not positive, or no direction leads to an object.
    """
    it.require("encode")
    if not 0 <= distance < math.inf:
        raise ConfigError(f"a distance is at least 0, got {distance:g}")
    if n < 1:
        raise DataError(f"the number of neighbours should be positive, got {n}")
    model: Any = it.model
    middle = next(it.batches(a))
    z, given = model.to_latent(middle)[0], middle[torch.zeros(n, dtype=torch.long)]
    kept: list[Batch] = []
    times: dict[str, int] = {}
    tried = 0
    while len(times) < n and tried < MOST * n:
        with stream(seed, "around", tried):
            batch = model.from_latent(latent.around(z, n, distance), given).to("cpu")
        for row, name in _sound(it, batch, tried):
            if name not in times and len(times) < n:
                times[name] = 0
                kept.append(batch[row : row + 1])
            if name in times:
                times[name] += 1
        tried += n
    if not kept:
        raise DataError(f"none of {tried} directions leads to an object: try a shorter distance")
    objects = it.representation.decode(type(kept[0]).cat(kept))
    own = it.domain.identities(a)
    same = [own is not None and name == own[0] for name in times]
    return Neighbours(objects, distance, list(times.values()), same, tried)


def _sound(it: Trained, batch: Batch, first: int) -> list[tuple[int, str]]:
    """Returns the rows that are objects, and their names; counted ones where objects have none."""
    objects = it.representation.decode(batch)
    names = it.domain.identities(objects) or [str(first + i) for i in range(len(batch))]
    faults = it.domain.faults(objects)
    return [(i, names[i]) for i, why in enumerate(faults) if not why]
