"""From records to cells to learn from: read, reduced, filtered. No torch: it is shared out."""

__all__ = ["as_written", "prepared"]

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from genmatter.domains.crystal.cells import Cell, primitive, volume
from genmatter.domains.crystal.elements import SYMBOLS
from genmatter.domains.crystal.reading import READERS, RefusedError, read_cell


def prepared(told: dict[str, Any], records: Sequence[tuple[str, str]]) -> list[list[Any]]:
    """Returns `[numbers, coordinates, lattice, reason]` of each record; a reason leaves it out.

    Args:
        told: `max_atoms`, `elements` and `max_volume` of the config.
        records: Notation and text of each.
    """
    return [_one(told, notation, text) for notation, text in records]


def _one(told: dict[str, Any], notation: str, text: str) -> list[Any]:
    try:
        cell = primitive(read_cell(notation, text))
        _wanted(told, cell)
    except RefusedError as reason:
        return [[], [], [], str(reason)]
    return [cell.numbers.tolist(), cell.frac.tolist(), cell.lattice.tolist(), ""]


def _wanted(told: dict[str, Any], cell: Cell) -> None:
    """Refuses what the config does not want.

    Raises:
        RefusedError: There are too many atoms, other elements, or too much space.
    """
    n = len(cell.numbers)
    if n > told["max_atoms"]:
        raise RefusedError(f"more than {told['max_atoms']} atoms in the primitive cell: {n}")
    other = {SYMBOLS[z] for z in cell.numbers} - set(told["elements"])
    if told["elements"] and other:
        raise RefusedError(f"other elements: {', '.join(sorted(other))}")
    each = volume(cell.lattice) / n
    if told["max_volume"] and each > told["max_volume"]:
        raise RefusedError(f"more than {told['max_volume']:g} cubic angstrom per atom: {each:.1f}")
    assert np.isfinite(cell.frac).all(), "a sound cell stays sound"


def as_written(told: dict[str, Any], records: Sequence[tuple[str, str]]) -> list[list[Any]]:
    """Returns `[numbers, coordinates, lattice, reason]` of each record, whatever is wrong with it.

    What can be reduced is; what is no crystal at all becomes one atom of no element, nowhere.
    """
    del told
    return [_anyhow(notation, text) for notation, text in records]


def _anyhow(notation: str, text: str) -> list[Any]:
    try:
        cell = READERS[notation](text)
        if not len(cell.numbers):
            raise RefusedError("no atoms")
    except RefusedError as reason:
        return [[0], [[math.nan] * 3], [[math.nan] * 3] * 3, str(reason)]
    if np.isfinite(cell.lattice).all() and np.isfinite(cell.frac).all() and volume(cell.lattice):
        cell = primitive(cell)
    return [cell.numbers.tolist(), cell.frac.tolist(), cell.lattice.tolist(), ""]
