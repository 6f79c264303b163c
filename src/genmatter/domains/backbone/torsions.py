r"""Peptides with random torsions: an exact sampler whose law is known, and which needs only torch.

The torsions of a residue are drawn from a mixture of von Mises pairs, independently of all other
residues, and the chain is grown from them with nearly ideal bonds and angles:

.. math:: p(\phi, \psi) = \sum_k w_k\, e^{\kappa_k \cos(\phi - \phi_k)}
    e^{\kappa'_k \cos(\psi - \psi_k)} / (4 \pi^2 I_0(\kappa_k) I_0(\kappa'_k))

Chains that clash are drawn again, so that the law of what is left is that of independent residues
given that the chain avoids itself.

References:
    | Stereochemical criteria for polypeptides and proteins: which pairs of torsions there are
    | (Ramachandran, Ramakrishnan & Sasisekharan, 1963, https://doi.org/10.1016/S0022-2836(63)80023-6)
    | Accurate bond and angle parameters for X-ray protein structure refinement
    | (Engh & Huber, 1991, https://doi.org/10.1107/S0108767391001071)
"""

__all__ = ["Angles", "Well", "angles", "chains", "clashes", "torsions", "wells"]

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from genmatter.domains.backbone.config import PeptideConfig
from genmatter.domains.backbone.conformers import Trajectory
from genmatter.domains.backbone.peptide import protein
from genmatter.errors import DataError
from genmatter.maths import geometry, residues
from genmatter.maths.noise import generator
from genmatter.maths.residues import Measure


class Well(NamedTuple):
    """One region of the torsions: its share, centre in degrees, and concentrations."""

    share: float
    phi: float
    psi: float
    kappa_phi: float
    kappa_psi: float

    @property
    def mirrored(self) -> "Well":
        """The same region of the mirror image."""
        return self._replace(phi=-self.phi, psi=-self.psi)


_GENERAL = (
    Well(0.40, -65, -40, 25, 20),  # right-handed helix
    Well(0.25, -120, 135, 12, 15),  # strand
    Well(0.30, -70, 145, 20, 20),  # polyproline II
    Well(0.05, 57, 42, 35, 30),  # left-handed helix
)
_PROLINE = (Well(0.40, -65, -35, 50, 20), Well(0.60, -65, 145, 50, 20))  # its ring holds phi
_GLYCINE = tuple(  # no side chain, so its own mirror image
    half._replace(share=half.share / 2) for w in _GENERAL for half in (w, w.mirrored)
)

# each bond and bend of N, CA, C in the order of the chain: N-CA, CA-C, C-N, N-CA-C, CA-C-N, C-N-CA
_BONDS = (Measure(1.458, 0.019), Measure(1.525, 0.021), residues.C_N)
_BENDS = (Measure.degrees(111.2, 2.8), residues.CA_C_N, residues.C_N_CA)
_OMEGA = Measure.degrees(180.0, 5.0)
_OXYGEN = (1.231, 120.8)  # C-O, CA-C-O; trans to the next N
_BETA = (1.530, 110.5, -122.5)  # CA-CB, N-CA-CB, C-N-CA-CB of an L residue

_NEAR = 3.4  # angstrom between CA atoms at least two residues apart
_TOUCH = 2.6  # angstrom between any heavy atoms of such residues: below a hydrogen bond's N-O
_CELLS = 1 << 12  # of a tabulated distribution
_BATCH, _PAIRS = 1 << 11, 1 << 22  # chains, and pairs of their atoms, to look at together
_TRIAL, _LIMIT = 1 << 14, 100  # chains before it judges its rate, and the most for one that stays


class Angles(NamedTuple):
    """Torsions `[n, residues]` in radian; phi and omega of the first residue turn nothing."""

    phi: Float[Tensor, "n residues"]
    psi: Float[Tensor, "n residues"]
    omega: Float[Tensor, "n residues"]


def wells(letter: str) -> tuple[Well, ...]:
    """Returns the mixture that a residue's phi and psi are drawn from."""
    return {"G": _GLYCINE, "P": _PROLINE}.get(letter, _GENERAL)


def torsions(peptide: PeptideConfig, seed: int) -> list[Trajectory]:
    """Draws independent frames of a peptide, `peptide.conformers` for each replica.

    The temperature and whatever belongs to dynamics are without meaning here.

    Args:
        peptide: What is simulated.
        seed: Key of the random numbers; the frames are a function of the arguments.

    Returns:
        A trajectory for each replica: N, CA, C, O and CB, centred on the CA atoms.

    Raises:
        ConfigError: No such peptide can be drawn.
        DataError: Nearly all chains clash.
    """
    who = protein(peptide)
    found = []
    for replica in range(1, peptide.replicas + 1):
        rng = generator("backbone", "torsions", seed, replica)
        atoms = _avoiding(peptide.conformers, who.sequence, rng)
        atoms = torch.nn.functional.pad(atoms, (0, 0, 0, 14 - atoms.shape[2]))
        found.append(Trajectory(who, atoms, replica, complete=False))
    return found


def _avoiding(n: int, sequence: str, rng: torch.Generator) -> Float[Tensor, "n residues 5 3"]:
    """Draws chains until so many do not clash."""
    # whatever n is, so that fewer frames are the first of more
    size = max(1, min(_BATCH, _PAIRS // (5 * len(sequence)) ** 2))
    present = residues.BACKBONE_MASK[residues.aatype(sequence), :, None]
    done: list[Tensor] = []
    have = starts = 0
    while have < n:
        x = chains(angles(size, sequence, rng), sequence, rng)
        x = x[~clashes(x)]
        x = x - x[:, :, 1:2].mean(1, keepdim=True)
        done.append((x * present).float())
        have, starts = have + len(x), starts + size
        if starts >= _TRIAL and starts > _LIMIT * have:
            raise DataError(
                f"{have} of {starts} random chains of {len(sequence)} residues do not clash, so "
                f"that {n} would take too long: use a shorter sequence, or --simulator openmm"
            )
    return torch.cat(done)[:n]


def angles(n: int, sequence: str, rng: torch.Generator) -> Angles:
    """Draws torsions, in (-pi, pi]."""
    pairs = [_pair(wells(letter), n, rng) for letter in sequence]
    phi, psi = torch.stack(pairs, -1)
    omega = _spread((n, len(sequence)), _OMEGA, rng)
    return Angles(_wrapped(phi), _wrapped(psi), _wrapped(omega))


def _pair(mixture: tuple[Well, ...], n: int, rng: torch.Generator) -> Float[Tensor, "2 n"]:
    """Draws phi and psi of one residue."""
    shares = torch.tensor([w.share for w in mixture], dtype=torch.float64)
    which = torch.multinomial(shares, n, replacement=True, generator=rng)
    draws = torch.stack([
        torch.stack([
            math.radians(w.phi) + _von_mises(w.kappa_phi, n, rng),
            math.radians(w.psi) + _von_mises(w.kappa_psi, n, rng),
        ])
        for w in mixture
    ])  # fmt: skip
    return draws[which, :, torch.arange(n)].T


def _von_mises(kappa: float, n: int, rng: torch.Generator) -> Float[Tensor, " n"]:
    """Draws angles about 0, by inverting the tabulated cumulative distribution."""
    x = np.linspace(-math.pi, math.pi, _CELLS + 1)
    density = np.exp(kappa * (np.cos(x) - 1))
    mass = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    u = torch.rand(n, generator=rng, dtype=torch.float64)
    return torch.from_numpy(np.interp(u.numpy(), mass / mass[-1], x))


def _wrapped(angle: Tensor) -> Tensor:
    """Returns angles in (-pi, pi]."""
    return math.pi - (math.pi - angle) % (2 * math.pi)


def _spread(shape: tuple[int, ...], about: Measure, rng: torch.Generator) -> Tensor:
    return about.mean + about.spread * torch.randn(shape, generator=rng, dtype=torch.float64)


def chains(turns: Angles, sequence: str, rng: torch.Generator) -> Float[Tensor, "n residues 5 3"]:
    """Grows N, CA, C, O and CB from torsions; the CB that glycine lacks is at its CA."""
    n, size = turns.phi.shape
    bonds = torch.stack([_spread((n, size), b, rng) for b in _BONDS], -1).flatten(1)[:, :-1]
    inner = [_spread((n, size), b, rng) for b in _BENDS]
    bends = math.pi - torch.stack(inner, -1).flatten(1)[:, :-2]
    # each places an atom: the next N, the next CA, the next C
    behind = [turns.psi[:, :-1], turns.omega[:, 1:], turns.phi[:, 1:]]
    chain = geometry.InternalCoordinates(bonds, bends, torch.stack(behind, -1).flatten(1))
    n_, ca, c = geometry.grow(chain)[0].unflatten(1, (size, 3)).unbind(2)
    length, bend = _OXYGEN
    o = _placed(n_, ca, c, length, bend, turns.psi + math.pi)
    length, bend, turn = _BETA
    cb = _placed(c, n_, ca, length, bend, torch.full_like(turns.psi, math.radians(turn)))
    bare = torch.tensor([letter == "G" for letter in sequence])[:, None]
    return torch.stack([n_, ca, c, o, torch.where(bare, ca, cb)], 2)


def _placed(a: Tensor, b: Tensor, c: Tensor, length: float, bend: float, turn: Tensor) -> Tensor:
    """Returns the atom d with that length c-d, angle b-c-d in degrees and dihedral a-b-c-d."""
    t = torch.nn.functional.normalize(c - b, dim=-1)
    m = torch.nn.functional.normalize(torch.linalg.cross(b - a, t), dim=-1)
    frame = torch.stack([t, torch.linalg.cross(m, t), m], -2)
    straight = torch.full_like(turn, math.pi - math.radians(bend))
    return c + length * geometry.step(frame, straight, turn)[..., 0, :]


def clashes(x: Float[Tensor, "n residues 5 3"]) -> Bool[Tensor, " n"]:
    """Returns whether residues that are no neighbours come too close to each other."""
    residue = torch.arange(x.shape[1])
    apart = (residue[None] - residue[:, None]) >= 2
    least = torch.full((5, 5), _TOUCH)
    least[1, 1] = _NEAR
    points = x.float().flatten(1, 2)
    d = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    return (d < torch.kron(apart.float(), least)).flatten(1).any(1)
