"""What is known of crystals by their content, kept in memory, so that nothing is asked twice.

Of data, which are asked about in every training and evaluation, it is kept on disk too.
"""

__all__ = ["features"]

import hashlib
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.description import FIELDS, SYMPREC, described
from genmatter.loading.cached import kept, key
from genmatter.loading.parallel import processors, spread

MOST = 200_000
"""Crystals that are remembered; above that the oldest are forgotten."""
FEW = 250
"""Crystals that take less time than starting processes does."""

_known: dict[bytes, Float[np.ndarray, " fields"]] = {}


def features(x: Crystals, what: str = "", *, keep: bool = False) -> dict[str, Float[Tensor, " n"]]:
    """Returns the space group, the closest atoms and the fingerprint of each, by name.

    Args:
        x: Any crystals; what is none has space group 0, distances 0 and a fingerprint of NaN.
        what: Says what is done, on the progress bar.
        keep: Whether another process may ask for the same crystals again.
    """
    keys = list(_keys(x))
    lacking = {k: row for row, k in enumerate(keys) if k not in _known}
    if lacking:
        make = lambda: _table(x[list(lacking.values())], what)
        name = f"crystals/described-{key(b''.join(lacking), FIELDS, SYMPREC)}"
        found = kept(name, make) if keep and len(lacking) >= FEW else make()
        rows = np.stack([found[k].to_numpy() for k in FIELDS], 1)
        _known.update(zip(lacking, rows, strict=True))
    table = np.array([_known[k] for k in keys], dtype=float).reshape(len(keys), len(FIELDS))
    for old in list(islice(_known, max(len(_known) - MOST, 0))):
        del _known[old]
    return dict(zip(FIELDS, torch.from_numpy(table).unbind(1), strict=True))


def _table(x: Crystals, what: str) -> pa.Table:
    """Returns a row of all fields for each crystal; many are shared out among processes."""
    cells = [
        [z.tolist(), f.tolist(), m]
        for z, f, m in zip(x.each_numbers(), x.each_frac(), x.lattice.tolist(), strict=True)
    ]
    many = processors() if len(cells) >= FEW else 1
    found = np.array(list(spread(described, {"symprec": SYMPREC}, cells, what, many, 50)))
    return pa.table(dict(zip(FIELDS, found.astype(float).T, strict=True)))


def _keys(x: Crystals) -> Iterator[bytes]:
    """Yields what differs when numbers, coordinates or lattices do, in the seventh digit."""
    frac = x.frac.numpy().round(7)
    lattice = x.lattice.numpy().round(6)
    parts = np.split(frac, x.starts.numpy()[1:]) if len(x) else []
    for z, f, m in zip(x.each_numbers(), parts, lattice, strict=True):
        yield hashlib.blake2b(z.tobytes() + f.tobytes() + m.tobytes(), digest_size=16).digest()
