r"""The energy of a bead-spring chain in kT, and its forces.

.. math::
    U(x) = \sum_i \tfrac{k_b}{2} (b_i - b_0)^2 + \sum_i \tfrac{k_a}{2} (\phi_i - \phi_0)^2
           + \sum_{|i - j| \ge 2} u(r_{ij})

with :math:`b` the bond lengths, :math:`\phi \in [0, \pi]` the turn angles (0 is straight), and
:math:`u` the Lennard-Jones energy, cut at :math:`2.5 \sigma` and shifted to be continuous there
(by 0.016 epsilon), so that dynamics and Monte Carlo have one and the same law.
"""

__all__ = ["CUTOFF", "Field", "energy", "forces", "lennard_jones", "well_depth"]

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.polymer.config import PotentialConfig

CUTOFF = 2.5
"""Where the Lennard-Jones energy ends, in units of its sigma."""


def energy(x: Float[Tensor, "n beads dim"], potential: PotentialConfig) -> Float[Tensor, " n"]:
    """Returns the potential energy of each chain, in kT; gradients flow to `x`.

    Args:
        x: Bead positions, in the potential's unit of length.
        potential: Stiffnesses, rest values and Lennard-Jones parameters.
    """
    bond = x.diff(dim=-2)
    i, j = torch.triu_indices(x.shape[-2], x.shape[-2], 2)
    r2 = (x[:, i] - x[:, j]).square().sum(-1)
    stretch = (bond.norm(dim=-1) - potential.bond_rest).square() * potential.bond_stiffness / 2
    bend = (_turn(bond) - potential.angle_rest).square() * potential.angle_stiffness / 2
    return stretch.sum(-1) + bend.sum(-1) + lennard_jones(r2, potential).sum(-1)


def _turn(bond: Float[Tensor, "n bonds dim"]) -> Float[Tensor, "n angles"]:
    """Returns the angles between successive bonds, accurate near 0 and pi too (Kahan)."""
    u = bond / bond.norm(dim=-1, keepdim=True)
    before, after = u[:, :-1], u[:, 1:]
    return 2 * torch.atan2((after - before).norm(dim=-1), (after + before).norm(dim=-1))


def lennard_jones(r2: Tensor, potential: PotentialConfig) -> Tensor:
    """Returns the energy of pairs at squared distances."""
    s6 = (potential.lj_sigma**2 / r2) ** 3
    u = 4 * potential.lj_epsilon * s6 * (s6 - 1) + _shift(potential)
    return torch.where(r2 < (CUTOFF * potential.lj_sigma) ** 2, u, 0.0)


def well_depth(potential: PotentialConfig) -> float:
    """Returns minus the least energy of a pair, in kT."""
    return potential.lj_epsilon - _shift(potential)


def _shift(potential: PotentialConfig) -> float:
    return 4 * potential.lj_epsilon * (CUTOFF**-6 - CUTOFF**-12)


def forces(
    x: Float[Tensor, "n beads dim"], potential: PotentialConfig
) -> Float[Tensor, "n beads dim"]:
    """Returns minus the gradient of the energy in closed form, in kT per length.

    Args:
        x: Bead positions, in the potential's unit of length.
        potential: Stiffnesses, rest values and Lennard-Jones parameters.
    """
    field = Field(x.shape[-2], potential)
    return torch.from_numpy(field(x.detach().double().movedim(0, 1).numpy())).movedim(0, 1).to(x)


class Field:
    """Forces by NumPy, whose calls cost a fifth of PyTorch's on a single chain."""

    def __init__(self, beads: int, potential: PotentialConfig, shortest: float = 0.0) -> None:
        """Prepares for chains of some length; bonds below the `shortest` bend as if it was theirs.

        Bending pulls at right angles to a bond with a force that grows as one over its length,
        and of which a finite time step makes a kick without limit.
        """
        one = np.eye(beads)
        i, j = np.triu_indices(beads, 2)
        self.potential = potential
        self.shortest = shortest
        self.difference = np.concatenate([one[1:] - one[:-1], one[j] - one[i]])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns forces at positions; both are [beads, chains, dim]."""
        bonds = len(x) - 1
        d = (self.difference @ x.reshape(len(x), -1)).reshape(-1, *x.shape[1:])
        gradient = np.empty_like(d)
        gradient[:bonds] = self._bonded(d[:bonds])
        gradient[bonds:] = self._pairs(d[bonds:])
        return -(self.difference.T @ gradient.reshape(len(d), -1)).reshape(x.shape)

    def _bonded(self, d: np.ndarray) -> np.ndarray:
        """Returns dU/dd for bonds d: stretching along them, bending across them."""
        b = _length(d)
        u = d / b
        gradient = self.potential.bond_stiffness * (b - self.potential.bond_rest) * u
        cos = _dot(u[1:], u[:-1])
        across = u[1:] - cos * u[:-1]
        sin = _length(across)
        torque = self.potential.angle_stiffness * (
            np.arctan2(sin, cos) - self.potential.angle_rest
        )
        torque /= sin + 1e-300  # a straight angle bends in no direction: zero, not 0/0
        arm = np.maximum(b, self.shortest)
        gradient[:-1] -= torque / arm[:-1] * across
        gradient[1:] -= torque / arm[1:] * (u[:-1] - cos * u[1:])
        return gradient

    def _pairs(self, d: np.ndarray) -> np.ndarray:
        """Returns du/dd for the Lennard-Jones energy of distances d."""
        r2 = _dot(d, d)
        sigma2 = self.potential.lj_sigma**2
        s6 = (sigma2 / r2) ** 3
        near = r2 < CUTOFF**2 * sigma2
        return -24 * self.potential.lj_epsilon * near * s6 * (2 * s6 - 1) / r2 * d


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("...d,...d->...", a, b)[..., None]


def _length(a: np.ndarray) -> np.ndarray:
    return np.sqrt(_dot(a, a))
