import gzip
from dataclasses import replace

import numpy as np
import pytest
import torch

from genmatter.domains.protein.formats import SUFFIXES, ranges, read, write
from genmatter.domains.protein.sequences import ALPHABET, GAP, Numbering, Sequences, letters
from genmatter.errors import DataError


@pytest.fixture
def some():
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 21, (5, 30), generator=g).to(torch.int8)
    return Sequences(
        x,
        Numbering((*range(5, 25), *range(30, 40))),
        np.array(["a", "b/5-39", "c|d", "e_1", "f"], dtype=object),
        torch.rand(5, generator=g).double(),
        {"elbo": torch.tensor([-1.5, torch.nan, 3e-20, 4.0, 1 / 3]).double()},
        {"kind": np.array(["two words", "", "a=b", "50%", "x"], dtype=object)},
    )


@pytest.mark.parametrize("suffix", [*SUFFIXES, *(f"{s}.gz" for s in SUFFIXES)])
def test_files_hold_what_was_written(some, tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write(some, path)
    found = read(path, ("elbo",), ("kind",))
    assert torch.equal(found.residues, some.residues)
    assert found.names.tolist() == some.names.tolist()
    assert found.numbering == some.numbering
    assert torch.equal(found.weights, some.weights)
    torch.testing.assert_close(
        found.columns["elbo"], some.columns["elbo"], rtol=0, atol=0, equal_nan=True
    )
    assert found.labels["kind"].tolist() == some.labels["kind"].tolist()
    bare = read(path)
    assert bare.columns == {}
    assert bare.labels == {}
    first = path.read_bytes()
    write(some, path)
    assert path.read_bytes() == first
    assert (gzip.decompress(first) if suffix.endswith(".gz") else first).startswith(
        (b">a ", b"name,")
    )


def test_plain_sequences_have_plain_headers(tmp_path):
    s = Sequences.of(torch.ones(2, 4))
    write(replace(s, weights=torch.ones(2).double()), tmp_path / "x.fasta")
    assert (tmp_path / "x.fasta").read_text() == ">1\nAAAA\n>2\nAAAA\n"
    assert read(tmp_path / "x.fasta").weights is None


def test_what_others_write_in_headers_is_no_matter(tmp_path):
    (tmp_path / "x.fasta").write_text(">sp|P1|A kinase OS=Homo sapiens OX=9606 columns=x\nMKV\n")
    found = read(tmp_path / "x.fasta", ("OX",))
    assert found.columns["OX"].tolist() == [9606]
    assert found.numbering == Numbering.plain(3)


def test_a_focus_sequence_numbers_columns_of_any_file(tmp_path):
    (tmp_path / "x.a2m").write_text(">F/7-11\nMK-vVL\n>s\nMKI.VL\n")
    found = read(tmp_path / "x.a2m", focus="F")
    assert found.numbering == Numbering((7, 8, 10, 11), "F/7-11", "MKVVL", 7)
    assert found.texts == ["MKVL", "MKVL"]
    assert read(tmp_path / "x.a2m", focus="other").sites == 5


def test_unknown_residues_are_gaps(tmp_path):
    (tmp_path / "x.sto").write_text("# STOCKHOLM 1.0\na MXK\nb MVU\n//\n")
    assert read(tmp_path / "x.sto").texts == ["M-K", "MVC"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,seq\na,MK\n", "no column 'sequence'"),
        ("id,sequence\na,MK\n", "no column 'name'"),
        ("name,sequence\na,MK\nb,M\n", "'b' is no sequence of 2"),
        ("name,sequence\na,M1\n", "'a' is no sequence"),
        ("name,sequence\n", "holds no sequence"),
    ],
)
def test_tables_that_hold_no_sequences_are_refused(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.csv")


def test_files_that_cannot_be_written_are_refused(some, tmp_path):
    with pytest.raises(DataError, match=r"\.fasta \.a2m \.csv"):
        write(some, tmp_path / "x.pdb")
    with pytest.raises(DataError, match="cannot write"):
        write(some, tmp_path / "no" / "x.csv")


def test_numbers_are_told_as_ranges():
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3,7,9-10"
    assert ranges([4]) == "4"


def test_letters_and_numbers_are_each_other():
    assert letters(ALPHABET).tolist() == list(range(21))
    assert letters("AX?é").tolist() == [1, -1, -1, -1]
    assert Sequences.of(letters(ALPHABET)[None]).texts == [ALPHABET]
    assert ALPHABET[GAP] == "-"


def test_sets_are_joined_and_taken_apart(some):
    other = Sequences.of(torch.ones(2, 30), some.numbering)
    both = Sequences.cat([some, other])
    assert len(both) == 7
    assert both.weights is None
    assert both.columns["elbo"].isnan().tolist() == [False, True, False, False, False, True, True]
    assert both.labels["kind"].tolist()[-2:] == ["", ""]
    for rows in (torch.tensor([4, 1]), [4, 1], slice(3, 5)):
        part = some[rows]
        assert torch.equal(part.residues, some.residues[rows])
        assert torch.equal(part.weights, some.weights[rows])
        assert len(part.names) == len(part.labels["kind"]) == len(part.columns["elbo"]) == 2
    odd = some[torch.tensor([True, False, True, False, False])]
    assert odd.names.tolist() == ["a", "c|d"]


def test_a_wild_type_is_in_the_columns_that_are_kept():
    where = Numbering((24, 26), "F", "MKV", 24)
    assert where.wild_type == "MV"
    assert Numbering.plain(3).wild_type == ""
    assert Numbering.plain(3).is_plain
    assert not where.is_plain
