import numpy as np
import pytest
import torch
from domains.crystal.examples import cell

from genmatter.domains.crystal import smact, symmetry
from genmatter.domains.crystal.cells import closest
from genmatter.domains.crystal.filling import made
from genmatter.domains.crystal.ions import ANIONS, Ion, cations, electronegativity, radius
from genmatter.domains.crystal.prototypes import PROTOTYPES, drawing

EVERY = pytest.mark.parametrize("it", PROTOTYPES, ids=lambda it: it.name)


@pytest.fixture(scope="module")
def crystals():
    return made()


def test_there_are_thousands_each_once_of_all_types(crystals):
    assert len(PROTOTYPES) == 17
    assert set(crystals.labels) == {it.name for it in PROTOTYPES}
    assert len(crystals) > 11_000
    named = set(zip(crystals.labels, (z.tobytes() for z in crystals.each_numbers()), strict=True))
    assert len(named) == len(crystals)
    assert crystals.counts.min() == 2
    assert crystals.counts.max() == 14
    assert len(crystals.numbers.unique()) > 70


@EVERY
def test_a_drawing_has_the_symmetry_and_the_stoichiometry_of_its_type(it):
    found = drawing(it.name)
    at = found.cell
    assert symmetry.space_group((10 * at.lattice, at.frac, at.numbers), 0.001) == it.group
    assert sum(found.counts.values()) == len(at.numbers)
    for role, to, count, length in found.bonds:
        assert count == it.roles[role].neighbours * found.counts[role]
        assert length > 0.2
        assert to in it.roles


STOICHIOMETRY = {
    "rocksalt": "11", "fluorite": "12", "antifluorite": "21", "corundum": "46", "rutile": "24",
    "perovskite": "113", "spinel": "248", "elpasolite": "2116", "chalcopyrite": "224",
}  # fmt: skip


@pytest.mark.parametrize(("name", "wanted"), STOICHIOMETRY.items())
def test_roles_have_as_many_atoms_as_textbooks_say(name, wanted):
    assert "".join(str(k) for k in drawing(name).counts.values()) == wanted


@EVERY
def test_atoms_have_as_many_neighbours_as_their_role_says(it):
    """Between one tenth more than the bond length and the next shell there is nothing."""
    found = drawing(it.name)
    at = found.cell
    shifts = np.array(np.meshgrid(*[range(-3, 4)] * 3)).reshape(3, -1).T
    for role, to, _, length in found.bonds:
        d = at.frac[found.roles == to] - at.frac[found.roles == role][0]
        far = np.linalg.norm((d[:, None] + shifts) @ at.lattice, axis=-1).ravel()
        assert (far < 1.12 * length).sum() == it.roles[role].neighbours


def test_nearly_all_balance_and_atoms_are_apart(crystals):
    some = crystals[torch.arange(0, len(crystals), 23)]
    valid = [smact.valid(z) for z in some.each_numbers()]
    assert np.mean(valid) > 0.96
    far = [closest(cell(s)) for s in some.structures()]
    assert np.mean([d > 1.5 for d, _ in far]) > 0.99
    assert np.mean([share > 0.7 for _, share in far]) > 0.99


def test_known_salts_have_about_their_size(crystals):
    lengths = {"NaCl": 5.64, "MgO": 4.21, "LiF": 4.03, "CaO": 4.81, "ZnS": 5.41}
    for formula, a in lengths.items():
        kind = "zincblende" if formula == "ZnS" else "rocksalt"
        k = next(
            k for k, (f, name) in enumerate(zip(crystals.formulas, crystals.labels, strict=True))
            if f == formula and name == kind
        )  # fmt: skip
        assert float(4 * crystals.volumes[k]) ** (1 / 3) == pytest.approx(a, rel=0.04)


def test_what_is_made_depends_on_the_seed_only():
    a, b, c = made(50, 1), made(50, 1), made(50, 2)
    assert torch.equal(a.frac, b.frac)
    assert a.formulas == b.formulas
    assert a.formulas != c.formulas
    assert made(50, 1).formulas == made(400, 1)[:50].formulas


def test_radii_are_shannons():
    assert radius(Ion(11, 1), 6) == 1.02
    assert radius(Ion(8, -2), 6) == 1.40
    assert radius(Ion(26, 2), 6) == 0.78  # high spin
    assert radius(Ion(26, 2), 12) is None
    assert radius(Ion(2, 1), 6) is None
    assert radius(ANIONS[1], 4) == 1.81
    assert electronegativity(9) == 3.98
    assert Ion(56, 2) in cations()
    assert len(cations()) > 100
