import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import selfies
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from genmatter.domains.molecule.formats import SUFFIXES, read, read_molecules, write
from genmatter.domains.molecule.molecules import Molecules, canonical
from genmatter.errors import DataError

KNOWN = [
    canonical(s)
    for s in (
        "CCO",
        "C[C@H](N)C(=O)O",
        "C/C=C/C",
        "CC=CC",  # which side is not known, and must not be by being drawn
        "CN1CC[C@]23c4c5ccc(O)c4O[C@H]2[C@@H](O)C=C[C@H]3[C@H]1C5",
        "C[N+](C)(C)C",
        "[O-][N+](=O)c1ccccc1",
        "O[C@H]1CC[C@@H](O)CC1",
        "[2H]C",
        "C[S@](=O)CC",
        "[Na+].[Cl-]",
        "[CH3]",
        "c1ccc2c(c1)[nH]c1ccccc12",
    )
]
ALL = [*SUFFIXES, *(f"{suffix}.gz" for suffix in SUFFIXES), ".CSV", ".Smi.GZ"]
TABLES = (".csv", ".tsv", ".parquet", ".sdf", ".json")


def molecules(*others):
    smiles = [*KNOWN, *others]
    x = torch.arange(len(smiles)).double() / 3
    x[1] = torch.nan
    return Molecules(np.array(smiles, dtype=object), {"x": x})


@pytest.fixture
def file(tmp_path):
    """Writes a file of any content and tells its path."""

    def save(content, name="x.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return save


@pytest.mark.parametrize("suffix", ALL)
def test_what_is_written_is_read(suffix, tmp_path):
    x = molecules("")
    write(x, tmp_path / f"x{suffix}")
    back = read_molecules(tmp_path / f"x{suffix}")
    assert back.smiles.tolist() == x.smiles.tolist()


@pytest.mark.parametrize("suffix", TABLES)
def test_numbers_are_written_and_read_with_all_their_digits(suffix, tmp_path):
    x = molecules()
    write(x, tmp_path / f"x{suffix}")
    back = read_molecules(tmp_path / f"x{suffix}", columns=("x",))
    assert torch.equal(back.columns["x"].nan_to_num(-1), x.columns["x"].nan_to_num(-1))
    with pytest.raises(DataError, match="has no column 'y'"):
        read(tmp_path / f"x{suffix}", columns=("y",))


@settings(max_examples=30, deadline=None)
@given(
    symbols=st.lists(
        st.lists(st.sampled_from(sorted(selfies.get_semantic_robust_alphabet())), max_size=12),
        min_size=1,
        max_size=5,
    )
)
@pytest.mark.parametrize("suffix", [".csv.gz", ".smi", ".selfies", ".json"])
def test_molecules_of_any_kind_come_back(suffix, symbols, tmp_path_factory):
    found = [canonical(str(selfies.decoder("".join(row)))) for row in symbols]
    found = [s for s in found if s and canonical(s) == s and _writable(s)] or ["C"]
    path = tmp_path_factory.mktemp("any") / f"x{suffix}"
    write(Molecules.of(found), path)
    assert read_molecules(path).smiles.tolist() == found


def _writable(smiles):
    try:
        return canonical(str(selfies.decoder(selfies.encoder(smiles)))) == smiles
    except selfies.EncoderError:
        return False


@pytest.mark.parametrize("suffix", [".csv", ".sdf", ".json.gz"])
def test_equal_molecules_are_equal_files(suffix, tmp_path):
    for name in "ab":
        write(molecules(), tmp_path / f"{name}{suffix}")
    a, b = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert a == b


def test_samples_that_are_no_molecules_keep_their_place(file):
    text = "smiles,n\nCCO,1\n,2\nc1ccc,3\nCCO,4\n[Na+].[Cl-],5\n"
    found = read_molecules(file(text), columns=("n",))
    assert found.smiles.tolist() == ["CCO", "", "", "CCO", "[Cl-].[Na+]"]
    assert found.columns["n"].tolist() == [1, 2, 3, 4, 5]
    for name, text in {"x.smi": "C\n\nCC x\n(\n\n", "x.selfies": "[C]\n\n[C][C]\n[?]\n\n"}.items():
        assert read_molecules(file(text, name)).smiles.tolist() == ["C", "", "CC", ""]
    assert read_molecules(file("smiles\nC\n\nCC\n\n")).smiles.tolist() == ["C", "", "CC"]


@pytest.mark.parametrize("suffix", [".selfies", ".json"])
def test_a_molecule_without_selfies_is_refused_where_it_takes_one(suffix, tmp_path):
    unwritable = Molecules.of(["C", canonical("O=I(=O)c1ccccc1")])
    write(unwritable, tmp_path / "x.csv")
    assert read_molecules(tmp_path / "x.csv").smiles.tolist() == unwritable.smiles.tolist()
    with pytest.raises(DataError, match="cannot be written as SELFIES"):
        write(unwritable, tmp_path / f"x{suffix}")


def test_a_tokenised_data_set_has_the_keys_of_the_recipe_it_came_from(tmp_path, file):
    x = Molecules.of(["CCO", "c1ccccc1"])
    write(x, tmp_path / "x.json")
    found = json.loads((tmp_path / "x.json").read_text())
    assert set(found) == {
        "tokenized_sequences", "token_to_idx", "idx_to_token", "vocab_size", "max_length",
        "molecules", "tpsa_mean", "tpsa_std",
    }  # fmt: skip
    assert found["molecules"][0] == {"selfies": "[C][C][O]", "tpsa": pytest.approx(20.23)}
    assert (found["tpsa_mean"], found["tpsa_std"]) == pytest.approx((10.115, 10.115))
    first = found["tokenized_sequences"][0]
    assert first[0] == 1
    assert first[4:] == [2] + [0] * (found["max_length"] - 5)
    assert found["vocab_size"] == len(found["token_to_idx"]) == len(found["idx_to_token"])
    # what only has tokens is read too
    del found["molecules"]
    assert read_molecules(file(json.dumps(found), "y.json")).smiles.tolist() == x.smiles.tolist()


def test_a_table_is_read_by_its_columns_whatever_separates_them(file):
    for text in ('SMILES;n;"a;b"\nCC;3;"x"\n', "n\tsmiles\n3\tCC\n", '"n","smiles"\r\n3,"CC"\r\n'):
        rows = read(file(text), columns=("n",))
        assert (rows.texts, rows.columns["n"].tolist()) == (["CC"], [3.0])
    rows = read(file("a,b\n1,CC\n"), smiles_column="b", columns=("a",))
    assert rows.texts == ["CC"]


def test_rows_know_their_lines(file):
    rows = read(file('smiles,name\nC,"two\nlines"\n\nCC,x\n'))
    assert rows.numbers.tolist() == [2, 5]
    assert read(file("SMILES Name\nC a\nCC b\n", "x.smi")).numbers.tolist() == [2, 3]
    assert read(file("C a\nCC b\n", "x.smi")).texts == ["C", "CC"]


def test_numbers_may_be_left_out_and_are_nothing_else(file):
    values = read(file("smiles,n\nC,\nC,NaN\nC, n/a \nC,-1e3\n"), columns=("n",)).columns["n"]
    assert np.isnan(values[:3]).all()
    assert values[3] == -1000
    for text, message in {
        "abc": "line 3, n is 'abc', which is no number",
        "1_0": "line 3, n is '1_0', which is no number",
        "-inf": "line 3, n is infinite",
    }.items():
        with pytest.raises(DataError, match=message):
            read(file(f"smiles,n\nC,1\nC,{text}\n"), columns=("n",))
        record = "\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n> <n>\n{}\n\n$$$$\n"
        sdf = record.format(1) + record.format(text)
        with pytest.raises(DataError, match=message.replace("line 3", "record 2")):
            read(file(sdf, "x.sdf"), columns=("n",))


@pytest.mark.parametrize("bom", [b"\xef\xbb\xbf", b""])
def test_text_is_utf_8_with_or_without_its_mark(bom, file):
    assert read(file(bom + "smiles,ä\nC,1\n".encode()), columns=("ä",)).texts == ["C"]


def test_marked_utf_16_is_read(file):
    assert read(file("smiles,n\nC,1\n".encode("utf-16"))).texts == ["C"]


TEXTS = {
    "latin-1": ("smiles,n\nC,1\nC,é\n".encode("latin-1"), "line 3 is not UTF-8 .byte 0xe9"),
    "half of utf-16": ("smiles\nCC\n".encode("utf-16")[:-1], "is not UTF-16"),
    "unmarked utf-16": ("smiles\nCC\n".encode("utf-16-le"), "line 1 has a NUL byte"),
    "NUL": (b"smiles\nC\0C\n", "line 2 has a NUL byte"),
    "nothing": (b"", "is empty"),
    "spaces": (b" \n \n", "is empty"),
    "a head only": (b"smiles,n\n", "holds no molecule"),
    "ragged": (b"smiles,n\nC,1\nC\n", "line 3 has 1 cells, but the first line has 2"),
    "long": (b"smiles,n\nC,1\nC,1,2\n", "line 3 has 3 cells"),
    "open quote": (b'smiles,n\nC,1\n"C,2\nC,3\n', "line 3 cannot be read"),
    "no such column": (b"smile,n\nC,1\n", "no column 'smiles': there are smile, n; did you mean"),
    "twice the column": (b"smiles,smiles\nC,C\n", "2 columns 'smiles'"),
    "no gzip": (b"smiles\nC\n", "is not compressed by gzip"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_damaged_table_is_refused_by_name_and_line(what, file):
    content, message = TEXTS[what]
    path = file(content, "x.csv.gz" if what == "no gzip" else "x.csv")
    with pytest.raises(DataError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named_with_the_one_that_may_be_meant(file):
    path = file("smiles\nC\n", "molecules.csv")
    with pytest.raises(DataError, match=r"no file .*molecule\.csv; did you mean 'molecules\.csv'"):
        read(path.with_name("molecule.csv"))
    with pytest.raises(DataError, match="there is no file"):
        read(path.parent / "nowhere" / "x.csv")
    with pytest.raises(DataError, match="none of the known kinds of file"):
        read(path.with_name("x.mol2"))


@pytest.mark.parametrize("suffix", [".csv.gz", ".smi.gz", ".sdf", ".json", ".parquet"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused(suffix, share, tmp_path, file):
    write(molecules(), tmp_path / f"x{suffix}")
    whole = (tmp_path / f"x{suffix}").read_bytes()
    with pytest.raises(DataError, match=r"x\.(\w|\.)+(: record \d+| cannot)"):
        read(file(whole[: int(len(whole) * share)], f"x{suffix}"))


def test_damage_in_the_middle_of_a_compressed_file_is_refused(tmp_path, file):
    raw = bytearray(gzip.compress(b"smiles\n" + b"CCO\n" * 1000))
    raw[len(raw) // 2] ^= 0xFF
    with pytest.raises(DataError, match="damaged or incomplete"):
        read(file(bytes(raw), "x.csv.gz"))


def test_compression_is_found_by_the_content(file):
    assert read(file(gzip.compress(b"smiles\nC\n"), "x.csv")).texts == ["C"]


def test_a_mol_file_is_a_single_record(file):
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    assert read_molecules(file(block, "x.sdf")).smiles.tolist() == ["CCO"]
    with pytest.raises(DataError, match="record 1 has no line M  END"):
        read(file("x\n\n\n$$$$\n", "x.sdf"))


def test_fields_of_an_sdf_file_are_columns_though_not_all_records_have_them(file):
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    text = f"{block}>  <a>  (1)\n1.5\n\n> 25 <b>\n2\n\n$$$$\n{block}> <b>\n3\n\n$$$$\n"
    rows = read(file(text, "x.sdf"), columns=("a", "b"))
    assert rows.columns["b"].tolist() == [2, 3]
    assert rows.columns["a"][0] == 1.5
    assert math.isnan(rows.columns["a"][1])
    with pytest.raises(DataError, match="no column 'c': there are a, b"):
        read(file(text, "x.sdf"), columns=("c",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "is no data set of this kind"),
        ('{"a": 1}', "is no data set of this kind"),
        ('{"molecules": [{"selfies": "[C]"}, {"tpsa": 1}]}', "record 2 of `molecules`"),
        ('{"tokenized_sequences": [[1, 3, 2]]}', "no `idx_to_token`"),
        ('{"tokenized_sequences": [[1, 9, 2]], "idx_to_token": {"3": "[C]"}}', "record 1 has an"),
        ('{"molecules": []}', "no `idx_to_token`"),
    ],
)
def test_json_of_another_kind_is_refused(content, message, file):
    with pytest.raises(DataError, match=message):
        read(file(content, "x.json"))


@pytest.mark.parametrize("suffix", [".smi", ".selfies"])
def test_lines_have_no_columns(suffix, file):
    with pytest.raises(DataError, match="no column 'n': it has none"):
        read(file("C\n", f"x{suffix}"), columns=("n",))


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        write(molecules(), tmp_path / "nowhere" / "x.csv")
    with pytest.raises(DataError, match="none of the known kinds"):
        write(molecules(), tmp_path / "x.pdb")


def test_real_molecules_come_back(real_data: Path, tmp_path):
    source = real_data / "molecules" / "chembl_cns_like_train.csv.gz"
    x = read_molecules(source, columns=("tpsa",))[slice(0, 300)]
    assert "" not in x.smiles.tolist()
    for suffix in SUFFIXES:
        write(x, tmp_path / f"x{suffix}")
        assert read_molecules(tmp_path / f"x{suffix}").smiles.tolist() == x.smiles.tolist()
