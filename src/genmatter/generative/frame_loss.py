"""What a diffusion of rigid bodies is shown in training, and what its errors weigh."""

__all__ = ["Crop", "Weights", "link_error", "stretches"]

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from genmatter.generative.bodies import Bodies, Clean, Level


@runtime_checkable
class Crop(Protocol):
    """A way to show a network parts of proteins."""

    def __call__(
        self, trans: Float[Tensor, "n L 3"], mask: Bool[Tensor, "n L"], protein: Int[Tensor, " n"]
    ) -> tuple[Bool[Tensor, "n L"], Float[Tensor, "n L"]]:
        """Returns which residues are shown, and the chance that each is."""
        ...


def stretches(seen: Bool[Tensor, "n L"], share: float) -> Bool[Tensor, "n L"]:
    """Returns a stretch of what is seen, of a fifth of it at least and never all, in some rows."""
    n, length = len(seen), seen.sum(1)
    long = (length * (0.2 + 0.6 * torch.rand(n, device=seen.device))).ceil()
    long = torch.minimum(long, length - 1)  # something is to be learned of every row
    start = (torch.rand(n, device=seen.device) * (length - long).clamp_min(0)).floor()
    rank = seen.cumsum(1) - 1
    those = (rank >= start[:, None]) & (rank < (start + long)[:, None])
    return those & (torch.rand(n, device=seen.device) < share)[:, None]


@dataclass(frozen=True)
class Weights:
    """What the terms of the objective weigh."""

    rot: float = 1.0
    trans: float = 1.0
    psi: float = 1.0
    links: float = 1.0
    links_below: float = 0.25
    """The t above which the links between neighbours cost nothing."""
    clean: bool = True
    """Compare clean translations in units of the noise, rather than scores in theirs."""


def link_error(
    found: Clean, clean: Bodies, level: Level, linked: Bool[Tensor, "n links"],
    points: Float[Tensor, "points 3"],
) -> Float[Tensor, " n"]:  # fmt: skip
    """Returns the mean squared error of the vectors between the atoms of neighbours.

    It is in units of their noise: that of a body's place, and that of its angle times how far its
    atoms reach.

    Args:
        found: The network's answer.
        clean: What is true.
        level: Of the state that it answered.
        linked: Of each body and the next, whether they are neighbours.
        points: Atoms of a body in its frame, angstrom.
    """
    atoms = lambda x: torch.einsum("nlij,pj->nlpi", x.rots, points) + x.trans[:, :, None]
    error = atoms(found) - atoms(clean)
    gap = error[:, 1:, None] - error[:, :-1, :, None]
    arm = points.square().sum(-1).mean().sqrt()
    unit = level.sigma_x.square() + (arm * level.sigma_r).square()
    mean = (gap.square().sum(-1).mean((2, 3)) * linked).sum(1) / linked.sum(1).clamp_min(1)
    return mean / unit
