"""What an objective is worth on examples that were not trained on."""

__all__ = ["validate", "watch"]

import math

import torch
from lightning_fabric import Fabric
from torch import Tensor

from genmatter.loading.examples import Examples
from genmatter.maths.noise import stream
from genmatter.spine import Generative
from genmatter.training.processes import summed

WATCHED = 1024
"""Examples that diagnostics are of."""


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
    return {k: float(summed(v, fabric)) / len(valid) for k, v in sums.items()}


@torch.no_grad()
def watch(model: Generative, valid: Examples, seed: int, fabric: Fabric) -> dict[str, float]:
    """Returns the diagnostics of a model that asks for it, without those of each unit.

    Every process returns the same, of the first examples and with the same noise every time.
    """
    if not model.watched:
        return {}
    model.eval()
    some = valid[torch.arange(min(WATCHED, len(valid)))].to(fabric.device)
    with stream(seed, "watch"), fabric.autocast():
        found = model.diagnostics(some)
    return {name: value for name, value in found.items() if "unit_" not in name}


def _sum(x: Tensor) -> Tensor:
    return x.detach().cpu().double().sum()
