"""Conversions agree with other people's."""

import math

import pytest
from ase import units as ase_units

from genmatter.errors import DataError
from genmatter.units import KT_300K_IN_KJ_PER_MOL, bits, in_angstrom, in_radian


def test_lengths_angles_energies_and_information():
    assert math.isclose(in_angstrom(2.0, "bohr"), 2 * ase_units.Bohr, rel_tol=1e-8)
    assert in_angstrom(2.0, "nm") == 20.0 * ase_units.Angstrom
    assert in_radian(180.0, "degree") == math.pi
    kt = ase_units.kB * 300 / (ase_units.kJ / ase_units.mol)
    assert math.isclose(KT_300K_IN_KJ_PER_MOL, kt, rel_tol=1e-6)
    assert math.isclose(bits(math.log(8)), 3)


def test_other_units_are_refused():
    with pytest.raises(DataError, match="'mile'"):
        in_angstrom(1.0, "mile")
    with pytest.raises(DataError, match="'turn'"):
        in_radian(1.0, "turn")
