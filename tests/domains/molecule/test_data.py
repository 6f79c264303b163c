import csv
import itertools
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import selfies
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genmatter.domains.molecule import data, scaffolds
from genmatter.domains.molecule.config import MoleculeDataConfig
from genmatter.domains.molecule.data import load, prepared, summary, write_dropped
from genmatter.domains.molecule.formats import write
from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.scaffolds import scaffolds as scaffolds_of
from genmatter.errors import DataError
from genmatter.loading import cached
from genmatter.loading.split import whole


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, on disk and in memory."""
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "molecules"
    forget()


def forget():
    prepared.cache_clear()
    data._dealt.cache_clear()


def alkanols(n):
    return ["C" * (1 + k // 4) + "ONFS"[k % 4] for k in range(n)]


@pytest.fixture
def file(tmp_path):
    """Writes SMILES with numbers, and tells what to load them with."""

    def save(smiles, name="x.csv", **told):
        table = "".join(f"{s},{k}\n" for k, s in enumerate(smiles))
        (tmp_path / name).write_text("smiles,k\n" + table)
        return MoleculeDataConfig(source=str(tmp_path / name), **told)

    return save


def parts(splits):
    return splits.train, splits.valid, splits.test


def test_molecules_are_dealt_out_once_each_in_the_shares_asked_for(file):
    told = file(alkanols(100), columns=("k",))
    splits = load(told)
    assert [len(x) for x in parts(splits)] == [80, 10, 10]
    joined = Molecules.cat(list(parts(splits)))
    assert sorted(joined.columns["k"].tolist()) == list(range(100))
    order = np.random.RandomState(told.data_seed).permutation(100)
    assert splits.train.columns["k"].tolist() == order[:80].tolist()
    assert load(told) is splits


def test_data_are_a_function_of_what_is_told(file):
    told = file(alkanols(100))
    first = load(told)
    forget()
    assert load(told).test.smiles.tolist() == first.test.smiles.tolist()
    assert load(replace(told, data_seed=1)).test.smiles.tolist() != first.test.smiles.tolist()


def test_without_a_share_to_validate_on_the_test_molecules_do(file):
    for how in ("random", "scaffold"):
        splits = load(file([*alkanols(60), *RINGS], valid_fraction=0, split=how))
        assert splits.valid is splits.test


def test_equal_molecules_do_not_cross_the_split(file):
    texts = alkanols(40)
    splits = load(file([*texts, *(text[::-1] for text in texts), *texts]))
    found = [s for x in parts(splits) for s in x.smiles]
    assert len(found) == len({*found}) == 40


def test_selfies_come_along_and_are_those_of_the_molecules(file, monkeypatch):
    splits = load(file([f"{text}.Cl" for text in alkanols(40)]))
    expected = [selfies.encoder(s) for s in splits.train.smiles]
    monkeypatch.setattr(selfies, "encoder", None)
    assert splits.train.selfies == expected
    rows = torch.tensor([3, 1])
    assert splits.train[rows].selfies == [expected[3], expected[1]]
    assert splits.train[1:3].selfies == expected[1:3]
    assert Molecules.cat([splits.train, splits.train]).selfies == expected * 2


def test_selfies_that_only_some_sets_know_are_made_anew():
    known = Molecules(np.array(["C"], object), {}, np.array(["[C]"], object))
    assert Molecules.cat([known, Molecules.of(["CC"])]).selfies == ["[C]", "[C][C]"]


def test_molecules_with_a_symbol_that_none_is_trained_on_are_left_out(file, tmp_path):
    in_train = [99 in np.random.RandomState(seed).permutation(100)[:80] for seed in range(20)]
    told = file([*alkanols(99), "BrCC"], data_seed=in_train.index(False))
    splits = load(told)
    assert [len(x) for x in parts(splits)] in ([80, 9, 10], [80, 10, 9])
    reason = "symbol that no training molecule has: [Br]"
    assert summary(told).dropped == [(101, "CCBr", reason)]
    assert summary(told).counts["kept"] == 99
    assert summary(told).counts[reason.partition(": ")[0]] == 1
    # trained on it stays
    trained = replace(told, data_seed=in_train.index(True))
    assert sum(map(len, parts(load(trained)))) == 100


def test_a_split_of_which_nothing_is_left_is_refused(file):
    smiles = [*alkanols(8), "CCBr", "CCI"]
    seeds = (k for k in range(999) if {8, 9} == {*np.random.RandomState(k).permutation(10)[8:]})
    with pytest.raises(DataError, match="1 molecules of the valid split has a SELFIES symbol"):
        load(file(smiles, data_seed=next(seeds)))


@pytest.mark.parametrize("how", ["random", "scaffold"])
def test_too_few_molecules_are_refused(how, file):
    with pytest.raises(
        DataError, match=r"3 molecules (of 2 scaffolds cannot be dealt|are too few)"
    ):
        load(file(["C", "CC", "c1ccccc1"], split=how))
    for shares in ({"test_fraction": 0}, {"valid_fraction": 0.95}, {"valid_fraction": -0.1}):
        with pytest.raises(DataError, match="cannot validate on a share of"):
            load(file(alkanols(50), split=how, **shares))


RINGS = [
    f"{'C' * k}C1{a}C{b}C{c}C1"
    for a, b, c in itertools.product("CNOS", repeat=3)
    for k in (0, 1, 2)
]


def test_scaffolds_are_rings_and_what_links_them():
    known = {
        "CCO": "",
        "Cc1ccccc1": "c1ccccc1",
        "CC1CC1": "C1CC1",
        "O=C(NC1CC1)c1ccc(C)cc1": "O=C(NC1CC1)c1ccccc1",
        "CC[C@H](C1CC1)c1ccccc1": "c1ccc(CC2CC2)cc1",
        "CC(=O)C1CCCCC1=O": "O=C1CCCCC1",
        "": "",
    }
    found = scaffolds_of(Molecules.of(list(known)))
    assert found.tolist() == list(known.values())


def test_scaffolds_do_not_depend_on_processes_and_are_kept(cache, monkeypatch):
    x = Molecules.of(RINGS)
    found = scaffolds_of(x, 2).tolist()
    monkeypatch.setattr(scaffolds, "spread", None)
    assert scaffolds_of(x).tolist() == found
    assert len(list(cache.iterdir())) == 1
    with pytest.raises(TypeError):
        scaffolds_of(x[1:])


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=60),
    seed=st.integers(0, 99),
    valid=st.sampled_from([0.0, 0.1, 0.2]),
)
def test_scaffolds_are_dealt_out_whole_and_close_to_the_shares(sizes, seed, valid):
    groups = np.array([f"s{k}" for k, size in enumerate(sizes) for _ in range(size)], object)
    groups = np.random.default_rng(seed).permutation(groups)
    rows, n = whole(groups, valid, 0.2, seed), len(groups)
    some = rows if valid else rows[::2]
    assert sorted(torch.cat(list(some)).tolist()) == list(range(n))
    apart = [{*groups[part.numpy()]} for part in some]
    assert sum(map(len, apart)) == len(set.union(*apart))
    shares = (0.8 - valid, valid, 0.2) if valid else (0.8, 0.2)
    for part, share in zip(some, shares, strict=True):
        assert len(part)
        assert len(sizes) < 20 or abs(len(part) - share * n) <= max(sizes)
    assert all((part.diff() > 0).all() for part in rows)


def test_a_large_scaffold_is_trained_on():
    groups = np.array(["large"] * 60 + [f"s{k}" for k in range(40)], object)
    for seed in range(20):
        rows = whole(groups, 0.1, 0.1, seed)
        assert [len(r) for r in rows] == [80, 10, 10]
        assert {*range(60)} <= {*rows.train.tolist()}
    assert not torch.equal(whole(groups, 0.1, 0.1, 0).test, whole(groups, 0.1, 0.1, 1).test)


def test_no_scaffold_is_in_two_splits(file):
    splits = load(file(RINGS, split="scaffold"))
    train, valid, test = ({*scaffolds_of(x)} for x in parts(splits))
    assert not train & valid
    assert not train & test
    assert not valid & test


def test_a_set_of_one_scaffold_cannot_be_split_by_scaffolds(file):
    with pytest.raises(DataError, match="40 molecules of 1 scaffolds cannot be dealt out to 3"):
        load(file(alkanols(40), split="scaffold"))


def test_the_summary_counts_all_rows_and_says_where_the_first_are(file, tmp_path):
    told = file([*alkanols(40), "CCO.Cl", "C1C", "CO", "C(", "*C", "C" * 200, "NCCCN.Cl"])
    found = summary(told)
    assert found.facts == {
        "data": told.source,
        "molecules": "41 of 47 rows",
        "salts stripped": "1",
        "left out: repeated": "2 (lines 42, 44)",
        "left out: no molecule": "2 (lines 43, 45)",
        "left out: atom of no element": "1 (line 46)",
        "left out: too large": "1 (line 47)",
    }
    assert found.counts["read"] == 47 == found.counts["kept"] + len(found.dropped)
    write_dropped(told, tmp_path / "dropped.csv")
    with (tmp_path / "dropped.csv").open(newline="") as lines:
        head, *rows = csv.reader(lines)
    assert head == ["line", "text", "reason"]
    assert rows[0] == ["42", "CCO.Cl", "repeated: same as line 6"]
    assert [int(row[0]) for row in rows] == [42, 43, 44, 45, 46, 47]
    assert rows[-1][1] == "C" * 200
    with pytest.raises(DataError, match="cannot write"):
        write_dropped(told, tmp_path / "nowhere" / "x.csv")


def test_what_was_prepared_is_kept_until_what_it_is_made_of_changes(file, cache, monkeypatch):
    told = file([*alkanols(40), "C("], columns=("k",))
    first = prepared(told)
    assert [p.name.partition("-")[0] for p in cache.iterdir()] == ["prepared"]
    real, calls = data.prepare, []
    monkeypatch.setattr(data, "prepare", lambda *args: calls.append(args) or real(*args))
    for change in ({}, {"valid_fraction": 0.3}, {"split": "scaffold"}, {"data_seed": 3}):
        forget()
        again = prepared(replace(told, **change))
        assert again.table().equals(first.table(), check_metadata=True)
    assert not calls
    changes = {
        "max_atoms": 9, "max_length": 30, "elements": ("C", "O"), "stereo": False,
        "neutralise": True, "columns": (), "smiles_column": "SMILES",
    }  # fmt: skip
    for k, (name, value) in enumerate(changes.items(), 1):
        forget()
        prepared(replace(told, **{name: value}))
        assert len(calls) == k, name
    forget()
    prepared(file([*alkanols(41), "C("], columns=("k",)))
    assert len(calls) == len(changes) + 1
    # where the file lies does not matter
    prepared(file([*alkanols(41), "C("], "y.csv", columns=("k",)))
    assert len(calls) == len(changes) + 1


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b"", lambda b: _flipped(b)])
def test_a_damaged_cache_is_made_anew(damage, file, cache):
    told = file(alkanols(400))
    first = prepared(told).table()
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    forget()
    assert prepared(told).table().equals(first, check_metadata=True)
    assert path.read_bytes() == whole


def _flipped(content):
    """Returns content with a byte of the first column's numbers changed."""
    return content[:60] + bytes([content[60] ^ 0xFF]) + content[61:]


def test_a_cache_that_cannot_be_written_costs_only_time(file, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path / "taken"))
    assert len(load(file(alkanols(40))).train) == 32


def test_without_a_file_a_grammar_makes_them(monkeypatch):
    asked = []

    def make(n, seed):
        asked.append((n, seed))
        return alkanols(n)

    name = "genmatter.domains.molecule.grammar"
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(make=make))
    splits = load(MoleculeDataConfig(molecules=60, data_seed=5))
    assert sum(map(len, parts(splits))) == 60
    assert asked == [(60, 5)]


def test_addresses_are_fetched(file, monkeypatch):
    told, asked = file(alkanols(40)), []
    monkeypatch.setattr(data, "fetch", lambda address: asked.append(address) or Path(told.source))
    load(replace(told, source="https://example.org/x.csv"))
    assert asked == ["https://example.org/x.csv"]


def test_an_address_out_of_reach_can_be_done_without():
    with pytest.raises(
        DataError, match=r"only https .*; or leave --data out to learn from a gram"
    ):
        load(MoleculeDataConfig(source="http://example.org/x.csv"))


def test_errors_name_the_file(file):
    with pytest.raises(DataError, match=r"x\.csv: none of 1 rows"):
        load(file(["C("]))
    with pytest.raises(DataError, match=r"no file .*nowhere\.csv"):
        load(MoleculeDataConfig(source="nowhere.csv"))


def test_the_home_folder_is_found(file, monkeypatch):
    told = file(alkanols(40))
    monkeypatch.setenv("HOME", str(Path(told.source).parent))
    assert len(load(replace(told, source="~/x.csv")).train) == 32


@pytest.mark.parametrize("suffix", [".smi", ".sdf", ".selfies", ".json", ".parquet", ".tsv.gz"])
def test_molecules_are_the_same_from_a_file_of_any_kind(suffix, file, tmp_path):
    expected = load(file(alkanols(40))).train.smiles.tolist()
    write(Molecules.of(alkanols(40)), tmp_path / f"x{suffix}")
    found = load(MoleculeDataConfig(source=str(tmp_path / f"x{suffix}"))).train
    assert found.smiles.tolist() == expected


def test_memory_is_a_few_times_that_of_the_texts(tmp_path):
    n = 20_000
    smiles = [
        f"{'C' * (k % 97 + 1)}N{'C' * (k // 97 + 1)}"[:60] + f"[{k + 1}CH3]" for k in range(n)
    ]
    texts = ["[C]" * 30] * n
    table = {
        "line": range(n), "smiles": smiles, "selfies": texts, "text": [None] * n,
        "reason": [None] * n,
    }  # fmt: skip
    import pyarrow as pa

    made = pa.table({k: pa.array(v) for k, v in table.items()}).replace_schema_metadata(
        {"stripped": "0", "neutralised": "0", "unit": "line"}
    )
    write_to = lambda: data.Prepared.of(cached.kept("molecules/x", lambda: made))
    write_to()
    tracemalloc.start()
    found = write_to()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.molecules) == n
    each = np.mean([len(s) for s in smiles]) + len(texts[0])
    # two texts, each with a head of 49 bytes and a pointer, and the number of a line
    assert held / n < each + 2 * (49 + 8 + 8) + 8 + 64


def test_a_million_molecules_are_indexed_without_copies_of_their_texts():
    n = 1_000_000
    smiles, texts = (np.array([s] * n, dtype=object) for s in ("C" * 40, "[C]" * 40))
    x = Molecules(smiles, {"k": torch.arange(n).double()}, texts)
    tracemalloc.start()
    some = x[torch.randperm(n)[: n // 2]]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(some) == n // 2
    assert some.smiles[0] is smiles[0]
    assert peak < 40 * n


def test_real_molecules_are_all_kept(real_data):
    source = real_data / "molecules" / "chembl_cns_like_train.csv.gz"
    from genmatter.domains.molecule.formats import read
    from genmatter.domains.molecule.prepare import prepare

    rows = read(source, columns=("selfies_len",))
    few = replace(rows, texts=rows.texts[:500], numbers=rows.numbers[:500])
    few = replace(few, columns={k: v[:500] for k, v in rows.columns.items()})
    found = prepare(few, MoleculeDataConfig())
    assert not found.dropped
    lengths = [text.count("[") for text in found.molecules.selfies]
    assert lengths == found.molecules.columns["selfies_len"].tolist()
