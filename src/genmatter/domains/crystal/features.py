"""What is known of crystals by their content, kept in memory, so that nothing is asked twice."""

__all__ = ["features"]

import hashlib
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.description import FIELDS, SYMPREC, described
from genmatter.loading.parallel import processors, spread

MOST = 200_000
"""Crystals that are remembered; above that the oldest are forgotten."""
FEW = 250
"""Crystals that take less time than starting processes does."""

_known: dict[bytes, list[float]] = {}


def features(x: Crystals, what: str = "") -> dict[str, Float[Tensor, " n"]]:
    """Returns the space group, the closest atoms and the fingerprint of each, by name.

    Args:
        x: Any crystals; what is none has space group 0, distances 0 and a fingerprint of NaN.
        what: Says what is done, on the progress bar.
    """
    keys = list(_keys(x))
    lacking = {k: row for row, k in enumerate(keys) if k not in _known}
    if lacking:
        some = x[list(lacking.values())]
        cells = [
            [z.tolist(), f.tolist(), m]
            for z, f, m in zip(
                some.each_numbers(), some.each_frac(), some.lattice.tolist(), strict=True
            )
        ]
        many = processors() if len(cells) >= FEW else 1
        found = list(spread(described, {"symprec": SYMPREC}, cells, what, many, 50))
        _known.update(zip(lacking, found, strict=True))
    table = np.array([_known[k] for k in keys], dtype=float).reshape(len(keys), len(FIELDS))
    for old in list(islice(_known, max(len(_known) - MOST, 0))):
        del _known[old]
    return dict(zip(FIELDS, torch.from_numpy(table).unbind(1), strict=True))


def _keys(x: Crystals) -> Iterator[bytes]:
    """Yields what differs when numbers, coordinates or lattices do, in the seventh digit."""
    frac = x.frac.numpy().round(7)
    lattice = x.lattice.numpy().round(6)
    parts = np.split(frac, x.starts.numpy()[1:]) if len(x) else []
    for z, f, m in zip(x.each_numbers(), parts, lattice, strict=True):
        yield hashlib.blake2b(z.tobytes() + f.tobytes() + m.tobytes(), digest_size=16).digest()
