"""What sampling can ask of a crystal: a formula, elements, values of properties."""

__all__ = ["composition", "number_of", "wanted"]

from collections.abc import Sequence

from genmatter.config import closest, numbers_named
from genmatter.domains.crystal.elements import NUMBERS
from genmatter.errors import ConfigError


def composition(formula: str) -> dict[int, int]:
    """Returns how many atoms of each element, by atomic number, a formula unit has.

    Raises:
        ConfigError: The text is no formula, or not of whole numbers of atoms.
    """
    from pymatgen.core.composition import Composition

    try:
        found = Composition(formula, strict=True)
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"cannot read the formula {formula!r}; one reads LiFeO2") from None
    amounts = {e.symbol: n for e, n in found.items()}
    if not amounts or any(n != round(n) for n in amounts.values()):
        raise ConfigError(f"the formula {formula!r} should have whole numbers of atoms")
    return {number_of(symbol): round(n) for symbol, n in amounts.items()}


def number_of(symbol: str) -> int:
    """Returns an atomic number.

    Raises:
        ConfigError: There is no such element.
    """
    if symbol not in NUMBERS:
        raise ConfigError(f"there is no element {symbol!r}{closest(symbol, NUMBERS)}")
    return NUMBERS[symbol]


def wanted(texts: Sequence[str], properties: Sequence[str]) -> dict[str, float]:
    """Reads targets such as `band_gap=1.5`.

    Raises:
        ConfigError: One reads otherwise, or names no property that the model knows.
    """
    found = numbers_named(texts)
    for name in found:
        if name not in properties:
            raise ConfigError(f"the model was not told {name!r}{closest(name, properties)}")
    return found
