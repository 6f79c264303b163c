"""Where a training stands, and how a checkpoint holds it.

Everything that a step depends on is weights, moments and the step's number: its rows, noise and
learning rate are functions of (seed, step). So those are all that there is to keep.
"""

__all__ = ["Fit", "packed", "restore"]

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from genmatter.errors import CheckpointError


@dataclass
class Fit:
    """Where a training stands, but for its tensors."""

    step: int = 0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of the terms over the examples of this epoch so far."""
    seen: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    """A row for each epoch. The file of that name is a copy, which may be lost or cut."""

    @property
    def row(self) -> dict[str, float]:
        """The last row of the history, once there is one."""
        return self.history[-1] if self.history else {}


def packed(
    model: nn.Module, mean: nn.Module, best: dict[str, Tensor], adam: Any
) -> dict[str, Tensor]:
    """Returns the weights, their averages, the best of those, and the moments, by name."""
    tensors = {f"model/{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"mean/{k}": v for k, v in mean.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in best.items()}
    for i, moments in adam.state_dict()["state"].items():
        tensors |= {f"adam/{i}/{k}": v for k, v in moments.items()}
    return tensors


def restore(
    tensors: dict[str, Tensor],
    facts: dict[str, Any],
    model: nn.Module,
    mean: nn.Module,
    adam: Any,
    where: str,
) -> tuple[Fit, dict[str, Tensor]]:
    """Gives the modules and the optimizer what `packed` took from them.

    Returns:
        Where the training stood, and the best averaged weights, if there were any.

    Raises:
        CheckpointError: The checkpoint, which `where` names, is of another network, or of another
            version.
    """

    def part(name: str) -> dict[str, Tensor]:
        return {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}

    moments: dict[int, dict[str, Tensor]] = {}
    for key, v in part("adam/").items():
        i, k = key.split("/")
        moments.setdefault(int(i), {})[k] = v
    if facts.keys() != {f.name for f in dataclasses.fields(Fit)}:
        raise CheckpointError(f"{where!r} was written by another version of genmatter")
    try:
        model.load_state_dict(part("model/"))
        mean.load_state_dict(part("mean/"))
        adam.load_state_dict(adam.state_dict() | {"state": moments})
    except (RuntimeError, ValueError):
        raise CheckpointError(f"{where!r} holds a network of another shape") from None
    return Fit(**facts), part("best/")
