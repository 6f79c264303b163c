import math
from dataclasses import replace

import pytest
import torch
from proteins import frames, protein, saved

from genmatter.domains.backbone import ensemble
from genmatter.domains.backbone.config import (
    BackboneDataConfig,
    BackboneDiffusionConfig,
    BackboneSamplingConfig,
)
from genmatter.domains.backbone.conformers import Conformers, Trajectory
from genmatter.domains.backbone.domain import Backbone
from genmatter.domains.backbone.formats import write
from genmatter.errors import ConfigError, DataError
from genmatter.spine import Splits

TINY = BackboneDiffusionConfig.presets["tiny"]
FIRST, SECOND = "GAYPKW", "AAAAAAAA"


def conformers(n=40, letters=FIRST, seed=0, replica=1, name=""):
    p = protein(letters, name or letters.lower())
    return Conformers.all([Trajectory(p, frames(n, letters, seed).numpy(), replica, 2.0)])


def both(n=40, seed=0, replica=1):
    return Conformers.cat([conformers(n, x, seed, replica) for x in (FIRST, SECOND)])


def domain(**told):
    return Backbone(replace(TINY, sampling=BackboneSamplingConfig(**told)))


@pytest.fixture(scope="module")
def splits():
    whole = Conformers.cat([both(60, 1, 1), both(60, 2, 2), both(50, 4, 3), both(20, 3, 4)])
    return Splits(whole[:240], whole[340:], whole[240:340])


def test_splits_are_a_function_of_the_data(tmp_path):
    saved(tmp_path, replicas=(1, 2), n=60)
    it = Backbone(replace(TINY, data=BackboneDataConfig(source=str(tmp_path))))
    found = it.load()
    assert {t.replica for t in _used(found.test)} == {2}
    assert len(found.test) == 60


def test_scores_know_the_data_from_something_else(splits):
    it = domain()
    same = it.score(both(50, 5), splits)
    other = Conformers.cat([
        Conformers.all([Trajectory(protein(x, x.lower()), frames(50, x, 6, wander=1.5).numpy())])
        for x in (FIRST, SECOND)
    ])  # fmt: skip
    far = it.score(other, splits)
    assert same.keys() == far.keys()
    assert all(math.isfinite(s.value) for s in same.values())
    worse = [k for k in same if far[k].gap > same[k].gap]
    assert len(worse) > len(same) / 2


def test_scores_of_several_proteins_are_their_mean(splits):
    it, samples = domain(), both(50, 5)
    whole = it.score(samples, splits)
    parts = [it.score(samples.of(p), splits) for p in samples.proteins]
    pooled = ensemble.scores([_figures(samples, p, splits) for p in samples.proteins])
    for name in (parts[0].keys() & parts[1].keys()) - pooled.keys():
        mean = (parts[0][name].value + parts[1][name].value) / 2
        assert whole[name].value == pytest.approx(mean, rel=1e-4, abs=1e-6), name


def _figures(samples, p, splits):
    train, test = splits.train.of(p), splits.test.of(p)
    return ensemble.figures(samples.of(p).alphas(), test.alphas(), train.alphas()[0])


def test_scores_go_by_residues_where_names_differ(splits):
    it = domain()
    a, b = (it.score(conformers(50, FIRST, 5, name=name), splits) for name in ("", "else"))
    assert {k: s.value for k, s in a.items()} == pytest.approx({k: s.value for k, s in b.items()})


def test_samples_of_nothing_in_the_test_split_have_no_score(splits):
    with pytest.raises(DataError, match="wwww"):
        domain().score(conformers(5, "WWWW"), splits)


def test_copies_match_up_to_motion_and_the_order_of_proteins(splits):
    x = splits.test
    flipped = Conformers.cat([x.of(p) for p in reversed(x.proteins)])
    it = domain()
    assert it.match(x, x)["rmsd"].value < 1e-3
    assert it.match(x, flipped)["rmsd"].value < 1e-3
    assert it.match(x, both(50, 9))["rmsd"].value > 0.1


def test_baselines_are_of_every_protein_and_each_replica_stands_alone(splits):
    found = domain().baselines(splits.train, 30)
    rows = "replica 1", "replica 2", "ideal residues"
    assert {f"training set, {row}" for row in rows} <= set(found)
    assert {t.replica for t in _used(found["training set, replica 2"])} == {2}
    for name, x in found.items():
        assert {p.sequence for p in x.proteins} == {FIRST, SECOND}, name
        assert 20 <= len(x) <= 32, name
        assert x.backbone().isfinite().all()
    alone = domain().baselines(splits.train.of_replica(1), 10)
    assert not any("replica" in name for name in alone)


def _used(x):
    return [x.trajectories[k] for k in x.where[:, 0].unique().tolist()]


def test_observables_are_numbers_of_each_conformer_in_order(splits):
    order = torch.randperm(len(splits.test), generator=torch.Generator().manual_seed(0))
    x = splits.test[order]
    for o in domain().observables:
        a, b = o.of(splits.test), o.of(x)
        assert a.shape == (len(x),)
        torch.testing.assert_close(b, a[order], atol=1e-4, rtol=1e-4, equal_nan=True)
        assert o.of(x[:0]).shape == (0,)


def test_a_distance_is_an_observable_where_it_is_asked_for():
    x = conformers(4)
    names = [o.name for o in domain().observables]
    (found,) = [o for o in domain(pair="2,5").observables if o.name == "distance"]
    assert "distance" not in names
    ca = x.alphas()
    torch.testing.assert_close(found.of(x), (ca[:, 1] - ca[:, 4]).norm(dim=-1))
    assert found.differentiable
    with pytest.raises(ConfigError, match="names 3 residues"):
        next(o for o in domain(pair="2-4").observables if o.name == "distance").of(x)
    with pytest.raises(ConfigError, match="needs --protein"):
        found.of(both(4))


def test_the_distance_from_a_target_is_an_observable_where_it_is_asked_for(tmp_path):
    x = conformers(4)
    write(x[:1], tmp_path / "target.pdb")
    (found,) = [
        o for o in domain(target=str(tmp_path / "target.pdb")).observables if o.name == "rmsd"
    ]
    values = found.of(x)
    assert values[0] < 0.01
    assert (values[1:] > 0.1).all()
    with pytest.raises(ConfigError, match="holds GAYPKW"):
        found.of(conformers(2, SECOND))


def test_faults_and_doubts_are_of_each_conformer():
    x = both(3)
    atoms = x.trajectories[0].atoms.copy()
    atoms[1] = math.nan
    atoms[2, 3] = atoms[2, 1]
    first = replace(x.trajectories[0], atoms=torch.from_numpy(atoms))
    x = replace(x, trajectories=(first, x.trajectories[1]))
    it = domain()
    faults, doubts = it.faults(x), it.doubts(x, x)
    assert faults[1]
    assert [bool(w) for w in faults] == [False, True, False, False, False, False]
    assert doubts[2]
    assert doubts[0] == ""


def test_what_a_reader_should_know(splits):
    facts = domain().facts(splits)
    assert facts["frames"] == "240 train, 40 valid, 100 test"
    assert "gaypkw (6 residues)" in facts["proteins"]
    assert facts["time between frames"] == "2 ps"
    assert domain().cautions(splits) == []


def test_a_split_that_leaks_is_cautioned_against():
    x = conformers(60)
    leaky = Splits(x[torch.arange(0, 60, 2)], x[:1], x[torch.arange(1, 60, 2)])
    shared, near = domain().cautions(leaky)
    assert "100%" in shared
    assert "gaypkw" in shared
    assert near.startswith("gaypkw: **100%")


def test_files_are_read_as_they_are_written(tmp_path):
    it, x = domain(), conformers(3)
    for suffix in Backbone.formats:
        path = tmp_path / f"some{suffix}"
        it.write(x, path)
        torch.testing.assert_close(it.read(path).alphas(), x.alphas(), atol=2e-2, rtol=0)


def test_conformers_are_drawn_in_a_row():
    assert domain().draw(both(3)[:2], ["a", "b"]) is not None
