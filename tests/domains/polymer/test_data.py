import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genmatter.domains.polymer import data
from genmatter.domains.polymer.config import LONG_PATHS, PolymerDataConfig
from genmatter.domains.polymer.data import load
from genmatter.domains.polymer.formats import read, write
from genmatter.domains.polymer.simulate import boltzmann, energy
from genmatter.errors import DataError
from genmatter.loading.split import autocorrelation
from genmatter.maths.geometry import radius_of_gyration

SMALL = PolymerDataConfig(chains=40, valid_chains=10, test_chains=20, beads=5)
WALK = replace(SMALL, simulator="langevin", beads=3, stride=2, dt=0.004, blocks=2, gap=2)


def parts(splits):
    return splits.train, splits.valid, splits.test


@pytest.fixture
def file(tmp_path):
    """A trajectory whose frames tell their own number by their bonds."""
    x = torch.zeros(400, 4, 2)
    x[..., 0] = torch.arange(4) * (1 + torch.arange(400))[:, None]
    write(x, tmp_path / "x.npz")
    return str(tmp_path / "x.npz")


def numbers(x):
    return (x[:, 1] - x[:, 0]).norm(dim=-1).sub(1).round().int().tolist()


def test_independent_chains_are_as_many_as_asked_for_and_all_different():
    splits = load(SMALL)
    assert [x.shape for x in parts(splits)] == [(40, 5, 2), (10, 5, 2), (20, 5, 2)]
    assert len(torch.cat(parts(splits)).flatten(1).unique(dim=0)) == 70
    expected = boltzmann(70, 5, 2, SMALL.potential, seed=SMALL.data_seed)
    assert torch.equal(torch.cat(parts(splits)), expected)


def test_dimension_and_potential_reach_the_simulation():
    soft = replace(SMALL, dim=3, potential=replace(SMALL.potential, bond_rest=2.0))
    x = load(soft).train
    assert x.shape == (40, 5, 3)
    assert x.diff(dim=1).norm(dim=-1).mean() > 1.5


@pytest.mark.parametrize("config", [SMALL, WALK])
def test_data_are_a_function_of_the_config(config):
    first, again, other = load(config), load(config), load(replace(config, data_seed=1))
    assert torch.equal(first.test, again.test)
    assert not torch.equal(first.test, other.test)


@pytest.mark.parametrize("split", ["blocks", "random"])
def test_a_trajectory_is_split_in_the_shares_asked_for(split):
    splits = load(replace(WALK, split=split, chains=400, valid_chains=100, test_chains=200))
    n = [len(x) for x in parts(splits)]
    assert n[0] / sum(n) == pytest.approx(4 / 7, abs=0.02)
    assert n[2] / sum(n) == pytest.approx(2 / 7, abs=0.02)


def test_a_single_block_is_a_single_trajectory():
    train = load(replace(WALK, blocks=1, chains=100)).train
    steps = train.diff(dim=0).flatten(1).norm(dim=1)
    assert steps.max() < 5 * steps.median()


def test_without_chains_to_validate_on_the_test_chains_do():
    splits = load(replace(SMALL, valid_chains=0))
    assert torch.equal(splits.valid, splits.test)


def test_frames_of_a_file_are_split_in_gapped_blocks(file):
    splits = load(PolymerDataConfig(source=file, blocks=4, gap=3))
    train, valid, test = map(numbers, parts(splits))
    assert not {*train} & {*test}
    assert min(abs(a - b) for a in train for b in {*valid, *test}) == 4
    assert len(test) / len(train + valid + test) == pytest.approx(0.2, abs=0.02)


def test_frames_of_a_file_are_split_by_chance_as_published(file):
    config = PolymerDataConfig(
        source=file, split="random", valid_fraction=0, test_fraction=0.1, data_seed=42
    )
    order = np.random.RandomState(42).permutation(400).tolist()
    splits = load(config)
    assert numbers(splits.train) == order[:360]
    assert numbers(splits.valid) == numbers(splits.test) == order[360:]


def test_a_file_of_few_frames_cannot_be_split(tmp_path):
    write(torch.eye(4).expand(5, 4, 4)[..., :2] + torch.rand(5, 4, 2), tmp_path / "x.npy")
    with pytest.raises(DataError, match="5 frames are too few for 10 blocks"):
        load(PolymerDataConfig(source=str(tmp_path / "x.npy")))


def test_the_home_folder_is_found(file, monkeypatch):
    monkeypatch.setenv("HOME", str(Path(file).parent))
    assert len(load(PolymerDataConfig(source="~/x.npz")).train) > 100


@pytest.mark.parametrize("change", [{"chains": 0}, {"valid_chains": -1}, {"test_chains": 0}])
@pytest.mark.parametrize("config", [SMALL, WALK])
def test_splits_without_chains_are_refused(config, change):
    with pytest.raises(DataError, match="there have to be chains to train on"):
        load(replace(config, **change))


@pytest.mark.parametrize("address", [LONG_PATHS, "https://example.org/x.npz"])
def test_addresses_are_fetched_and_checked_where_the_checksum_is_known(address, file, monkeypatch):
    asked = []

    def fetch(*args):
        asked.append(args)
        return Path(file)

    monkeypatch.setattr(data, "fetch", fetch)
    load(PolymerDataConfig(source=address))
    known = "ccfdc2415231191f818d46e717e06ad8403b0c6dacb7790c3ec64f4f70234610"
    assert asked == [(address, known if address == LONG_PATHS else None)]


def test_an_address_out_of_reach_can_be_done_without():
    with pytest.raises(DataError, match=r"only https .*; or leave --data out to learn from a sim"):
        load(PolymerDataConfig(source="http://example.org/x.npz"))


@pytest.mark.skipif("GENMATTER_REAL_DATA" not in os.environ, reason="needs GENMATTER_REAL_DATA")
def test_the_published_chains_are_what_the_documentation_says():
    folder = Path(os.environ["GENMATTER_REAL_DATA"])
    x = read(folder / "polymer" / "long_paths.npz")
    assert x.shape == (2048, 12, 2)
    u = energy(x.double(), PolymerDataConfig().potential)
    assert (u.mean().item(), u.std().item()) == pytest.approx((9.7, 3.8), abs=0.06)
    rho = autocorrelation(radius_of_gyration(x), 5)
    assert rho[1].item() == pytest.approx(0.88, abs=0.01)
    assert abs(rho[5].item()) < 0.1
