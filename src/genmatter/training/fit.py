"""Fitting a generative model to examples.

Everything that a step depends on is its weights, moments and number: its rows, its noise and
its learning rate are functions of (seed, step). So a checkpoint is those, and a resumed run
repeats itself bit for bit.
"""

__all__ = ["Fit", "fabric_for", "fit", "validate"]

import copy
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from genmatter.config import Optim
from genmatter.errors import CheckpointError, GenmatterError, TrainingError
from genmatter.loading.batch import Batch
from genmatter.loading.examples import Examples, order
from genmatter.maths.noise import reseed, stream
from genmatter.run import Run
from genmatter.spine import Generative, Loss
from genmatter.training import checkpoint, processes
from genmatter.training.interrupt import Interruption

SAVE_EVERY = 60.0
"""Longest time between two checkpoints, in seconds."""

Progress = Callable[["Fit", int], None]
"""Told of every step: where training stands, and the number of its last step."""


@dataclass
class Fit:
    """Where a training stands. All of it but `row` and the times is kept in a checkpoint."""

    step: int = 0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of the terms over the examples of this epoch so far."""
    seen: int = 0
    row: dict[str, float] = field(default_factory=dict)
    """The last row of the history."""


class _Objective(nn.Module):
    """What Fabric wraps: it looks into what goes in and out, and refuses frozen dataclasses."""

    def __init__(self, model: Generative) -> None:
        super().__init__()
        self.model = model
        self.said = Loss({}, {})

    def forward(self, kind: type[Batch], tensors: dict[str, Tensor], epoch: float) -> Tensor:
        self.said = self.model.loss(kind(**tensors), epoch)
        return self.said.total


def fabric_for(device: str, precision: str, threads: int) -> Fabric:
    """Returns Fabric for a device; under `torchrun` it joins the other processes.

    Raises:
        ConfigError: The device is not there, or there are more processes than devices.
    """
    if threads:
        torch.set_num_threads(threads)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells what it does
    how = {"32": "32-true", "bf16": "bf16-mixed"}[precision]
    fabric = Fabric(precision=how, **processes.plan(device))  # pyright: ignore[reportArgumentType]
    fabric.launch()
    return fabric


def fit(
    model: Generative,
    train: Examples,
    valid: Examples,
    optim: Optim,
    seed: int,
    run: Run,
    fabric: Fabric,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Fit:
    """Minimises the model's loss, in place, and leaves it with the weights that `optim` keeps.

    Raises:
        TrainingStoppedError: Somebody pressed Ctrl-C; the checkpoint holds everything up to there.
        CheckpointError: There is none to resume from, it is damaged, or cannot be written.
        TrainingError: The loss is no longer a number.
    """
    loop = _Loop(model, train, valid, optim, seed, run, fabric, progress)
    with processes.together():
        if resume:
            loop.restore()
        elif fabric.is_global_zero:
            run.cut_history(0)
    with processes.together(), checkpoint.Writer() as writer, Interruption() as interruption:
        for _ in loop.steps():
            if interruption.asked:
                loop.save(writer)
                break
            loop.save_if_due(writer)
            if loop.epoch_is_over:
                loop.close_epoch(writer)
        if loop.trouble:
            raise loop.trouble
    interruption.raise_if_asked(str(run.path), loop.state.step)
    loop.keep()
    return loop.state


class _Loop:
    """The parts of one training."""

    def __init__(
        self,
        model: Generative,
        train: Examples,
        valid: Examples,
        optim: Optim,
        seed: int,
        run: Run,
        fabric: Fabric,
        progress: Progress | None,
    ) -> None:
        self.model, self.optim, self.seed, self.run, self.fabric = model, optim, seed, run, fabric
        self.train, self.valid = _resident(train, fabric), _resident(valid, fabric)
        self.mean = copy.deepcopy(model).requires_grad_(False).to(fabric.device)
        free = [p for p in model.parameters() if p.requires_grad]
        adam = torch.optim.AdamW(free, lr=optim.lr, weight_decay=optim.weight_decay, fused=True)
        self.inner = _Objective(model)
        self.objective: Any
        self.objective, self.adam = fabric.setup(self.inner, adam)
        # looked up once: walking through the modules at every step costs as much as averaging
        self.pairs = list(zip(self.mean.parameters(), model.parameters(), strict=True))
        self.buffers = list(zip(self.mean.buffers(), model.buffers(), strict=True))
        self.per_epoch = len(order(train.sizes, optim.batch_size, seed, 0))
        self.last_step = optim.epochs * self.per_epoch
        self.state, self.progress = Fit(), progress
        self.trouble: GenmatterError | None = None
        self.started = self.saved = time.monotonic()

    def steps(self) -> Iterator[int]:
        """Takes one step after another until training is over."""
        while self.state.step < self.last_step and not self.is_stale:
            epoch, done = divmod(self.state.step, self.per_epoch)
            self.model.train()
            rows = order(self.train.sizes, self.optim.batch_size, self.seed, epoch)
            for batch in rows[done:]:
                self.step(batch)
                if self.progress:
                    self.progress(self.state, self.last_step)
                yield self.state.step

    def step(self, rows: Tensor) -> None:
        """Moves the weights once."""
        state, fabric = self.state, self.fabric
        rank, world = fabric.global_rank, fabric.world_size
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(self.optim, state.step, self.last_step)
        reseed(self.seed, "train", state.step, rank)
        batch = self.train[rows[rank::world]].to(fabric.device)
        self.adam.zero_grad()
        losses = self.objective(type(batch), batch.tensors, state.step / self.per_epoch)
        # a sum over the rows of every process, whatever share this one has of them
        fabric.backward(losses.sum() * (world / len(rows)))
        if self.optim.grad_clip:
            fabric.clip_gradients(self.objective, self.adam, max_norm=self.optim.grad_clip)
        self.adam.step()
        self.average()
        self.count(losses, len(batch))
        state.step += 1

    @torch.no_grad()
    def average(self) -> None:
        """Draws the averaged weights towards the new ones; slower once there were many steps."""
        k = self.state.step
        weight = 1 - min(self.optim.ema, (k + 1) / (k + 10))
        means: list[Tensor] = [a for a, _ in self.pairs]
        news: list[Tensor] = [b for _, b in self.pairs]
        torch._foreach_lerp_(means, news, weight)  # pyright: ignore[reportPrivateImportUsage]
        for a, b in self.buffers:
            a.copy_(b)

    @torch.no_grad()
    def count(self, losses: Tensor, n: int) -> None:
        """Adds a batch to the sums that the epoch's row of the history is made of.

        The sums are those of all processes, which learn here too if one of them has to stop.
        """
        state = self.state
        terms = self.inner.said.terms | {"total": losses}
        parts = torch.stack(
            [v.detach().float().sum() for v in (~losses.isfinite(), *terms.values())]
        )
        told = parts.new_tensor([n, self.trouble is not None])
        seen, trouble, bad, *sums = _over_all(self.fabric, torch.cat([told, parts])).tolist()
        if trouble or bad:
            processes.agree(self.trouble)
            raise TrainingError(
                f"the loss is not finite at step {state.step}: try a smaller --lr or --grad_clip 1"
            )
        for name, value in zip(terms, sums, strict=True):
            state.sums[name] = state.sums.get(name, 0.0) + value
        state.seen += int(seen)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps an error back until the next step, where the other processes can hear of it."""
        try:
            yield
        except GenmatterError as error:
            if self.fabric.world_size == 1:
                raise
            self.trouble = error

    @property
    def epoch_is_over(self) -> bool:
        return self.state.step % self.per_epoch == 0

    @property
    def is_stale(self) -> bool:
        return 0 < self.optim.patience <= self.state.stale

    def close_epoch(self, writer: checkpoint.Writer) -> None:
        """Validates, writes the history, and keeps the weights where they are the best so far."""
        state = self.state
        terms = validate(self.mean, self.valid, self.optim.batch_size, self.seed, self.fabric)
        better = terms["total"] < state.best
        if better:
            state.best, state.best_step = terms["total"], state.step
        state.stale = 0 if better else state.stale + 1
        state.row = self.describe(terms)
        state.sums, state.seen = {}, 0
        if self.fabric.is_global_zero:
            with self.held():
                self.run.append_history(state.row)
                if better:
                    writer(self.run.best, self.mean.state_dict(), {"step": state.step})
        self.save(writer)

    def describe(self, valid: dict[str, float]) -> dict[str, float]:
        """Returns the epoch's row of the history."""
        state = self.state
        return {
            "epoch": state.step / self.per_epoch,
            "step": state.step,
            "seconds": round(state.seconds + time.monotonic() - self.started, 3),
            "lr": learning_rate(self.optim, state.step - 1, self.last_step),
            **{f"train/{k}": v / state.seen for k, v in state.sums.items()},
            **{f"valid/{k}": v for k, v in valid.items()},
            **{f"weight_{k}": float(v) for k, v in self.inner.said.weights.items()},
        }

    def save_if_due(self, writer: checkpoint.Writer) -> None:
        """Saves in the midst of an epoch that is long."""
        if time.monotonic() - self.saved > SAVE_EVERY and not self.epoch_is_over:
            self.save(writer)

    def save(self, writer: checkpoint.Writer) -> None:
        """Writes all that a resumed training needs."""
        self.saved = time.monotonic()
        if not self.fabric.is_global_zero:
            return
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"mean/{k}": v for k, v in self.mean.state_dict().items()}
        for i, moments in self.adam.state_dict()["state"].items():
            tensors |= {f"adam/{i}/{k}": v for k, v in moments.items()}
        facts = dataclasses.asdict(self.state)
        facts["seconds"] += self.saved - self.started
        with self.held():
            writer(self.run.last, tensors, facts)

    def restore(self) -> None:
        """Takes up a training where its last checkpoint stands."""
        tensors, facts = checkpoint.read(self.run.last)

        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}

        moments: dict[int, dict[str, Tensor]] = {}
        for key, v in part("adam/").items():
            i, k = key.split("/")
            moments.setdefault(int(i), {})[k] = v
        try:
            self.model.load_state_dict(part("model/"))
            self.mean.load_state_dict(part("mean/"))
            self.adam.load_state_dict(self.adam.state_dict() | {"state": moments})
        except (RuntimeError, ValueError):
            where = str(self.run.last)
            raise CheckpointError(f"{where!r} holds a network of another shape") from None
        self.state = Fit(**facts)
        if self.fabric.is_global_zero:
            self.run.cut_history(self.state.step)

    def keep(self) -> None:
        """Gives the model the weights that the run is to keep."""
        self.fabric.barrier()
        if self.optim.keep == "best" and math.isfinite(self.state.best):
            self.model.load_state_dict(checkpoint.read(self.run.best)[0])
        else:
            self.model.load_state_dict(self.mean.state_dict())


def learning_rate(optim: Optim, step: int, last: int) -> float:
    """Returns the step size at a step: linear warm-up, then constant or half a cosine."""
    rise = min(1.0, (step + 1) / (optim.warmup_steps + 1))
    if optim.schedule == "constant":
        return optim.lr * rise
    return optim.lr * rise * (1 + math.cos(math.pi * step / max(last, 1))) / 2


@torch.no_grad()
def validate(
    model: Generative, valid: Examples, batch_size: int, seed: int, fabric: Fabric
) -> dict[str, float]:
    """Returns each term per example as it will be at the end, with the same noise every time."""
    model.eval()
    sums: dict[str, Tensor] = {}
    rank, world = fabric.global_rank, fabric.world_size
    with stream(seed, "valid", rank), fabric.autocast():
        for rows in torch.arange(len(valid)).split(batch_size):
            loss = model.loss(valid[rows[rank::world]].to(fabric.device), math.inf)
            for name, term in (loss.terms | {"total": loss.total}).items():
                sums[name] = sums.get(name, torch.zeros((), dtype=torch.float64)) + _sum(term)
    return {k: float(_over_all(fabric, v)) / len(valid) for k, v in sums.items()}


def _sum(x: Tensor) -> Tensor:
    return x.detach().cpu().double().sum()


def _over_all(fabric: Fabric, x: Tensor) -> Tensor:
    """Returns the sum over all processes."""
    if fabric.world_size == 1:
        return x
    return fabric.all_reduce(x.to(fabric.device), reduce_op="sum")  # pyright: ignore[reportReturnType]


def _resident(examples: Examples, fabric: Fabric) -> Examples:
    """Puts examples that fit in memory on the device, once."""
    return examples.to(fabric.device) if isinstance(examples, Batch) else examples
