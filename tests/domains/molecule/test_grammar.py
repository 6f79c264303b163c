import dataclasses
import os
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import selfies
from rdkit import Chem
from rdkit.Chem import BRICS
from rdkit.Chem.Crippen import MolLogP
from rdkit.Chem.Descriptors import MolWt
from rdkit.Chem.rdMolDescriptors import CalcTPSA

from genmatter.domains.molecule import grammar
from genmatter.domains.molecule.drugs import DRUGS
from genmatter.domains.molecule.grammar import Grammar, Weighted, cns_like, make, sound
from genmatter.domains.molecule.molecules import canonical
from genmatter.domains.molecule.pieces import Piece, bond_labels, flat, pieces
from genmatter.domains.molecule.sascore import synthetic_accessibility
from genmatter.errors import DataError

TABLE = {
    frozenset(int(end.rstrip("ab")) for end in (a, b))
    for group in BRICS.reactionDefs
    for a, b, _ in group
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def drugs():
    return Grammar.of(DRUGS.values())


@pytest.fixture(scope="module")
def drawn(drugs):
    return drugs.draw(300, 5, cns_like)


def grown(drugs, n):
    stream = random.Random("grown")
    return [s for s in (drugs.grow(stream) for _ in range(n)) if s]


def test_pieces_are_joined_by_ring_closures():
    aniline = Piece("c1*ccccc1", (16,), 77.1), Piece("N*C", (5,), 30.05)
    text = ".".join(piece.written(["-%10"]) for piece in aniline)
    assert text == "c1-%10ccccc1.N-%10C"
    assert canonical(text) == "CNc1ccccc1"


@pytest.mark.parametrize("name", ["amitriptyline", "aripiprazole", "moclobemide", "piperine"])
def test_pieces_and_cut_bonds_hold_all_of_a_molecule(name):
    (mol,) = flat([DRUGS[name]])
    cut = list(pieces(mol))
    ends = Counter(label for piece in cut for label in piece.labels)
    assert ends == Counter(label for bond in bond_labels(mol) for label in bond)
    assert sum(piece.mass for piece in cut) == pytest.approx(MolWt(mol), abs=1e-2)
    assert all(piece.text.count("*") == len(piece.labels) for piece in cut)


def test_stereo_centres_are_forgotten_and_what_is_no_molecule_left_out():
    (mol,) = flat(["", "C[C@H](N)C(=O)O", "nonsense"])
    assert Chem.MolToSmiles(mol) == "CC(N)C(=O)O"


def test_things_are_drawn_as_often_as_powers_of_their_counts():
    weighted, stream = Weighted.of({"a": 1, "b": 4, "c": 0}, 0.5), random.Random(0)
    found = Counter(weighted.draw(stream) for _ in range(6000))
    assert set(found) == {"a", "b"}
    assert found["b"] / found["a"] == pytest.approx(2, rel=0.1)


def test_bonds_are_made_by_the_table(drugs):
    known = {end for ends in drugs.ends.values() for end in ends.things}
    assert {a: set(e.things) for a, e in drugs.ends.items()} == {
        label: {(p, k) for p, k in known if p.labels[k] == label} for label in drugs.ends
    }
    joined = [{a, b} for a, others in drugs.partners.items() for b in others.things]
    assert len(joined) > 50
    assert all(pair in TABLE for pair in joined)


def test_what_is_grown_comes_apart_into_pieces_of_the_grammar(drugs):
    known, joints, whole, mols = set(drugs.pieces.things), 0, 0, 0
    found: list[tuple[int, int]] = []
    for text in grown(drugs, 600):
        mol = Chem.MolFromSmiles(text)
        if mol is not None:
            mols += 1
            joints += text.count("%") // 2
            found += bond_labels(mol)
            whole += set(pieces(mol)) <= known
    assert mols > 100
    # a neighbour that is joined can take a bond out of the rules, or bring one into them
    assert len(found) == pytest.approx(joints, rel=0.05)
    assert (7, 7) in found  # double bonds are joined as such
    assert whole > 0.8 * mols


def test_light_molecules_are_refused_and_heavy_ones_given_up(drugs):
    masses = [MolWt(m) for m in map(Chem.MolFromSmiles, grown(drugs, 2000)) if m]
    assert max(masses) <= drugs.heaviest + 0.1
    light = np.array(masses) < drugs.typical
    assert 0.05 < light.mean() < 0.5
    anything = dataclasses.replace(drugs, typical=0.0)
    others = [MolWt(m) for m in map(Chem.MolFromSmiles, grown(anything, 500)) if m]
    assert np.mean(others) < np.mean(masses) - 50


def test_molecules_are_different_canonical_and_hold_to_what_is_kept(drawn):
    assert len(set(drawn)) == 300
    for smiles in drawn:
        mol = Chem.MolFromSmiles(smiles)
        assert canonical(smiles) == smiles
        assert canonical(selfies.decoder(selfies.encoder(smiles))) == smiles
        assert 150 <= MolWt(mol) <= 450
        assert CalcTPSA(mol) <= 90
        assert 0.5 <= MolLogP(mol) <= 5
        assert synthetic_accessibility(mol) <= 3.3


def test_what_is_asked_for_is_the_beginning_of_one_sequence(drugs, drawn):
    assert drugs.draw(60, 5, cns_like) == drawn[:60]
    other = drugs.draw(60, 6, cns_like)
    assert len(set(other) & set(drawn)) < 30
    assert drugs.draw(0, 5) == []


def test_molecules_that_selfies_cannot_write_are_not_sound():
    assert sound("CCO")
    assert not sound("OCC")  # not canonical
    assert not sound("CS(F)(F)(F)(F)(F)(F)C")


def test_a_grammar_that_makes_too_few_says_so(monkeypatch):
    monkeypatch.setattr(grammar, "_PATIENCE", 2)
    few = Grammar.of(["CCNc1ccccc1", "c1ccccc1"])
    with pytest.raises(DataError, match=r"50 different .* only \d+"):
        few.draw(50, 0)
    with pytest.raises(DataError, match="there are none"):
        Grammar.of(["", "nonsense"])


def test_a_condition_is_asked_of_each(drugs):
    fluorinated = drugs.draw(20, 1, lambda m: any(a.GetAtomicNum() == 9 for a in m.GetAtoms()))
    assert all("F" in s for s in fluorinated)


def test_processes_make_what_one_makes(drugs, drawn, monkeypatch):
    monkeypatch.setattr(grammar, "_WORTH", 100)
    monkeypatch.setattr(grammar, "processors", lambda: 2)
    monkeypatch.setattr(grammar, "cns_like", None)  # which other processes have
    assert make(200, 5) == drawn[:200]


def test_work_of_a_process_that_fails_is_done_here(drawn, monkeypatch):
    monkeypatch.setattr(grammar, "_WORTH", 100)
    monkeypatch.setattr(grammar, "processors", lambda: 2)
    monkeypatch.setattr(sys, "executable", "false")
    assert make(200, 5) == drawn[:200]


def test_another_interpreter_makes_the_same(drawn, tmp_path):
    code = "from genmatter.domains.molecule.grammar import make; print(*make(40, 5), sep='\\n')"
    env = os.environ | {
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "GENMATTER_CACHE": str(tmp_path / "other"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == drawn[:40]


def test_what_is_kept_is_what_was_made_and_is_verified(tmp_path, monkeypatch):
    made = make(30, 1)
    (file,) = (tmp_path / "molecules").iterdir()
    whole = file.read_bytes()
    never = lambda *_: pytest.fail("made again")
    for damage in (b"", whole[:-5], whole[:40] + bytes([whole[40] ^ 0xFF]) + whole[41:]):
        with monkeypatch.context() as kept:
            kept.setattr(grammar, "_first", never)
            assert make(30, 1) == made
        file.write_bytes(damage)
        assert make(30, 1) == made
        assert file.read_bytes() == whole
    assert make(20, 1) == made[:20]
    assert make(30, 2) != made
    assert len(list(file.parent.iterdir())) == 3


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("GENMATTER_CACHE", str(blocked))
    assert len(make(10, 0)) == 10
