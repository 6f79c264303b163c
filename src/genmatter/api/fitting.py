"""Training a recipe, and loading what was trained."""

__all__ = ["load", "train"]

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genmatter import config as configs
from genmatter.api.progress import bar, say
from genmatter.api.trained import Trained
from genmatter.config import Config
from genmatter.errors import ConfigError, RecipeError, RunError
from genmatter.loading.batch import Batch
from genmatter.loading.examples import Examples, Stream, order
from genmatter.loading.mapped import enough_memory
from genmatter.maths.noise import reseed, stream
from genmatter.recipes import build_domain, build_model, find
from genmatter.reporting.picture import png
from genmatter.reporting.plots import curves
from genmatter.run import Run, write_bytes, write_json
from genmatter.spine import Splits
from genmatter.training import checkpoint
from genmatter.training.devices import fabric_for
from genmatter.training.fit import Fit, fit
from genmatter.training.processes import once, together

MOST_FINISHED = 100_000
"""Examples, drawn by chance, that fits in closed form see; what they fit has far fewer numbers."""


@enough_memory()
def train(
    recipe: str,
    config: Config | None = None,
    *,
    run: str | Path | None = None,
    preset: str = "",
    resume: bool = False,
    overwrite: bool = False,
    verbose: bool = False,
    **fields: Any,
) -> Trained:
    """Fits a recipe's model to its data, and fills the run folder.

    Args:
        recipe: Its name, such as `polymer/vae`.
        config: All that the recipe can be told; without it, defaults, `preset` and `fields`.
        run: The folder; `runs/` and the recipe's name by default.
        preset: A named config of the recipe.
        resume: Go on with the run that the folder holds, by its own config and `fields`, or begin
            one where the folder is empty.
        overwrite: Replace the run that the folder holds.
        verbose: Write a line of all that each epoch records to the standard output.
        **fields: Leaves of the config, such as `epochs=20`.

    Raises:
        GenmatterError: The recipe, config, data or folder are not what they should be.
    """
    home = Run(Path(run) if run else Path("runs") / recipe.replace("/", "-"))
    if resume and home.begun:
        config = config or _kept(home, recipe)
    config = _planned(recipe, config, preset, fields)
    fabric = fabric_for(config.device, config.precision, config.threads)
    once(lambda: home.refuse_if_taken(resume=resume, overwrite=overwrite))
    with together():
        parent = _parent(recipe, config) if config.parent else None
        it, splits = _begun(recipe, config, home, parent)
    once(lambda: _claim(it, home, parent, resume=resume, overwrite=overwrite))
    with together():
        data = _examples(it, splits.train, it.representation.teach)
        valid = _examples(it, splits.valid, it.representation.encode)
        if not (resume and home.last.is_file()):
            _start(it, data)
    with _Bar(recipe) as bar:
        fit(
            it.model, data, valid, config.optim, config.seed, home, fabric,
            resume=resume, progress=bar, tell=say if verbose else lambda row: None,
        )  # fmt: skip
    with together():
        _finish(it, data, fabric.device)
    once(lambda: _keep(it, home))
    return it


def load(run: str | Path, *, device: str = "auto", **sampling: Any) -> Trained:
    """Reads a run, with other sampling options where some are given. Needs no data.

    Raises:
        RunError: There is no finished run.
        CheckpointError: Its weights are damaged.
        ConfigError: There is no such sampling option.
    """
    home = Run.at(run)
    it = _untrained(home, sampling)
    if not home.model.is_file():
        raise RunError(f"the training of {str(run)!r} has not ended: go on with --resume")
    it.model.load_state_dict(checkpoint.read(home.model)[0])
    it.model.eval().to(fabric_for(device, "32", it.config.threads).device)
    return it


class _Bar:
    """A progress bar of steps, on a terminal only."""

    def __init__(self, recipe: str) -> None:
        self.bar = bar(recipe)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def __call__(self, state: Fit, last: int) -> None:
        if self.bar.disable:
            return
        self.bar.total = last
        self.bar.update(state.step - self.bar.n)
        if state.row:
            self.bar.set_postfix(valid=f"{state.row['valid/total']:.3f}", refresh=False)


def _kept(home: Run, recipe: str) -> Config:
    """Returns the config of the run that is to be resumed."""
    if home.recipe != recipe:
        raise RunError(f"{str(home.path)!r} holds a run of {home.recipe}, not of {recipe}")
    return configs.load(home.config.read_text(), find(recipe)(), recipe, str(home.config))


def _planned(recipe: str, config: Config | None, preset: str, fields: dict[str, Any]) -> Config:
    """Returns all that a training is told."""
    cls = find(recipe)
    config = config or configs.resolve(cls, preset=preset, recipe=recipe)
    config = configs.replaced(config, fields, cls.aliases)
    if not isinstance(config, cls):
        raise ConfigError(f"{recipe} takes a {cls.__name__}, got a {type(config).__name__}")
    if config.stage and not config.parent:
        raise RecipeError(f"{recipe} needs a run of {config.stage}: give --parent RUN")
    return config


def _parent(recipe: str, config: Config) -> Trained:
    """Returns the first stage that a second one starts from."""
    parent = load(str(config.parent), device="cpu")
    if parent.recipe != config.stage:
        raise RecipeError(f"{recipe} starts from a run of {config.stage}, not of {parent.recipe}")
    return parent


def _begun(
    recipe: str, config: Config, home: Run, parent: Trained | None
) -> tuple[Trained, Splits[Any]]:
    """Returns the model before it has learned anything, and the data that it is to learn from."""
    domain = build_domain(recipe, config)
    splits = domain.load()
    representation = (
        parent.representation if parent else domain.representation.fit(splits.train, config)
    )
    reseed(config.seed, "init")
    model = build_model(recipe, config, representation, *([parent.model] if parent else []))
    return Trained(recipe, config, domain, representation, model, home), splits


def _claim(
    it: Trained, home: Run, parent: Trained | None, *, resume: bool, overwrite: bool
) -> None:
    """Takes the folder, and writes what is known before training."""
    home.claim(resume=resume, overwrite=overwrite)
    _describe(home, it)
    if parent:
        _describe(Run(home.path / "parent"), parent)
    it.domain.record(home.path)


def _examples(it: Trained, objects: Any, write: Callable[[Any], Batch]) -> Examples:
    """Returns objects as the model sees them: all of them now, or each when it is asked for."""
    sizes = it.representation.sizes(objects)
    sizes = torch.ones(len(objects)) if sizes is None else sizes
    found = Stream(objects, write, sizes)
    return found if it.config.optim.stream else found[torch.arange(len(objects))]


def _start(it: Trained, data: Examples) -> None:
    """Sets what has a closed form before there are gradients."""
    with stream(it.config.seed, "begin"):
        it.model.begin(data[rows] for rows in _rows(it, data, "begin"))


def _rows(it: Trained, data: Examples, key: str) -> list[Tensor]:
    """Returns batches of as many examples as a closed form is given."""
    size = it.config.optim.batch_size
    return order(data.sizes, size, key)[: math.ceil(MOST_FINISHED / size)]


def _finish(it: Trained, data: Examples, device: torch.device) -> None:
    """Fits what has a closed form, on the weights that are kept."""
    it.model.eval()
    with stream(it.config.seed, "finish"):
        it.model.finish(data[rows].to(device) for rows in _rows(it, data, "finish"))
    it.model.to(device).eval()


def _keep(it: Trained, home: Run) -> None:
    """Writes the history as a table and a picture, and the weights: where they are, all is."""
    history = home.read_history()
    write_json(home.path / "training_history.json", _columns(history))
    write_bytes(home.path / "training_history.png", png(curves(history)))
    weights = {k: v.detach().cpu().clone().contiguous() for k, v in it.model.state_dict().items()}
    checkpoint.write(home.model, weights, {})


def _columns(history: list[dict[str, float]]) -> dict[str, list[float]]:
    names = dict.fromkeys(k for row in history for k in row)
    return {k: [row.get(k, float("nan")) for row in history] for k in names}


def _describe(home: Run, it: Trained) -> None:
    plain = dataclasses.asdict(it.representation)  # pyright: ignore[reportArgumentType]
    home.describe(configs.dump(it.config, it.recipe), plain)


def _untrained(home: Run, sampling: dict[str, Any]) -> Trained:
    recipe = home.recipe
    config = configs.load(home.config.read_text(), find(recipe)(), recipe, str(home.config))
    if sampling:
        part = configs.replaced(config.sampling, sampling)  # pyright: ignore[reportAttributeAccessIssue]
        config = dataclasses.replace(config, sampling=part)  # pyright: ignore[reportCallIssue]
    domain = build_domain(recipe, config)
    if not home.representation.is_file():
        raise RunError(f"{str(home.path)!r} is not whole: it has no representation.json")
    plain = json.loads(home.representation.read_text())
    representation = configs.restore(domain.representation, plain)
    stages = [_untrained(home.parent, {}).model] if home.parent else []
    model = build_model(recipe, config, representation, *stages)
    return Trained(recipe, config, domain, representation, model, home)
