"""The step size as a function of the step."""

__all__ = ["learning_rate"]

import math

from genmatter.config import Optim


def learning_rate(optim: Optim, step: int, last: int) -> float:
    """Returns the step size at a step: linear warm-up, then constant or half a cosine."""
    rise = min(1.0, (step + 1) / (optim.warmup_steps + 1))
    if optim.schedule == "constant":
        return optim.lr * rise
    return optim.lr * rise * (1 + math.cos(math.pi * step / max(last, 1))) / 2
