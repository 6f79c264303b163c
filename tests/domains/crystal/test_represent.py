"""One setting of each crystal, whatever cell it comes in, and tensors that hold it."""

import dataclasses

import numpy as np
import pytest
import torch

from genmatter.config import replaced
from genmatter.domains.crystal import data
from genmatter.domains.crystal.canonical import setting
from genmatter.domains.crystal.chemistry import rank
from genmatter.domains.crystal.config import CrystalDataConfig, CrystalVAEConfig
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.elements import SYMBOLS
from genmatter.domains.crystal.represent import CrystalBatch, CrystalTensors
from genmatter.errors import ConfigError, RepresentationError
from genmatter.maths.lattice import vectors

CONFIG = CrystalVAEConfig()
HALITE = np.array([11, 17]), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
TURNS = [
    np.array(t)
    for t in ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
              [[0, -1, 0], [1, 0, 0], [0, 0, 1]], [[-1, 0, 0], [0, -1, 0], [0, 0, 1]])
]  # fmt: skip
"""Names of the axes that some cells can change without changing their shape."""
FCC = 2.8 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])


@pytest.fixture(scope="module")
def train():
    return data.load(CrystalDataConfig(crystals=240)).train


@pytest.fixture(scope="module")
def fitted(train):
    return CrystalTensors.fit(train, CONFIG)


def disguised(crystals, seed=0):
    """The same crystals with other origins, orders, orientations and names of axes."""
    rng, found = np.random.default_rng(seed), []
    each = zip(
        crystals.each_numbers(), crystals.each_frac(), crystals.lattice.numpy(), strict=True
    )
    for z, x, m in each:
        order = rng.permutation(len(z))
        kept = [t for t in TURNS if np.allclose(t @ m @ m.T @ t.T, m @ m.T)]
        turn = kept[rng.integers(len(kept))]
        spin = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        spin = spin * np.linalg.det(spin)
        frac = (x @ np.linalg.inv(turn) + rng.random(3))[order] % 1
        found.append((z[order], frac, turn @ m @ spin))
    return Crystals.of(*zip(*found, strict=True))


def test_a_setting_is_the_same_crystal(train):
    for z, x, m in zip(
        train.each_numbers(), train.each_frac(), train.lattice.numpy(), strict=True
    ):
        found = setting(z, x, m)
        assert sorted(found.numbers) == sorted(z)
        assert np.linalg.det(found.lattice) == pytest.approx(np.linalg.det(m))
        a, b = (np.sort(distances(*c).ravel()) for c in ((x, m), (found.frac, found.lattice)))
        np.testing.assert_allclose(a, b, atol=1e-6)


def distances(frac, lattice):
    """Of all pairs, to all images around."""
    around = np.stack(np.meshgrid(*[[-2, -1, 0, 1, 2]] * 3), -1).reshape(-1, 3)
    d = frac[:, None] - frac
    d = (d - np.round(d))[..., None, :] + around
    return np.sort(np.linalg.norm(d @ lattice, axis=-1), -1)[..., :8]


def test_disguises_change_nothing(train, fitted):
    a, b = fitted.encode(train), fitted.encode(disguised(train))
    same = (a.frac_coords - b.frac_coords).abs().amax((1, 2)) < 1e-4
    assert same.float().mean() > 0.98  # where a cell is nearly special a tie may break otherwise
    assert torch.equal(a.atom_types, b.atom_types)
    torch.testing.assert_close(a.lengths[same], b.lengths[same], atol=1e-3, rtol=1e-3)


def test_a_mirror_image_is_another_crystal_and_a_left_handed_cell_is_not():
    z, x = np.array([3, 8, 8]), np.array([[0.0, 0, 0], [0.1, 0.2, 0.3], [0.4, 0.3, 0.1]])
    m = np.array([[4.0, 0, 0], [0.3, 5, 0], [0.4, 0.5, 6]])
    same = setting(z, -x, -m)
    np.testing.assert_allclose(same.frac, setting(z, x, m).frac, atol=1e-9)
    assert np.abs(setting(z, -x, m).frac - same.frac).max() > 0.01


def test_atoms_stand_in_the_order_of_electronegativity(fitted, train):
    types = fitted.encode(train).atom_types.numpy()
    for row, count in zip(types, train.counts.tolist(), strict=True):
        assert (np.diff(rank()[row[:count]]) >= 0).all()
    assert rank()[3] < rank()[26] < rank()[8]


def test_the_same_atom_is_the_origin():
    moved = setting(HALITE[0], HALITE[1] + 0.3, FCC)
    np.testing.assert_allclose(moved.frac, HALITE[1], atol=1e-9)


def test_decoding_inverts_encoding(fitted, train):
    batch = fitted.encode(train)
    again = fitted.encode(fitted.decode(batch))
    for name, value in batch.tensors.items():
        torch.testing.assert_close(again.tensors[name], value, atol=1e-4, rtol=1e-4)


def test_volume_and_density_survive(fitted, train):
    back = fitted.decode(fitted.encode(train))
    torch.testing.assert_close(back.volumes, train.volumes, rtol=1e-4, atol=1e-3)


def test_gradients_flow_to_the_cell(fitted, train):
    batch = fitted.encode(train[:3])
    lengths = batch.lengths.clone().requires_grad_(True)
    fitted.decode(batch.replace(lengths=lengths)).volumes.sum().backward()
    assert lengths.grad is not None
    assert (lengths.grad > 0).all()


def test_columns_of_a_file_come_back_and_are_unknown_where_there_are_none(train):
    gap = torch.linspace(0, 4, len(train), dtype=torch.float64)
    gap[::3] = torch.nan
    told = dataclasses.replace(train, columns={"band_gap": gap})
    r = CrystalTensors.fit(told, CONFIG)
    assert r.properties[0] == "band_gap"
    back = r.decode(r.encode(told)).columns["band_gap"]
    torch.testing.assert_close(back, gap, equal_nan=True, atol=1e-5, rtol=1e-5)
    assert r.encode(train).properties[:, 0].isnan().all()


def test_a_formula_is_a_prompt(fitted):
    given = fitted.prompt(4, replaced(CONFIG, {"formula": "Li2O", "formula_units": (1, 2)}))
    assert given.num_atoms.tolist() == [3, 6, 3, 6]
    assert given.atom_types[0].tolist() == [3, 3, 8, 0, 0, 0]
    assert given.atom_types[1].tolist() == [3, 3, 3, 3, 8, 8]
    assert given.elements[0].nonzero()[:, 0].tolist() == [3, 8]
    assert given.frac_coords[given.mask].isnan().all()


def test_numbers_of_atoms_are_as_in_the_data_or_as_asked(fitted, train):
    given = fitted.prompt(4000, CONFIG)
    share = torch.bincount(given.num_atoms, minlength=len(fitted.counts)) / 4000
    assert (share - torch.tensor(fitted.counts)).abs().max() < 0.05
    assert (given.atom_types == 0).all()
    asked = fitted.prompt(3, replaced(CONFIG, {"num_atoms": (2, 5)}))
    assert asked.num_atoms.tolist() == [2, 5, 2]


def test_targets_are_in_units_of_the_data(fitted):
    given = fitted.prompt(2, replaced(CONFIG, {"target": ("density=5",)}))
    k = fitted.properties.index("density")
    assert given.wanted[0, k] * fitted.scales[k] + fitted.means[k] == pytest.approx(5, rel=1e-5)
    assert given.properties.isnan().all()


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"formula": "Xx2"}, "LiFeO2"),
        ({"formula": "Li0.5O"}, "whole numbers"),
        ({"formula": "NoO2"}, "no training crystal has No"),
        ({"formula": "SrO", "num_atoms": (2,)}, "either a formula"),
        ({"formula": "SrO", "formula_units": (0,)}, "at least one formula unit"),
        ({"num_atoms": (0,)}, "at least 1 atom"),
        ({"num_atoms": (1,), "chemical_system": ("Sr", "O")}, "at least 2 atoms"),
        ({"chemical_system": ("Sr", "Zz")}, "no element 'Zz'"),
        ({"space_group": 231}, "no space group 231"),
        ({"target": ("densty=3",)}, "did you mean 'density'"),
        ({"target": ("density=high",)}, "NAME=NUMBER"),
    ],
)
def test_wishes_that_cannot_be_are_refused(fitted, wish, says):
    with pytest.raises(ConfigError, match=says):
        fitted.prompt(2, replaced(CONFIG, wish))


def test_a_space_group_needs_a_model_that_knows_of_them(fitted):
    wish = replaced(CONFIG, {"space_group": 225})
    assert (fitted.prompt(2, wish).space_group == 225).all()
    with pytest.raises(ConfigError, match="--space_groups"):
        dataclasses.replace(fitted, groups=False).prompt(2, wish)


def test_there_is_an_atom_of_each_element_that_is_asked_for(fitted):
    system = tuple(SYMBOLS[z] for z in fitted.elements[:6])
    given = fitted.prompt(300, replaced(CONFIG, {"chemical_system": system}))
    assert given.num_atoms.min() >= 6
    many = tuple(SYMBOLS[z] for z in fitted.elements[: fitted.longest + 1])
    with pytest.raises(ConfigError, match="at most"):
        fitted.prompt(3, replaced(CONFIG, {"chemical_system": many}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lattice": torch.zeros(1, 3, 3, dtype=torch.float64)}, "without a volume"),
        ({"numbers": torch.tensor([0, 8])}, "an element that there is not"),
        ({"frac": torch.full((2, 3), torch.nan, dtype=torch.float64)}, "no number"),
    ],
)
def test_what_is_no_crystal_is_refused(fitted, change, says):
    good = Crystals.of([[12, 8]], [HALITE[1]], [FCC])
    with pytest.raises(RepresentationError, match=says):
        fitted.encode(dataclasses.replace(good, **change))


def test_batches_take_structures_as_they_are():
    z, x = np.array([3, 8]), np.array([[0.1, 0.2, 0.3], [0.7, 0.5, 0.2]])
    m = np.array([[4.0, 0, 0], [0.3, 5, 0], [0.4, 0.5, -6]])
    crystal = Crystals.of([z], [x], [m])
    batch = CrystalBatch.of(crystal.structures())
    assert batch.atom_types.tolist() == [[3, 8]]
    torch.testing.assert_close(batch.lattice, vectors(batch.lengths, batch.angles))
    back = batch.to_structure()[0]
    assert back.composition == crystal.structures()[0].composition
    a, b = (np.sort(distances(f, c).ravel()) for f, c in
            ((x, m), (back.frac_coords, back.lattice.matrix)))  # fmt: skip
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert len(batch.to_atoms()[0]) == 2
