import json
import re

import numpy as np
import pytest
from domains.crystal.examples import cell, perovskite, quartz, rocksalt, rutile, structure
from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from genmatter.domains.crystal.cells import lengths
from genmatter.domains.crystal.preparing import as_written, prepared
from genmatter.domains.crystal.reading import RefusedError, read_cell

pytestmark = pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF")
KNOWN = [rocksalt(), rutile(), quartz(), perovskite()]
PLAIN = str(CifWriter(perovskite()))
RULE = {"max_atoms": 20, "elements": [], "max_volume": 0.0}
SAME = StructureMatcher(primitive_cell=False, scale=False, ltol=1e-3, stol=1e-3, angle_tol=0.1)


@pytest.mark.parametrize("known", KNOWN, ids=lambda s: s.formula)
@pytest.mark.parametrize("symprec", [None, 0.01], ids=["P1", "symmetry"])
def test_a_cif_is_read_as_pymatgen_reads_it(known, symprec):
    text = str(CifWriter(known, symprec=symprec, significant_figures=10))
    found = structure(read_cell("cif", text))
    wanted = Structure.from_str(text, fmt="cif")
    assert len(found) == len(wanted)
    assert SAME.fit(found, wanted)


def test_a_space_group_that_is_only_named_is_expanded():
    text = """data_x
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 0 0 0
Cl1+ 0.5 0.5 0.5
"""
    assert SAME.fit(structure(read_cell("cif", text)), rocksalt())
    with pytest.raises(RefusedError, match="unknown space group: F m Q m"):
        read_cell("cif", text.replace("F m -3 m", "F m Q m"))


def test_atoms_without_labels_are_known_by_their_elements():
    text = re.sub(r"\b(Sr|Ti|O) +\1\d ", r"\1 ", PLAIN).replace(" _atom_site_label\n", "")
    assert "Sr0" not in text
    assert SAME.fit(structure(read_cell("cif", text)), perovskite())


def test_rounded_special_positions_are_one_atom():
    text = str(CifWriter(quartz(), symprec=0.01, significant_figures=4))
    assert len(read_cell("cif", text).numbers) == 9


BROKEN = {
    "breaks off in a line": (PLAIN[:-30], "no CIF, or one that breaks off"),
    "breaks off after a line": (PLAIN.rsplit("\n", 2)[0] + "\n", "not the formula: SrTiO2"),
    "empty": ("", "no atoms"),
    "a page": ("<html>", "no CIF"),
    "half an atom": (PLAIN.replace("0.50000000  1\n", "0.50000000  0.5\n", 1), "partial occ"),
    "nan": (PLAIN.replace("0.50000000  1\n", "nan  1\n", 1), "coordinates that are no numbers"),
    "unknown place": (PLAIN.replace("0.50000000  1\n", "?  1\n", 1), "coordinates that are no"),
    "no volume": (PLAIN.replace("_cell_length_a   3.90500000", "_cell_length_a   0.0"), "volume"),
    "flat angle": (PLAIN.replace("alpha   90.00000000", "alpha   0.0"), "cell without a volume"),
    "impossible angles": (PLAIN.replace("alpha   90.00000000", "alpha   191"), "without a volume"),
    "no element": (PLAIN.replace("  Sr  Sr0", "  Xx  Xx0"), "unknown element: Xx"),
    "one place": (PLAIN.replace("0.50000000", "0.01000000"), "overlapping atoms: 0.0"),
    "disorder": (PLAIN.replace("occupancy\n", "disorder_group\n"), "disorder: Sr in group 1"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_crystal_is_refused_with_one_reason(text, reason):
    assert text != PLAIN
    with pytest.raises(RefusedError, match=reason):
        read_cell("cif", text)
    ((numbers, _, _, why),) = prepared(RULE, [("cif", text)])
    assert numbers == []
    assert reason in why


@pytest.mark.parametrize("known", KNOWN, ids=lambda s: s.formula)
def test_a_poscar_is_read(known):
    assert SAME.fit(structure(read_cell("poscar", str(Poscar(known)))), known)


@pytest.mark.parametrize("text", ["", "a\nb\nc", str(Poscar(rocksalt()))[:200]])
def test_a_poscar_that_breaks_off_is_refused(text):
    with pytest.raises(RefusedError, match="no POSCAR, or one that breaks off"):
        read_cell("poscar", text)


def test_a_cell_that_is_written_out_is_read():
    it = cell(quartz())
    text = json.dumps([it.numbers.tolist(), it.frac.tolist(), it.lattice.tolist()])
    found = read_cell("cell", text)
    assert np.array_equal(found.frac, it.frac)
    assert np.array_equal(found.lattice, it.lattice)


def test_records_become_primitive_cells():
    ((numbers, frac, lattice, reason),) = prepared(RULE, [("cif", str(CifWriter(rocksalt())))])
    assert reason == ""
    assert sorted(numbers) == [11, 17]
    assert np.shape(frac) == (2, 3)
    np.testing.assert_allclose(lengths(np.array(lattice)), 5.64 / 2**0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"max_atoms": 4}, "more than 4 atoms in the primitive cell: 5"),
        ({"elements": ["Sr", "O"]}, "other elements: Ti"),
        ({"max_volume": 10.0}, "more than 10 cubic angstrom per atom: 11.9"),
        ({"max_atoms": 5, "elements": ["Sr", "O", "Ti"], "max_volume": 12.0}, ""),
    ],
)
def test_limits_leave_crystals_out_and_say_why(rule, reason):
    assert prepared(RULE | rule, [("cif", PLAIN)])[0][3] == reason


def test_five_hundred_atoms_are_told_and_not_waited_for():
    large = rocksalt() * [4, 4, 4]
    large.translate_sites([0], [0.003, 0, 0])  # or it would be primitive again
    reason = prepared(RULE, [("cif", str(CifWriter(large)))])[0][3]
    assert reason == "more than 20 atoms in the primitive cell: 512"
    cells = [[1] * 1728, np.random.default_rng(0).random((1728, 3)).tolist(), np.eye(3).tolist()]
    reason = prepared(RULE, [("cell", json.dumps(cells))])[0][3]
    assert reason == "more than 1000 atoms in a cell: 1728"


def test_anybodys_files_are_read_as_they_are():
    texts = [PLAIN, BROKEN["half an atom"][0], BROKEN["one place"][0]]
    good, half, close = as_written({}, [("cif", t) for t in texts])
    assert good[3] == close[3] == ""
    assert len(close[0]) == 5
    assert half[0] == [0]
    assert "partial occupancy: Sr 0.5" in half[3]
