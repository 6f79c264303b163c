"""Which crystals are the same: pairs, groups, those that are known, those that were wanted.

By pymatgen's StructureMatcher, which scales cells to one volume. Compositions are compared first,
since they decide nearly all pairs; the others are shared out among processes, with a time limit
for each pair. What cannot be matched in time, or is no crystal, matches nothing.
"""

__all__ = ["CDVAE", "DEFAULT", "Tolerance", "groups", "known", "rms", "structure_prediction"]

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from genmatter.domains.crystal import pairs
from genmatter.domains.crystal.crystals import Crystals
from genmatter.errors import DataError
from genmatter.loading.parallel import processors, spread
from genmatter.spine import Score

FEW = 60
"""Pairs that take less time than starting processes does."""


@dataclass(frozen=True)
class Tolerance:
    """How closely cells have to match."""

    name: str
    """What scores say of it."""
    ltol: float
    """Of lengths, as a share."""
    stol: float
    """Of sites, as a share of the cube root of the volume per atom."""
    angle_tol: float
    """Of angles, degrees."""
    seconds: float = 10.0
    """Time for each pair."""


CDVAE = Tolerance("stol.5", 0.3, 0.5, 10.0)
"""Those of Xie et al. (2022), which the field reports."""
DEFAULT = Tolerance("stol.3", 0.2, 0.3, 5.0)
"""Those that pymatgen has by itself."""


def rms(a: Crystals, b: Crystals, tolerance: Tolerance, what: str = "") -> Float[Tensor, " n"]:
    r"""Returns how far the atoms of each pair are apart, over :math:`(V/N)^{1/3}`.

    It is infinite where a pair does not match, or could not be matched in time.

    Raises:
        DataError: There are not as many of one as of the other.
    """
    if len(a) != len(b):
        raise DataError(f"{len(a)} crystals cannot be matched with {len(b)}: expected one to one")
    found = torch.full((len(a),), torch.inf, dtype=torch.float64)
    same = [k for k, (x, y) in enumerate(zip(a.formulas, b.formulas, strict=True)) if x == y]
    x, y = (_plain(z[same]) for z in (a, b))
    many = processors() if len(same) >= FEW else 1
    told = list(spread(pairs.rms, asdict(tolerance), list(zip(x, y, strict=True)), what, many, 20))
    for k, value in zip(same, told, strict=True):
        if value is not None and value != pairs.LATE:
            found[k] = value
    return found


def groups(x: Crystals, tolerance: Tolerance = DEFAULT, what: str = "") -> Int[Tensor, " n"]:
    """Returns the first crystal of the set that each one matches, or itself.

    Only first ones are compared with. Crystals of different reduced formulas are never the same.
    """
    found = torch.arange(len(x))
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for k, formula in enumerate(x.formulas):
        rows[formula].append(k)
    several = [r for r in rows.values() if len(r) > 1]
    sets = [_plain(x[r]) for r in several]
    told = _shared(pairs.groups, tolerance, sets, sum(map(len, several)), what)
    for r, first in zip(several, told, strict=True):
        found[torch.tensor(r)] = torch.tensor(r)[torch.tensor(first)]
    return found


def known(
    x: Crystals, others: Crystals, tolerance: Tolerance = DEFAULT, what: str = ""
) -> Bool[Tensor, " n"]:
    """Returns whether each crystal matches one of the others."""
    found = torch.zeros(len(x), dtype=torch.bool)
    there: defaultdict[str, list[int]] = defaultdict(list)
    for k, formula in enumerate(others.formulas):
        there[formula].append(k)
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for k, formula in enumerate(x.formulas):
        if formula in there:
            rows[formula].append(k)
    sets = [(_plain(x[r]), _plain(others[there[f]])) for f, r in rows.items()]
    told = _shared(pairs.found_in, tolerance, sets, sum(map(len, rows.values())), what)
    for r, same in zip(rows.values(), told, strict=True):
        found[torch.tensor(r)] = torch.tensor(same)
    return found


def _shared(function: Any, tolerance: Tolerance, sets: list[Any], count: int, what: str) -> Any:
    many = processors() if count >= FEW and len(sets) > 1 else 1
    return spread(function, asdict(tolerance), sets, what, many, max(1, min(8, len(sets) // 8)))


def _plain(x: Crystals) -> list[Any]:
    parts = zip(x.each_numbers(), x.each_frac(), x.lattice.tolist(), strict=True)
    return [[z.tolist(), f.tolist(), m] for z, f, m in parts]


def structure_prediction(
    targets: Crystals,
    candidates: Sequence[Crystals],
    tolerance: Tolerance = CDVAE,
    what: str = "",
) -> dict[str, Score]:
    """Returns how often the crystal of a composition is among those that are proposed for it.

    `match@k` counts targets that one of the first k candidates matches; `rms` is the mean, over
    the targets that any matches, of the nearest candidate's; where there is none, the tolerance.

    Args:
        targets: Crystals that are wanted.
        candidates: What is proposed for each, the first ones first; of as many as there are.
        tolerance: How closely.
        what: Says what is done, on the progress bar.

    Raises:
        DataError: There is not a set of candidates for each target.
    """
    if len(targets) != len(candidates):
        raise DataError(
            f"{len(targets)} targets need as many sets of candidates; given: {len(candidates)}"
        )
    sizes = torch.tensor([len(c) for c in candidates], dtype=torch.long)
    repeated = targets[torch.arange(len(targets)).repeat_interleave(sizes)]
    far = rms(repeated, Crystals.cat(candidates), tolerance, what).split(sizes.tolist())
    most = max(int(sizes.max()), 1) if len(sizes) else 1
    found = {}
    for k in dict.fromkeys((1, most)):
        hit = [bool(len(f)) and bool(f[:k].isfinite().any()) for f in far]
        share = sum(hit) / len(hit) if hit else float("nan")
        found[f"match@{k} {tolerance.name}"] = Score(share, 1.0, f"share, n={len(hit)}")
    least = torch.tensor([float(f.min()) for f in far if len(f) and f.isfinite().any()])
    value = least.mean().item() if len(least) else tolerance.stol
    found[f"rms@{most} {tolerance.name}"] = Score(value, 0.0, f"(V/N)^1/3, n={len(least)}")
    return found
