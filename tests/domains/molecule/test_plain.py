"""The plain model that ours is timed against is what the reference describes."""

import random
from itertools import pairwise

import selfies
import torch

from benchmarks import plain_molecule
from benchmarks.plain_molecule import PlainCVAE
from genmatter.domains.molecule import tokens
from genmatter.domains.molecule.parts import fingerprints, parts, tanimoto

SMILES = ["CN1CCCC1c1cccnc1", "CC(=O)Oc1ccccc1C(=O)O", "CCO", "CC(C)Cc1ccc(C(C)C(=O)O)cc1"] * 3


def test_it_has_the_size_of_the_reference():
    count = sum(p.numel() for p in PlainCVAE(95).parameters())
    assert abs(count / 2.06e6 - 1) < 0.01


def test_the_loop_over_true_symbols_is_the_lstm_over_all_of_them():
    torch.manual_seed(0)
    model = PlainCVAE(20).eval()
    x, z, tpsa = torch.randint(20, (3, 7)), torch.randn(3, 128), torch.randn(3)
    before = torch.cat([torch.full((3, 1), plain_molecule.START), x[:, :-1]], 1)
    told = torch.cat([z, tpsa[:, None]], -1)[:, None].expand(-1, 7, -1)
    whole = model.out(model.decoder(torch.cat([model.embed(before), told], -1))[0])
    torch.testing.assert_close(model.decode(x, z, tpsa, 1.0), whole)
    random.seed(0)
    assert not torch.allclose(model.decode(x, z, tpsa, 0.0), whole)


def test_rows_end_where_molecules_do():
    texts = [selfies.encoder(s) for s in SMILES]
    x, count = plain_molecule.rows(texts)
    assert x.shape == (len(texts), plain_molecule.LENGTH)
    assert int(x.max()) == count - 1
    ends = (x == plain_molecule.END).int().argmax(1).tolist()
    assert ends == [selfies.len_selfies(s) for s in texts]


def test_both_ways_to_write_merges_agree():
    texts = [list(selfies.split_selfies(selfies.encoder(s))) for s in SMILES]
    pairs = plain_molecule.learn_pairs(texts, 6)
    names = sorted({s for text in texts for s in text})
    size, ids = len(names), [[names.index(s) for s in text] for text in texts]
    most = tokens.Flat.of(ids).most_frequent(size)[1]
    assert most == sum(pair == pairs[0] for text in texts for pair in pairwise(text))
    numbers = []
    for a, b in pairs:
        numbers.append((names.index(a), names.index(b)))
        names.append(a + b)
    ours = tokens.merged(ids, size, numbers)
    plain = plain_molecule.write_pairs(texts, pairs)
    assert [[names[k] for k in row] for row in ours] == [[*row] for row in plain]
    assert sum(map(len, plain)) < sum(map(len, texts))


def test_both_ways_to_compare_agree():
    near, diverse = plain_molecule.nearest(*map(plain_molecule.morgan, (SMILES[:2], SMILES[2:4])))
    a, b = (fingerprints(parts(x)) for x in (SMILES[:2], SMILES[2:4]))
    (across,), (within,) = tanimoto(a, b), tanimoto(a, a)
    assert abs(near - float(across.amax(1).mean())) < 1e-6
    assert abs(diverse - 1 + float(within.mean())) < 1e-6
