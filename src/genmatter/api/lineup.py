"""Runs that are to stand side by side: which they are, what to call them, where they differ."""

__all__ = ["TEST", "Leaves", "differing", "load_all"]

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genmatter.api.evaluation import FLOOR, TRAIN
from genmatter.api.fitting import load
from genmatter.api.trained import Trained
from genmatter.config import Config
from genmatter.errors import RecipeError, RunError
from genmatter.run import Run

TEST = "test"
"""The name of the test split, where sets of objects are shown."""
Leaves = dict[str, dict[str, object]]
"""Config leaf -> run -> value."""


def load_all(places: Sequence[str | Path | Trained]) -> dict[str, Trained]:
    """Loads runs and names each by the end of its path, as much of it as tells them apart.

    Raises:
        RunError: One of them is not on disk, or one is named twice.
        RecipeError: They are not of one domain.
    """
    homes = [_home(place) for place in places]
    for a, b in itertools.combinations(homes, 2):
        if a.path.resolve() == b.path.resolve():
            raise RunError(f"{str(a.path)!r} and {str(b.path)!r} are the same run")
    for home in homes[1:]:
        if home.recipe.split("/")[0] != homes[0].recipe.split("/")[0]:
            raise RecipeError(
                f"{str(homes[0].path)!r} is a run of {homes[0].recipe} and {str(home.path)!r} one "
                f"of {home.recipe}: only runs of one domain can be compared"
            )
    loaded = [
        place if isinstance(place, Trained) else load(home.path)
        for place, home in zip(places, homes, strict=True)
    ]
    return dict(zip(_names([home.path for home in homes]), loaded, strict=True))


def _home(place: str | Path | Trained) -> Run:
    if not isinstance(place, Trained):
        return Run.at(place)
    if place.run is None:
        raise RunError("a comparison needs runs that lie on disk")
    return place.run


def _names(paths: Sequence[Path]) -> list[str]:
    taken = {TEST, FLOOR, TRAIN}
    whole = [path.resolve().parts for path in paths]
    for depth in range(1, max(map(len, whole))):
        names = ["/".join(steps[-depth:]) for steps in whole]
        if len({*names} - taken) == len(paths):
            return names
    return [str(path.resolve()) for path in paths]


def differing(configs: Mapping[str, Config]) -> Leaves:
    """Returns the leaves that all configs have, and that are not alike."""
    flat = {name: dict(_leaves(config)) for name, config in configs.items()}
    paths = [path for path in next(iter(flat.values())) if all(path in of for of in flat.values())]
    rows = {path: {name: of[path] for name, of in flat.items()} for path in paths}
    return {path: row for path, row in rows.items() if len({*map(repr, row.values())}) > 1}


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, object]]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value
