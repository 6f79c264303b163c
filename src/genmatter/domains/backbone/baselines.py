r"""The simplest models of an ensemble that could do the job: what a learned model has to beat.

    independent_torsions   every residue takes its torsions, angles and bonds from a training frame
                           of its own: right statistics of each residue, none between them
    gaussian               the normal law of the coordinates of superposed training frames, which
                           is what principal components and elastic networks describe

Both take and give N, CA, C, O and CB, `[n, residues, 5, 3]` in angstrom.
"""

__all__ = ["BASELINES", "baselines", "gaussian", "independent_torsions"]

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.maths.atoms import atom14_to_frames
from genmatter.maths.geometry import InternalCoordinates, grow, internal
from genmatter.maths.noise import generator
from genmatter.maths.superpose import mean_cloud, rotation_onto

Train = Float[Tensor, "m residues 5 3"]
Samples = Float[Tensor, "n residues 5 3"]


def independent_torsions(train: Train, n: int, seed: int | str = 0) -> Samples:
    """Draws chains of residues that know nothing of each other.

    Phi, psi, the angles and bonds at N, CA and C, the link to the next residue and where O and CB
    are stay together as a frame has them, so that each residue keeps its Ramachandran plot.

    References:
        Flory, Statistical Mechanics of Chain Molecules (1969), chapter 7: the isolated pair.
    """
    train64 = train.double()
    residues = train.shape[1]
    rows = torch.randint(len(train), (n, residues), generator=generator("torsions", seed))
    bonds, bends, turns = internal(train64[:, :, :3].flatten(1, 2))
    chain = InternalCoordinates(
        _taken(bonds, rows, first=0), _taken(bends, rows, first=1), _taken(turns, rows, first=1)
    )
    atoms = grow(chain)[0].unflatten(1, (residues, 3))
    frames = atom14_to_frames(train64)
    local = (train64[:, :, 3:] - frames.trans[:, :, None]) @ frames.rots
    local = local[rows, torch.arange(residues)]
    new = atom14_to_frames(atoms)
    sides = local @ new.rots.mT + new.trans[:, :, None]
    return _whole(torch.cat([atoms, sides], 2), train)


def _taken(
    values: Float[Tensor, "m places"], rows: Tensor, first: int
) -> Float[Tensor, "n places"]:
    """Takes each internal coordinate from the row of its residue.

    Along N, CA, C, N, ... a bond is its first atom's residue's, an angle its middle atom's. A
    dihedral is its second atom's, if that is N (phi) or CA (psi), and with C (omega) as well.
    """
    places = torch.arange(values.shape[1])
    return values[rows[:, (places + first) // 3], places]


def gaussian(train: Train, n: int, seed: int | str = 0) -> Samples:
    r"""Draws from the normal law of all coordinates of training frames on their mean.

    Frames are superposed by N, CA and C on their mean, found by iteration. With X the m frames
    less that mean and G normal, :math:`\bar x + G X / \sqrt{m - 1}` has their mean and covariance.
    """
    x = train.double()
    core = x[:, :, :3].flatten(1, 2)
    mean = mean_cloud(core)
    turned = (x - core.mean(1)[:, None, None]).flatten(1, 2) @ rotation_onto(core, mean)
    weights = torch.randn(n, len(x), generator=generator("gaussian", seed), dtype=x.dtype)
    flat = turned.flatten(1)
    drawn = flat.mean(0) + weights @ (flat - flat.mean(0)) / max(len(x) - 1, 1) ** 0.5
    return _whole(drawn.unflatten(1, x.shape[1:]), train)


def _whole(x: Samples, train: Train) -> Samples:
    """Centres chains, and takes away the atoms that the protein does not have."""
    there = (train != 0).any(-1).any(0)
    there[:, :4] = True
    centroid = x[:, :, :3].flatten(1, 2).mean(1)[:, None, None]
    return ((x - centroid) * there[..., None]).to(train.dtype)


Model = Callable[[Train, int], Samples]

BASELINES: dict[str, Model] = {
    "independent_torsions": independent_torsions,
    "gaussian": gaussian,
}
"""The simple models by name, each `(train, n, seed=0) -> [n, residues, 5, 3]`."""


def baselines(train: Train, n: int) -> dict[str, Samples]:
    """Returns `n` samples of each simple model."""
    return {name: model(train, n) for name, model in BASELINES.items()}
