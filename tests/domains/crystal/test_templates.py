"""Templates: which training crystals are like a composition, and what is taken from them."""

import copy

import pytest
import torch

from genmatter.domains.crystal import data
from genmatter.domains.crystal.composition import GROUPS, Composition
from genmatter.domains.crystal.config import CrystalDataConfig, CrystalVAEConfig
from genmatter.domains.crystal.represent import CrystalTensors
from genmatter.domains.crystal.templates import Templates
from genmatter.maths.lattice import vectors
from genmatter.maths.noise import stream


@pytest.fixture(scope="module")
def batch():
    train = data.load(CrystalDataConfig(crystals=240)).train
    found = CrystalTensors.fit(train, CrystalVAEConfig.presets["tiny"]).encode(train[:60])
    return found.replace(space_group=torch.arange(60) % 3 + 1)


@pytest.fixture(scope="module")
def counts(batch):
    return Composition(8, 0.0).counts(batch.atom_types)


@pytest.fixture(scope="module")
def it(batch, counts):
    torch.manual_seed(0)
    made = Templates()
    made.fit([batch[:30], batch[30:]], [counts[:30], counts[30:]])
    return made


def pattern(row):
    return row[row > 0].tolist()


def test_only_crystals_of_the_same_pattern_are_alike(it, batch, counts):
    near = it.near(counts)
    assert near.shape == (60, len(it)) == (60, 60)
    for i in range(0, 60, 7):
        for k in range(60):
            assert near[i, k].isfinite() == (pattern(counts[i]) == pattern(counts[k]))


def test_nothing_is_nearer_than_itself_and_that_can_be_left_out(it, counts):
    near, others = it.near(counts), it.near(counts, others=True)
    torch.testing.assert_close(near.diagonal(), torch.zeros(60), atol=1e-4, rtol=0)
    assert (near <= 0).all()
    same = (counts[:, None] == counts).all(2)
    assert (others[same] == -torch.inf).all()
    assert torch.equal(others[~same], near[~same])


def test_likeness_is_the_kernel_of_what_is_known_of_elements(it, counts):
    near = it.near(counts)
    i, k = (near.isfinite() & (near < -1e-3)).nonzero()[0].tolist()
    a, b = (counts[x].nonzero()[:, 0] for x in (i, k))
    gap = it.metric(it.known[a] - it.known[b])
    torch.testing.assert_close(near[i, k], -gap.square().sum(), atol=1e-3, rtol=1e-4)


def test_groups_have_the_sum_of_their_templates(it, batch, counts):
    near = it.near(counts)
    found = it.of_groups(near)
    assert found.shape == (60, GROUPS)
    for g in (0, 1, 2, 3, 225):
        torch.testing.assert_close(found[:, g], near.exp()[:, batch.space_group == g].sum(1))


def test_templates_are_drawn_as_they_are_alike(it, batch, counts):
    near = it.near(counts, others=True)
    row = int(near.isfinite().sum(1).argmax())
    n = 4000
    many = batch[torch.full((n,), row)]
    hide = torch.zeros(n, dtype=torch.bool)
    with stream("templates"):
        drawn = it.draw(near[torch.full((n,), row)], many, hide)
    assert drawn.there.all()
    p = near[row].masked_fill(batch.space_group != batch.space_group[row], -torch.inf).softmax(0)
    size = many.mask.shape[1]
    of = (drawn.types[:, None] == batch.atom_types[:, :size]).all(2)
    of &= (drawn.crystals.frac_coords[:, None] == batch.frac_coords[:, :size]).all(3).all(2)
    share = of.float().mean(0)
    assert ((share - p).abs() < 4 * (p * (1 - p) / n).sqrt() + 1e-6)[p > 1e-4].all()


def test_a_template_has_its_own_places_and_cell_and_the_types_of_what_is_drawn(it, batch, counts):
    hide = torch.zeros(60, dtype=torch.bool)
    hide[3] = True
    found = it.draw(it.near(counts), batch, hide)  # the nearest of all is itself
    far = Templates()
    assert not found.there[3]
    assert found.there.sum() == 59
    assert torch.equal(found.crystals.atom_types, batch.atom_types)
    lattice = vectors(found.crystals.lengths, found.crystals.angles)
    torch.testing.assert_close(found.crystals.lattice, lattice)
    assert (found.crystals.frac_coords[3] == 0).all()
    assert (found.types[~batch.mask] == 0).all()
    far.fit([batch[:0]], [counts[:0]])
    nothing = far.draw(far.near(counts), batch, hide)
    assert not nothing.there.any()


def test_near_of_nothing_is_itself(it, batch, counts):
    sure = copy.deepcopy(it)
    sure.metric.weight.data.mul_(100)
    found = sure.draw(sure.near(counts), batch, torch.zeros(60, dtype=torch.bool))
    torch.testing.assert_close(found.crystals.frac_coords, batch.frac_coords)
    torch.testing.assert_close(found.crystals.lengths, batch.lengths, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found.crystals.angles, batch.angles)
    assert torch.equal(found.types, batch.atom_types)


def test_what_is_asked_for_decides_the_group_and_nothing_asked_takes_any(it, batch, counts):
    near, hide = it.near(counts), torch.zeros(60, dtype=torch.bool)
    one = it.draw(near, batch.replace(space_group=torch.full((60,), 225)), hide)
    assert not one.there.any()
    assert it.draw(near, batch.replace(space_group=torch.zeros(60).long()), hide).there.all()


def test_templates_are_kept_with_the_weights(it, counts):
    other = Templates()
    other.load_state_dict(it.state_dict())
    assert len(other) == 60
    torch.testing.assert_close(other.near(counts), it.near(counts))
