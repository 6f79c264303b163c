"""Averages over the operations of a template: symmetric, near, and nothing where that is far."""

import numpy as np
import pytest
import torch

from genmatter.domains.crystal import data
from genmatter.domains.crystal.averaging import averaged, nearest
from genmatter.domains.crystal.config import CrystalDataConfig, CrystalVAEConfig
from genmatter.domains.crystal.represent import CrystalTensors
from genmatter.domains.crystal.symmetry import space_group
from genmatter.domains.crystal.templates import Template
from genmatter.maths.lattice import parameters, vectors


@pytest.fixture(scope="module")
def batch():
    train = data.load(CrystalDataConfig(crystals=240)).train
    return CrystalTensors.fit(train, CrystalVAEConfig.presets["tiny"]).encode(train[:40])


def groups(x, symprec):
    cells = [
        (m.double().numpy(), f[k].double().numpy(), z[k].numpy())
        for m, f, z, k in zip(x.lattice, x.frac_coords, x.atom_types, x.mask, strict=True)
    ]
    return [space_group(c, symprec) for c in cells]


def shaken(x, size):
    """Moves atoms and strains cells."""
    g = torch.Generator().manual_seed(0)
    frac = x.frac_coords + size * torch.randn(x.frac_coords.shape, generator=g) / 10
    lengths = x.lengths * (1 + size * torch.randn(x.lengths.shape, generator=g) / 10)
    angles = x.angles + size * torch.randn(x.angles.shape, generator=g) / 10
    return x.replace(
        frac_coords=frac * x.mask[..., None], lengths=lengths, angles=angles,
        lattice=vectors(lengths, angles),
    )  # fmt: skip


def template(x):
    return Template(torch.ones(len(x), dtype=torch.bool), x, x.atom_types)


def test_what_is_near_its_template_gets_its_symmetries(batch):
    near = shaken(batch, 0.1)
    found = averaged(near, template(batch), 1.0)
    assert np.mean(np.equal(groups(near, 0.01), groups(batch, 0.01))) < 0.2
    assert groups(found, 0.01) == groups(batch, 0.01)
    torch.testing.assert_close(found.lattice, vectors(found.lengths, found.angles))


def test_what_is_symmetric_stays(batch):
    """As the template, larger, and with whole cells added to its coordinates."""
    larger = batch.lengths * 1.05
    other = batch.replace(
        frac_coords=(batch.frac_coords + 2) * batch.mask[..., None], lengths=larger,
        lattice=vectors(larger, batch.angles),
    )  # fmt: skip
    found = averaged(other, template(batch), 0.5)
    gap = found.frac_coords - batch.frac_coords
    assert (gap - gap.round()).abs().max() < 1e-3
    torch.testing.assert_close(found.lengths, larger, atol=1e-3, rtol=1e-3)


def test_an_average_of_an_average_is_the_same(batch):
    once = averaged(shaken(batch, 0.1), template(batch), 1.0)
    twice = averaged(once, template(batch), 1.0)
    gap = once.frac_coords - twice.frac_coords
    assert (gap - gap.round()).abs().max() < 1e-5
    torch.testing.assert_close(once.lengths, twice.lengths)


def test_of_two_atoms_along_an_axis_the_mean_is_taken():
    """By hand: an inversion between two atoms of a line puts both at the same distance from it."""
    cell = np.diag([3.0, 4.0, 5.0])
    frac = np.array([[0.0, 0.0, 0.2], [0.0, 0.0, 0.8]])
    numbers = np.array([8, 8])
    moved = frac + np.array([[0.0, 0.0, 0.02], [0.01, 0.0, 0.0]])
    found = nearest((cell, moved, numbers), (cell, frac, numbers), 0.5)
    assert found is not None
    lattice, places = found
    np.testing.assert_allclose(lattice, cell, atol=1e-9)
    np.testing.assert_allclose(places, [[0.0, 0.0, 0.21], [0.0, 0.0, 0.79]], atol=1e-9)


def test_what_is_far_stays_and_so_does_what_has_no_template(batch):
    near = shaken(batch, 0.1)
    kept = averaged(near, template(batch), 1e-6)
    alone = averaged(
        near, Template(torch.zeros(40, dtype=torch.bool), batch, batch.atom_types), 9.0
    )
    for found in (kept, alone, averaged(near, template(batch), 0.0)):
        assert torch.equal(found.frac_coords, near.frac_coords)
        torch.testing.assert_close(found.lengths, near.lengths)
    far = shaken(batch, 3.0)
    some = averaged(far, template(batch), 0.5)
    changed = (some.frac_coords != far.frac_coords).flatten(1).any(1)
    for row in changed.nonzero()[:, 0].tolist():
        gap = some.frac_coords[row] - far.frac_coords[row]
        moved = (gap - gap.round()) @ some.lattice[row]
        assert moved.norm(dim=-1).max() <= 0.5 + 1e-3
    assert not changed.all()
    lengths, _ = parameters(some.lattice)
    torch.testing.assert_close(lengths, some.lengths)
