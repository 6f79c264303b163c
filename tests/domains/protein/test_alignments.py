import gzip
import re

import numpy as np
import pytest

from genmatter.domains.protein.alignments import UNKNOWN, read
from genmatter.domains.protein.sequences import ALPHABET
from genmatter.errors import DataError


@pytest.fixture
def save(tmp_path):
    def write(text, name="x.fasta"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def texts(found):
    letters = ALPHABET + "?"
    return ["".join(letters[k] for k in row) for row in found.residues]


FASTA = ">a first one\nMKV-L\n>b\nMRI\nGL\n"
A2M = ">a\n..MKvvV-L\n>b\nhhMR..IGL\n"
A3M = ">a\nMKvvV-L\n>b\nhhMRIGL\n"
STOCKHOLM = """# STOCKHOLM 1.0
#=GF ID family
a  MKV
#=GR a SS HHH
b  MRI

a  -L
b  GL
#=GC RF xx
//
"""


@pytest.mark.parametrize(
    ("name", "text"), [("x.fasta", FASTA), ("x.a2m", A2M), ("x.a3m", A3M), ("x.sto", STOCKHOLM)]
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_kind_of_file_tells_the_same(save, name, text, packed, newline):
    raw = text.replace("\n", newline).encode()
    found = read(save(gzip.compress(raw) if packed else raw, name))
    assert texts(found) == ["MKV-L", "MRIGL"]
    assert [r.name for r in found.records] == ["a", "b"]


def test_small_letters_are_insertions_only_where_columns_come_out(save):
    found = read(save(A2M))
    assert found.inserts
    whole, at = found.whole(1)
    assert "".join(ALPHABET[k] for k in whole) == "HHMRIGL"
    assert at.tolist() == [2, 3, 4, 5, 6]
    assert found.whole(0)[1].tolist() == [0, 1, 4, -1, 5]
    # dots are gaps, and all letters small, where that alone makes columns
    assert texts(read(save(">a\nMK.L\n>b\nM.IL\n"))) == ["MK-L", "M-IL"]
    assert texts(read(save(">a\nmk.l\n>b\nm.il\n"))) == ["MK-L", "M-IL"]
    small = read(save(">a\nMkVL\n>b\nMKVl\n>c\nMKVL\n"))
    assert texts(small) == ["MKVL"] * 3
    assert not small.inserts


def test_unusual_residues_are_read_by_one_rule(save):
    found = read(save(">a\nMUOXBZJ*~\n>b\nmuoxbzj-_\n>c\nMCKAAAAAA\n"))
    row = [ALPHABET.index(k) for k in "MCK"] + [UNKNOWN] * 4 + [0, 0]
    assert found.residues[:2].tolist() == [row, row]


def test_a_file_may_have_empty_lines_comments_and_a_mark(save):
    raw = b"\xef\xbb\xbf\n>a\n;comment\n\nMK VL\n\n>b\nMRI\nL\n"
    found = read(save(raw))
    assert texts(found) == ["MKVL", "MRIL"]
    assert [r.line for r in found.records] == [2, 7]


def test_what_follows_a_name_is_kept(save):
    assert read(save(FASTA)).records[0].about == "first one"


BAD = {
    "empty": ("", "is empty"),
    "blank": ("\n\n \n", "is empty"),
    "ragged": (">a\nMKVL\n>b\nMKV\n", "line 3: 'b' has 3 columns, but 'a' has 4"),
    "ragged a3m": (">a\nMKVL\n>b\nmkvlMKV\n", "line 3: 'b'"),
    "small letters only": (">a\nmkvl\n>b\nmkv\n", "line 3: 'b' has 3 columns"),
    "ungapped": (">a\nMKVLAAA\n>b\nMKV\n", "mafft"),
    "digit": (">a\nMKVL\n>b\nMK1L\n", "line 4: '1' is no residue"),
    "no name": (">a\nMKVL\n>\nMKVL\n", "line 3: a sequence has no name"),
    "no residues": (">a\nMKVL\n>b\n", "line 3: 'b' has no residues"),
    "dna": (">a\nACGTACGTACGTACGTACGTNN-A\n>b\nACGTACGTACGTACGTACGTNNGA\n", "DNA or RNA"),
    "rna": (">a\nACGUACGUACGUACGUACGU\n>b\nACGUACGUACGUACGUACGG\n", "translate"),
    "clustal": ("CLUSTAL W\n\na MKV\n", "Clustal.*convert it"),
    "other": ("hello world\n", "begins 'hello world'"),
    "two alignments": (STOCKHOLM + STOCKHOLM, "another alignment begins"),
    "cut stockholm": (STOCKHOLM[:-3], "no // ends it"),
    "odd stockholm": ("# STOCKHOLM 1.0\na MK VL\n//\n", "line 2 is no name and its residues"),
    "stockholm without": ("# STOCKHOLM 1.0\n//\n", "no sequence"),
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_cannot_be_meant_are_refused_by_name_and_line(save, kind):
    text, message = BAD[kind]
    path = save(text, "bad.fasta")
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_damaged_and_absent_files_are_refused(save, tmp_path):
    whole = gzip.compress((">a\n" + "MKVL" * 1000 + "\n").encode())
    with pytest.raises(DataError, match="damaged"):
        read(save(whole[:40], "x.fasta.gz"))
    with pytest.raises(DataError, match=r"did you mean 'x\.fasta\.gz'"):
        read(tmp_path / "y.fasta.gz")


def test_a_protein_with_many_small_residues_is_no_dna(save):
    assert texts(read(save(">a\nACGTACGTACGTACGTACGTKL\n>b\nACGTACGTACGTACGTACGTWY\n")))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("BLAT_ECOLX.a2m.gz", (8403, 253)), ("serine_proteases.fasta.gz", (1470, 832))],
)
def test_real_alignments_are_read(real_data, name, shape):
    found = read(real_data / "protein" / name)
    assert found.residues.shape == shape
    raw = gzip.decompress((real_data / "protein" / name).read_bytes()).decode()
    assert len(re.findall("^>", raw, re.MULTILINE)) == shape[0]
    first = "".join(raw.split(">")[1].splitlines()[1:])
    expected = re.sub(r"[a-z.]", "", first) if found.inserts else first
    assert texts(found)[0] == expected.replace("X", "?")
    assert np.unique(found.residues).max() <= UNKNOWN
