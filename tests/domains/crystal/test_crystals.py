import numpy as np
import pytest
import torch
from domains.crystal.examples import nothing, perovskite, quartz, rocksalt, rutile, some

from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.elements import RADII, SYMBOLS, number, reduced


def same(a, b):
    for name in ("numbers", "frac", "counts", "lattice"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert a.labels.tolist() == b.labels.tolist()


def test_structures_come_back_as_they_were():
    found = [rocksalt(), rutile(), quartz()]
    for a, b in zip(found, Crystals.of_structures(found).structures(), strict=True):
        assert a == b


@pytest.mark.parametrize(
    "rows", [[2], [3, 0], [-1, -1], slice(1, 3), slice(0, 0), torch.tensor([2, 0, 1, 3]), []]
)
def test_rows_are_those_of_single_crystals(rows):
    x = some()
    picked = np.arange(4)[rows.numpy() if isinstance(rows, torch.Tensor) else rows]
    alone = [x.structures()[k] for k in picked.tolist()]
    assert x[rows].structures() == alone
    assert x[rows].labels.tolist() == x.labels[picked].tolist()


def test_a_mask_chooses_rows():
    same(some()[torch.tensor([True, False, False, True])], some()[[0, 3]])


def test_sets_are_joined_and_what_one_lacks_is_unknown():
    x = some()
    gaps = Crystals(x.numbers, x.frac, x.counts, x.lattice, {"gap": torch.arange(4.0).double()})
    both = Crystals.cat([gaps, x[:1]])
    same(both[[0, 1, 2, 3]], gaps)
    assert both.columns["gap"][:4].tolist() == [0, 1, 2, 3]
    assert both.columns["gap"][4].isnan()
    assert both.labels.tolist() == ["", "", "", "", "NaCl"]
    assert len(Crystals.cat([])) == 0


def test_cells_have_the_measures_that_pymatgen_says():
    x = some()
    for k, s in enumerate(x.structures()):
        assert float(x.volumes[k]) == pytest.approx(s.volume)
        assert x.lengths[k].tolist() == pytest.approx(list(s.lattice.abc))
        assert x.angles[k].tolist() == pytest.approx(list(s.lattice.angles))


def test_formulas_are_reduced_and_begin_with_what_gives_its_electrons_away():
    assert some().formulas == ["NaCl", "TiO2", "SiO2", "SrTiO3"]
    assert reduced([8, 26, 3, 8]) == "LiFeO2"
    assert reduced([6, 6, 1, 1]) == "HC"
    assert reduced([]) == ""


def test_atoms_know_their_crystal():
    x = some()
    assert x.owner.tolist() == [0] * 2 + [1] * 6 + [2] * 9 + [3] * 5
    assert x.starts.tolist() == [0, 2, 8, 17]


def test_what_is_no_crystal_keeps_its_place():
    x = Crystals.cat([some()[:1], nothing(2), some()[1:2]])
    assert len(x) == 4
    assert x.formulas == ["NaCl", "X", "X", "TiO2"]
    assert x[[3]].structures() == [rutile()]


def test_symbols_are_read_with_charges_and_labels():
    assert [number(t) for t in ("Fe3+", "Cl1", "D", "O2-", "Xx", "", "C1A")] == [
        26, 17, 1, 8, 0, 0, 6,
    ]  # fmt: skip
    assert SYMBOLS[92] == "U"
    assert RADII[6] == pytest.approx(0.76)


def test_a_distorted_perovskite_is_not_the_cubic_one():
    assert perovskite(tilt=0.05) != perovskite()
