r"""Rigid bodies of residues, what of them may change, and what a level of their noise means.

A path goes from the data at its cleanest level to noise at t = 1. What its levels mean, the widths
of both noises and how much is left of the data, is the schedules' of `generative.diffusers`.
"""

__all__ = ["Bodies", "Clean", "FrameBatch", "FramePath", "Free", "Level", "mean_free", "origin"]

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from genmatter.generative.diffusers import SE3Diffuser
from genmatter.loading.batch import Batch


@dataclass(frozen=True)
class FrameBatch(Batch):
    """Rigid bodies of residues, in angstrom; what is unknown is NaN."""

    padding: ClassVar[dict[str, Any]] = {
        "rots": torch.eye(3), "trans": 0.0, "psi": torch.tensor([0.0, 1.0]), "aatype": 20,
        "seq_idx": 0, "residue_index": 0, "chain_idx": 0, "fixed": False,
    }  # fmt: skip

    rots: Float[Tensor, "n L 3 3"]
    trans: Float[Tensor, "n L 3"]
    psi: Float[Tensor, "n L 2"]
    """Its sine and cosine."""
    aatype: Int[Tensor, "n L"]
    seq_idx: Int[Tensor, "n L"]
    """Places along the chains from 1; there is a jump between two chains."""
    residue_index: Int[Tensor, "n L"]
    chain_idx: Int[Tensor, "n L"]
    mask: Bool[Tensor, "n L"]
    fixed: Bool[Tensor, "n L"]
    """Residues that sampling leaves where they are."""
    protein: Int[Tensor, " n"]
    """Which of the proteins that the representation knows; -1 for others."""


class Bodies(NamedTuple):
    """Rotations and translations (angstrom) of bodies."""

    rots: Float[Tensor, "n L 3 3"]
    trans: Float[Tensor, "n L 3"]


class Clean(NamedTuple):
    """What a network makes of noisy bodies."""

    rots: Float[Tensor, "n L 3 3"]
    trans: Float[Tensor, "n L 3"]
    psi: Float[Tensor, "n L 2"]


class Free(NamedTuple):
    """Which bodies may turn and move, and in which rows no other body says where they are."""

    turn: Bool[Tensor, "n L"]
    move: Bool[Tensor, "n L"]
    alone: Bool[Tensor, "n 1"]

    def mix(self, new: Bodies, old: Bodies) -> Bodies:
        """Returns new bodies where they may change, and old ones elsewhere."""
        return Bodies(
            torch.where(self.turn[..., None, None], new.rots, old.rots),
            torch.where(self.move[..., None], new.trans, old.trans),
        )


def mean_free(x: Float[Tensor, "n L 3"], free: Free) -> Float[Tensor, "n L 3"]:
    """Moves the mean of what moves to the origin, in rows where nothing else is."""
    those = (free.move & free.alone)[..., None]
    mean = (x * those).sum(1, keepdim=True) / those.sum(1, keepdim=True).clamp_min(1)
    return x - mean * those


def origin(
    trans: Float[Tensor, "n L 3"], seen: Bool[Tensor, "n L"], fixed: Bool[Tensor, "n L"]
) -> Float[Tensor, "n 1 3"]:
    """Returns the centroid of what is fixed, or of all that is seen where nothing is."""
    held = fixed & seen
    those = torch.where(held.any(1, keepdim=True), held, seen)[..., None]
    return (trans * those).sum(1, keepdim=True) / those.sum(1, keepdim=True).clamp_min(1)


class Level(NamedTuple):
    """What a level means, [n] each or of no axis; widths of translations in angstrom."""

    t: Float[Tensor, "*n"]
    sigma_r: Float[Tensor, "*n"]
    alpha: Float[Tensor, "*n"]
    sigma_x: Float[Tensor, "*n"]


class FramePath:
    r"""The way from data to noise.

    Args:
        diffuser: Its schedules.
        min_t: The cleanest level.
        power: Levels are :math:`t = (u + (1 - u) t_{min}^{1/p})^p` of even u: 1 is the reference's
            even t, and more spends more of them near the data.
    """

    def __init__(self, diffuser: SE3Diffuser, min_t: float, power: float) -> None:
        self.diffuser, self.min_t, self.power = diffuser, min_t, power

    def at(self, u: Tensor) -> Tensor:
        """Returns the t at shares u of the way."""
        return (u + (1 - u) * self.min_t ** (1 / self.power)) ** self.power

    def level(self, t: Float[Tensor, "*n"]) -> Level:
        """Returns what levels mean."""
        r3 = self.diffuser.r3
        b = r3.marginal_b_t(t)
        spread = (-torch.expm1(-b)).sqrt() / r3.coordinate_scaling
        return Level(t, self.diffuser.so3.sigma(t), (-b / 2).exp(), spread)
