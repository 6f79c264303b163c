"""The units of the system: angstrom, radian, kT, nat. Files in others are converted on reading.

Bead-spring chains have no physical scale: their unit of length is the data's own.
"""

__all__ = ["KT_300K_IN_KJ_PER_MOL", "LENGTHS", "bits", "in_angstrom", "in_radian"]

import math
from typing import TypeVar

from genmatter.errors import DataError

X = TypeVar("X")

LENGTHS = {"angstrom": 1.0, "nm": 10.0, "bohr": 0.529177210903}
"""Angstrom in one of each (CODATA 2018)."""
KT_300K_IN_KJ_PER_MOL = 8.31446261815324e-3 * 300
"""One kT at 300 K, in kJ/mol (CODATA 2018)."""


def in_angstrom(x: X, unit: str) -> X:
    """Returns lengths in angstrom.

    Raises:
        DataError: The unit is not known.
    """
    if unit not in LENGTHS:
        raise DataError(f"there is no unit of length {unit!r}; there are {', '.join(LENGTHS)}")
    return x * LENGTHS[unit]  # pyright: ignore[reportOperatorIssue]


def in_radian(x: X, unit: str) -> X:
    """Returns angles in radian.

    Raises:
        DataError: The unit is not known.
    """
    factors = {"radian": 1.0, "degree": math.pi / 180}
    if unit not in factors:
        raise DataError(f"there is no unit of angle {unit!r}; there are {', '.join(factors)}")
    return x * factors[unit]  # pyright: ignore[reportOperatorIssue]


def bits(nats: float) -> float:
    """Returns information in bits."""
    return nats / math.log(2)
