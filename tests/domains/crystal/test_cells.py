from itertools import product

import numpy as np
import pytest
from domains.crystal.examples import cell, nothing, perovskite, quartz, rocksalt, rutile, structure
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core.structure_matcher import StructureMatcher

from genmatter.domains.crystal import symmetry
from genmatter.domains.crystal.cells import (
    Cell,
    angles,
    closest,
    images,
    lengths,
    parameters,
    primitive,
    volume,
)
from genmatter.domains.crystal.elements import RADII
from genmatter.domains.crystal.fingerprint import amd, neighbours

KNOWN = [rocksalt(), rutile(), quartz(), perovskite()]


def skewed(structure, seed=0):
    """The same crystal in a larger, skewed cell with another origin."""
    g = np.random.default_rng(seed)
    found = structure.copy()
    found.make_supercell([[1, 1, 0], [0, 1, 0], [0, -1, 2]])
    found.translate_sites(range(len(found)), g.random(3))
    return found


@given(
    a=st.lists(st.floats(2, 20), min_size=3, max_size=3),
    b=st.lists(st.floats(60, 119), min_size=3, max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_parameters_and_vectors_say_the_same(a, b):
    found = parameters(np.array(a), np.array(b))
    np.testing.assert_allclose(lengths(found), a, rtol=1e-9)
    np.testing.assert_allclose(angles(found), b, rtol=1e-7)
    assert np.linalg.det(found) > 0
    x, y, z = np.cos(np.radians(b))
    known = np.prod(a) * np.sqrt(1 - x * x - y * y - z * z + 2 * x * y * z)
    assert volume(found) == pytest.approx(known, rel=1e-6)


def test_angles_between_which_no_cell_lies_have_no_vectors():
    assert np.isnan(parameters(np.ones(3), np.array([150.0, 150.0, 150.0]))).any()
    assert np.isnan(volume(parameters(np.ones(3), np.array([30.0, 150.0, 30.0]))))


@pytest.mark.parametrize("known", KNOWN, ids=lambda s: s.formula)
def test_the_primitive_cell_is_the_same_crystal_and_no_larger_one_gives_another(known):
    first = primitive(cell(known))
    assert StructureMatcher(primitive_cell=False, scale=False).fit(
        structure(first), known.get_primitive_structure()
    )
    again = primitive(cell(skewed(known)))
    assert len(again.numbers) == len(first.numbers) == len(known.get_primitive_structure())
    np.testing.assert_allclose(lengths(again.lattice), lengths(first.lattice), rtol=1e-6)
    np.testing.assert_allclose(angles(again.lattice), angles(first.lattice), rtol=1e-6)


@pytest.mark.parametrize("known", KNOWN, ids=lambda s: s.formula)
def test_a_reduced_cell_is_left_as_it_is(known):
    first = primitive(cell(known))
    again = primitive(first)
    np.testing.assert_allclose(again.lattice, first.lattice, atol=1e-9)
    np.testing.assert_allclose(again.frac, first.frac, atol=1e-9)
    assert (again.numbers == first.numbers).all()
    assert (first.frac >= 0).all()
    assert (first.frac < 1).all()


def test_the_niggli_cell_has_the_shortest_vectors():
    found = primitive(cell(skewed(quartz()))).lattice
    shifts = [s for s in product(range(-3, 4), repeat=3) if any(s)]
    shortest = np.sort(np.linalg.norm(np.array(shifts) @ found, axis=1))[0]
    assert lengths(found)[0] == pytest.approx(shortest)


def brute(it, reach=4):
    """The closest pair among many images."""
    shifts = np.array(list(product(range(-reach, reach + 1), repeat=3)))
    found = []
    for i, j in product(range(len(it.numbers)), repeat=2):
        d = np.linalg.norm((it.frac[j] - it.frac[i] + shifts) @ it.lattice, axis=1)
        d = d[d > 1e-9] if i == j else d
        found.append((d.min(), d.min() / RADII[it.numbers[[i, j]]].sum()))
    return np.array(found).min(0)


@pytest.mark.parametrize("known", KNOWN, ids=lambda s: s.formula)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_closest_atoms_are_those_of_a_search_through_many_images(known, seed):
    it = cell(skewed(known, seed))
    assert closest(it) == pytest.approx(tuple(brute(it)))


def test_an_atom_is_close_to_its_own_images():
    assert closest(Cell(np.array([29]), np.zeros((1, 3)), 2.0 * np.eye(3)))[0] == 2.0


def test_what_is_no_cell_has_no_distances():
    x = nothing()
    flat = np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 0, 1.0]])
    for lattice in (x.lattice[0].numpy(), np.zeros((3, 3)), flat):
        assert closest(Cell(np.array([3]), np.zeros((1, 3)), lattice)) == (0.0, 0.0)


def test_images_hold_every_neighbour_within_reach():
    lattice = parameters(np.array([3.0, 5.0, 9.0]), np.array([60.0, 70.0, 115.0]))
    g = np.random.default_rng(0)
    a, b = g.random((2, 3))
    far = np.array(list(product(range(-8, 9), repeat=3)))
    count = lambda s: (np.linalg.norm((b - a + s) @ lattice, axis=1) < 11).sum()
    assert count(images(lattice, 11.0)) == count(far) > 20


def test_neighbours_of_rock_salt_are_its_shells():
    found = neighbours(cell(rocksalt(2.0)), 26)  # nearest at 1: 6, then 12 at sqrt 2, 8 at sqrt 3
    np.testing.assert_allclose(found[:, :6], 1, rtol=1e-9)
    np.testing.assert_allclose(found[:, 6:18], 2**0.5, rtol=1e-9)
    np.testing.assert_allclose(found[:, 18:26], 3**0.5, rtol=1e-9)


@pytest.mark.parametrize("known", KNOWN, ids=lambda s: s.formula)
def test_the_fingerprint_sees_no_cell_no_origin_and_no_scale(known):
    other = skewed(known)
    other.scale_lattice(3.3 * other.volume)
    np.testing.assert_allclose(amd(cell(other)), amd(cell(known)), atol=1e-9)


def test_the_fingerprint_tells_structures_apart_and_says_nothing_of_none():
    assert np.abs(amd(cell(rocksalt())) - amd(cell(rutile()))).max() > 0.1
    assert np.isnan(amd(Cell(np.array([3]), np.zeros((1, 3)), np.zeros((3, 3))))).all()


def test_space_groups_are_those_of_the_textbook():
    groups = [225, 136, 154, 221]
    for known, group in zip(KNOWN, groups, strict=True):
        it = cell(skewed(known))
        assert symmetry.space_group((it.lattice, it.frac, it.numbers), 0.01) == group
    names = [symmetry.crystal_system(g) for g in (0, 1, 14, 62, 136, 154, 194, 221)]
    assert names == [
        "", "triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal",
        "cubic",
    ]  # fmt: skip


def test_spglib_is_not_believed_where_there_is_no_volume():
    assert symmetry.niggli(np.zeros((3, 3))) is None
    assert symmetry.space_group((np.zeros((3, 3)), np.zeros((1, 3)), np.array([3])), 0.1) == 0
