"""Atoms that are too close for their elements are moved apart.

How close two elements come is taken from the data. No energy is involved, and nothing is drawn
towards anything: what overlaps is pushed apart, each atom by half of what is missing, and the cell
grows a little while anything overlaps. It is what random structure searches begin with.

References:
    | Ab initio random structure searching (Pickard & Needs, 2011)
    | https://doi.org/10.1088/0953-8984/23/5/053201
    | Position based dynamics (Müller et al., 2007) https://doi.org/10.1016/j.jvcir.2007.01.005
"""

__all__ = ["Spacing"]

from collections.abc import Iterable
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.domains.crystal.elements import RADII
from genmatter.domains.crystal.represent import MOST_ELEMENT, CrystalBatch
from genmatter.maths.lattice import vectors, wrapped

QUANTILE = 0.1
"""Share of the crystals in which two elements may come closer than is wanted."""
SHARE = 0.5
"""How much of what is missing a pair is moved apart by at once."""
GROWTH = 0.005
"""How much lengths grow at once, times the largest share that is missing."""
ROWS = 128
"""Crystals that are looked at together."""


class Spacing(nn.Module):
    """The least distances of pairs of elements, angstrom."""

    least: Tensor

    def __init__(self) -> None:
        super().__init__()
        radii = torch.from_numpy(RADII[: MOST_ELEMENT + 1]).float()
        self.register_buffer("least", radii[:, None] + radii)

    @torch.no_grad()
    def fit(self, batches: Iterable[CrystalBatch]) -> None:
        """Takes from crystals the distance of each pair of elements that nine in ten keep.

        Pairs that there are not have that share of the sum of their radii which nine in ten of
        those that there are keep.
        """
        found = [_nearest(b) for batch in batches for b in _parts(batch)]
        if not found:
            return
        pairs, far = (np.concatenate(x) for x in zip(*found, strict=True))
        order = np.lexsort((far, pairs))
        pairs, far = pairs[order], far[order]
        kinds, starts, counts = np.unique(pairs, return_index=True, return_counts=True)
        kept = torch.from_numpy(far[starts + (QUANTILE * counts).astype(int)]).float()
        at = torch.from_numpy(kinds)
        a, b = at // (MOST_ELEMENT + 1), at % (MOST_ELEMENT + 1)
        kept = kept.to(self.least)
        usual = torch.quantile(kept / self.least[a, b], QUANTILE)
        self.least.mul_(usual)
        self.least[a, b] = kept
        self.least[b, a] = kept

    @torch.no_grad()
    def apart(self, batch: CrystalBatch, steps: int) -> CrystalBatch:
        """Returns crystals whose atoms are moved apart, in so many steps."""
        if not steps or not len(batch):
            return batch
        return type(batch).cat([self._apart(part, steps) for part in _parts(batch)])

    def _apart(self, batch: CrystalBatch, steps: int) -> CrystalBatch:
        least = self.least[batch.atom_types[:, :, None], batch.atom_types[:, None]]
        frac, lattice, scale = batch.frac_coords, batch.lattice, batch.lengths.new_ones(len(batch))
        for _ in range(steps):
            cells = lattice * scale[:, None, None]
            to, far = _around(frac, cells, batch)
            lack = (1 - far / least[..., None]).relu()
            push = SHARE / 2 * least[..., None] * lack / far.clamp_min(1e-3)
            moved = (push[..., None] * to).sum((2, 3))
            frac = frac + moved @ torch.linalg.inv(cells)
            scale = scale * (1 + GROWTH * lack.flatten(1).amax(1))
        lengths = batch.lengths * scale[:, None]
        return batch.replace(
            frac_coords=frac % 1 * batch.mask[..., None],
            lengths=lengths,
            lattice=vectors(lengths, batch.angles),
        )


def _parts(batch: CrystalBatch) -> list[CrystalBatch]:
    return [batch[rows] for rows in torch.arange(len(batch)).split(ROWS)]


def _around(
    frac: Float[Tensor, "n atoms 3"], lattice: Float[Tensor, "n 3 3"], batch: CrystalBatch
) -> tuple[Float[Tensor, "n atoms atoms images 3"], Float[Tensor, "n atoms atoms images"]]:
    """Returns vectors from each image of each atom to each atom, and how long they are.

    An atom itself, and what is no atom, is far away.
    """
    shifts = torch.tensor(list(product((-1.0, 0.0, 1.0), repeat=3))).to(frac)
    apart = wrapped(frac[:, :, None] - frac[:, None])
    to = (apart[..., None, :] + shifts) @ lattice[:, None, None]
    far = to.norm(dim=-1)
    here = batch.mask[:, :, None] & batch.mask[:, None]
    far = far.masked_fill(~here[..., None], torch.inf)
    far[..., len(shifts) // 2].diagonal(dim1=1, dim2=2).fill_(torch.inf)
    return to, far


def _nearest(
    batch: CrystalBatch,
) -> tuple[Int[np.ndarray, " pairs"], Float[np.ndarray, " pairs"]]:
    """Returns the pairs of elements of each crystal, and how close each comes.

    A pair is the one atomic number times 119 and the other, the smaller one first.
    """
    _, far = _around(batch.frac_coords, batch.lattice, batch)
    z = batch.atom_types
    first, last = (
        torch.minimum(z[:, :, None], z[:, None]),
        torch.maximum(z[:, :, None], z[:, None]),
    )
    codes = (first * (MOST_ELEMENT + 1) + last).flatten(1)
    row = torch.arange(len(batch), device=z.device)[:, None] * (MOST_ELEMENT + 1) ** 2
    values = far.amin(-1).flatten(1)
    real = values.isfinite()
    keys, where = (codes + row)[real].unique(return_inverse=True)
    least = torch.full((len(keys),), torch.inf, device=z.device)
    least = least.scatter_reduce(0, where, values[real], "amin")
    pairs = keys % (MOST_ELEMENT + 1) ** 2
    return pairs.cpu().numpy(), least.double().cpu().numpy()
