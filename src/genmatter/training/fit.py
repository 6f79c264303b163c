"""Fitting a generative model to examples.

A step is a function of the weights, the moments, the seed and its number, and `last` holds all of
them: a training that is killed at any moment and resumed ends with the same weights, bit for bit.
"""

__all__ = ["Fit", "fit", "learning_rate", "validate"]

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from genmatter.config import Optim
from genmatter.errors import GenmatterError, TrainingError, TrainingStoppedError
from genmatter.loading.batch import Batch
from genmatter.loading.examples import Examples, order
from genmatter.maths.noise import reseed
from genmatter.run import Run
from genmatter.spine import Generative, Loss
from genmatter.training import checkpoint, processes
from genmatter.training.average import Average
from genmatter.training.interrupt import Interruption
from genmatter.training.schedule import learning_rate
from genmatter.training.state import Fit, packed, restore
from genmatter.training.validation import validate, watch

SAVE_EVERY = 60.0
"""Longest time between two checkpoints, in seconds."""

Progress = Callable[[Fit, int], None]
"""Told of every step: where training stands, and the number of its last step."""


class _Closed:
    """A batch that Fabric does not look into: it refuses frozen dataclasses, and rounds tensors.

    Half precision is for products of matrices, and not for coordinates and noise levels.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class _Objective(nn.Module):
    """What Fabric wraps."""

    def __init__(self, model: Generative) -> None:
        super().__init__()
        self.model = model
        self.said = Loss({}, {})

    def forward(self, closed: _Closed, epoch: float) -> Tensor:
        self.said = self.model.loss(closed.batch, epoch)
        return self.said.total


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
    tell: Callable[[dict[str, float]], object] = lambda row: None,
) -> Fit:
    """Minimises the model's loss, in place, and leaves it with the weights that `optim` keeps.

    Args:
        model: What is trained.
        train: Examples to learn from.
        valid: Examples that choose the best weights.
        optim: How.
        seed: Of the order of examples and the noise.
        run: The folder that history and checkpoints are written into.
        fabric: Device, precision and processes.
        resume: Go on from the checkpoint in the folder, or begin where nothing was written yet.
        progress: Told of every step.
        tell: Told of every epoch, on the first process: its row of the history.

    Raises:
        TrainingStoppedError: Ctrl-C or SIGTERM; the checkpoint holds everything up to there.
        CheckpointError: The one to resume from is lost or damaged, or one cannot be written.
        RunError: The history cannot be written.
        TrainingError: The loss is no longer a number.
    """
    loop = _Loop(model, train, valid, optim, seed, run, fabric, progress, tell)
    with loop.interruption:
        with processes.together(), checkpoint.Writer() as writer:
            loop.begin(writer, resume)
            for _ in loop.steps():
                if loop.epoch_is_over:
                    loop.close_epoch(writer)
                if loop.is_asked:
                    loop.save(writer)
                    break
                loop.save_if_due(writer)
            if loop.trouble:
                raise loop.trouble
        signal = loop.interruption.agreed()
    if signal:
        stopped = f"stopped after step {loop.state.step}; --resume goes on with {run.path}"
        raise TrainingStoppedError(stopped, signal)
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
        tell: Callable[[dict[str, float]], object],
    ) -> None:
        self.model, self.optim, self.seed, self.run, self.fabric = model, optim, seed, run, fabric
        self.train, self.valid = _resident(train, fabric), _resident(valid, fabric)
        free = [p for p in model.parameters() if p.requires_grad]
        adam = torch.optim.AdamW(free, lr=optim.lr, weight_decay=optim.weight_decay, fused=True)
        self.inner = _Objective(model)
        self.objective: Any
        self.objective, self.adam = fabric.setup(self.inner, adam)
        self.average = Average(model, optim.ema, fabric.device)
        self.mean = self.average.model
        self.per_epoch = len(order(train.sizes, optim.batch_size, seed, 0))
        self.last_step = optim.epochs * self.per_epoch
        self.state, self.progress, self.tell = Fit(), progress, tell
        self.best: dict[str, Tensor] = {}
        self.trouble: GenmatterError | None = None
        self.interruption, self.is_asked = Interruption(), False
        self.started = self.saved = time.monotonic()

    def begin(self, writer: checkpoint.Writer, resume: bool) -> None:
        """Takes up the training where its checkpoint stands, or writes one before the first step.

        So a folder that cannot be written is known at once, and one in which there is a history
        has lost its checkpoint if there is none.
        """
        run = self.run
        with processes.together():  # nobody looks for what the first is about to write
            if resume and (run.last.is_file() or run.best.is_file() or run.read_history()):
                self.restore()
        with processes.together():
            if self.fabric.is_global_zero:
                run.write_history(self.state.history)
                if self.best:
                    writer(run.best, self.best, {"step": self.state.best_step})
            self.save(writer)
            writer.wait()

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
        losses = self.objective(_Closed(batch), state.step / self.per_epoch)
        # a sum over the rows of every process, whatever share this one has of them
        fabric.backward(losses.sum() * (world / len(rows)))
        if self.optim.grad_clip:
            fabric.clip_gradients(self.objective, self.adam, max_norm=self.optim.grad_clip)
        self.adam.step()
        self.average.follow(state.step)
        self.count(losses, len(batch))
        state.step += 1

    @torch.no_grad()
    def count(self, losses: Tensor, n: int) -> None:
        """Adds a batch to the sums that the epoch's row of the history is made of.

        The sums are those of all processes, which learn here too if one was asked to stop, or
        has to.
        """
        state = self.state
        terms = self.inner.said.terms | {"total": losses}
        parts = torch.stack(
            [v.detach().float().sum() for v in (~losses.isfinite(), *terms.values())]
        )
        told = parts.new_tensor([n, self.interruption.asked > 0, self.trouble is not None])
        found = processes.summed(torch.cat([told, parts]), self.fabric).tolist()
        seen, asked, trouble, bad, *sums = found
        if trouble or bad:
            processes.agree(self.trouble)
            raise TrainingError(
                f"the loss is not finite at step {state.step}: try a smaller --lr or --grad_clip 1"
            )
        for name, value in zip(terms, sums, strict=True):
            state.sums[name] = state.sums.get(name, 0.0) + value
        state.seen += int(seen)
        self.is_asked = asked > 0

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
        watched = watch(self.mean, self.valid, self.seed, self.fabric)
        better = terms["total"] < state.best
        if better:
            state.best, state.best_step = terms["total"], state.step
            self.best = {k: v.cpu().clone() for k, v in self.mean.state_dict().items()}
        state.stale = 0 if better else state.stale + 1
        state.history.append(self.describe(watched | terms))
        state.sums, state.seen = {}, 0
        with self.held():
            if self.fabric.is_global_zero and better:
                writer(self.run.best, self.best, {"step": state.step})
        self.save(writer)
        with self.held():
            if self.fabric.is_global_zero:
                self.run.append_history(state.row)
                self.tell(state.row)

    def describe(self, valid: dict[str, float]) -> dict[str, float]:
        """Returns the epoch's row of the history."""
        state = self.state
        return {
            "epoch": state.step / self.per_epoch,
            "step": state.step,
            "seconds": round(state.seconds + time.monotonic() - self.started, 3),
            "lr": learning_rate(self.optim, state.step - 1, self.last_step),
            **self.model.course((state.step - 1) / self.per_epoch),
            **{f"train/{k}": v / state.seen for k, v in state.sums.items()},
            **{f"valid/{k}": v for k, v in valid.items()},
            **{f"weight_{k}": _mean(v) for k, v in self.inner.said.weights.items()},
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
        facts = dataclasses.asdict(self.state)
        facts["seconds"] += self.saved - self.started
        with self.held():
            writer(self.run.last, packed(self.model, self.mean, self.best, self.adam), facts)

    def restore(self) -> None:
        """Takes up a training where its last checkpoint stands."""
        tensors, facts = checkpoint.read(self.run.last)
        parts = self.model, self.mean, self.adam
        self.state, self.best = restore(tensors, facts, *parts, str(self.run.last))

    def keep(self) -> None:
        """Gives the model the weights that the run is to keep."""
        if self.optim.keep == "best" and self.best:
            self.model.load_state_dict(self.best)
        else:
            self.model.load_state_dict(self.mean.state_dict())


def _resident(examples: Examples, fabric: Fabric) -> Examples:
    """Puts examples that fit in memory on the device, once."""
    return examples.to(fabric.device) if isinstance(examples, Batch) else examples


def _mean(weight: float | Tensor) -> float:
    """Returns a weight, or its mean over the examples that it differs between."""
    return float(weight.mean()) if isinstance(weight, Tensor) else float(weight)
