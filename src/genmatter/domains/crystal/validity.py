r"""Whether crystals could be: atoms apart from each other, charges that balance.

| name | what holds | from |
|---|---|---|
| `valid_structure` | no two atoms closer than 0.5 angstrom, and a volume above 0.1 | the field |
| `valid_composition` | SMACT's rules | the field |
| `valid` | both | the field |
| `spaced` | no two atoms closer than 0.7 of the sum of their covalent radii | here |
| `apart` | the closest two atoms are more than 1.5 angstrom apart | here |

The first is nearly blind: two iron atoms at 0.6 angstrom pass. Of crystals in the Materials
Project 99.8% are spaced, which hydrogen does not make fail; those that are not apart hold
hydrogen, boron, carbon, nitrogen or oxygen bound to their like.
"""

__all__ = ["CLOSE", "apart", "faults", "spaced", "valid_composition", "valid_structure"]

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from genmatter.domains.crystal import smact
from genmatter.domains.crystal.cells import Cell, closest
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.features import features

NEAREST = 0.5
"""Angstrom, below which the field takes two atoms for one."""
CLOSE = 0.7
"""Share of the sum of two covalent radii, below which atoms are too close for their elements."""
APART = 1.5
"""Angstrom, above which nearly no two atoms are too close, whatever they are."""


def valid_structure(x: Crystals) -> Bool[Tensor, " n"]:
    """Says whether no two atoms are in one place, and the cell has a volume."""
    return (features(x)["closest"] > NEAREST) & (x.volumes > 0.1)


def valid_composition(x: Crystals) -> Bool[Tensor, " n"]:
    """Says whether compositions keep SMACT's rules."""
    return torch.tensor([smact.valid(z.tolist()) for z in x.each_numbers()], dtype=torch.bool)


def spaced(x: Crystals) -> Bool[Tensor, " n"]:
    """Says whether atoms are as far apart as their elements need."""
    return features(x)["spacing"] > CLOSE


def apart(x: Crystals) -> Bool[Tensor, " n"]:
    """Says whether the closest two atoms are more than 1.5 angstrom apart."""
    return features(x)["closest"] > APART


def _nearest(x: Crystals) -> Float[Tensor, " n"]:
    """Returns the distance of the closest two atoms: all that is asked of every draw."""
    cells = zip(x.each_numbers(), x.each_frac(), x.lattice.numpy(), strict=True)
    return torch.tensor([closest(Cell(*c))[0] for c in cells], dtype=torch.float64)


def faults(x: Crystals) -> list[str]:
    """Says why each is no crystal; "" where it is one: its atoms may still be too close.

    Of what could not be read that is why.
    """
    finite = torch.ones(len(x), dtype=torch.bool)
    finite[x.owner[~x.frac.isfinite().all(1)]] = False
    finite &= x.lattice.isfinite().flatten(1).all(1)
    known = torch.ones(len(x), dtype=torch.bool)
    known[x.owner[(x.numbers < 1) | (x.numbers > 118)]] = False
    some = (finite & known & (x.volumes > 0.1)).nonzero()[:, 0]
    together = torch.zeros(len(x), dtype=torch.bool)
    together[some] = _nearest(x[some]) <= NEAREST
    return [
        str(reason) if reason
        else "atom of no element" if not k
        else "coordinates that are no numbers" if not f
        else "cell without a volume" if not v
        else "two atoms in one place" if t
        else ""
        for reason, k, f, v, t in zip(
            x.reasons, known.tolist(), finite.tolist(), (x.volumes > 0.1).tolist(),
            together.tolist(), strict=True,
        )
    ]  # fmt: skip
