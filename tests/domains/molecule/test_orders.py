import pytest
import selfies
import torch

from genmatter.domains.molecule import orders
from genmatter.domains.molecule.config import MoleculeCVAEConfig
from genmatter.domains.molecule.drugs import DRUGS
from genmatter.domains.molecule.molecules import Molecules, canonical
from genmatter.domains.molecule.reorder import reordered
from genmatter.domains.molecule.represent import MoleculeTokens
from genmatter.domains.molecule.shown import reordered as shown
from genmatter.domains.molecule.tokens import END, PAD

STEREO = [
    "CN1CC[C@]23c4c5ccc(O)c4O[C@H]2[C@@H](O)C=C[C@H]3[C@H]1C5",
    "CN1CCC[C@H]1c1cccnc1", "C[C@H](N)[C@@H](O)c1ccccc1", "C/C=C/C(=O)O", "C/C=C\\C(=O)O",
    "CNC1CC[C@@H](c2ccc(Cl)c(Cl)c2)c2ccccc21", "C[C@]12CC[C@H]3[C@@H](CCC4=CC(=O)CC[C@@]43C)"
    "[C@@H]1CC[C@@H]2O", "COC(=O)[C@H]1[C@@H](OC(=O)c2ccccc2)C[C@@H]2CC[C@H]1N2C",
]  # fmt: skip
ALL = [canonical(s) for s in [*list(DRUGS.values())[::5], *STEREO, "C", "[NH4+]"]]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def written():
    return reordered({"count": 6}, ALL)


def test_every_order_spells_the_same_molecule(written):
    for smiles, texts in zip(ALL, written, strict=True):
        assert len(texts) == 6
        assert {canonical(str(selfies.decoder(text))) for text in texts} == {smiles}


def test_orders_differ_where_a_molecule_has_several(written):
    several = [
        len({*texts}) for smiles, texts in zip(ALL, written, strict=True) if len(smiles) > 12
    ]
    assert min(several) >= 4
    assert written[ALL.index("C")] == ["[C]"] * 6


def test_orders_are_a_function_of_the_molecule_alone(written):
    assert reordered({"count": 6}, ALL[::-3]) == written[::-3]


def test_large_sets_have_fewer():
    assert orders.count(8, 100) == 8
    assert orders.count(8, 100_000) == 4
    assert orders.count(8, 10_000_000) == 0
    assert orders.count(0, 100) == 0
    assert orders.count(3, 0) == 3
    assert orders.orders(Molecules.of(["C", "CC"]), 0) == [[], []]


def test_what_is_kept_is_what_is_written_anew(written, cache, monkeypatch):
    x = Molecules.of(ALL)
    assert orders.orders(x, 6) == written
    assert not list(cache.iterdir())
    monkeypatch.setattr(orders, "FEW", 1)
    assert orders.orders(x, 6) == written
    with monkeypatch.context() as kept:
        kept.setattr(orders, "spread", None)
        assert orders.orders(x, 6) == written
    assert [len(row) for row in orders.orders(x, 5)] == [5] * len(x)
    assert orders.orders(x[1:], 6) == written[1:]


@pytest.fixture
def taught():
    x = Molecules.of(ALL)
    it = MoleculeTokens.fit(x, MoleculeCVAEConfig(merges=20, orders=4, predict=()))
    return x, it, it.teach(x)


def test_what_is_learned_from_is_the_molecule_in_each_order(taught):
    x, it, batch = taught
    assert batch.others.shape[:2] == (len(x), 4)
    assert batch.others.dtype == batch.tokens.dtype
    for k in range(4):
        tokens = batch.others[:, k]
        assert ((tokens == END).sum(1) == 1).all()
        copy = it.decode(batch.replace(tokens=tokens, mask=tokens != PAD))
        assert copy.smiles.tolist() == x.smiles.tolist()
    assert it.encode(x).others.shape == (len(x), 0, 0)
    assert batch.replace(others=it.encode(x).others).tokens.equal(it.encode(x).tokens)


def test_training_is_shown_the_same_from_memory_and_from_a_stream(taught):
    x, it, batch = taught
    rows = torch.tensor([3, 9, 9, 1, 20])
    streamed, resident = it.teach(x[rows]), batch[rows]
    for share in (0.5, 1.0):
        found = []
        for some in (streamed, resident):
            torch.manual_seed(5)
            found.append(shown(some, share))
        assert found[0][0].tokens.equal(found[1][0].tokens)
        assert found[0][0].mask.equal(found[1][0].mask)
        assert found[0][1].equal(found[1][1])


def test_training_shows_the_share_that_is_wanted(taught):
    x, _, batch = taught
    many = batch[torch.arange(4000) % len(x)]
    torch.manual_seed(0)
    found, same = shown(many, 0.7)
    assert (~same).float().mean().item() == pytest.approx(0.7, abs=0.03)
    width = found.tokens.shape[1]
    fit = lambda t: torch.nn.functional.pad(t, (0, 99), value=PAD)[..., :width]
    assert found.tokens[same].equal(fit(many.tokens)[same])
    alike = (found.tokens[:, None] == fit(many.others)).all(2)
    assert alike[~same].any(1).all()
    assert alike[~same].any(0).all()
    assert found.mask.equal(found.tokens != PAD)
    assert found.wanted.equal(many.wanted)
    assert shown(many, 1.0)[1].logical_not().all()
    assert shown(many, 0.0)[0].tokens.equal(many.tokens)


def test_what_has_no_other_order_is_shown_as_it_is(taught):
    x, it, _ = taught
    plain = it.encode(x)
    found, same = shown(plain, 1.0)
    assert found is plain
    assert same.all()
