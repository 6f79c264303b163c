from itertools import pairwise

import numpy as np
import pytest
import selfies
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genmatter.domains.molecule import tokens
from genmatter.domains.molecule.config import MoleculeCVAEConfig
from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.represent import MoleculeBatch, MoleculeTokens
from genmatter.domains.molecule.tokens import BLANK, END, PAD, SPECIAL, START
from genmatter.errors import ConfigError, RepresentationError

SMILES = [
    "CN1CCC[C@H]1c1cccnc1", "CC(=O)Oc1ccccc1C(=O)O", "Cn1c(=O)c2c(ncn2C)n(C)c1=O", "CCO",
    "CC(C)Cc1ccc(C(C)C(=O)O)cc1", "CC(=O)Nc1ccc(O)cc1", "NCCc1ccc(O)c(O)c1", "C",
    "CN(C)CCCN1c2ccccc2CCc2ccccc21", "O=C(O)c1ccccc1O", "C1CCCCC1", "c1ccc2ccccc2c1",
]  # fmt: skip


@pytest.fixture
def molecules():
    from genmatter.domains.molecule.molecules import canonical

    return Molecules.of([canonical(s) for s in SMILES])


def config(**fields):
    return MoleculeCVAEConfig(**{"merges": 20, "predict": ()} | fields)


def slow(rows, size, count, least=2):
    """Byte-pair merges as their paper says them, one text after the other."""
    rows, pairs = [list(row) for row in rows], []
    while len(pairs) < count:
        counts = {}
        for row in rows:
            for pair in pairwise(row):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(counts, key=lambda p: (counts[p], [-k for k in p]), default=None)
        if best is None or counts[best] < least:
            break
        rows = [join(row, best, size + len(pairs)) for row in rows]
        pairs.append(best)
    return pairs, rows


def join(row, pair, new):
    found, k = [], 0
    while k < len(row):
        if tuple(row[k : k + 2]) == pair:
            found.append(new)
            k += 2
        else:
            found.append(row[k])
            k += 1
    return found


ROWS = st.lists(st.lists(st.integers(0, 2), max_size=12), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 12))
def test_merges_are_those_of_byte_pair_encoding(rows, count):
    pairs, merged = slow(rows, 3, count)
    found = tokens.learn(rows, 3, count)
    assert found == pairs
    assert [row.tolist() for row in tokens.merged(rows, 3, found)] == merged


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS)
def test_merging_is_undone_by_writing_the_pieces_out(rows, others):
    pairs = tokens.learn(rows, 3, 10)
    pieces = [(k,) for k in range(3)]
    for a, b in pairs:
        pieces.append(pieces[a] + pieces[b])
    for row, merged in zip(others, tokens.merged(others, 3, pairs), strict=True):
        assert [s for k in merged for s in pieces[k]] == row


def test_special_tokens_are_where_the_reference_has_them():
    assert (PAD, START, END, BLANK) == (0, 1, 2, 3)


@pytest.mark.parametrize("kind", ["merged", "symbols"])
def test_molecules_come_back(molecules, kind):
    it = MoleculeTokens.fit(molecules, config(tokens=kind))
    batch = it.encode(molecules)
    assert it.decode(batch).smiles.tolist() == molecules.smiles.tolist()
    assert ((batch.tokens == END).sum(1) == 1).all()
    assert (batch.tokens == PAD).equal(~batch.mask)
    assert it.longest == int(batch.sizes.max())


def test_merged_tokens_are_fewer_and_any_sequence_of_them_is_a_molecule(molecules):
    it, plain = (MoleculeTokens.fit(molecules, config(tokens=t)) for t in ("merged", "symbols"))
    assert it.encode(molecules).sizes.sum() < plain.encode(molecules).sizes.sum() * 0.7
    g = np.random.default_rng(0)
    rows = [g.integers(len(SPECIAL), it.size, 6) for _ in range(200)]
    found = it.decode(it.batch(rows, torch.zeros(200, 2)))
    assert sum(bool(s) for s in found.smiles) > 195


def test_properties_are_told_on_the_scale_of_the_data(molecules):
    it = MoleculeTokens.fit(molecules, config(conditions=("tpsa", "logp"), predict=("mw",)))
    batch = it.encode(molecules)
    assert batch.wanted.shape == (len(molecules), 2)
    torch.testing.assert_close(batch.properties.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.properties.std(0), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(batch.wanted, batch.properties[:, :2])


def test_a_model_can_be_told_what_no_report_shows(molecules):
    it = MoleculeTokens.fit(molecules, config(conditions=("bertz",)))
    assert it.encode(molecules).wanted.isfinite().all()


def test_columns_of_the_file_are_properties(molecules):
    known = torch.arange(len(molecules)).double()
    known[3] = torch.nan
    some = Molecules(molecules.smiles, {"affinity": known})
    it = MoleculeTokens.fit(some, config(conditions=("affinity",)))
    found = it.encode(some).wanted[:, 0]
    assert found.isnan().tolist() == known.isnan().tolist()
    back = found.double() * it.scales[0] + it.means[0]
    torch.testing.assert_close(back, known, atol=1e-5, rtol=1e-5, equal_nan=True)


def test_a_column_that_other_molecules_lack_is_unknown(molecules):
    known = torch.arange(len(molecules)).double()
    some = Molecules(molecules.smiles, {"PSA": known, "affinity": known})
    it = MoleculeTokens.fit(some, config(conditions=("affinity", "tpsa")))
    assert it.encode(some).wanted.isfinite().all()
    found = it.encode(molecules).wanted
    assert found[:, 0].isnan().all()
    assert found[:, 1].isfinite().all()


def test_a_symbol_that_no_training_molecule_has_is_refused_by_name(molecules):
    it = MoleculeTokens.fit(molecules, config())
    with pytest.raises(RepresentationError, match=r"C\[Si\].*\[Si\]|\[Si"):
        it.encode(Molecules.of(["C[SiH3]"]))


def test_what_is_no_molecule_is_a_sequence_that_ends_at_once(molecules):
    it = MoleculeTokens.fit(molecules, config())
    batch = it.encode(Molecules.of(["CCO", ""]))
    assert batch.tokens[1].tolist()[:2] == [END, PAD]
    assert it.decode(batch).smiles.tolist() == ["CCO", ""]


def test_such_a_symbol_becomes_a_blank_on_request(molecules):
    it = MoleculeTokens.fit(molecules, config(unknown="mask"))
    batch = it.encode(Molecules.of(["C[SiH3]"]))
    assert (batch.tokens == BLANK).sum() == 1
    assert it.decode(batch).smiles.tolist() == ["C"]


def test_a_prompt_knows_the_targets_alone(molecules):
    from dataclasses import replace

    c = config()
    it = MoleculeTokens.fit(molecules, c)
    asked = replace(c, sampling=replace(c.sampling, target=("tpsa=60",)))
    given = it.prompt(3, asked)
    assert len(given) == 3
    torch.testing.assert_close(
        given.wanted[:, 0] * it.scales[0] + it.means[0], torch.full((3,), 60.0)
    )
    assert given.wanted[:, 1].isnan().all()
    assert not given.mask.any()
    for text, word in (("tpsa", "NAME=NUMBER"), ("tpsa=low", "NAME=NUMBER"), ("qed=1", "qed")):
        wrong = replace(c, sampling=replace(c.sampling, target=(text,)))
        with pytest.raises(ConfigError, match=word):
            it.prompt(1, wrong)


def test_an_unknown_property_is_refused_with_what_may_be_meant(molecules):
    with pytest.raises(ConfigError, match="tpsa"):
        MoleculeTokens.fit(molecules, config(conditions=("tpsaa",)))


def test_reading_stops_at_the_end(molecules):
    it = MoleculeTokens.fit(molecules, config(tokens="symbols"))
    c = it.symbols.index("[C]") + len(SPECIAL)
    ids = torch.tensor([[c, END, c, c], [c, c, c, PAD], [END, c, c, c]])
    known = torch.zeros(3, 2)
    batch = MoleculeBatch(ids, ids != PAD, known, known, ids.new_zeros(3, 0, 0))
    assert it.decode(batch).smiles.tolist() == ["C", "CCC", ""]
    assert [selfies.len_selfies(t) for t in it.texts(batch)] == [1, 3, 0]
