"""What the objective charges beside reconstruction and KL, each term in nats per molecule."""

__all__ = ["penalties"]

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genmatter.domains.molecule.config import MoleculeCVAEConfig
from genmatter.domains.molecule.shown import Levels, Shown
from genmatter.maths.gaussian import DiagonalGaussian
from genmatter.maths.information import information

Penalty = Callable[[DiagonalGaussian, Tensor, Shown], Tensor]


def penalties(
    c: MoleculeCVAEConfig, predictor: nn.Module, levels: Levels
) -> dict[str, tuple[Callable[[float], float], Penalty]]:
    """Returns the terms beside reconstruction and KL, with their weights."""

    def collapse(q: DiagonalGaussian, z: Tensor, batch: Shown) -> Tensor:
        found = information(q, z).mean()
        return (c.mi_target - found).relu().expand(len(batch))

    def negative(q: DiagonalGaussian, z: Tensor, batch: Shown) -> Tensor:
        return -information(q, z)

    def properties(q: DiagonalGaussian, z: Tensor, batch: Shown) -> Tensor:
        found = predictor(torch.cat([z, levels.written(batch.level)], -1))
        error = (found - batch.properties.nan_to_num()).square() / 2
        return (error * batch.properties.isfinite()).sum(-1)

    terms = {
        "collapse": (c.lambda_collapse, collapse),
        "information": (c.lambda_mi, negative),
        "properties": (c.lambda_prop, properties),
    }
    return {k: ((lambda epoch, w=w: w), penalty) for k, (w, penalty) in terms.items() if w}
