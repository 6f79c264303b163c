import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genmatter.errors import DataError
from genmatter.loading.split import autocorrelation, blocks, leak, random

splits = {
    "n": st.integers(1_000, 3_000),
    "count": st.integers(1, 12),
    "gap": st.integers(0, 12),
    "valid": st.sampled_from([0.0, 0.1, 0.25]),
    "test": st.sampled_from([0.1, 0.2, 0.5]),
}


@given(**splits)
@settings(max_examples=60, deadline=None)
def test_blocks_are_disjoint_ordered_proportionate_and_apart(n, count, gap, valid, test):
    rows = blocks(n, count, gap, valid, test)
    owner = torch.full((n,), -1)
    for split, index in enumerate(rows):
        assert (index.diff() > 0).all()
        if split != 1 or valid > 0:
            assert (owner[index] == -1).all()
            owner[index] = split
    kept = int((owner >= 0).sum())
    for index, share in zip(rows, (1 - valid - test, valid or test, test), strict=True):
        assert abs(len(index) - share * kept) <= 2 * count  # each piece is rounded
    known = owner[owner >= 0]
    at = (owner >= 0).nonzero()[:, 0]
    seam = known[1:] != known[:-1]
    assert (at.diff()[seam] == gap + 1).all()
    assert (at.diff()[~seam] == 1).all()
    assert n - kept == gap * int(seam.sum()), "rows are dropped at the seams only"


@given(**splits)
@settings(max_examples=30, deadline=None)
def test_every_split_sees_every_stretch_of_the_series(n, count, gap, valid, test):
    for index in blocks(n, count, gap, valid, test):
        ends = torch.cat([torch.tensor([-1]), index, torch.tensor([n])])
        assert ends.diff().max() <= 2 * (n / count) + 1


def test_blocks_by_hand():
    train, valid, test = blocks(24, 2, 2, 0.25, 0.25)
    # 24 - 4 seams of 2 leaves 16 rows: T T T T . . V V . . E E E E . . V V . . T T T T
    assert train.tolist() == [0, 1, 2, 3, 20, 21, 22, 23]
    assert valid.tolist() == [6, 7, 16, 17]
    assert test.tolist() == [10, 11, 12, 13]


def test_without_a_share_to_validate_on_the_test_rows_do():
    for rows in (blocks(100, 2, 1, 0, 0.2), random(100, 0, 0.2, 0)):
        assert torch.equal(rows.valid, rows.test)


@pytest.mark.parametrize("n", [2048, 10_000, 10, 1001])
def test_the_published_random_split_is_repeated(n):
    rows = random(n, 0, 0.1, 42)
    np.random.seed(42)  # noqa: NPY002
    order = np.random.permutation(n)  # noqa: NPY002
    assert rows.train.tolist() == order[: int(0.9 * n)].tolist()
    assert rows.test.tolist() == order[int(0.9 * n) :].tolist()


@given(
    st.integers(20, 500),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.sampled_from([0.1, 0.6]),
    st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_random_rows_are_disjoint_complete_and_proportionate(n, valid, test, seed):
    rows = random(n, valid, test, seed)
    parts = rows if valid > 0 else (rows.train, rows.test)
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    assert abs(len(rows.test) - test * n) <= 1
    assert abs(len(rows.train) - (1 - valid - test) * n) <= 1
    assert all(torch.equal(a, b) for a, b in zip(rows, random(n, valid, test, seed), strict=True))
    assert not torch.equal(rows.test, random(n, valid, test, seed + 1).test)


@pytest.mark.parametrize(
    ("valid", "test"), [(-0.1, 0.2), (0.1, 0.0), (0.5, 0.5), (0, 1.0), (float("nan"), 0.1)]
)
def test_impossible_shares_are_refused(valid, test):
    for split in (lambda: blocks(100, 2, 1, valid, test), lambda: random(100, valid, test, 0)):
        with pytest.raises(DataError, match="cannot validate on a share of"):
            split()


@pytest.mark.parametrize(("n", "count", "gap"), [(100, 10, 10), (5, 3, 0), (0, 1, 0)])
def test_a_series_too_short_for_its_seams_is_refused(n, count, gap):
    with pytest.raises(DataError, match=f"{n} frames are too few for {count} blocks"):
        blocks(n, count, gap, 0.1, 0.2)


@pytest.mark.parametrize(("count", "gap"), [(0, 1), (2, -1)])
def test_nonsensical_blocks_are_refused(count, gap):
    with pytest.raises(DataError, match="cannot split into"):
        blocks(100, count, gap, 0.1, 0.2)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_rows_for_a_random_split_are_refused(n):
    with pytest.raises(DataError, match=f"{n} frames are too few"):
        random(n, 0.1, 0.2, 0)


def test_autocorrelation_of_an_autoregressive_series_decays_as_its_coefficient():
    g = torch.Generator().manual_seed(0)
    a = [0.0]
    for noise in torch.randn(20_000, generator=g).tolist():
        a.append(0.8 * a[-1] + noise)
    expected = 0.8 ** torch.arange(6)
    torch.testing.assert_close(autocorrelation(torch.tensor(a), 5), expected, rtol=0, atol=0.03)


def test_autocorrelation_by_hand():
    rho = autocorrelation(torch.tensor([1.0, -1.0, 1.0, -1.0]), 9)
    torch.testing.assert_close(rho, torch.tensor([1.0, -0.75, 0.5, -0.25]))
    assert autocorrelation(torch.ones(5), 2).isnan().all()


def test_a_leak_is_a_test_row_beside_a_training_row():
    train, test = torch.tensor([7, 0, 1]), torch.tensor([2, 4, 5, 8, 20])
    assert leak(train, test) == pytest.approx(2 / 5)
    assert leak(train, test, reach=2) == pytest.approx(3 / 5)
    assert leak(train, test, reach=13) == 1
    assert leak(torch.tensor([3]), torch.tensor([3]), reach=0) == 1


def test_blocks_do_not_leak_within_their_gap_and_random_rows_do():
    rows = blocks(2048, 10, 10, 0.1, 0.2)
    assert leak(rows.train, rows.test, reach=10) == 0
    assert leak(rows.train, rows.valid, reach=10) == 0
    assert leak(rows.train, rows.valid, reach=11) > 0
    shuffled = random(2048, 0, 0.1, 42)
    assert leak(shuffled.train, shuffled.test) > 0.95


def test_a_share_is_not_lost_to_rounding():
    assert len(random(10, 0, 0.9, 0).train) == 1


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_does_not_know_is_refused(seed):
    with pytest.raises(DataError, match=f"cannot split by the seed {seed}"):
        random(100, 0.1, 0.2, seed)
