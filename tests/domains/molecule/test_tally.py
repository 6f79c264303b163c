import pytest
import torch
from torch import nn

from genmatter.domains.molecule.network import TokenDecoder
from genmatter.domains.molecule.openings import Openings
from genmatter.domains.molecule.represent import MoleculeBatch
from genmatter.domains.molecule.sequences import before
from genmatter.domains.molecule.tally import Tally
from genmatter.domains.molecule.tokens import END, PAD, SPECIAL
from genmatter.maths.noise import generator

SIZE, LONGEST = 10, 12
PIECES = [
    *[()] * len(SPECIAL), ("[C]",), ("[=C]",), ("[Ring1]", "[Ring2]"), ("[Branch1]",),
    ("[C]", "[C]", "[Ring1]", "[Ring1]"), ("[N]",),
]  # fmt: skip


def sequences(n, seed, properties):
    """Random tokens with END behind each row, and properties that are functions of them."""
    g = generator("sequences", seed)
    tokens = torch.randint(len(SPECIAL), SIZE, (n, LONGEST), generator=g)
    ends = torch.randint(1, LONGEST, (n, 1), generator=g)
    at = torch.arange(LONGEST)
    tokens = tokens.masked_fill(at == ends, END).masked_fill(at > ends, PAD)
    known = torch.stack([f(tokens) for f in properties], 1) if properties else torch.zeros(n, 0)
    return MoleculeBatch(tokens, tokens != PAD, known, known, tokens.new_zeros(n, 0, 0))


def of_tokens(tokens):
    """A sum over tokens; END takes nothing."""
    return torch.where(tokens >= len(SPECIAL), 0.3 * (tokens - 7.2), 0.0).sum(1)


def of_pairs(tokens):
    """A sum over pairs of neighbours."""
    pairs = (before(tokens) == 5) & (tokens == 8)
    return 0.8 * pairs.sum(1).float() + 0.1 * of_tokens(tokens)


def fitted(*properties, n=6000):
    tally, batch = Tally(SIZE, len(properties)), sequences(n, 0, properties)
    tally.fit(batch[k : k + 1000] for k in range(0, n, 1000))
    return tally


def finally_left(tally, batch):
    """What is left when END is counted."""
    shown = before(nn.functional.pad(batch.tokens, (0, 1), value=PAD))
    left = tally.left(batch.wanted, shown)
    return left[torch.arange(len(batch)), batch.sizes]


@pytest.mark.parametrize("of", [of_tokens, of_pairs])
def test_nothing_is_left_of_a_sum_at_the_end(of):
    held_out = sequences(300, 1, [of])
    assert held_out.wanted.std() > 0.3
    assert finally_left(fitted(of), held_out).abs().max() < 0.03


def test_of_what_is_unknown_nothing_is_left_and_the_rest_is_as_it_was():
    tally, batch = fitted(of_tokens, of_pairs), sequences(40, 3, [of_tokens, of_pairs])
    shown = before(batch.tokens)
    whole = tally.left(batch.wanted, shown)
    gone = batch.wanted.clone()
    gone[::2, 0] = torch.nan
    found = tally.left(gone, shown)
    assert (found[::2, :, 0] == 0).all()
    assert found[1::2].equal(whole[1::2])
    assert found[..., 1].equal(whole[..., 1])
    assert tally.begin(gone).isfinite().all()


def test_molecules_of_which_a_property_is_unknown_do_not_count_in_its_fit():
    batch = sequences(3000, 4, [of_tokens, of_pairs])
    known = batch.properties.clone()
    known[1000:, 0] = torch.nan
    some, all_, first = (Tally(SIZE, 2) for _ in range(3))
    some.fit([batch.replace(properties=known)])
    all_.fit([batch])
    first.fit([batch[:1000]])
    torch.testing.assert_close(some.pairs[..., 0], first.pairs[..., 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(some.pairs[..., 1], all_.pairs[..., 1], atol=1e-5, rtol=0)
    assert (all_.pairs[..., 0] - first.pairs[..., 0]).abs().max() > 1e-3
    assert some.pairs.isfinite().all()


def test_extremes_are_told_as_such_and_counted_to_the_full():
    tally = Tally(SIZE, 1)
    tally.pairs += 1.0
    shown = before(torch.full((2, 9), 5))
    left = tally.left(torch.tensor([[8.0], [-8.0]]), shown)[..., 0]
    assert left[0].tolist() == [6, 6, 6, 5, 4, 3, 2, 1, 0]
    assert (left[1] == -6).all()


def test_without_properties_there_is_nothing_to_count():
    tally, batch = Tally(SIZE, 0), sequences(5, 5, [])
    tally.fit([batch])
    assert tally.left(batch.wanted, before(batch.tokens)).shape == (5, LONGEST, 0)


@pytest.mark.parametrize("places", [0, 6])
@pytest.mark.parametrize("far", [1.0, 10.0])
@pytest.mark.parametrize("syntax", [False, True])
def test_step_by_step_a_decoder_says_what_it_says_of_the_whole(places, far, syntax):
    batch = sequences(16, 6, [of_tokens, of_pairs])
    tally = fitted(of_tokens, of_pairs, n=1000)
    torch.manual_seed(0)
    openings = Openings(PIECES, 12) if syntax else None
    net = TokenDecoder(
        nn.Embedding(SIZE, 8), 5, 12, 4, 2, 0.3, places=places, tally=tally, openings=openings
    ).eval()
    z, known = torch.randn(16, 4), torch.rand(16, 2) < 0.7
    wanted = far * batch.wanted * known
    told = torch.cat([wanted, known.float(), torch.ones(16, 1)], 1)
    shown = before(batch.tokens)
    whole = net(shown, z, told)
    state = net.first(z, told)
    for place in range(LONGEST):
        logits, state = net.step(shown[:, place], state)
        torch.testing.assert_close(logits, whole[:, place], atol=1e-5, rtol=1e-5)
    assert whole[..., ~net.unwritable].isfinite().all()
    other = net(shown, z, torch.cat([wanted + known, told[:, 2:]], 1))
    assert not other[known.any(1)].equal(whole[known.any(1)])


def test_a_little_is_told_from_nothing_and_the_unknown_is_silent():
    tally = Tally(SIZE, 2)
    left = torch.tensor([[0.0, 0.0], [0.05, 0.0], [3.0, 0.0], [3.05, 0.0]])
    wanted = torch.tensor([[1.0, torch.nan]]).expand(4, 2)
    told = tally.written(left, wanted)
    assert told.shape == (4, tally.width)
    far = lambda a, b: float((told[a] - told[b])[2:].norm())
    assert far(0, 1) > 0.2 > 10 * far(2, 3)
    marks = told[:, 2:].unflatten(1, (2, -1))
    assert (marks[:, 1] == 0).all()
    assert (marks[:, 0].sum(1) > 1).all()
