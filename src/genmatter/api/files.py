"""The verbs that read and write files. Each takes a run folder or a loaded run.

Where there are several processes all of them work, and the first one writes.
"""

__all__ = [
    "data",
    "encode",
    "evaluate",
    "interpolate",
    "optimise",
    "reconstruct",
    "sample",
    "score",
]

import csv
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from genmatter.api import evaluation
from genmatter.api.fitting import load
from genmatter.api.naming import SPLITS, function, named, one
from genmatter.api.optimising import Goal, Optimised, choose
from genmatter.api.trained import Reconstruction, Samples, Trained
from genmatter.api.wishes import conditions, outcome, read, sound_share
from genmatter.config import Config, resolve
from genmatter.errors import RunError
from genmatter.recipes import build_domain, find
from genmatter.reporting.page import Html, Page, Section, write
from genmatter.reporting.picture import png
from genmatter.run import write_json
from genmatter.spine import Domain, Splits
from genmatter.training.processes import once, together

RunLike = str | Path | Trained


def data(
    recipe: str, config: Config | None = None, *, out: str | Path | None = None, **fields: Any
) -> Splits[Any]:
    """Loads the objects that a recipe would train on, and writes each split where `out` says.

    Beside them lies what the domain keeps on record about its data.

    Args:
        recipe: Whose data.
        config: All that the recipe can be told; without it, defaults and `fields`.
        out: A file name such as `chains.npz`: becomes `chains_train.npz` and so on. A name
            without a suffix is a folder, for all data in the form that is read fastest.
        **fields: Leaves of the config, such as `data="chains.npz"`.
    """
    config = config or resolve(find(recipe), recipe=recipe, **fields)
    domain = build_domain(recipe, config)
    splits = domain.load()
    if out:
        path = Path(out)
        if path.suffix:
            for name in SPLITS:
                _write(domain, getattr(splits, name), path.with_stem(f"{path.stem}_{name}"))
        else:
            domain.convert(path)
        domain.record(path.parent if path.suffix else path)
    return splits


def sample(
    run: RunLike,
    n: int = 100,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    steer: str = "",
    width: float | None = None,
    **sampling: Any,
) -> Samples:
    """Draws `n` sound objects, and writes them into the run or where `out` says.

    Args:
        run: Which model.
        n: How many.
        seed: Seed of the draws.
        out: The file; its suffix is its format.
        steer: `NAME=NUMBER`, what a differentiable observable should be; the name may be
            `FILE.py:FUNCTION` for a function of your own.
        width: How closely, as a standard deviation.
        **sampling: Other sampling options than the run's.
    """
    it = _loaded(run, **sampling)
    it.domain.ready()
    if steer:
        name, value = read(steer)
        of = function(name) if ":" in name else choose(it.domain, name).of
        found = it.steer(of, value, n, width=width, seed=seed)
        wanted = [(name, value, of)]
    else:
        known = {o.name: o.of for o in it.domain.observables}
        wanted = [(k, v, known[k]) for k, v in conditions(it.config).items() if k in known]
        found = it.sample(n, seed=seed)
    found = dataclasses.replace(found, objects=it.domain.finished(found.objects))
    outcomes = [outcome(name, value, of(found.objects)) for name, value, of in wanted]
    if outcomes:
        sound = sound_share(it.domain, found.objects, it.splits.train)
        found = dataclasses.replace(found, outcomes=outcomes, sound=sound)
    place = _place(it, out, f"samples{it.domain.formats[0]}")
    _write(it.domain, it.told(found.objects), place)
    return found


def evaluate(
    run: RunLike,
    n: int = 2000,
    *,
    samples: str | Path | None = None,
    seed: int = 0,
    **sampling: Any,
) -> evaluation.Table:
    """Scores the run's samples, or those in anybody's file, beside floor and baselines.

    The scores of the run's own samples are kept in its `scores.json`, which the report shows;
    those of a file in `scores_NAME.json`.

    Args:
        run: Which model.
        n: How many samples.
        samples: Anybody's file of samples, instead of the run's own.
        seed: Seed of the draws.
        **sampling: Other sampling options than the run's.
    """
    it = _loaded(run, **sampling)
    it.domain.ready()
    if samples is None:
        table = evaluation.scores(it, it.fair(n, seed=seed))
        place = _place(it, None, "scores.json")
    else:
        path = Path(samples)
        with together():
            theirs = it.domain.read(path)
        table = evaluation.scores(it, theirs, path.name)
        place = _place(it, None, f"scores_{path.stem}.json")
    kept = {"n": n, "seed": seed, "table": evaluation.to_json(table)}
    once(lambda: write_json(place, kept))
    return table


def score(
    run: RunLike, source: str = "test", *, importance: int = 1, out: str | Path | None = None
) -> dict[str, Tensor]:
    """Gives each object its bound on log p(x), in nats, and its observables, as a CSV file.

    Args:
        run: Which model.
        source: A file, or `train`, `valid` or `test`.
        importance: Draws of the latent; above 1 the bound is the importance-weighted one.
        out: The CSV file; `scores_each.csv` in the run by default.
    """
    it = _loaded(run)
    it.require("score")
    columns = it.observe(named(it, source), importance)
    place = _place(it, out, "scores_each.csv")
    once(lambda: _write_csv(place, columns))
    return columns


def reconstruct(
    run: RunLike, source: str = "test", *, out: str | Path | None = None
) -> Reconstruction:
    """Encodes and decodes objects, and writes what became of them.

    Args:
        run: Which model.
        source: A file, `train`, `valid` or `test`, or one object as in `interpolate`.
        out: Where to write the copies.
    """
    it = _loaded(run)
    found = it.reconstruct(named(it, source))
    _write(it.domain, found.copies, _place(it, out, f"reconstructed{it.domain.formats[0]}"))
    return found


def encode(run: RunLike, source: str = "test", *, out: str | Path | None = None) -> Tensor:
    """Writes the latent coordinates of objects as an .npz file, with their observables."""
    it = _loaded(run)
    objects = named(it, source)
    z = it.encode(objects)
    values: dict[str, Any] = {o.name: o.of(objects).numpy() for o in it.domain.observables}
    member = it.group(objects)
    if member is not None:
        values["cluster"] = member.numpy()
    place = _place(it, out, "latents.npz")
    once(lambda: np.savez(place, z=z.numpy(), **values))
    return z


def interpolate(
    run: RunLike,
    a: str = "test:0",
    b: str = "test:1",
    *,
    steps: int = 8,
    path: Literal["straight", "spherical"] = "straight",
    out: str | Path | None = None,
    **sampling: Any,
) -> tuple[Any, Tensor]:
    """Writes the objects between two, and a picture of them.

    Args:
        run: Which model.
        a: One object: `5` or `test:5`, `train:5`, `FILE` or `FILE:5`, counted from 0; or the
            object itself as text, where its kind is written so.
        b: The other one.
        steps: How many, both ends included.
        path: Straight, or along an arc.
        out: Where to write the objects.
        **sampling: Other sampling options than the run's.
    """
    it = _loaded(run, **sampling)
    it.domain.ready()
    between, alphas = it.interpolate(one(it, a), one(it, b), steps, path=path)
    objects = it.domain.finished(between)
    place = _place(it, out, f"interpolation{it.domain.formats[0]}")
    _write(it.domain, it.told(objects), place)
    titles = [f"alpha {s:.2f}" for s in alphas.tolist()]
    if it.bears:
        for name, values in it.bound(objects).items():
            titles = [f"{t}, {name} {v:.1f}" for t, v in zip(titles, values.tolist(), strict=True)]
    once(lambda: draw(it, objects, titles, place))
    return objects, alphas


def optimise(
    run: RunLike,
    observable: str | Callable[[Any], Tensor],
    goal: Goal = "minimise",
    *,
    out: str | Path | None = None,
    **how: Any,
) -> Optimised:
    """Follows the gradient of a property in latent space, and writes where it led.

    Args:
        run: Which model.
        observable: A differentiable observable by name, `FILE.py:NAME` for a function of your
            own, or the function itself.
        goal: `minimise`, `maximise`, or the value to hit.
        out: Where to write the results.
        **how: `starts`, `steps`, `lr`, `prior`, `seed` of `Trained.optimise`.
    """
    it = _loaded(run)
    of = function(observable) if isinstance(observable, str) and ":" in observable else observable
    found = it.optimise(of, goal, **how)
    _write(it.domain, found.ends, _place(it, out, f"optimised{it.domain.formats[0]}"))
    return found


def draw(it: Trained, objects: Any, titles: list[str], place: Path) -> Path:
    """Writes a picture of objects beside a file of them."""
    picture = it.domain.draw(objects, titles)
    if isinstance(picture, str):
        place = place.with_suffix(".html")
        write(Page(place.stem, it.recipe, [Section("Objects", [Html(picture)])]), place)
    else:
        place = place.with_suffix(".png")
        place.write_bytes(png(picture))
    return place


def _loaded(run: RunLike, **sampling: Any) -> Trained:
    if isinstance(run, Trained):
        if not sampling:
            return run
        if run.run is None:
            raise RunError("other sampling options need a run that lies on disk")
        run = run.run.path
    return load(run, **sampling)


def _place(it: Trained, out: str | Path | None, name: str) -> Path:
    """Returns where to write: what the user says, or a name in the run."""
    if out is None and it.run is None:
        raise RunError("this run is not on disk: say where to write with `out`")
    path = Path(out) if out else it.run.path / name  # pyright: ignore[reportOptionalMemberAccess]
    once(lambda: _make_room(path))
    return path


def _write(domain: Domain, objects: Any, path: Path) -> None:
    """Writes objects, on the first process."""
    once(lambda: (_make_room(path), domain.write(objects, path)))


def _make_room(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write to {str(path.parent)!r}: {error.strerror}") from None


def _write_csv(path: Path, columns: Mapping[str, Tensor]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", *columns])
        rows = zip(*(c.tolist() for c in columns.values()), strict=True)
        writer.writerows([i, *(f"{v:.7g}" for v in row)] for i, row in enumerate(rows))
