import json
from dataclasses import replace

import pytest
import torch
from domains.crystal.examples import nothing, rocksalt, some, written_otherwise

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


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(relaxing, "find_spec", lambda name: None)
    relaxing._model.cache_clear()
    config = CrystalVAEConfig()
    config = replace(config, sampling=replace(config.sampling, relax=2))
    x = made(30)
    with pytest.raises(MissingExtraError, match=r"genmatter\[relax\]"):
        CrystalStructures(config).score(x[:3], Splits(x, x, x))


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
