import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from genmatter.domains.protein import data
from genmatter.domains.protein.config import ProteinDataConfig
from genmatter.domains.protein.data import load, motif, prepared, summary, write_dropped
from genmatter.domains.protein.identity import nearest
from genmatter.domains.protein.sequences import ALPHABET, Numbering
from genmatter.domains.protein.weights import weights
from genmatter.errors import ConfigError, DataError

SIMULATED = ProteinDataConfig(sequences=400, sites=24)


def some(n=60, sites=30, seed=0):
    """Names and aligned texts with few gaps, none like another."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 21, (n, sites))
    x[rng.random(x.shape) < 0.05] = 0
    return {f"s{k}": "".join(ALPHABET[c] for c in row) for k, row in enumerate(x)}


@pytest.fixture
def file(tmp_path):
    """Writes sequences, and tells what to load them with."""

    def save(rows, name="x.fasta", **told):
        pairs = rows.items() if isinstance(rows, dict) else rows
        path = tmp_path / name
        path.write_text("".join(f">{k}\n{v}\n" for k, v in pairs))
        return ProteinDataConfig(source=str(path), **told)

    return save


@pytest.fixture
def table(tmp_path):
    def save(text, name="labels.csv"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return save


def parts(splits):
    return splits.train, splits.valid, splits.test


def test_sequences_are_dealt_out_once_each(file):
    rows = some()
    splits = load(file(rows))
    names = [n for part in parts(splits) for n in part.names]
    assert sorted(names) == sorted(rows)
    for part in parts(splits):
        assert [rows[n] for n in part.names] == part.texts
    assert [len(p) for p in parts(splits)] == [48, 6, 6]


def test_a_simulated_family_is_known_and_repeats_itself():
    first = load(SIMULATED)
    data._prepared.cache_clear()
    data._dealt.cache_clear()
    again = load(SIMULATED)
    for a, b in zip(parts(first), parts(again), strict=True):
        assert torch.equal(a.residues, b.residues)
        assert {*a.labels["subfamily"]} <= {f"S{k}" for k in range(1, 7)}
    assert [len(p) for p in parts(first)] == [320, 40, 40]
    other = load(replace(SIMULATED, data_seed=1))
    assert not torch.equal(other.train.residues, first.train.residues)
    law = data.family(SIMULATED)
    assert law is not None
    assert law.log_prob(first.test.residues).isfinite().all()
    assert data.family(ProteinDataConfig(source="x.fasta")) is None
    with pytest.raises(ConfigError, match="no --focus"):
        load(replace(SIMULATED, focus="s1"))


def test_columns_of_gaps_and_then_sequences_of_gaps_are_left_out(file):
    rows = {k: text[:10] + "-" * 5 + text[10:] for k, text in some().items()}
    rows["short"] = "-" * 30 + "MKVLA"
    rows["whole"] = some()["s0"][:10] + "WWWWW" + some()["s0"][10:]
    found = prepared(file(rows))
    assert found.sequences.sites == 30
    assert found.columns == 35
    assert found.sequences.numbering.positions == (*range(1, 11), *range(16, 36))
    reasons = {d.name: d.reason for d in found.dropped}
    assert reasons.keys() == {"short", "whole"}
    assert reasons["short"].startswith("gaps in more than 50% of the columns: 83%")
    assert reasons["whole"] == "repeated: same as s0"
    wide = prepared(file(rows, column_gaps=1.0, sequence_gaps=1.0))
    assert wide.sequences.sites == 35
    assert "short" in wide.sequences.names


def test_columns_of_gaps_only_are_none_whatever_is_asked_for(file):
    rows = {k: "-" + v for k, v in some().items()}
    found = prepared(file(rows, column_gaps=1.0))
    assert found.sequences.numbering.positions == tuple(range(2, 32))
    with pytest.raises(DataError, match="raise --column_gaps"):
        prepared(file({"a": "----", "b": "----"}))


@pytest.fixture
def focused(file):
    """A focus sequence of ten residues, two of them in no column; two columns it lacks."""

    def save(name="F/24-33", **told):
        rows = {f"s{k}": v[:8] + ".." + v[8:] for k, v in enumerate(some(sites=10).values())}
        return file({name: "MK--VLAMvvKV"} | rows, "x.a2m", **{"focus": "F"} | told)

    return save


def test_a_focus_sequence_chooses_and_numbers_columns(focused):
    found = prepared(focused())
    where = found.sequences.numbering
    assert where == Numbering((24, 25, 26, 27, 28, 29, 32, 33), "F/24-33", "MKVLAMVVKV", 24)
    assert where.wild_type == "MKVLAMKV"
    assert found.sequences.names[found.focus] == "F/24-33"
    assert found.sequences.texts[found.focus] == where.wild_type
    assert prepared(focused(focus="F/24-33")).sequences.numbering == where
    assert prepared(focused("F")).sequences.numbering.positions[0] == 1


def test_a_focus_sequence_stays_whatever_is_in_the_way(file):
    rows = some(sites=20)
    twin = rows["s3"]
    rows |= {"F": twin}
    found = prepared(file(rows, focus="F"))
    assert {d.name: d.reason for d in found.dropped} == {"s3": "repeated: same as F"}
    odd = some(sites=20) | {"F": "XXXXXXXXXXXX" + twin[12:]}
    kept = prepared(file(odd, focus="F", ambiguous="drop")).sequences
    assert "F" in kept.names


def test_a_focus_sequence_has_to_be_there_once_and_as_long_as_it_says(file, focused):
    with pytest.raises(DataError, match=r"no sequence 'BLA'"):
        prepared(file(some(), focus="BLA"))
    with pytest.raises(DataError, match="did you mean 's12'"):
        prepared(file({k: v for k, v in some().items() if k in ("s12", "s30")}, focus="s1"))
    with pytest.raises(DataError, match="2 sequences 's0'"):
        prepared(file([*some().items(), ("s0", some()["s1"])], focus="s0"))
    with pytest.raises(DataError, match="says of 11 residues, but the sequence has 10"):
        prepared(focused("F/24-34"))


def test_residues_that_nobody_knows_are_gaps_or_leave_sequences_out(file):
    rows = some()
    rows["odd"] = "BZ" + rows["s1"][2:]
    found = prepared(file(rows))
    assert found.unknown == 2
    assert found.sequences.texts[-1] == "--" + rows["s1"][2:]
    dropped = prepared(file(rows, ambiguous="drop")).dropped
    assert [(d.name, d.reason) for d in dropped] == [("odd", "residues that nobody knows: 2")]


def test_repeated_names_are_told_apart(file):
    rows = [*some(12).items(), ("s0", some(14)["s13"]), ("s0", some(15)["s14"])]
    names = prepared(file(rows)).sequences.names.tolist()
    assert names[-2:] == ["s0#2", "s0#3"]


def test_nothing_left_is_an_error_that_says_why(file):
    with pytest.raises(DataError, match="no sequence or no column is left"):
        prepared(file({"a": "MX--", "b": "XK--", "c": "MXX-"}, ambiguous="drop", column_gaps=1.0))


@pytest.mark.parametrize(
    "told",
    [{"column_gaps": 1.5}, {"sequence_gaps": -0.1}, {"identity": 1.0}, {"cluster_identity": 0.0}],
)
def test_shares_that_cannot_be_are_refused(file, told):
    with pytest.raises(ConfigError):
        prepared(file(some(), **told))


def test_labels_are_joined_by_name(file, table):
    rows = {f"{k}/3-32": v for k, v in some(40).items()}
    lines = [f"s{k},{k / 4},{'even' if k % 2 == 0 else 'odd'},N/A" for k in range(30)]
    labels = table("\n".join(["id,pH,kind,none", *lines]))
    found = prepared(file(rows, labels=labels)).sequences
    assert found.columns["pH"][:3].tolist() == [0, 0.25, 0.5]
    assert found.columns["pH"][30:].isnan().all()
    assert found.labels["kind"][:2].tolist() == ["even", "odd"]
    assert found.labels["kind"][35] == ""
    assert (found.labels["none"] == "").all()
    some_only = prepared(file(rows, labels=labels, columns=("kind",))).sequences
    assert {*some_only.labels} == {"kind"}
    assert some_only.columns == {}
    splits = load(file(rows, labels=labels))
    told = dict(zip(found.names, found.labels["kind"], strict=True))
    assert [told[n] for n in splits.test.names] == splits.test.labels["kind"].tolist()


def test_a_table_may_name_sequences_in_any_column_and_be_separated_otherwise(file, table):
    labels = table("x\tname\n1\ts1\n2\ts2\n", "labels.tsv")
    found = prepared(file(some(), labels=labels, id_column="name")).sequences
    assert found.columns["x"][:3].tolist()[1:] == [1, 2]
    assert data.columns(file(some(), labels=labels, id_column="name")) == (("x",), ())


TABLES = {
    "strangers": ("id,x\nq1,3\n", {}, "knows none of the 60 sequences.*'q1'.*'s0'"),
    "no column": ("id,acidity\ns1,3\n", {"columns": ("acidty",)}, "did you mean 'acidity'"),
    "no id": ("id,x\ns1,3\n", {"id_column": "name"}, "no column 'name'"),
    "ragged": ("id,x\ns1,3\ns2\n", {}, "line 3 has 1 cells, but the first line has 2"),
    "twice": ("id,x\ns1,3\ns1,4\n", {}, "line 3: a second row of the sequence 's1'"),
    "empty": ("", {}, "is empty"),
    "quotes": ('id,x\ns1,"3\n', {}, "cannot be read as a table"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_that_cannot_be_meant_are_refused(file, table, kind):
    text, told, message = TABLES[kind]
    with pytest.raises(DataError, match=message):
        prepared(file(some(), labels=table(text), **told))


def test_a_table_has_to_be_there(file, tmp_path):
    with pytest.raises(DataError, match="no table"):
        prepared(file(some(), labels=str(tmp_path / "nowhere.csv")))
    with pytest.raises(ConfigError, match="--labels"):
        prepared(file(some(), columns=("x",)))


def families(n=240, sites=40):
    """Sequences of which each has four that are much like it."""
    rng = np.random.default_rng(0)
    rows = {}
    for k, text in enumerate(some(n // 5, sites).values()):
        for m in range(5):
            row = [*text]
            row[rng.integers(sites)] = ALPHABET[rng.integers(1, 21)]
            row[rng.integers(sites)] = "W"
            rows[f"f{k}_{m}"] = "".join(row)
    return rows


def test_sequences_like_each_other_stay_together(file):
    splits = load(file(families()))
    for a, b in ((splits.train, splits.test), (splits.train, splits.valid)):
        assert not {n.split("_")[0] for n in a.names} & {n.split("_")[0] for n in b.names}
    leaky = load(file(families(), split="random"))
    share = lambda s: nearest(s.test.residues.numpy(), s.train.residues.numpy())[1].mean() / 40
    assert share(leaky) > 0.85 > 0.5 > share(splits)


def test_weights_are_those_within_each_split(file):
    told = file(families(), split="random", test_fraction=0.3)
    for part in parts(load(told)):
        w = weights(part.residues, 0.8)
        torch.testing.assert_close(part.weights, w / w.mean())
    assert load(replace(told, identity=0.0)).train.weights is None
    assert data.effective(told) == pytest.approx(
        weights(load(told).train.residues, 0.8).sum().item()
    )
    assert data.effective(replace(told, identity=0.0)) == len(load(told).train)


def test_one_split_may_serve_for_both(file):
    splits = load(file(some(), valid_fraction=0.0, test_fraction=0.25))
    assert splits.valid is splits.test


def test_a_file_that_changes_is_read_again(file):
    told = file(some())
    first = prepared(told)
    assert prepared(told) is first
    file(some(61))
    assert len(prepared(told).sequences) == 61


def test_what_became_of_the_file_is_told(file, tmp_path):
    rows = some() | {"copy": some()["s1"], "again": some()["s2"], "odd": "B" + some()["s3"][1:]}
    told = file(rows)
    facts = summary(told).facts
    assert facts["sequences"] == "61 of 63"
    assert facts["columns"] == "30 of 30"
    assert facts["left out: repeated"] == "2 (lines 121, 123)"
    assert facts["unknown residues"] == "1, taken for gaps"
    assert "60% identity" in facts["split"]
    assert facts["effective sequences"].startswith("4")
    write_dropped(told, tmp_path / "dropped.csv")
    with (tmp_path / "dropped.csv").open() as lines:
        found = [*csv.DictReader(lines)]
    assert found[0] == {"line": "121", "name": "copy", "reason": "repeated: same as s1"}
    with pytest.raises(DataError, match="cannot write"):
        write_dropped(told, tmp_path / "no" / "where.csv")


def test_a_motif_is_found_by_its_numbers(focused):
    told = focused(motif=("K25", "V33"))
    numbering = prepared(told).sequences.numbering
    assert motif(told, numbering) == {1: ALPHABET.index("K"), 7: ALPHABET.index("V")}
    law = data.family(SIMULATED)
    assert [*motif(SIMULATED, Numbering.plain(24))] == [*law.triad]
    for wrong, message in (
        (("K30",), "in no column"), (("K99",), "in no column"), (("25K",), "written as H57"),
        (("Z25",), "written as H57"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            prepared(focused(motif=wrong))


@pytest.mark.parametrize("split", ["cluster", "random"])
def test_real_families_are_prepared(real_data, split):
    home = real_data / "protein"
    told = ProteinDataConfig(
        source=str(home / "serine_proteases.fasta.gz"),
        labels=str(home / "serine_proteases_labels.csv"),
        columns=("Subphylum", "Protein_type"),
        column_gaps=0.2, sequence_gaps=0.2, split=split,
    )  # fmt: skip
    found = prepared(told)
    assert found.sequences.sites == 218
    assert len(found.sequences) + sum(d.kind == "repeated" for d in found.dropped) == 1460
    assert {"vertebrate", "insects"} & {*found.sequences.labels["Subphylum"]}
    near = nearest(load(told).test.residues.numpy(), load(told).train.residues.numpy())[1] / 218
    assert (near.mean() < 0.55) == (split == "cluster")


def test_beta_lactamases_are_numbered_as_their_scan(real_data):
    home = real_data / "protein"
    told = ProteinDataConfig(source=str(home / "BLAT_ECOLX.a2m.gz"), focus="BLAT_ECOLX")
    where = prepared(told).sequences.numbering
    assert (where.first, where.positions[0], where.positions[-1]) == (24, 29, 283)
    assert len(where.sequence) == 263
    with (home / "BLAT_ECOLX_scan_even_sites.csv").open() as lines:
        mutants = [row["mutant"] for row in csv.DictReader(lines)]
    whole = {where.first + k: one for k, one in enumerate(where.sequence)}
    assert all(whole[int(m[1:-1])] == m[0] for m in mutants)
