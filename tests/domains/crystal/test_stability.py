import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from domains.crystal.examples import nothing, rocksalt, some, written_otherwise

from genmatter import api
from genmatter.api.trained import Trained
from genmatter.domains.crystal import relaxing, stability
from genmatter.domains.crystal.config import CrystalVAEConfig
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.domain import CrystalStructures
from genmatter.domains.crystal.filling import made
from genmatter.domains.crystal.hull import Hull
from genmatter.domains.crystal.relaxing import Relaxed
from genmatter.errors import ConfigError, DataError, MissingExtraError
from genmatter.spine import Splits

ROWS = [("Na", 0.0), ("Cl2", 0.0), ("NaCl", -2.0), ("NaCl3", -0.5), ("Na2Cl2", -1.5)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "hull.csv"
    text = "".join(f"{f},{e}\n" for f, e in ROWS)
    path.write_text(f"formula,energy_per_atom\n{text}")
    return path


def salt(sodium, chlorine):
    shares = [0.0] * 119
    shares[11], shares[17] = (v / (sodium + chlorine) for v in (sodium, chlorine))
    return shares


def test_a_hull_is_the_least_energy_of_what_is_known(file):
    hull = Hull.read(file)
    assert hull.at(salt(1, 0)) == pytest.approx(0)
    assert hull.at(salt(1, 1)) == pytest.approx(-2)
    assert hull.at(salt(3, 1)) == pytest.approx(-1)  # half sodium, half salt
    assert hull.at(salt(1, 3)) == pytest.approx(-1)  # NaCl and Cl2 lie below NaCl3


def test_energies_above_it_are_told_where_its_elements_are_known(file):
    x = Crystals.cat([some()[[0, 0, 1]], nothing()])
    energy = torch.tensor([-2.0, -1.7, -5, float("nan")]).double()
    found = Hull.read(file).above(x, energy)
    assert found[:2].tolist() == pytest.approx([0, 0.3])
    assert found[2:].isnan().all()


def test_a_hull_may_be_json_and_a_broken_one_is_refused(file, tmp_path):
    path = tmp_path / "hull.json"
    path.write_text(json.dumps([{"formula": f, "energy_per_atom": e} for f, e in ROWS]))
    assert Hull.read(path).at(salt(1, 1)) == pytest.approx(-2)
    for text in ("formula,energy\nNa,0\n", "formula,energy_per_atom\nQq,0\n", "formula\n", ""):
        file.write_text(text)
        with pytest.raises(DataError, match=r"hull\.csv"):
            Hull.read(file)
    with pytest.raises(DataError, match="there is no file"):
        Hull.read(tmp_path / "none.csv")


def test_stability_is_not_told_without_a_hull_nor_without_relaxation(file, monkeypatch):
    x = some()
    assert stability.score(x, x, 0) == {}
    with pytest.raises(ConfigError, match="--relax"):
        stability.score(x, x, 0, str(file))
    with pytest.raises(ConfigError, match="cannot relax -1"):
        stability.score(x, x, -1)
    monkeypatch.setattr(relaxing, "installed", lambda: True)
    with pytest.raises(DataError, match="there is no file"):
        stability.check(1, "none.csv")
    at_rest(monkeypatch, [-2.0] * 4)
    assert not {"sun", "stable"} & stability.score(x, x, 4).keys()


def at_rest(monkeypatch, energies):
    """Crystals are at rest, and have these energies."""

    def relaxed(x, **_):
        e = torch.tensor(energies[: len(x)], dtype=torch.float64)
        return Relaxed(x, e, 0 * e, 0 * e + 0.1, torch.ones(len(x), dtype=torch.bool))

    monkeypatch.setattr(relaxing, "relaxed", relaxed)
    monkeypatch.setattr(relaxing, "installed", lambda: True)


def test_stable_different_and_new_ones_are_counted_over_all(file, monkeypatch):
    salt = some()[:1]
    x = Crystals.cat([salt, written_otherwise(salt), some()[1:2], nothing()])
    at_rest(monkeypatch, [-1.95, -1.95, -9, float("nan")])
    found = stability.score(x, some()[3:], 4, str(file))
    assert found["stable"].value == 0.5
    assert found["sun"].value == 0.25  # the second is the first again
    assert found["relaxed_displacement"].value == pytest.approx(0.1)
    assert stability.score(x, salt, 4, str(file))["sun"].value == 0
    assert stability.score(x, salt, 1, str(file))["stable"].unit == "share, n=1"


def asking(**sampling):
    config = CrystalVAEConfig()
    return CrystalStructures(replace(config, sampling=replace(config.sampling, **sampling)))


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(relaxing, "find_spec", lambda name: None)
    relaxing._model.cache_clear()
    x = made(30)
    with pytest.raises(MissingExtraError, match=r"genmatter\[relax\]"):
        asking(relax=2).score(x[:3], Splits(x, x, x))
    with pytest.raises(MissingExtraError, match=r"genmatter\[relax\]"):
        asking(relax=2).ready()
    asking().ready()


def test_the_first_ones_are_brought_to_rest_and_say_their_energy(monkeypatch):
    x = some()
    named = Crystals(x.numbers, x.frac, x.counts, x.lattice, {}, np.array(list("abcd"), object))
    at_rest(monkeypatch, [-2.0, -3.0])
    found = asking(relax=2).finished(named)
    assert found.labels.tolist() == list("abcd")
    assert found.formulas == x.formulas
    assert found.columns["relaxed_energy"][:2].tolist() == [-2, -3]
    assert found.columns["relaxed_energy"][2:].isnan().all()
    assert stability.titled(found, ["a", "", "c", ""]) == [
        "a, -2.000 eV per atom", "-3.000 eV per atom", "c", ""
    ]  # fmt: skip
    assert stability.titled(x, ["a"] * 4) == ["a"] * 4
    assert asking().finished(x) is x


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("run") / "vae"
    api.train("crystal/vae", preset="tiny", run=place)
    return place


def test_verbs_refuse_before_they_work_and_relax_what_they_write(run, tmp_path, monkeypatch):
    monkeypatch.setattr(relaxing, "find_spec", lambda name: None)
    monkeypatch.setattr(Trained, "fair", None)  # nothing is drawn
    monkeypatch.setattr(Trained, "sample", None)
    monkeypatch.setattr(Trained, "interpolate", None)
    for verb in (api.evaluate, api.sample, api.interpolate):
        with pytest.raises(MissingExtraError, match=r"genmatter\[relax\]"):
            verb(run, relax=3)
    monkeypatch.undo()
    at_rest(monkeypatch, [-1.0, -2.0, -3.0])
    out = tmp_path / "new.csv"
    api.interpolate(run, "test:0", "test:0", steps=4, relax=3, out=out)
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [r["relaxed_energy"] for r in rows] == ["-1.0", "-2.0", "-3.0", ""]
    assert out.with_suffix(".html").read_text().count("eV per atom") == 3
    api.sample(run, 4, relax=2, out=out)
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [r["relaxed_energy"] for r in rows] == ["-1.0", "-2.0", "", ""]


@pytest.mark.skipif(not relaxing.installed(), reason="chgnet is not installed")
@pytest.mark.filterwarnings("ignore")
def test_chgnet_brings_a_salt_to_rest():
    shaken = rocksalt().get_primitive_structure()
    shaken.translate_sites([1], [0.04, 0, 0])
    x = Crystals.cat([Crystals.of_structures([shaken]), nothing()])
    found = relaxing.relaxed(x, steps=60)
    assert 0.01 < float(found.displacement[0]) < 0.5
    assert -3.8 < float(found.energy[0]) < -3.3  # eV per atom, as CHGNet has it
    assert float(found.gain[0]) > 0
    assert found.converged.tolist() == [True, False]
    assert found.energy[1].isnan()
