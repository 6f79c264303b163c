"""Laws of what a SELFIES leaves open: against a plain reader of symbols, and RDKit's molecules."""

import numpy as np
import pytest
import selfies
import torch
from rdkit import Chem

from genmatter.domains.molecule import tokens
from genmatter.domains.molecule.following import Follower
from genmatter.domains.molecule.grammar import make
from genmatter.domains.molecule.openings import Openings
from genmatter.domains.molecule.reader import ANCESTORS, KINDS, WIDTH, Reader, follow
from genmatter.domains.molecule.smiles import canonical
from genmatter.domains.molecule.syntax import Grammar

TEXTS = [
    selfies.encoder(canonical(s))
    for s in (
        *make(40, 3), "CC(C)(C)c1ccc2c(c1)C1CC2C(=O)N1", "C1CC2(C1)CCC1(CC2)OCCO1", "CS(=O)(=O)F",
        "N#CC(C#N)=C(O)c1ccccc1", "C[N+](C)(C)CC([O-])=O", "FC(F)(F)C(Cl)(Br)I", "C",
    )
]  # fmt: skip
ROWS = [list(selfies.split_selfies(text)) for text in TEXTS]
NAMES = sorted({s for row in ROWS for s in row})
PAIRS = tokens.learn([[NAMES.index(s) + 4 for s in row] for row in ROWS], 4 + len(NAMES), 60)

WHAT = ("left", "bonds", "awaited", "digits", "back", "kinds")


def padded(rows):
    found = np.zeros((len(rows), max(map(len, rows))), dtype=int)
    for k, row in enumerate(rows):
        found[k, : len(row)] = row
    return found


@pytest.fixture(scope="module")
def single():
    pieces = tokens.pieces(NAMES, [])
    return Grammar(pieces), padded([[NAMES.index(s) + 4 for s in row] for row in ROWS]), pieces


@pytest.fixture(scope="module")
def merged():
    pieces = tokens.pieces(NAMES, PAIRS)
    rows = [[NAMES.index(s) + 4 for s in row] for row in ROWS]
    written = tokens.merged(rows, 4 + len(NAMES), PAIRS)
    return Grammar(pieces), padded([row.tolist() for row in written]), pieces


def open_branches(symbols):
    """Yields the ends of the branches that are open behind each symbol, the outermost first."""
    ends, awaited, digits, branch = [], 0, [], False
    for at, symbol in enumerate(symbols):
        if awaited:
            digits.append(symbol)
            awaited -= 1
            if not awaited and branch:
                ends.append(at + 1 + selfies.grammar_rules.get_index_from_selfies(*digits) + 1)
        elif "Branch" in symbol or "Ring" in symbol:
            branch, digits, awaited = "Branch" in symbol, [], int(symbol[-2])
        if not awaited:
            ends = [end for end in ends if end > at + 1]
        yield [end - at - 1 for end in ends]


def test_branches_run_for_as_long_as_they_said(single):
    grammar, rows, _ = single
    left = follow(grammar, rows).left
    for k, row in enumerate(ROWS):
        for at, ends in enumerate(open_branches(row)):
            inner, outer = ([0, 0, *ends][-1], [0, 0, *ends][-2])
            assert left[k, at].tolist() == [inner, outer], (row, at)
        assert (left[k, len(row) - 1] == 0).all()


def test_bonds_to_spare_are_hydrogens_of_the_molecule(single):
    grammar, rows, _ = single
    reader = Reader(grammar, np.zeros((len(rows), WIDTH), np.int16))
    for column in grammar.symbols[rows].transpose(1, 2, 0).reshape(-1, len(rows)):
        reader.read(column)
    counted = 0
    for k, text in enumerate(TEXTS):
        mol = Chem.MolFromSmiles(selfies.decoder(text))
        assert reader.atoms[k] == mol.GetNumAtoms()
        for atom in mol.GetAtoms():
            if atom.GetSymbol() in "CNOF" and not atom.GetFormalCharge():
                implicit = atom.GetTotalNumHs() - atom.GetNumExplicitHs()
                assert reader.spare[k, atom.GetIdx()] == implicit
                counted += 1
    assert counted > 500


def test_the_way_back_is_a_path_of_bonds_and_rings_close_along_it(single):
    grammar, rows, _ = single
    states, closed = follow(grammar, rows), 0
    for k, row in enumerate(ROWS):
        mol = Chem.MolFromSmiles(selfies.decoder(TEXTS[k]))
        atoms = -1
        for at, symbol in enumerate(row):
            number = at and states.awaited[k, at - 1]
            atoms += not number and "Branch" not in symbol and "Ring" not in symbol
            back = states.back[k, at]
            if number == -1:  # the last digit of how far back a ring closes
                far = (
                    states.digits[k, at - 1] * 16 + grammar.digit[grammar.symbols[rows[k, at], 0]]
                )
                open_ = states.back[k, at - 1].tolist()
                assert far + 1 in open_
                assert mol.GetBondBetweenAtoms(atoms, atoms - int(far) - 1) is not None
                closed += 1
            assert back.max() < max(atoms + 1, 1)
    assert closed > 80


def told_of(kind):
    """Takes a kind apart: sort, neighbours, hydrogens, those that are not carbon, rings."""
    return [*np.unravel_index(kind % KINDS, (5, 5, 3, 3))]


def test_kinds_say_what_rdkit_says_of_atoms(single):
    """Of rings, that an atom is in one; flat ones are aromatic, but for a few."""
    grammar, rows, _ = single
    kinds, aromatic, flat = follow(grammar, rows).kinds[:, -1], [], []
    for k, text in enumerate(TEXTS):
        mol = Chem.MolFromSmiles(selfies.decoder(text))
        assert (kinds[k] >= 0).sum() == mol.GetNumAtoms()
        for atom, kind in zip(mol.GetAtoms(), kinds[k].tolist(), strict=False):
            others = sum(a.GetSymbol() != "C" for a in atom.GetNeighbors())
            neighbours, hydrogens, found, ring = told_of(kind)
            assert grammar.sorts[kind // KINDS].startswith(atom.GetSymbol())
            assert (neighbours, found) == (min(atom.GetDegree(), 4), min(others, 2))
            if atom.GetSymbol() in "CNOF" and not atom.GetFormalCharge():
                assert hydrogens == atom.GetTotalNumHs() - atom.GetNumExplicitHs()
            assert (ring > 0) == atom.IsInRing()
            aromatic.append(atom.GetIsAromatic())
            flat.append(ring == 2)
    agree = np.equal(aromatic, flat)
    assert agree.mean() > 0.98
    assert 0.2 < np.mean(flat) < 0.8


def test_merged_tokens_leave_open_what_their_symbols_do(single, merged):
    one, rows, _ = single
    several, tokens_, _ = merged
    each, whole = follow(one, rows), follow(several, tokens_)
    for k in range(len(ROWS)):
        ends = several.length[tokens_[k]].cumsum() - 1
        for place, end in enumerate(ends):
            if tokens_[k, place]:
                for what in WHAT:
                    expected = getattr(each, what)[k, end]
                    np.testing.assert_array_equal(getattr(whole, what)[k, place], expected)


def test_step_by_step_is_as_at_once_and_rows_may_be_left_out(merged):
    grammar, rows, _ = merged
    follower = Follower(grammar)
    whole = follower.follow(torch.from_numpy(rows))
    memory, kept = follower.begin(len(rows), torch.device("cpu")), torch.arange(len(rows))
    for place in range(rows.shape[1]):
        if place == 3:
            kept = kept[::2].flip(0)
            memory = memory[::2].flip(0)
        seen, memory = follower.read(torch.from_numpy(rows)[kept, place], memory)
        for what in WHAT[:-1]:
            assert getattr(seen, what).equal(getattr(whole, what)[kept, place])
        atoms = whole.kinds.shape[-1]
        assert seen.kinds[:, :atoms].equal(whole.kinds[kept, place])
        assert (seen.kinds[:, atoms:] == -1).all()
    assert grammar.length[0] == 0


def closes(text, token, pieces):
    """Returns the number by which a ring is judged that a token would close behind a text."""
    grammar = Grammar(pieces)
    numbers = [pieces.index((s,)) for s in selfies.split_selfies(text)]
    seen = Follower(grammar).follow(torch.tensor([numbers]))
    net = Openings(grammar, 4)
    return int(net.sizes(seen)[0, -1, pieces.index(token)])


BITS = [
    (s,) for s in ("[C]", "[=C]", "[Ring1]", "[=Branch1]", "[Branch1]", "[O]", "[F]", "[Ring2]")
]
RINGS = [
    ("[Ring1]", "[=Branch1]"), ("[=C]", "[Ring1]", "[=Branch1]"), ("[Ring2]", "[Ring1]", "[C]"),
]  # fmt: skip
PIECES = [(), *BITS, *RINGS]


def test_a_ring_is_judged_by_its_size_wherever_its_atoms_were_written():
    """Seven: one more than the atoms of the ring."""
    benzene = "[C][=C][C][=C][C][=C]"
    assert closes(benzene, RINGS[0], PIECES) == 7
    assert closes("[C][=C][C][=C][C]", RINGS[1], PIECES) == 7
    assert closes(benzene + "[Ring1]", ("[=Branch1]",), PIECES) == 7
    assert closes("[O]" + benzene, RINGS[0], PIECES) == 7
    methyl = "[C][=C][C][Branch1][C][O][=C][C][=C]"
    assert closes(methyl, RINGS[0], PIECES) == 6  # of which one atom is no part
    assert closes(methyl + "[Ring1]", ("[=Branch1]",), PIECES) == 6
    assert closes(methyl + "[Ring1]", ("[Branch1]",), PIECES) == 1  # to what has no bond to spare
    assert closes("[C][C][C][Branch1][C][F][C][C]", RINGS[0], PIECES) == 6


def test_what_closes_no_ring_is_not_judged():
    assert closes("[C][=C][C]", ("[C]",), PIECES) == 0
    assert closes("[C][=C][C]", RINGS[0], PIECES) == 1  # there is no atom so far back
    assert closes("[C][Branch1][C][F][C][C][C][C]", RINGS[0], PIECES) == 6
    assert closes("[F][C][C][C][C][C]", RINGS[0], PIECES) == 1  # it has no bond to spare
    far = "[C]" * (ANCESTORS + 3)
    assert closes(far, RINGS[2], PIECES) == ANCESTORS - 1


def test_rings_of_one_size_gain_alike_and_gradients_reach_who_judges():
    grammar = Grammar(PIECES)
    net = Openings(grammar, 6)
    numbers = torch.tensor(
        [[PIECES.index((s,)) for s in selfies.split_selfies("[C][=C][C][=C][C]")]]
    )
    hidden = torch.randn(1, 5, 6)
    gained = net.rings(hidden, Follower(grammar).follow(numbers))[0, -1]
    scores = net.judge(hidden)[0, -1]
    torch.testing.assert_close(gained[PIECES.index(RINGS[1])], scores[7])
    torch.testing.assert_close(gained[PIECES.index(RINGS[0])], scores[1])
    assert gained[PIECES.index(("[C]",))] == 0
    gained.sum().backward()
    assert net.judge.weight.grad.abs().sum() > 0
