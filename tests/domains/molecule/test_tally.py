"""Laws of the tally: it leaves nothing of what is a sum over atoms, and counts as they are."""

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem.Descriptors import MolWt
from rdkit.Chem.rdMolDescriptors import CalcTPSA
from torch import nn

from genmatter.domains.molecule.config import MoleculeCVAEConfig
from genmatter.domains.molecule.following import Follower
from genmatter.domains.molecule.grammar import make
from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.network import TokenDecoder
from genmatter.domains.molecule.openings import Openings
from genmatter.domains.molecule.orders import orders
from genmatter.domains.molecule.represent import MoleculeTokens
from genmatter.domains.molecule.sequences import before
from genmatter.domains.molecule.syntax import Grammar
from genmatter.domains.molecule.tally import Tally
from genmatter.domains.molecule.tokens import END

KNOWN = {"tpsa": CalcTPSA, "mw": MolWt}
CONFIG = MoleculeCVAEConfig(merges=60, conditions=("tpsa", "mw"), predict=(), unknown="mask")


def of(smiles):
    return Molecules(np.array(smiles, dtype=object))


@pytest.fixture(scope="module")
def some():
    """Representation, tally, and molecules that it was not fitted to."""
    objects = of(make(1500, 5))
    representation = MoleculeTokens.fit(objects[:1200], CONFIG)
    tally = Tally(Follower(Grammar(representation.pieces)), 2)
    tally.fit(representation.encode(objects[k : k + 400]) for k in range(0, 1200, 400))
    return representation, tally, objects[1200:]


def finally_left(tally, batch):
    """What is left behind the last token."""
    kinds = tally.follower.follow(batch.tokens.long()).kinds[:, -1]
    return tally.left(batch.wanted, kinds)


def test_nothing_is_left_of_a_sum_over_atoms_at_the_end(some):
    representation, tally, objects = some
    left = finally_left(tally, representation.encode(objects))
    off = left.abs().mean(0) * torch.tensor(representation.scales)
    assert off[0] < 1.0  # square angstrom, of which a molecule has 52
    assert off[1] < 5.0  # dalton, of 320: rare atoms are seen too seldom for more
    assert representation.scales[0] > 15


def test_what_is_left_is_what_the_rest_of_the_molecule_has(some):
    """Half-written molecules are molecules too: RDKit's sums over them are what is spent."""
    representation, tally, objects = some
    batch = representation.encode(objects[:60])
    tokens = batch.tokens.long()
    kinds = tally.follower.follow(tokens).kinds
    for place in (2, 4, 6):
        whole = batch.mask[:, place] & (tokens[:, place] != END)
        cut = tokens[whole][:, : place + 1]
        rows = [representation.texts(_ending(batch[whole], cut))]
        known = _values(representation, rows[0])
        spent = tally.spent(kinds[whole, place])
        off = (spent - known).abs().median(0).values * torch.tensor(representation.scales)
        assert off[0] < 1.5
        assert off[1] < 6.0


def _ending(batch, tokens):
    ended = nn.functional.pad(tokens, (0, 1), value=END)
    return batch.replace(tokens=ended, mask=torch.ones_like(ended, dtype=torch.bool))


def _values(representation, texts):
    import selfies

    each = [Chem.MolFromSmiles(selfies.decoder(text)) for text in texts]
    found = torch.tensor([[KNOWN[k](mol) for k in representation.conditions] for mol in each])
    return (found - torch.tensor(representation.means)) / torch.tensor(representation.scales)


def test_another_order_of_the_atoms_leaves_the_same(some):
    representation, tally, objects = some
    objects = objects[:50]
    plain = representation.encode(objects)
    rows = [row[0] for row in orders(objects, 1)]
    pairs = zip(objects.smiles, rows, strict=True)
    numbers = [representation._numbers(smiles, text) for smiles, text in pairs]
    other = representation.batch(representation._written(numbers), plain.properties)
    assert not other.tokens[:, :8].equal(plain.tokens[:, :8])
    same = (finally_left(tally, other) - finally_left(tally, plain)).abs().amax(1) < 1e-3
    assert same.float().mean() > 0.8  # rings may be written with other double bonds


def test_what_is_not_wanted_leaves_nothing(some):
    representation, tally, objects = some
    batch = representation.encode(objects[:40])
    kinds = tally.follower.follow(batch.tokens.long()).kinds
    wanted = batch.wanted[:, None].expand(-1, kinds.shape[1], -1)
    whole = tally.left(wanted, kinds)
    gone = torch.where(torch.tensor([True, False]), wanted, torch.nan)
    found = tally.left(gone, kinds)
    assert found[..., 0].equal(whole[..., 0])
    assert (found[..., 1] == 0).all()
    assert whole[..., 1].abs().max() > 0.5


def test_a_property_is_fitted_to_the_molecules_that_it_is_known_of(some):
    representation, tally, objects = some
    few = Tally(tally.follower, 2)
    batch = representation.encode(objects)
    half = torch.arange(len(batch))[:, None] % 2 == torch.arange(2)
    few.fit([batch.replace(properties=batch.properties.masked_fill(half, torch.nan))])
    for k in (0, 1):
        alone = Tally(tally.follower, 2)
        alone.fit([batch[~half[:, k]]])
        torch.testing.assert_close(few.weights[:, k], alone.weights[:, k], atol=1e-3, rtol=1e-3)
    assert few.weights[-1].abs().max() == 0


def test_what_is_left_is_bounded(some):
    _, tally, _ = some
    none = torch.full((2, 3), -1)
    left = tally.left(torch.tensor([[80.0, 0.0], [-80.0, 0.0]]), none)[..., 0]
    assert left.tolist() == [6.0, -6.0]


def test_without_properties_there_is_nothing_to_tell(some):
    representation, tally, objects = some
    empty, batch = Tally(tally.follower, 0), representation.encode(objects[:5])
    empty.fit([batch])
    kinds = tally.follower.follow(batch.tokens.long()).kinds
    assert empty.left(batch.wanted[:, None, :0].expand(-1, kinds.shape[1], -1), kinds).shape == (
        *kinds.shape[:2],
        0,
    )


@pytest.mark.parametrize("places", [0, 6])
@pytest.mark.parametrize("far", [1.0, 10.0])
@pytest.mark.parametrize("syntax", [False, True])
def test_step_by_step_a_decoder_says_what_it_says_of_the_whole(some, places, far, syntax):
    representation, tally, objects = some
    batch, size = representation.encode(objects[:16]), representation.size
    torch.manual_seed(0)
    follower = tally.follower
    openings = Openings(follower.grammar, 12) if syntax else None
    net = TokenDecoder(
        nn.Embedding(size, 8), 5, 12, 4, 2, 0.3, places=places, follower=follower, tally=tally,
        openings=openings,
    ).eval()  # fmt: skip
    z, known = torch.randn(16, 4), torch.rand(16, 2) < 0.7
    wanted = far * batch.wanted * known
    told = torch.cat([wanted, known.float(), torch.ones(16, 1)], 1)
    shown = before(batch.tokens)
    whole = net(shown, z, told)
    state = net.first(z, told)
    for place in range(shown.shape[1]):
        logits, state = net.step(shown[:, place], state)
        torch.testing.assert_close(logits, whole[:, place], atol=1e-4, rtol=1e-4)
    assert whole[..., ~net.unwritable].isfinite().all()
    other = net(shown, z, torch.cat([wanted + known, told[:, 2:]], 1))
    assert not other[known.any(1)].equal(whole[known.any(1)])


def test_the_end_is_judged_by_what_is_left_and_nothing_else_is(some):
    representation, tally, objects = some
    batch = representation.encode(objects[:8])
    torch.manual_seed(0)
    net = TokenDecoder(
        nn.Embedding(representation.size, 8), 5, 12, 4, 1, 0.0, places=0,
        follower=tally.follower, tally=tally, openings=None,
    ).eval()  # fmt: skip
    hidden, z = torch.randn(8, 12), torch.randn(8, 4)
    left = tally.written(finally_left(tally, batch), batch.wanted)
    plain, judged = net.logits(hidden, z, None, None), net.logits(hidden, z, None, left)
    gain = (judged - plain)[:, ~net.unwritable]
    assert gain[:, 1:].abs().max() == 0  # END comes first of what can be written
    torch.testing.assert_close(gain[:, 0], (net.ending(hidden) * left).sum(1))
    unknown = tally.written(torch.zeros(8, 2), torch.full((8, 2), torch.nan))
    assert net.logits(hidden, z, None, unknown).equal(plain)


def test_a_little_is_told_from_nothing_and_the_unknown_is_silent(some):
    _, tally, _ = some
    left = torch.tensor([[0.0, 0.0], [0.05, 0.0], [3.0, 0.0], [3.05, 0.0]])
    wanted = torch.tensor([[1.0, torch.nan]]).expand(4, 2)
    told = tally.written(left, wanted)
    assert told.shape == (4, tally.width)
    far = lambda a, b: float((told[a] - told[b])[2:].norm())
    assert far(0, 1) > 0.2 > 10 * far(2, 3)
    marks = told[:, 2:].unflatten(1, (2, -1))
    assert (marks[:, 1] == 0).all()
    assert (marks[:, 0].sum(1) > 1).all()
