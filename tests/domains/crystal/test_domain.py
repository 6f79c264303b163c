import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from domains.crystal.examples import nothing, some

from genmatter.domains.crystal import data, writing
from genmatter.domains.crystal.config import CrystalDataConfig, CrystalVAEConfig
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.domain import CrystalStructures
from genmatter.domains.crystal.filling import made
from genmatter.spine import Splits

SHARED = ("description", "pairs", "preparing")


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    data.prepared.cache_clear()
    data._dealt.cache_clear()


def domain(source="", **sampling):
    config = CrystalVAEConfig.presets["tiny"]
    told = CrystalDataConfig(source=source, crystals=60, valid_fraction=0.2, test_fraction=0.2)
    return CrystalStructures(
        replace(config, data=told, sampling=replace(config.sampling, **sampling))
    )


@pytest.fixture
def table(tmp_path):
    x = made(40, 2)
    x = x[[x.formulas.index(f) for f in dict.fromkeys(x.formulas)]]
    gap = torch.arange(float(len(x)), dtype=torch.float64)
    columns = {"band_gap": gap, "density": gap}
    x = Crystals(x.numbers, x.frac, x.counts, x.lattice, columns, x.names)
    path = tmp_path / "a.csv"
    path.write_bytes(writing.csv_file(x))
    return path


def test_columns_of_the_data_are_observables_and_a_run_goes_on_without(table):
    it = domain(str(table))
    known = {o.name: o for o in it.observables}
    assert known["band_gap"].unit == "eV"
    train = it.load().train
    assert known["density"].of(train).tolist() == train.columns["density"].tolist()
    assert known["band_gap"].of(some()).isnan().all()
    data.prepared.cache_clear()
    data._dealt.cache_clear()
    table.unlink()
    assert "band_gap" not in {o.name for o in domain(str(table)).observables}


def test_what_speaks_against_a_crystal_is_told_in_order():
    it, x = domain(), some()
    close = Crystals(x.numbers, x.frac, x.counts, x.lattice * 0.6)
    wide = Crystals(x.numbers, x.frac, x.counts, x.lattice * 5)
    odd = Crystals.of([[10, 8]], [[[0, 0, 0], [0.5, 0.5, 0.5]]], [torch.eye(3).numpy() * 4])
    found = it.doubts(Crystals.cat([x[:1], nothing(), close[:1], odd, wide[:1]]), x)
    assert found == [
        "", "atom of no element", "atoms too close for their elements",
        "charges that do not balance", "a volume per atom that no crystal of the data has",
    ]  # fmt: skip


def test_a_reader_is_told_of_the_data():
    it = domain()
    facts = it.facts(it.load())
    assert facts["data"] == "prototypes filled with ions"
    assert facts["split"] == "by composition"
    assert facts["crystals"] == "60 of 60 records"
    assert "stol.5: lengths 0.3, sites 0.5, angles 10°" in facts["tolerances"]
    assert it.cautions(it.load()) == []
    assert it.honest() is None


def test_pictures_show_crystals_that_turn_and_symmetry():
    it = domain()
    found = it.pictures(some(), it.load())
    assert any(isinstance(v, str) and "<script>" in v for v in found.values())
    assert len(found) == 2


def test_a_formula_that_is_asked_for_is_scored():
    x = some()
    splits = Splits(x, x, x)
    assert domain(formula="SrTiO3").score(x, splits)["formula"].value == 0.25
    assert "formula" not in domain().score(x, splits)


def test_processes_that_compute_need_no_torch():
    names = ", ".join(f"genmatter.domains.crystal.{name}" for name in SHARED)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
