import pytest
import torch

from genmatter.domains.crystal import data
from genmatter.domains.crystal.config import CrystalDataConfig, CrystalVAEConfig
from genmatter.domains.crystal.features import features
from genmatter.domains.crystal.represent import CrystalTensors
from genmatter.domains.crystal.spacing import Spacing


@pytest.fixture(scope="module")
def known():
    crystals = data.load(CrystalDataConfig(crystals=240)).train
    fitted = CrystalTensors.fit(crystals, CrystalVAEConfig())
    it = Spacing()
    batch = fitted.encode(crystals)
    it.fit([batch[:50], batch[50:]])
    return crystals, fitted, batch, it


def scattered(batch):
    torch.manual_seed(0)
    return batch.replace(frac_coords=torch.rand_like(batch.frac_coords) * batch.mask[..., None])


def test_least_distances_are_those_of_the_data(known):
    crystals, _, batch, it = known
    one = Spacing()
    row = int((crystals.counts == 2).nonzero()[0])
    one.fit([batch[torch.tensor([row])]])
    a, b = batch.atom_types[row, :2].tolist()
    closest = float(features(crystals[[row]])["closest"])
    pairs = [one.least[a, b], one.least[b, a], one.least[a, a], one.least[b, b]]
    assert min(map(float, pairs)) == pytest.approx(closest, abs=1e-3)
    assert torch.equal(it.least, it.least.T)


def test_the_order_and_size_of_batches_do_not_matter(known):
    _, _, batch, it = known
    again = Spacing()
    again.fit([batch[torch.randperm(len(batch))]])
    torch.testing.assert_close(again.least, it.least)


def test_atoms_at_random_are_moved_apart(known):
    _, fitted, batch, it = known
    before, after = (
        features(fitted.decode(b))["spacing"]
        for b in (scattered(batch), it.apart(scattered(batch), 100))
    )
    assert (before > 0.7).double().mean() < 0.5
    assert (after > 0.7).double().mean() > 0.97


def test_crystals_hardly_move(known):
    _, _, batch, it = known
    moved = it.apart(batch, 30)
    apart = ((moved.frac_coords - batch.frac_coords + 0.5) % 1 - 0.5).abs().amax((1, 2))
    assert (apart < 0.02).double().mean() > 0.7
    assert (moved.lengths / batch.lengths).max() < 1.1
    assert torch.equal(moved.atom_types, batch.atom_types)
    torch.testing.assert_close(moved.lattice.norm(dim=-1), moved.lengths)


def test_no_steps_change_nothing(known):
    _, _, batch, it = known
    assert it.apart(batch, 0) is batch


def test_rows_do_not_see_each_other(known):
    _, _, batch, it = known
    rows = scattered(batch)
    together = it.apart(rows, 5)
    alone = it.apart(rows[torch.tensor([3])], 5)
    size = int(alone.num_atoms)
    torch.testing.assert_close(together.frac_coords[3, :size], alone.frac_coords[0])
    torch.testing.assert_close(together.lengths[3], alone.lengths[0])
