import csv
import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import RDConfig

from genmatter.domains.molecule import descriptors, properties, sascore
from genmatter.domains.molecule.memory import Memory
from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.observables import SHOWN, observables
from genmatter.domains.molecule.properties import PROPERTIES, compute, named, table
from genmatter.errors import ConfigError, MissingExtraError
from genmatter.loading import parallel

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
MORPHINE = "CN1CC[C@]23c4c5ccc(O)c4O[C@H]2[C@@H](O)C=C[C@H]3[C@H]1C5"


def array(*smiles):
    return np.array(smiles, dtype=object)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Begins with nothing known, in memory or on disk."""
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path / "cache"))
    properties._MEMORIES.clear()


@pytest.fixture
def computed(monkeypatch):
    """The molecules that are computed rather than looked up."""
    seen, values = [], descriptors.values

    def watched(smiles, names):
        seen.append(smiles)
        return values(smiles, names)

    monkeypatch.setattr(descriptors, "values", watched)
    monkeypatch.setattr(properties, "LARGE", 4)
    return lambda: [s for s in seen if len(s) > 1]  # the first one warms the tables up


def test_a_known_drug_has_the_numbers_that_can_be_counted_in_its_formula():
    told = {
        "tpsa": 63.60, "logp": 1.31, "mw": 180.16, "hbd": 1, "hba": 3, "rings": 1,
        "aromatic_rings": 1, "aliphatic_rings": 0, "heavy_atoms": 13, "charge": 0,
        "fraction_csp3": 1 / 9, "stereocentres": 0, "rotatable_bonds": 2, "qed": 0.55,
    }  # fmt: skip
    got = table(array(ASPIRIN), list(told))
    assert {k: v.item() for k, v in got.items()} == pytest.approx(told, abs=5e-3)


def test_stereocentres_count_whether_their_side_is_told_or_not():
    x = array("C[C@H](N)C(=O)O", "CC(N)C(=O)O", "CCC(=O)O", MORPHINE)
    assert compute(x, "stereocentres").tolist() == [1, 1, 0, 5]
    assert compute(array("C[N+](C)(C)C", "CC(=O)[O-]", "C"), "charge").tolist() == [1, -1, 0]
    assert compute(array("C1CCCCC1"), "aliphatic_rings").item() == 1


def test_synthetic_accessibility_is_that_of_its_authors():
    lines = Path(RDConfig.RDContribDir, "SA_Score", "data", "zim.100.txt").read_text()
    rows = [line.split("\t") for line in lines.splitlines()[1:]]
    got = compute(array(*(row[0] for row in rows)), "sa")
    torch.testing.assert_close(
        got, torch.tensor([float(row[2]) for row in rows]).double(), atol=6e-4, rtol=0
    )


def test_natural_products_are_told_from_synthetic_molecules(capfd):
    sascore._likeness.cache_clear()
    natural, synthetic = compute(array(MORPHINE, "Cc1ccc(Cl)cc1NS(C)(=O)=O"), "np").tolist()
    assert natural > 1 > 0 > synthetic
    assert capfd.readouterr() == ("", "")


def test_an_rdkit_without_contributions_says_what_is_lacking(monkeypatch, tmp_path):
    monkeypatch.setattr(RDConfig, "RDContribDir", str(tmp_path))
    sascore._accessibility.cache_clear()
    with pytest.raises(MissingExtraError, match=r"SA_Score/sascorer\.py.*installed without"):
        compute(array("CCO"), "sa")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("logP", "logp"), ("TPSA", "tpsa"), ("MW", "mw"), ("QED", "qed"), ("SA_score", "sa"),
        ("Num-H-Donors", "hbd"), ("molecular weight", "mw"), ("Fraction_CSP3", "fraction_csp3"),
    ],
)  # fmt: skip
def test_usual_names_are_known_in_any_case(name, meant):
    assert named(name) is PROPERTIES[meant]
    assert table(array(ASPIRIN), (name,))[name] == compute(array(ASPIRIN), meant)


def test_a_mistyped_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no property 'tspa'; did you mean 'tpsa'\?"):
        named("tspa")
    with pytest.raises(ConfigError, match="there are aliphatic_rings, aromatic_rings"):
        compute(array("C"), "xyz")


def test_every_property_is_finite_of_odd_molecules_and_nan_of_none():
    odd = array("[H][H]", "[Na+].[Cl-]", "C", "*C*", "[U]", "", "O=C=O", "not a molecule")
    none = torch.tensor([s in ("", "not a molecule") for s in odd])
    for name, got in table(odd, list(PROPERTIES)).items():
        assert torch.equal(got.isnan(), none), name
        assert got[~none].isfinite().all(), name
        assert got.dtype == torch.float64
    assert compute(array(), "qed").shape == (0,)


def test_numbers_follow_the_order_of_the_rows_and_parts_are_looked_up(computed):
    x = array("CCO", "CC", "", "CCCC", "CCO")
    first = compute(x, "mw")
    assert computed() == ["CCO", "CC", "CCCC"]
    torch.testing.assert_close(compute(x[::-1], "MW").flip(0), first, equal_nan=True)
    torch.testing.assert_close(compute(x[1:4], "mw"), first[1:4], equal_nan=True)
    assert computed() == ["CCO", "CC", "CCCC"]
    compute(array("CC", "CCC", "CCO", "CCCC"), "mw")
    assert computed()[3:] == ["CCC"]
    compute(x, "hba")
    assert len(computed()) == 7


def test_a_large_set_is_read_from_disk_and_another_order_or_set_is_not(computed):
    x = array("CCO", "CC", "", "CCCC")
    first = compute(x, "mw")
    again = [(x, 0), (x[::-1], 3), (array("CCO", "CC", "", "CCN"), 3), (x[:3], 2)]
    for other, fresh in again:
        properties._MEMORIES.clear()
        before = len(computed())
        got = compute(other, "mw")
        assert len(computed()) == before + fresh
        properties._MEMORIES.clear()
        one = torch.stack([compute(other[k : k + 1], "mw")[0] for k in range(len(other))])
        torch.testing.assert_close(got, one, equal_nan=True, rtol=0, atol=0)
    assert first[0] == pytest.approx(46.07, abs=0.01)


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"nonsense"])
def test_a_damaged_file_is_computed_again(computed, damage, tmp_path):
    x = array("CCO", "CC", "CCC", "CCCC")
    first = compute(x, "mw")
    (file,) = (tmp_path / "cache").rglob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes(damage)
    properties._MEMORIES.clear()
    assert torch.equal(compute(x, "mw"), first)
    assert len(computed()) == 8
    assert file.read_bytes() == whole


def test_what_cannot_be_kept_is_still_computed(computed, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path / "file"))
    assert compute(array("CCO", "CC", "CCC", "CCCC"), "heavy_atoms").tolist() == [3, 2, 3, 4]


def test_other_processes_give_the_same_in_the_same_order(monkeypatch):
    smiles = array(*("C" * k + "O" for k in range(1, 20)), "", ASPIRIN)
    alone = table(smiles, ("qed", "mw"))
    properties._MEMORIES.clear()
    monkeypatch.setattr(properties, "processors", lambda: 2)
    monkeypatch.setattr(parallel, "PART", 9)
    monkeypatch.setattr(properties, "_TRIAL", 3)
    monkeypatch.setattr(properties, "_PATIENCE", -1)
    here, values = [], descriptors.values
    watched = lambda s, names: here.append(s) or values(s, names)
    monkeypatch.setattr(descriptors, "values", watched)
    shared = table(smiles, ("qed", "mw"))
    assert here == ["C", *smiles[:3]]  # what tells how long it takes
    for name in alone:
        torch.testing.assert_close(shared[name], alone[name], rtol=0, atol=0, equal_nan=True)


def test_memory_has_a_limit_and_forgets_the_oldest(monkeypatch):
    memory = Memory(3)
    memory.keep({"a": 1, "b": 2})
    memory.keep({"c": 3, "d": 4})
    assert memory.recall("abcd") == {"b": 2, "c": 3, "d": 4}
    fresh = []
    assert memory.complete("dedb", lambda new: fresh.extend(new) or [5]) == {
        "d": 4, "e": 5, "b": 2,
    }  # fmt: skip
    assert fresh == ["e"]
    assert memory.recall("bcde") == {"c": 3, "d": 4, "e": 5}
    monkeypatch.setitem(properties._MEMORIES, "heavy_atoms", Memory(2))
    assert compute(array("C", "CC", "CCC", "CCCC"), "heavy_atoms").tolist() == [1, 2, 3, 4]


def test_observables_are_the_properties_that_are_shown_and_what_is_wanted_beside():
    known = observables((), more=["np", "TPSA"])
    assert tuple(o.name for o in known) == (*SHOWN, "np")
    x = Molecules(array(ASPIRIN, ""))
    for o in known:
        got = o.of(x)
        assert o.unit == PROPERTIES[o.name].unit
        assert got[0].item() == compute(x.smiles, o.name)[0].item()
        assert got[1].isnan()


def test_a_column_comes_before_the_property_of_its_name():
    measured = torch.tensor([9.0, math.nan]).double()
    x = Molecules(
        array(ASPIRIN, "CCO"), {"logP": measured, "pKi": torch.tensor([7.0, 8]).double()}
    )
    known = {o.name: o for o in observables(x.columns)}
    assert [*known] == [*SHOWN, "pKi"]
    torch.testing.assert_close(known["logp"].of(x), measured, equal_nan=True)
    assert known["logp"].unit == "decades"
    assert known["pKi"].of(x).tolist() == [7, 8]
    samples = Molecules.of([ASPIRIN])
    assert known["logp"].of(samples).item() == pytest.approx(1.31, abs=5e-3)
    assert known["pKi"].of(samples).isnan().all()


def test_a_published_table_of_properties_is_met(real_data):
    with gzip.open(real_data / "molecules" / "chembl_cns_like_train.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))[:1500]
    got = table(array(*(r["smiles"] for r in rows)), ("tpsa", "logp"))
    for name, numbers in got.items():
        told = torch.tensor([float(r[name]) for r in rows]).double()
        torch.testing.assert_close(numbers, told, atol=6e-3, rtol=0)
