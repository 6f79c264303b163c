import json
import subprocess
import sys
import time

import numpy as np
import pytest
import selfies
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase

from genmatter.domains.molecule import standard
from genmatter.domains.molecule.config import MoleculeDataConfig
from genmatter.domains.molecule.molecules import canonical
from genmatter.domains.molecule.prepare import prepare
from genmatter.domains.molecule.prepared import Prepared
from genmatter.domains.molecule.rows import Rows
from genmatter.domains.molecule.smiles import no_log, parsed
from genmatter.errors import ConfigError, DataError
from genmatter.loading import parallel

ANY = MoleculeDataConfig()
ALPHABET = sorted(selfies.get_semantic_robust_alphabet())


def one(text, notation="smiles", **told):
    """Returns what becomes of a molecule beside another one: its SMILES, or why it is out."""
    rows = Rows([text, "[C]" * 9 if notation == "selfies" else "CCCCCCCCC"], np.array([1, 2]))
    rows = Rows(rows.texts, rows.numbers, notation=notation)
    found = prepare(rows, MoleculeDataConfig(**told))
    return found.dropped[0].reason if found.dropped else found.molecules.smiles[0]


@settings(max_examples=100, deadline=None)
@given(
    symbols=st.lists(st.lists(st.sampled_from(ALPHABET), max_size=20), min_size=1, max_size=6),
    stereo=st.booleans(),
    neutralise=st.booleans(),
)
def test_a_prepared_molecule_is_the_same_again_and_so_is_its_selfies(symbols, stereo, neutralise):
    texts = ["C", *(selfies.decoder("".join(row)) for row in symbols)]
    told = MoleculeDataConfig(stereo=stereo, neutralise=neutralise)
    found = prepare(Rows.of(texts), told)
    x = found.molecules
    for s, written in zip(x.smiles, x.selfies, strict=True):
        assert canonical(s) == s
        assert canonical(selfies.decoder(written)) == s
        assert selfies.encoder(s) == written
        assert "." not in s
    assert len({*x.smiles}) == len(x)
    assert found.counts["read"] == len(texts) == len(x) + len(found.dropped)
    again = prepare(Rows.of(x.smiles.tolist()), told)
    assert again.molecules.smiles.tolist() == x.smiles.tolist()
    assert not again.dropped
    assert (again.stripped, again.neutralised) == (0, 0)


def test_the_largest_organic_part_of_a_salt_is_kept():
    assert one("[Na+].[O-]C(=O)CC") == "CCC(=O)[O-]"
    assert one("CCN.OS(=O)(=O)O") == "CCN"  # more atoms, but no carbon
    assert one("CCO.CCCO.CC") == "CCCO"
    assert one("O.OO") == "OO"
    found = prepare(Rows.of(["CCN.Cl", "CCN", "CCO.O", "C"]), ANY)
    assert found.molecules.smiles.tolist() == ["CCN", "CCO", "C"]
    assert found.stripped == 2


def test_ties_between_parts_do_not_depend_on_their_order():
    assert one("CCO.CCN") == one("CCN.CCO") == "CCO"


def test_charges_go_only_where_that_is_wanted():
    assert one("CC(=O)[O-].[Na+]") == "CC(=O)[O-]"
    assert one("CC(=O)[O-].[Na+]", neutralise=True) == "CC(=O)O"
    assert one("C[N+](C)(C)C", neutralise=True) == "C[N+](C)(C)C"
    rows = Rows.of(["CC(=O)[O-]", "CCN", "C[N+](C)(C)C"])
    assert prepare(rows, MoleculeDataConfig(neutralise=True)).neutralised == 1


def test_stereo_goes_only_where_that_is_wanted():
    pair = Rows.of(["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", r"C/C=C\C", "C/C=C/C"])
    assert len(prepare(pair, ANY).molecules) == 4
    found = prepare(pair, MoleculeDataConfig(stereo=False))
    assert found.molecules.smiles.tolist() == ["CC(N)C(=O)O", "CC=CC"]
    assert [(row.line, row.reason) for row in found.dropped] == [
        (2, "repeated: same as line 1"),
        (4, "repeated: same as line 3"),
    ]


def test_the_first_of_equal_molecules_stays_with_its_numbers():
    rows = Rows(["OCC", "C", "CCO"], np.array([5, 6, 9]), {"x": np.array([1.0, 2, 3])})
    found = prepare(rows, ANY)
    assert found.molecules.smiles.tolist() == ["CCO", "C"]
    assert found.molecules.columns["x"].tolist() == [1, 2]
    assert found.lines.tolist() == [5, 6]
    assert found.dropped == [(9, "CCO", "repeated: same as line 5")]


def test_numbers_of_atoms_in_a_reaction_are_no_part_of_a_molecule():
    assert one("[CH3:1][OH:2]") == "CO"


REASONS = {
    "": "empty",
    "  ": "empty",
    "C1CC": "no molecule: unclosed ring",
    "CC(": "no molecule: syntax error near character 3",
    "c1cccc1": "no molecule: Can't kekulize mol.  Unkekulized atoms: 0 1 2 3 4",
    "C(C)(C)(C)(C)C": "no molecule: Explicit valence for atom # 0 C, 5, is greater than permitted",
    "hello": "no molecule: syntax error near character 1",
    "é": "no molecule: syntax error near character 1",
    "*C": "atom of no element: * or a query",
    "O=I(=O)c1ccccc1": "no SELFIES:",
    "C" * 101: "too large: 101 heavy atoms, of at most 100",
    "C" * 10_000: "too large: 10000 heavy atoms, of at most 100",
    "O" * 100_000: "too large: 100000 heavy atoms, of at most 100",
}


@pytest.mark.parametrize("text", REASONS, ids=lambda text: text[:20])
def test_what_is_left_out_is_said_with_its_reason(text, capfd):
    assert one(text).startswith(REASONS[text])
    assert capfd.readouterr() == ("", "")


def test_logs_are_as_they_were_before_a_bad_text():
    before = rdBase.LogStatus()
    with no_log(), pytest.raises(ValueError, match="syntax error"):
        parsed("C1CC(")
    assert rdBase.LogStatus() == before


def test_filters_leave_out_and_never_cut():
    assert one("CCSi") == "no molecule: syntax error near character 4"
    assert one("CCO", elements=("C", "N")) == "other element: O"
    assert one("[2H]CN", elements=("C", "N")) == "[2H]CN"
    assert one("CCO", max_atoms=9) == "CCO"
    assert one("C" * 10, max_atoms=9) == "too large: 10 heavy atoms, of at most 9"
    assert one("C" * 10, max_length=9) == "too long: 10 SELFIES symbols, of at most 9"
    assert one("CC[2H].[Na+].O", max_atoms=9) == "[2H]CC"  # parts are measured one by one


def test_a_giant_costs_no_time():
    start = time.process_time()
    for text in ("C" * 10**6, "C1CC1" * 10**5, "[C]" * 10**5):
        assert one(text, max_atoms=100).startswith("too large")
    assert one("[C]" * 10**5, notation="selfies").startswith("too large")
    assert time.process_time() - start < 2


def test_molecules_that_change_as_selfies_are_left_out(monkeypatch):
    monkeypatch.setattr(standard, "decoded", lambda text: "CC" if text == "[C][O]" else "C" * 9)
    assert one("CO") == "changes when written as SELFIES"


def test_an_error_of_a_library_is_a_reason(monkeypatch):
    def stumble(smiles):
        if smiles == "CO":
            raise RuntimeError("Pre-condition\nViolation")
        return "[C]" * 9

    monkeypatch.setattr(selfies, "encoder", stumble)
    assert one("CO") == "cannot be handled: RuntimeError Pre-condition Violation"


def test_a_smiles_that_never_settles_is_left_out(monkeypatch):
    monkeypatch.setattr(standard, "canonical", lambda s: s + "C" if "O" in s else s)
    assert one("OC").startswith("no canonical SMILES")


def test_selfies_and_records_are_read_as_molecules():
    assert one("[C][C][O]", notation="selfies") == "CCO"
    assert one("[C][nothing]", notation="selfies").startswith("no molecule: ")
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    # five bonds at one carbon
    wrong = Chem.MolToMolBlock(
        Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False), kekulize=False
    )
    rows = Rows([block, "no record", wrong], np.arange(1, 4), notation="mol", unit="record")
    found = prepare(rows, ANY)
    assert found.molecules.smiles.tolist() == ["CCO"]
    assert [row.reason for row in found.dropped] == [
        "no molecule: the record cannot be read",
        "no molecule: Explicit valence for atom # 0 C, 5, is greater than permitted",
    ]


def test_where_nothing_is_left_the_reasons_are_counted():
    rows = Rows.of(["*C", "C1CC", "C(", "c1cccc1", "C)", ""])
    with pytest.raises(DataError) as error:
        prepare(rows, ANY)
    assert str(error.value) == (
        "none of 6 rows is a molecule that can be used: atom of no element: 1 (line 1); "
        "no molecule: 4 (lines 2, 3, 4 ...); empty: 1 (line 6)"
    )


def test_a_column_without_numbers_is_refused():
    rows = Rows(["C", "(", "CC"], np.arange(1, 4), {"x": np.array([np.nan, 1, np.nan])})
    with pytest.raises(DataError, match="the column 'x' has no number of any molecule"):
        prepare(rows, ANY)


@pytest.mark.parametrize(
    "told",
    [{"elements": ("C", "Xx")}, {"max_atoms": 0}, {"max_length": -1}, {"elements": ("cl",)}],
)
def test_what_cannot_be_meant_is_refused(told):
    with pytest.raises(ConfigError, match=r"there is no element|cannot be"):
        prepare(Rows.of(["C"]), MoleculeDataConfig(**told))


def many(n):
    """Chains with a ring, broken texts, salts and repeats."""
    return [
        "C" * (k % 7) + "N" * (k % 5) + ("c1ccccc1", "C1CC", "O.Cl", "C(=O)[O-]")[k % 4]
        for k in range(n)
    ]


def test_results_do_not_depend_on_how_many_processes_compute(monkeypatch):
    monkeypatch.setattr(parallel, "PART", 30)
    rows = Rows.of(many(200))
    told = MoleculeDataConfig(neutralise=True, elements=("C", "N", "O"))
    alone, three = prepare(rows, told, 1), prepare(rows, told, 3)
    assert alone.table().equals(three.table(), check_metadata=True)
    assert alone.stripped
    assert alone.neutralised


def test_processes_start_where_the_caller_has_no_main_guard(tmp_path):
    """A script that calls us at its top level is not run again by each process."""
    script = tmp_path / "script.py"
    script.write_text(
        "from genmatter.domains.molecule.config import MoleculeDataConfig\n"
        "from genmatter.domains.molecule.prepare import prepare\n"
        "from genmatter.domains.molecule.rows import Rows\n"
        "found = prepare(Rows.of(['C', 'CC', 'C(']), MoleculeDataConfig(), 2)\n"
        "print(found.counts['kept'])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_what_is_prepared_comes_back_from_a_table():
    rows = Rows(many(40), np.arange(2, 42), {"x": np.arange(40.0)}, unit="record")
    found = prepare(rows, ANY)
    again = Prepared.of(found.table())
    assert again.table().equals(found.table(), check_metadata=True)
    assert again.counts == found.counts
    assert again.dropped == found.dropped
    assert again.unit == "record"
    assert again.molecules.selfies == found.molecules.selfies
    assert json.dumps(again.molecules.columns["x"].tolist())
