import csv
import hashlib
import shutil
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from domains.crystal.examples import quartz, rocksalt, rutile, some, structure
from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher
from pymatgen.io.cif import CifWriter

from genmatter.domains.crystal import data, named, writing
from genmatter.domains.crystal.config import CrystalDataConfig, CrystalVAEConfig
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.domain import CrystalStructures
from genmatter.domains.crystal.filling import made
from genmatter.domains.crystal.formats import read, write
from genmatter.domains.crystal.reading import read_cell
from genmatter.domains.crystal.rows import read_rows
from genmatter.errors import ConfigError, DataError

HALVES = {"valid_fraction": 0.25, "test_fraction": 0.25}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GENMATTER_CACHE", str(folder))
    yield folder
    data.prepared.cache_clear()
    data._dealt.cache_clear()


@pytest.fixture(scope="module")
def salts():
    """Twelve different crystals of different compositions, with a number of each."""
    x = made(200, 3)
    rows = [x.formulas.index(f) for f in dict.fromkeys(x.formulas)][:12]
    y = x[rows]
    names = np.array([f"mp-{k}" for k in range(12)], dtype=object)
    gap = torch.arange(12.0, dtype=torch.float64)
    return Crystals(y.numbers, y.frac, y.counts, y.lattice, {"band_gap": gap}, names)


def told(path, **fields):
    return CrystalDataConfig(source=str(path), **(HALVES | fields))


def everything(splits):
    return Crystals.cat([splits.train, splits.valid, splits.test])


@pytest.mark.parametrize("suffix", ["", ".zip", ".csv", ".parquet", ".extxyz", ".cif"])
def test_every_kind_of_file_gives_the_same_crystals(salts, suffix, tmp_path):
    path = tmp_path / f"salts{suffix}"
    write(salts, path)
    found = data.load(told(path))
    assert sorted(everything(found).formulas) == sorted(salts.formulas)
    assert [len(x) for x in (found.train, found.valid, found.test)] == [6, 3, 3]
    if suffix in (".csv", ".parquet", ".extxyz"):
        known = dict(zip(salts.formulas, salts.columns["band_gap"].tolist(), strict=True))
        both = everything(found)
        assert [known[f] for f in both.formulas] == both.columns["band_gap"].tolist()


def test_data_are_kept_on_disk_by_what_they_are_made_of(salts, tmp_path, cache, monkeypatch):
    write(salts, tmp_path / "salts.csv")
    first = data.load(told(tmp_path / "salts.csv"))
    (kept,) = (cache / "crystals").iterdir()
    data.prepared.cache_clear()
    data._dealt.cache_clear()
    shutil.move(tmp_path / "salts.csv", tmp_path / "other.csv")
    monkeypatch.setattr(data, "_prepare", None)
    again = data.load(told(tmp_path / "other.csv"))
    for name in ("train", "valid", "test"):
        a, b = getattr(first, name), getattr(again, name)
        assert torch.equal(a.frac, b.frac)
        assert torch.equal(a.columns["band_gap"], b.columns["band_gap"])
        assert a.labels.tolist() == b.labels.tolist()
    assert kept.stat().st_size > 0


def test_crystals_of_one_composition_are_in_one_split(salts, tmp_path):
    stretched = replace(salts, lattice=salts.lattice * 1.5)
    write(Crystals.cat([salts, stretched]), tmp_path / "a.parquet")
    found = data.load(told(tmp_path / "a.parquet", duplicates="keep"))
    sets = [set(x.formulas) for x in (found.train, found.valid, found.test)]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 12
    assert data.leaking(found) == 0
    assert data.summary(told(tmp_path / "a.parquet", duplicates="keep")).split == "by composition"
    again = data.load(told(tmp_path / "a.parquet", duplicates="keep", data_seed=1))
    assert set(again.test.formulas) != sets[2]


def test_a_split_that_is_given_is_kept_and_leaks_are_told(salts, tmp_path):
    both = Crystals.cat([salts, salts[:3]])
    splits = ["train"] * 9 + ["val"] * 3 + ["test"] * 3
    (tmp_path / "a.parquet").write_bytes(writing.parquet_file(both, {"split": splits}))
    config = told(tmp_path / "a.parquet", duplicates="keep")
    found = data.load(config)
    assert found.train.formulas == salts.formulas[:9]
    assert found.valid.formulas == salts.formulas[9:]
    assert found.test.formulas == salts.formulas[:3]
    it = CrystalStructures(CrystalVAEConfig(data=config))
    assert data.leaking(found) == 1
    assert "**100% of the test crystals" in it.cautions(found)[0]
    assert it.honest().data.split == "composition"
    apart = CrystalStructures(it.honest())
    assert apart.honest() is None
    assert apart.cautions(apart.load()) == []


@pytest.mark.parametrize("odd", ["trian", "0"])
def test_a_split_that_says_something_else_is_refused(salts, odd, tmp_path):
    splits = ["train"] * 11 + [odd]
    (tmp_path / "a.parquet").write_bytes(writing.parquet_file(salts, {"split": splits}))
    with pytest.raises(DataError, match=f"row 12, the column `split` holds '{odd}'"):
        data.load(told(tmp_path / "a.parquet"))


def test_a_folder_of_tables_named_by_split_is_dealt_out_so(salts, tmp_path):
    for name, rows in {"train": slice(0, 6), "val": slice(6, 9), "test": slice(9, 12)}.items():
        write(salts[rows], tmp_path / f"{name}.csv")
    found = data.load(told(tmp_path))
    assert found.train.formulas == salts.formulas[:6]
    assert found.test.formulas == salts.formulas[9:]


def test_what_is_left_out_is_told_with_its_place_and_reason(salts, tmp_path):
    texts = writing.cifs(salts)
    for k, text in enumerate(texts):
        (tmp_path / f"{k:02}.cif").write_text(text)
    (tmp_path / "half.cif").write_text(texts[0][:-2] + "0.5\n")
    (tmp_path / "late.cif").write_text(texts[0][:-10])
    (tmp_path / "same.cif").write_text(texts[3])
    (tmp_path / "notes.txt").write_text("not a crystal")
    config = told(tmp_path)
    found = data.summary(config)
    assert found.kept == 12
    assert {d.place: d.kind for d in found.dropped} == {
        "half.cif": "partial occupancy",
        "late.cif": "no CIF, or one that breaks off",
        "same.cif": "repeated",
    }
    assert "repeated: same as 03.cif" in [d.reason for d in found.dropped]
    it = CrystalStructures(CrystalVAEConfig(data=config))
    out = tmp_path / "out"
    out.mkdir()
    it.record(out)
    with (out / "dropped.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["place"] for row in rows] == ["half.cif", "late.cif", "same.cif"]
    assert it.facts(it.load())["left out: repeated"] == "1 (same.cif)"


def test_duplicates_are_found_in_any_cell_and_kept_where_that_is_asked(tmp_path):
    other = rocksalt()
    other.translate_sites(range(8), [0.1, 0.2, 0.3])
    texts = {"a": rocksalt(), "b": rocksalt(a=9.0, cation="K"), "c": other, "d": rutile(),
             "e": quartz(), "f": rocksalt(a=4.2, cation="Li", anion="F")}  # fmt: skip
    for name, s in texts.items():
        (tmp_path / f"{name}.cif").write_text(str(CifWriter(s, significant_figures=10)))
    found = data.summary(told(tmp_path))
    assert [(d.place, d.reason) for d in found.dropped] == [("c.cif", "repeated: same as a.cif")]
    assert data.summary(told(tmp_path, duplicates="keep")).dropped == []


@pytest.mark.parametrize("inside", [[], ["notes.txt"]])
def test_a_folder_without_crystals_is_refused(inside, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in inside:
        (folder / name).write_text("x")
    with pytest.raises(DataError, match="holds no file of crystals"):
        data.load(told(folder))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("readme", "x")
    with pytest.raises(DataError, match="holds no file of crystals"):
        data.load(told(tmp_path / "a.zip"))


def test_where_nothing_is_left_the_reasons_are_told(tmp_path):
    (tmp_path / "a.cif").write_text(writing.cifs(some())[1])
    with pytest.raises(DataError, match=r"none of 1 records .* more than 2 atoms .* \(a.cif\)"):
        data.load(told(tmp_path, max_atoms=2))
    with pytest.raises(DataError, match="cannot be dealt out"):
        data.load(told(tmp_path))


def test_columns_are_told_by_name(salts, tmp_path):
    write(salts, tmp_path / "a.csv")
    with pytest.raises(DataError, match="has no column 'gap'; did you mean 'band_gap'"):
        data.load(told(tmp_path / "a.csv", columns=("gap",)))
    with pytest.raises(DataError, match="holds 'mp-0', which is no number"):
        data.load(told(tmp_path / "a.csv", columns=("material_id",)))
    with pytest.raises(DataError, match="has no column 'structure'"):
        data.load(told(tmp_path / "a.csv", cif_column="structure"))


@pytest.mark.parametrize(
    ("fields", "what"),
    [({"max_atoms": 0}, "max_atoms=0"), ({"crystals": 0}, "crystals=0"),
     ({"elements": ("Xy",)}, "no element 'Xy'"), ({"max_volume": -1.0}, "max_volume=-1")],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(fields, what):
    with pytest.raises(ConfigError, match=what):
        data.load(CrystalDataConfig(**fields))


def test_the_embedded_crystals_keep_to_limits_too():
    found = data.load(CrystalDataConfig(elements=("Na", "K", "Cl", "Br", "F"), max_atoms=2))
    x = everything(found)
    assert set(x.numbers.tolist()) <= {9, 11, 17, 19, 35}
    assert x.counts.max() == 2
    with pytest.raises(DataError, match="leave none"):
        data.load(CrystalDataConfig(elements=("He",)))


def test_data_sets_have_names_and_what_is_fetched_is_what_was_published(
    salts, tmp_path, monkeypatch
):
    files = {}
    for split, rows in {"train": slice(0, 6), "val": slice(6, 9), "test": slice(9, 12)}.items():
        write(salts[rows], tmp_path / f"{split}.csv")
        raw = (tmp_path / f"{split}.csv").read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()
        files[split] = git
    asked = []

    def fetch(address):
        asked.append(address)
        path = tmp_path / f"fetched-{address.rsplit('/', 1)[1]}"
        shutil.copy(tmp_path / address.rsplit("/", 1)[1], path)
        return path

    monkeypatch.setattr(named, "fetch", fetch)
    monkeypatch.setitem(named.NAMED, "mp_20", files)
    found = data.load(CrystalDataConfig(source="mp_20"))
    assert found.train.formulas == salts.formulas[:6]
    assert found.valid.formulas == salts.formulas[6:9]
    assert all(a.startswith("https://raw.githubusercontent.com/txie-93/cdvae/") for a in asked)
    monkeypatch.setitem(named.NAMED, "perov_5", files | {"val": "0" * 40})
    with pytest.raises(DataError, match="is not the published file"):
        data.load(CrystalDataConfig(source="perov_5"))
    assert not (tmp_path / "fetched-val.csv").exists()
    with pytest.raises(DataError, match="the data set is called mp_20"):
        data.load(CrystalDataConfig(source="MP-20"))


def test_all_data_are_written_in_one_table_with_their_split(salts, tmp_path):
    write(salts, tmp_path / "a.csv")
    it = CrystalStructures(CrystalVAEConfig(data=told(tmp_path / "a.csv")))
    (path,) = it.convert(tmp_path / "out")
    again = data.load(told(path))
    assert again.test.formulas == it.load().test.formulas
    assert again.train.labels.tolist() == it.load().train.labels.tolist()


@pytest.mark.parametrize("name", ["mp20_binary_ternary.parquet", "perov_5.parquet", "cif_folder"])
def test_real_cifs_are_what_pymatgen_reads(name, real_data):
    rows = read_rows(real_data / "crystals" / name)
    fit = StructureMatcher(primitive_cell=False, scale=False, ltol=1e-3, stol=1e-3, angle_tol=0.1)
    some = range(0, len(rows), 71 if len(rows) > 100 else 1)
    for k in some:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = Structure.from_str(rows.texts[k], fmt="cif")
        found = structure(read_cell("cif", rows.texts[k]))
        assert len(found) == len(wanted)
        assert fit.fit(found, wanted)


def test_real_data_are_dealt_out_by_their_column(real_data):
    source = real_data / "crystals" / "mp20_binary_ternary.parquet"
    found = data.load(CrystalDataConfig(source=str(source), duplicates="keep"))
    assert [len(x) for x in (found.train, found.valid, found.test)] == [5713, 718, 709]
    assert data.leaking(found) == 0
    assert sorted(found.train.columns) == [
        "band_gap", "e_above_hull", "formation_energy_per_atom", "spacegroup",
    ]  # fmt: skip


def test_reading_gives_the_columns_too(salts, tmp_path):
    write(salts, tmp_path / "a.csv")
    assert torch.equal(read(tmp_path / "a.csv").columns["band_gap"], salts.columns["band_gap"])
