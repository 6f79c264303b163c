import time

import numpy as np
import pytest
import torch
from domains.crystal.examples import nothing, perovskite, rocksalt, some, written_otherwise
from pymatgen.core.structure_matcher import StructureMatcher

from genmatter.domains.crystal import matching, pairs
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.matching import CDVAE, DEFAULT
from genmatter.errors import DataError
from genmatter.maths.noise import generator


def shaken(x, size, key=0):
    noise = torch.randn(x.frac.shape, generator=generator("shaken", key), dtype=torch.float64)
    moved = torch.linalg.solve(x.lattice[x.owner].mT, noise * size)
    return Crystals(x.numbers, x.frac + moved, x.counts, x.lattice)


@pytest.mark.parametrize("tolerance", [CDVAE, DEFAULT], ids=lambda t: t.name)
@pytest.mark.parametrize("size", [0.05, 0.3, 1.0])
def test_distances_are_those_of_pymatgen_one_by_one(tolerance, size):
    x = some()
    y = shaken(x, size)
    fit = StructureMatcher(ltol=tolerance.ltol, stol=tolerance.stol, angle_tol=tolerance.angle_tol)
    wanted = [fit.get_rms_dist(a, b) for a, b in zip(x.structures(), y.structures(), strict=True)]
    wanted = [np.inf if w is None else w[0] for w in wanted]
    found = matching.rms(x, y, tolerance)
    assert found.tolist() == pytest.approx(wanted)


def test_a_crystal_matches_itself_however_it_is_written():
    x = some()
    assert matching.rms(x, written_otherwise(x), DEFAULT).max() < 1e-6
    assert matching.rms(x, shaken(x, 0.02), DEFAULT).min() > 1e-4


def test_nothing_matches_what_is_no_crystal_or_another_composition():
    x = some()
    flat = Crystals(x.numbers, x.frac, x.counts, x.lattice * torch.tensor([1.0, 1, 1e-9])[:, None])
    assert matching.rms(x, flat, CDVAE).isinf().all()
    assert matching.rms(x, Crystals.cat([nothing(4)]), CDVAE).isinf().all()
    assert matching.rms(x, x[[1, 2, 3, 0]], CDVAE).isinf().all()
    assert matching.rms(nothing(), nothing(), CDVAE).isinf().all()
    with pytest.raises(DataError, match="4 crystals cannot be matched with 1"):
        matching.rms(x, x[:1], CDVAE)


def test_a_pair_that_takes_too_long_is_given_up(monkeypatch):
    def forever(*_):
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(StructureMatcher, "get_rms_dist", forever)
    monkeypatch.setattr(StructureMatcher, "fit", forever)
    told = {"ltol": 0.2, "stol": 0.3, "angle_tol": 5.0, "seconds": 0.05}
    cell = matching._plain(some()[:1])[0]
    begun = time.monotonic()
    assert pairs.rms(told, [(cell, cell)]) == [pairs.LATE]
    assert pairs.found_in(told, [([cell], [cell])]) == [[False]]
    assert time.monotonic() - begun < 2
    monkeypatch.undo()
    assert pairs.rms(told | {"seconds": 10}, [(cell, cell)])[0] == pytest.approx(0, abs=1e-6)


def test_shapes_that_no_crystal_has_are_not_given_to_the_matcher(monkeypatch):
    monkeypatch.setattr(StructureMatcher, "get_rms_dist", None)
    x = some()[:1]
    for scale in ([1, 1, 500.0], [0.01, 0.01, 0.01], [100.0, 100, 100]):
        odd = Crystals(x.numbers, x.frac, x.counts, x.lattice * torch.tensor(scale)[:, None])
        assert matching.rms(odd, odd, CDVAE).isinf().all()


def test_groups_begin_with_the_first_of_each():
    x = some()
    y = Crystals.cat([x, written_otherwise(x), nothing(2), shaken(x, 0.02)])
    found = matching.groups(y)
    assert found.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 0, 1, 2, 3]


def test_polymorphs_are_different_crystals():
    high = rocksalt().get_primitive_structure()
    low = high.copy()
    low.translate_sites([1], [0.25, 0.25, 0.25])  # as in zincblende
    x = Crystals.of_structures([high, low])
    assert matching.groups(x).tolist() == [0, 1]
    assert matching.known(x, x[:1]).tolist() == [True, False]
    assert matching.known(x[:1], x).tolist() == matching.known(x[:1], x[[1, 0]]).tolist() == [True]


def test_what_is_known_is_found_among_others():
    x = some()
    others = written_otherwise(x[[2, 0]])
    assert matching.known(x, others).tolist() == [True, False, True, False]
    assert matching.known(Crystals.cat([nothing(), x[:1]]), others).tolist() == [False, True]
    assert matching.known(x, x[:0]).tolist() == [False] * 4


def test_processes_find_the_same(monkeypatch):
    x = Crystals.cat([some()[:2], shaken(some()[:2], 0.3)])
    y = shaken(x, 0.1, 1)
    alone = matching.rms(x, y, CDVAE), matching.groups(x)
    monkeypatch.setattr(matching, "FEW", 1)
    monkeypatch.setattr(matching, "processors", lambda: 2)
    shared = matching.rms(x, y, CDVAE), matching.groups(x)
    for a, b in zip(alone, shared, strict=True):
        torch.testing.assert_close(a, b)


def test_structure_prediction_counts_targets_that_are_hit():
    x = Crystals.of_structures([rocksalt().get_primitive_structure(), perovskite()])
    far = x[[1, 0]]
    candidates = [
        Crystals.cat([far[:1], far[:1], written_otherwise(x[:1])]),
        Crystals.cat([far[1:], far[1:]]),
    ]
    found = matching.structure_prediction(x, candidates)
    assert found["match@1 stol.5"].value == 0
    assert found["match@3 stol.5"].value == 0.5
    assert found["rms@3 stol.5"].value == pytest.approx(0, abs=1e-6)
    assert matching.structure_prediction(x[:1], [x[:1]])["match@1 stol.5"].value == 1
    none = matching.structure_prediction(x[:1], [x[:0]])
    assert none["match@1 stol.5"].value == 0
    assert none["rms@1 stol.5"].value == CDVAE.stol
    with pytest.raises(DataError, match="2 targets need as many sets"):
        matching.structure_prediction(x, candidates[:1])
