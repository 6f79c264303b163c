"""Optimisation of a property in latent space, judged by what is sound."""

__all__ = ["Goal", "Optimised", "choose", "frozen", "judge", "walk"]

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genmatter.config import closest
from genmatter.errors import RecipeError
from genmatter.generative.latent import Descent, descend
from genmatter.spine import Domain, Observable

Goal = Literal["minimise", "maximise"] | float
LOOKS = 40
"""Points of each walk at which its object is judged."""


@dataclass(frozen=True)
class Optimised:
    """Where an optimisation in latent space went from every start."""

    starts: Any
    ends: Any
    """The best object along each start's walk that nothing speaks against, or the last one."""
    values: Tensor
    """The property at every step, [steps + 1, starts]."""
    reached: Tensor
    """The property of `ends`, [starts]."""
    doubts: list[str]
    """What speaks against each of `ends`; "" where nothing does."""
    success: Tensor
    """Whether each of `ends` is sound and closer to the goal than its start."""
    last_sound: float
    """Share of the walks whose very last object is sound."""
    random_best: float
    """The best value among as many random samples as the walks decoded objects; NaN for none."""
    random_draws: int


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Keeps gradients off a model's weights, which are not what is optimised."""
    free = [p for p in model.parameters() if p.requires_grad]
    for p in free:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in free:
            p.requires_grad_(True)


def choose(domain: Domain, name: str) -> Observable:
    """Returns a differentiable observable by its name.

    Raises:
        RecipeError: The domain has none of that name.
    """
    known = {o.name: o for o in domain.observables}
    if name in known and not known[name].differentiable:
        raise RecipeError(
            f"no gradient of {name!r} reaches the objects; `genmatter search RUN {name}=max` goes "
            "without one"
        )
    smooth = [o.name for o in domain.observables if o.differentiable]
    if name not in smooth:
        raise RecipeError(f"there is no differentiable observable {name!r}{closest(name, smooth)}")
    return known[name]


def walk(
    z: Tensor,
    decoded: Callable[[Tensor], Any],
    of: Callable[[Any], Tensor],
    goal: Goal,
    *,
    steps: int,
    lr: float,
    prior: float,
    tell: Callable[[], object] = lambda: None,
) -> Descent:
    """Follows the gradient of a property, in units of its spread over the starts.

    Each step is told to `tell`.
    """
    with torch.no_grad():
        scale = float(of(decoded(z)).std().clamp(min=1e-6)) if len(z) > 1 else 1.0

    def objective(z: Tensor) -> tuple[Tensor, Tensor]:
        value = of(decoded(z))
        tell()
        return cost(value, goal, scale), value

    return descend(z, objective, steps, lr, prior)


def judge(
    found: Descent,
    decoded: Callable[[Tensor], Any],
    of: Callable[[Any], Tensor],
    goal: Goal,
    doubts: Callable[[Any], list[str]],
    starts: Any,
    random: Any,
) -> Optimised:
    """Takes the best sound object of each walk, and compares with random search.

    Args:
        found: The walks.
        decoded: Returns the objects at latents.
        of: The property.
        goal: What it should become.
        doubts: Says what speaks against each object.
        starts: The objects that the walks began from.
        random: As many samples as the walks decoded objects, or fewer.
    """
    last = len(found.path) - 1
    objects = decoded(found.path[last])
    why, reached = doubts(objects), of(objects).cpu()
    last_sound = sum(not w for w in why) / len(why)
    best = torch.full((len(why),), torch.inf)
    at = torch.full((len(why),), last)
    for step in range(last, -1, -max(len(found.path) // LOOKS, 1)):
        objects = decoded(found.path[step])
        value = of(objects).cpu()
        sound = torch.tensor([not w for w in doubts(objects)])
        better = sound & (cost(value, goal) < best)
        best = torch.where(better, cost(value, goal), best)
        reached = torch.where(better, value, reached)
        at = torch.where(better, step, at)
        why = ["" if b else w for b, w in zip(better.tolist(), why, strict=True)]
    # Objects of any kind are decoded again where they were best, for not all can be joined.
    ends = decoded(found.path[at, torch.arange(len(at))])
    fine = torch.tensor([not w for w in doubts(random)])
    values = of(random).cpu()[fine]
    return Optimised(
        starts=starts,
        ends=ends,
        values=found.values.cpu(),
        reached=reached,
        doubts=why,
        success=best < cost(of(starts).cpu(), goal),
        last_sound=last_sound,
        random_best=float(values[cost(values, goal).argmin()]) if len(values) else math.nan,
        random_draws=len(fine),
    )


def cost(value: Tensor, goal: Goal, scale: float = 1.0) -> Tensor:
    """Returns what is to become small."""
    match goal:
        case "minimise":
            return value / scale
        case "maximise":
            return -value / scale
        case _:
            return ((value - goal) / scale).square()
