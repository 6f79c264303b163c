import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genmatter.domains.protein import clusters as module
from genmatter.domains.protein import identity
from genmatter.domains.protein.clusters import clusters, deal
from genmatter.domains.protein.sequences import Sequences
from genmatter.domains.protein.weights import balanced, weights
from genmatter.errors import DataError


def related(n, sites, seed=0, rate=0.15, roots=8):
    """Sequences with their like, some of them mostly gaps."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 21, (roots, sites))
    while len(x) < n:
        more = x[rng.integers(len(x), size=min(len(x), n - len(x)))].copy()
        changed = rng.random(more.shape) < rate
        more[changed] = rng.integers(0, 21, changed.sum())
        x = np.concatenate([x, more])
    for k in range(0, n, 7):
        x[k, : rng.integers(sites + 1)] = 0
    return x.astype(np.int8)


def plain_matches(x):
    return ((x[:, None] == x) & (x != 0)).sum(-1)


def plain_weights(x, share):
    """The loop of EVE and DeepSequence, over one-hot rows without the gap."""
    rows = np.eye(21)[x][:, :, 1:].reshape(len(x), -1)
    found = []
    for row in rows:
        length = row @ row
        like = (rows @ row / length > share).sum() if length else 1
        found.append(1 / like)
    return np.array(found)


@pytest.mark.parametrize("sites", [1, 20, 63, 64, 65, 130, 220])
@pytest.mark.parametrize("share", [0.8, 0.57, 0.3])
def test_weights_are_those_of_the_loop_to_the_last_digit(sites, share):
    x = related(150, sites)
    assert np.array_equal(weights(torch.from_numpy(x), share, 1).numpy(), plain_weights(x, share))


def test_weights_do_not_depend_on_blocks_or_threads(monkeypatch):
    x = torch.from_numpy(related(300, 70))
    whole = weights(x, 0.8, 1)
    assert torch.equal(whole, weights(x, 0.8, 3))
    monkeypatch.setattr(identity, "_BLOCK", 17)
    assert torch.equal(whole, weights(x, 0.8, 2))
    monkeypatch.setattr(identity, "_SPARSE", 0)  # all pairs are compared pair by pair
    assert torch.equal(whole, weights(x, 0.8, 1))
    monkeypatch.setattr(identity, "_SPARSE", 10**9)
    assert torch.equal(whole, weights(x, 0.8, 1))


def test_a_gap_equals_nothing_and_a_share_has_to_be_exceeded():
    x = torch.tensor([[1] * 10, [1] * 8 + [2] * 2, [1] * 9 + [0], [0] * 10], dtype=torch.int8)
    # of ten residues eight are no more than 80%; of the nine of the third all are the first's,
    # and nine of the first's ten are the third's
    assert weights(x, 0.8, 1).tolist() == [1 / 2, 1, 1 / 3, 1]


def test_order_of_sequences_and_of_columns_does_not_matter():
    x = torch.from_numpy(related(100, 40))
    rows, columns = torch.randperm(100), torch.randperm(40)
    assert torch.equal(weights(x)[rows], weights(x[rows][:, columns]))


def test_copies_count_as_one():
    x = torch.from_numpy(np.random.default_rng(0).integers(1, 21, (5, 50)).astype(np.int8))
    assert weights(x.repeat(4, 1)).sum() == pytest.approx(5)
    assert weights(x).tolist() == [1] * 5


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5])
def test_shares_that_cannot_be_are_refused(share):
    with pytest.raises(DataError, match="between 0 and 1"):
        weights(torch.ones(2, 3, dtype=torch.int8), share)
    with pytest.raises(DataError, match="between 0 and 1"):
        clusters(torch.ones(2, 3, dtype=torch.int8), share)


def test_a_set_has_weights_of_mean_one_or_none():
    s = Sequences.of(torch.from_numpy(related(60, 30)))
    found = balanced(s, 0.8).weights
    assert found.mean() == pytest.approx(1)
    torch.testing.assert_close(found / found[0], weights(s.residues) / weights(s.residues)[0])
    assert balanced(s, 0.0).weights is None


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(0, 2**30))
def test_matches_are_those_of_the_loop(sites, seed):
    x = related(30, sites, seed, 0.4)
    assert np.array_equal(identity.matches(x, x), plain_matches(x))
    where, most = identity.nearest(x[:7], x[7:], 1)
    expected = plain_matches(x)[:7, 7:]
    assert np.array_equal(most, expected.max(1))
    assert np.array_equal(expected[np.arange(7), where], most)


def test_nothing_is_near_no_sequence():
    where, most = identity.nearest(np.zeros((0, 5), np.int8), np.ones((3, 5), np.int8))
    assert len(where) == len(most) == 0


def plain_clusters(x, share):
    """Joins any two that are alike until nothing changes."""
    length = (x != 0).sum(1)
    least = np.minimum(length[:, None], length)
    near = plain_matches(x) > share * least + 1e-9
    of = np.arange(len(x))
    for _ in range(len(x)):
        like = [of[near[k] | near[:, k]].min(initial=k) for k in range(len(x))]
        joined = np.minimum(of, like)
        of = joined[of] if (joined == of).all() else joined
    return of


@pytest.mark.parametrize("share", [0.8, 0.5])
def test_clusters_are_what_hangs_together(share, monkeypatch):
    x = related(120, 60, rate=0.2)
    found = clusters(torch.from_numpy(x), share, 1)
    expected = plain_clusters(x, share)
    assert np.array_equal(found[:, None] == found, expected[:, None] == expected)
    assert found[0] == 0
    first = [int(np.flatnonzero(found == k)[0]) for k in range(found.max() + 1)]
    assert first == sorted(first)
    monkeypatch.setattr(module, "_EDGES", 3)
    assert np.array_equal(found, clusters(torch.from_numpy(x), share, 1))


def test_no_test_sequence_is_like_a_training_one():
    x = related(400, 50, rate=0.3, roots=60)
    of = clusters(torch.from_numpy(x), 0.6)
    rows = deal(of, 0.15, 0.2, 0)
    assert sorted(torch.cat(rows).tolist()) == list(range(400))
    length = (x != 0).sum(1)
    same = plain_matches(x)
    for a, b in ((rows.train, rows.test), (rows.train, rows.valid), (rows.valid, rows.test)):
        least = np.minimum(length[a][:, None], length[b])
        assert (same[a][:, b] <= 0.6 * least + 1e-9).all()
    assert abs(len(rows.test) - 80) <= 20
    assert all(torch.equal(u, v) for u, v in zip(rows, deal(of, 0.15, 0.2, 0), strict=True))
    assert not torch.equal(rows.test, deal(of, 0.15, 0.2, 1).test)


def test_without_a_share_to_validate_on_the_test_sequences_do_it():
    rows = deal(np.arange(50), 0.0, 0.2, 0)
    assert rows.valid is rows.test
    assert (len(rows.train), len(rows.test)) == (40, 10)


def test_clusters_that_cannot_be_dealt_out_are_refused():
    with pytest.raises(DataError, match="cluster_identity"):
        deal(np.zeros(50, int), 0.1, 0.1, 0)
    with pytest.raises(DataError, match="cannot validate"):
        deal(np.arange(50), 0.5, 0.6, 0)
