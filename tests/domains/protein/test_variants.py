"""Variants that are asked for: what is scored, what is not and why, and what is refused."""

import csv

import pytest
import torch

from genmatter import api
from genmatter.cli import main
from genmatter.domains.protein.config import ProteinDataConfig
from genmatter.domains.protein.data import load
from genmatter.domains.protein.sequences import Numbering, Sequences, letters
from genmatter.domains.protein.variants import (
    all_single,
    heat,
    potts_differences,
    read_variants,
    site_differences,
)
from genmatter.errors import ConfigError, DataError, RecipeError

# columns hold residues 11, 12, 14 and 15 of a focus sequence that has 10 to 16
NUMBERING = Numbering((11, 12, 14, 15), "FOCUS/10-16", "MACDEFG", 10)
WILD = Sequences.of(letters("ACEF")[None], NUMBERING)


def written(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def read(tmp_path, *lines):
    return read_variants(written(tmp_path / "asked.csv", *lines), WILD)


def test_changes_are_made_where_their_numbers_say(tmp_path):
    found = read(tmp_path, "mutant,fit", "A11G,1", "C12W:F15Y,2.5", "E14-,", "E14del,3", "WT,0")
    assert found.objects.texts == ["GCEF", "AWEY", "AC-F", "AC-F", "ACEF"]
    assert found.reasons == ("",) * 5
    assert found.rows.tolist() == [0, 1, 2, 3, 4]
    known = torch.tensor([1, 2.5, torch.nan, 3, 0], dtype=torch.float64)
    torch.testing.assert_close(found.measured["fit"], known, equal_nan=True)


def test_spellings_are_read(tmp_path):
    lines = ["p.A11G", "A11G,C12W", "A11G;C12W", "A11G/C12W", "A11="]
    found = read_variants(written(tmp_path / "plain.txt", lines[0], *lines[2:]), WILD)
    assert found.objects.texts == ["GCEF", "GWEF", "GWEF", "ACEF"]
    quoted = read(tmp_path, "Mutant", '"A11G,C12W"')
    assert quoted.objects.texts == ["GWEF"]
    tabbed = read(tmp_path, "name\tmutant\tfit", "x\tA11G\t1")
    assert tabbed.objects.texts == ["GCEF"]
    assert [*tabbed.measured] == ["fit"]


def test_what_has_no_score_is_named(tmp_path):
    found = read(tmp_path, "mutant", "D13A", "A11*", "12insKK", "A11_C12insG", "A11G:D13A", "A11G")
    beyond = "in no column of the model"
    assert found.reasons == (beyond, "a stop", "an insertion", "an insertion", beyond, "")
    assert found.objects.texts == ["GCEF"]
    assert found.rows.tolist() == [5]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("G11A", "line 2: the variant says G at 11, the wild type has A"),
        ("A13G", "line 2: the variant says A at 13, FOCUS/10-16 has D"),
        ("A99G", "has no residue 99: it has 10 to 16"),
        ("A11B", "B is none of the twenty"),
        ("A11G:A11C", "changes A11 twice"),
        ("hello", "'hello' reads neither as A42G nor"),
        ("A11", "reads neither"),
    ],
)
def test_what_does_not_match_is_refused_with_its_line(tmp_path, line, why):
    with pytest.raises(DataError, match=why):
        read(tmp_path, "mutant", line)


def test_files_that_are_none_are_refused(tmp_path):
    for name, lines, why in (
        ("empty", [], "is empty"),
        ("other", ["protein,fit", "A,1"], "no column 'mutant'"),
        ("ragged", ["mutant,fit", "A11G"], "line 2 has 1 cells, but the first line has 2"),
    ):
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(lines))
        with pytest.raises(DataError, match=why):
            read_variants(path, WILD)
    with pytest.raises(DataError, match="no file"):
        read_variants(tmp_path / "nowhere.csv", WILD)


def test_columns_are_counted_without_a_focus():
    plain = Sequences.of(letters("AC-F")[None], Numbering((1, 2, 5, 6)))
    found = all_single(plain)
    assert len(found.names) == 3 * 19  # a gap is no residue to exchange
    assert {name[1] for name in found.names} == {"1", "2", "6"}


def test_gaps_of_the_wild_type_and_columns_that_are_not_there_are_refused(tmp_path):
    plain = Sequences.of(letters("AC-F")[None], Numbering((1, 2, 5, 6)))
    for line, why in (("A5G", "the wild type has a gap"), ("A9G", "no column 9; they are 1 to 6")):
        with pytest.raises(DataError, match=why):
            read_variants(written(tmp_path / "x.txt", "mutant", line), plain)
    found = read_variants(written(tmp_path / "x.txt", "mutant", "D4G"), plain)
    assert found.reasons == ("in no column of the model",)


def test_all_single_changes_name_those_that_are_not_modelled():
    found = all_single(WILD)
    assert len(found.names) == 7 * 19
    assert len(found.objects) == 4 * 19
    assert found.names[0] == "M10A"
    assert found.reasons[0] == "in no column of the model"
    changed = (found.objects.residues != WILD.residues).sum(1)
    assert (changed == 1).all()
    assert len({*found.objects.texts}) == 4 * 19


def test_simple_models_know_what_changes():
    train = load(ProteinDataConfig(sequences=300, sites=16)).train
    wild = train[:1]
    found = all_single(wild)
    sites = site_differences(train, found)
    first = found.objects.residues[0]
    count = lambda site, state: float((train.residues[:, site] == state).sum()) + 0.5 / 21
    site = int((first != wild.residues[0]).nonzero()[0, 0])
    known = torch.tensor(count(site, first[site]) / count(site, wild.residues[0, site])).log()
    assert abs(sites[0] - known) < 1e-4
    pairs = potts_differences(train, found)
    assert torch.corrcoef(torch.stack([sites, pairs]))[0, 1] > 0.5


def test_a_map_holds_single_exchanges_by_site_and_residue(tmp_path):
    found = read(tmp_path, "mutant", "A11G", "C12W:F15Y", "E14-", "F15A")
    values = heat(found, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert values.shape == (4, 20)
    assert values[0, "ACDEFGHIKLMNPQRSTVWY".index("G")] == 1
    assert values[3, 0] == 4
    assert values.isfinite().sum() == 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("variants") / "run"
    api.train("protein/vae", preset="tiny", run=home)
    return home


def test_runs_score_a_scan(run, tmp_path):
    found = api.score_variants(run, wild="test:0", draws=4)
    it = api.load(run)
    n = len(found.score)
    assert n == 24 * 19
    wild = next(it.batches(found.variants.wild))
    batch = it.representation.encode(found.variants.objects)
    many = it.model.contrast(batch, wild, 256)
    assert torch.corrcoef(torch.stack([many.double(), found.score]))[0, 1] > 0.98
    assert [*found.simplest] == ["site frequencies", "Potts model"]
    rows = list(csv.DictReader((run / "variants.csv").read_text().splitlines()))
    assert len(rows) == n
    assert abs(float(rows[3]["score"]) - found.score[3]) < 1e-3
    assert (run / "variants.png").is_file()


def test_several_runs_are_averaged_and_compared(run, tmp_path, capsys):
    other = tmp_path / "other"
    api.train("protein/vae", preset="tiny", run=other, seed=1)
    wild = api.load(run).splits.test[:1]
    text, fit = wild.texts[0], [3, -1, 2, 0.5]
    asked = [f"{text[k]}{k + 1}{'A' if text[k] != 'A' else 'C'}" for k in range(4)]
    lines = [f"{a},{f}" for a, f in zip(asked, fit, strict=True)]
    table = written(tmp_path / "dms.csv", "mutant,fit", *lines)
    told = ["--dms", str(table), "--wild", text, "--with", str(other)]
    assert main(["score", str(run), *told, "--out", str(tmp_path / "out.csv")]) == 0
    said = capsys.readouterr().out
    assert "4 of 4 variants scored, by 2 runs" in said
    assert "rank correlation with fit" in said
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    mean = (float(rows[0]["run"]) + float(rows[0]["other"])) / 2
    assert abs(float(rows[0]["score"]) - mean) < 1e-4
    assay = api.score_variants(run, table, wild=text).assays[0]
    score = torch.tensor([float(r["run"]) for r in rows])
    ranks = torch.stack([score.argsort().argsort(), torch.tensor(fit).argsort().argsort()])
    assert assay.count == 4
    assert abs(assay.spearman["run"] - torch.corrcoef(ranks.double())[0, 1]) < 1e-6


def test_what_nobody_can_score_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="--wild"):
        api.score_variants(run)
    table = written(tmp_path / "dms.csv", "mutant,fit", "A1C,2")
    with pytest.raises(DataError, match="line 2"):
        api.score_variants(run, table, wild="WWWWWWWWWWWWWWWWWWWWWWWW")
    other = tmp_path / "polymer"
    api.train("polymer/vae", preset="tiny", run=other)
    with pytest.raises(RecipeError, match="cannot score variants; protein/vae"):
        api.score_variants(other)
    assert main(["score", str(run), "--scan", "--dms", str(table)]) == 2
