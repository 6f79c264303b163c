"""Pairs of cells by pymatgen's StructureMatcher, each within a time limit. No torch: shared out.

Cells come as `[numbers, coordinates, lattice]` through JSON. What is no crystal, or has a shape
that no crystal has and that would keep the matcher busy for ever, matches nothing.

References:
    | Python Materials Genomics (pymatgen) (Ong et al., 2013)
    | https://doi.org/10.1016/j.commatsci.2012.10.028
"""

__all__ = ["LATE", "found_in", "groups", "rms"]

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher

from genmatter.domains.crystal.cells import Cell, angles, lengths, volume
from genmatter.domains.crystal.elements import SYMBOLS, reduced
from genmatter.domains.crystal.fingerprint import amd

LATE = -1.0
"""What is told of a pair that took too long."""
APART = 0.5
"""Cells whose average minimum distances differ by more than this do not match: pairs that do
are within 0.35."""
CROWD, CLOSE = 300, 0.05
"""Of so many cells of one composition only those within the second number are compared."""

Told = dict[str, Any]
Plain = list[Any]


class _LateError(Exception):
    """The time is up."""


def rms(told: Told, pairs: Sequence[tuple[Plain, Plain]]) -> list[float | None]:
    r"""Returns the root mean square distance of the atoms of each pair, over :math:`(V/N)^{1/3}`.

    None is told of pairs that do not match, and `LATE` of those that take too long.

    Args:
        told: `ltol`, `stol` and `angle_tol` of the matcher, and `seconds` for each pair.
        pairs: Two cells each.
    """
    matcher = _matcher(told)

    def one(a: Plain, b: Plain) -> float | None:
        x, y = _cell(a), _cell(b)
        if reduced(x.numbers) != reduced(y.numbers) or not (_sane(x) and _sane(y)):
            return None
        found = matcher.get_rms_dist(_structure(x), _structure(y))
        return None if found is None else float(found[0])

    return [_within(told["seconds"], lambda a=a, b=b: one(a, b), LATE) for a, b in pairs]


def groups(told: Told, sets: Sequence[list[Plain]]) -> list[list[int]]:
    """Returns, for each cell of each set, the first cell of the set that it matches, or itself.

    Only such first ones are compared with, so that each group has one. A set is of one
    composition.
    """
    return [_grouped(told, [_cell(c) for c in cells]) for cells in sets]


def _grouped(told: Told, cells: list[Cell]) -> list[int]:
    if len(cells) == 1:
        return [0]
    alike, firsts, found = _Alike(told, cells), [], []
    for k in range(len(cells)):
        found.append(next((f for f in firsts if alike(f, k)), k))
        if found[-1] == k:
            firsts.append(k)
    return found


def found_in(told: Told, sets: Sequence[tuple[list[Plain], list[Plain]]]) -> list[list[bool]]:
    """Returns, for each cell of the first list of each set, whether one of the second matches."""
    found = []
    for some, known in sets:
        alike = _Alike(told, [_cell(c) for c in [*some, *known]])
        rows = range(len(some), len(some) + len(known))
        found.append([any(alike(k, r) for r in rows) for k in range(len(some))])
    return found


class _Alike:
    """Says whether two cells of a set match, after asking what is cheap to ask."""

    def __init__(self, told: Told, cells: list[Cell]) -> None:
        self.told, self.matcher = told, _matcher(told)
        self.sane = [_sane(c) for c in cells]
        self.structures: list[Any] = [_structure(c) if _sane(c) else None for c in cells]
        self.prints = [amd(c) for c in cells]
        self.apart = CLOSE if len(cells) > CROWD else APART

    def __call__(self, a: int, b: int) -> bool:
        far = np.abs(self.prints[a] - self.prints[b]).max()
        if not (self.sane[a] and self.sane[b] and far < self.apart):
            return False
        pair = self.structures[a], self.structures[b]
        return bool(_within(self.told["seconds"], lambda: self.matcher.fit(*pair), False))


def _matcher(told: Told) -> StructureMatcher:
    return StructureMatcher(ltol=told["ltol"], stol=told["stol"], angle_tol=told["angle_tol"])


def _cell(plain: Plain) -> Cell:
    numbers, frac, lattice = plain
    return Cell(
        np.array(numbers, dtype=np.int64),
        np.array(frac, dtype=float).reshape(-1, 3),
        np.array(lattice, dtype=float).reshape(3, 3),
    )


def _structure(cell: Cell) -> Structure:
    return Structure(Lattice(cell.lattice), cell.numbers.tolist(), cell.frac)


def _sane(cell: Cell) -> bool:
    """Says whether a cell has the shape of a crystal's: others keep the matcher busy."""
    n = len(cell.numbers)
    finite = np.isfinite(cell.lattice).all() and np.isfinite(cell.frac).all()
    if not n or not finite or not ((cell.numbers > 0) & (cell.numbers < len(SYMBOLS))).all():
        return False
    sides, corners = lengths(cell.lattice), angles(cell.lattice)
    each = volume(cell.lattice) / n
    shape = each / np.prod(sides) * n  # 1 of a box, 0 of a cell without a volume
    return bool(
        0.5 < each < 2000 and shape > 0.02 and sides.min() > 0.5
        and sides.max() / sides.min() < 40 and (corners > 5).all() and (corners < 175).all()
    )  # fmt: skip


def _within(seconds: float, compute: Callable[[], Any], otherwise: Any) -> Any:
    try:
        with _limit(seconds):
            return compute()
    except _LateError:
        return otherwise


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Ends what runs inside after so many seconds, where signals can: on a main thread."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(signum: int, frame: Any) -> None:
        del signum, frame
        raise _LateError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
