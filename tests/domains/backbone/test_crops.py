import math

import pytest
import torch
from proteins import frames

from genmatter.domains.backbone import crops
from genmatter.domains.backbone.crops import (
    SpatialCrop,
    inclusion,
    neighbourhoods,
    seed_weights,
)
from genmatter.generative.frames import Crop
from genmatter.maths.noise import generator


def cloud(size=20, key=0):
    return 8 * torch.randn(size, 3, generator=generator("crop", key), dtype=torch.float64)


def ring(size=12):
    """Every residue sees the same."""
    turn = 2 * math.pi * torch.arange(size, dtype=torch.float64) / size
    return torch.stack([turn.cos(), turn.sin(), 0 * turn], -1)


def batch(n=6, sizes=(6, 9, 6), indices=(0, 1, -1)):
    """Rows of several proteins, padded."""
    torch.manual_seed(0)
    trans, mask = torch.zeros(n, max(sizes), 3), torch.zeros(n, max(sizes), dtype=torch.bool)
    protein = torch.tensor([indices[k % len(indices)] for k in range(n)])
    for row in range(n):
        size = sizes[row % len(sizes)]
        trans[row, :size], mask[row, :size] = 5 * torch.randn(size, 3), True
    return trans, mask, protein


def test_neighbourhoods_are_the_nearest():
    x = cloud()
    near = neighbourhoods(x, 5)
    for s in range(len(x)):
        order = sorted(range(len(x)), key=lambda j: float((x[s] - x[j]).norm()))
        assert near[s].nonzero()[:, 0].tolist() == sorted(order[:5])


def test_a_residue_is_its_own_neighbour_even_where_others_lie_upon_it():
    assert neighbourhoods(torch.zeros(6, 3), 1).equal(torch.eye(6, dtype=torch.bool))


def test_masked_residues_are_near_none():
    x, mask = torch.zeros(1, 8, 3), torch.ones(1, 8, dtype=torch.bool)
    x[0, :6], mask[0, 6:] = cloud(6).float(), False
    near = neighbourhoods(x, 4, mask)[0]
    assert not near[:, 6:].any()
    assert torch.equal(near[:6, :6], neighbourhoods(x[0, :6], 4))
    assert neighbourhoods(x, 7, mask)[0, :6].sum(1).tolist() == [6] * 6


def test_the_chance_to_be_shown_is_what_drawing_seeds_gives():
    near = neighbourhoods(cloud(), 7)
    p = seed_weights(near)
    brute = torch.zeros(20, dtype=torch.float64)
    for s in range(20):
        for j in range(20):
            brute[j] += p[s] * near[s, j]
    torch.testing.assert_close(inclusion(p, near), brute)
    assert inclusion(p, near).sum().item() == pytest.approx(7)


@pytest.mark.parametrize(("size", "k"), [(20, 7), (30, 20), (20, 19)])
def test_weights_are_at_the_maximum(size, k):
    """There no seed would raise the sum of ln P, and those that are drawn do not lower it."""
    near = neighbourhoods(cloud(size), k)
    p = seed_weights(near)
    pull = near.double() @ (1 / inclusion(p, near)) / size
    assert p.sum().item() == pytest.approx(1)
    assert (p >= 0).all()
    assert pull.max() < 1 + 1e-4
    torch.testing.assert_close(pull[p > 1e-3], torch.ones_like(pull[p > 1e-3]), rtol=0, atol=1e-4)
    torch.testing.assert_close(p * pull, p, rtol=0, atol=1e-8)


@pytest.mark.parametrize("k", [1, 5, 12])
def test_all_are_shown_equally_often_where_that_can_be(k):
    near = neighbourhoods(ring(), k) if k != 5 else _band(12, 5)
    p = seed_weights(near)
    torch.testing.assert_close(inclusion(p, near), torch.full((12,), k / 12).double())


def test_uneven_neighbourhoods_are_made_even():
    """In a hub and its spokes even seeds show the hub always; the weights leave it out."""
    near = torch.eye(6, dtype=torch.bool)
    near[:, 0] = True
    near[0, 1] = True
    even = inclusion(torch.full((6,), 1 / 6).double(), near)
    p = seed_weights(near)
    found = inclusion(p, near)
    assert found.log().sum() > even.log().sum()
    torch.testing.assert_close(found[2:], torch.full((4,), 0.2).double(), atol=1e-2, rtol=0)


def _band(size, k):
    apart = (torch.arange(size)[:, None] - torch.arange(size)).abs()
    return torch.minimum(apart, size - apart) <= k // 2


@pytest.mark.parametrize("size", [20, 60])
def test_at_the_reference_s_ratio_the_rim_is_shown_less_and_no_weights_do_better(size):
    x = cloud(size, key=1)
    near = neighbourhoods(x, int(0.95 * size))
    even = inclusion(torch.full((size,), 1 / size).double(), near)
    fitted = inclusion(seed_weights(near), near)
    assert even.min() < 0.8
    assert fitted.log().sum() >= even.log().sum() - 1e-12
    assert fitted.min() > even.min()


def test_it_is_a_crop():
    assert isinstance(SpatialCrop([cloud()], 0.5), Crop)


def test_crops_show_so_many_of_each_protein_and_nothing_of_the_padding():
    trans, mask, protein = batch(30)
    crop = SpatialCrop([cloud(6).float(), cloud(9).float()], 0.5)
    shown, share = crop(trans, mask, protein)
    sizes = mask.sum(1)
    assert torch.equal(shown.sum(1), sizes // 2)
    assert not (shown & ~mask).any()
    assert ((share > 0) & (share <= 1 + 1e-6)).all()
    assert (share[~mask] == 1).all()
    torch.testing.assert_close((share * mask).sum(1), (sizes // 2).float())


def test_unknown_proteins_of_different_lengths_keep_their_own():
    trans, mask, protein = batch(8, (6, 9), (-1, -1))
    shown, share = SpatialCrop([], 0.5)(trans, mask, protein)
    assert torch.equal(shown.sum(1), mask.sum(1) // 2)
    torch.testing.assert_close((share * mask).sum(1), (mask.sum(1) // 2).float())


def test_rows_are_shown_as_often_as_the_chances_say():
    torch.manual_seed(0)
    x, n = cloud(10).float(), 4000
    crop = SpatialCrop([cloud(10, key=2).float()], 0.4)
    told = (x.expand(n, -1, -1), torch.ones(n, 10).bool(), torch.zeros(n, dtype=torch.long))
    shown, share = crop(*told)
    assert (shown.float().mean(0) - share[0]).abs().max() < 4.5 * (0.25 / n) ** 0.5


def test_weighing_by_the_chance_gives_the_mean_over_whole_proteins():
    """Exactly, over all seeds."""
    x, cost = cloud(15), torch.arange(15).double()
    near = neighbourhoods(x, 6)
    p = seed_weights(neighbourhoods(cloud(15, key=3), 6)).clamp_min(1e-6)
    p = p / p.sum()
    each = (near * cost / inclusion(p, near)).sum(1) / 15
    torch.testing.assert_close(p @ each, cost.mean())


def test_weights_are_solved_once_and_only_where_they_are_wanted(monkeypatch):
    solved = []
    monkeypatch.setattr(crops, "seed_weights", lambda a: solved.append(a) or seed_weights(a))
    crop = SpatialCrop([cloud(6).float(), cloud(9).float()], 0.5)
    assert not solved
    for _ in range(3):
        crop(*(x[:1] for x in batch()))
    assert len(solved) == 1


def test_a_real_shape_is_solved_in_a_moment():
    ca = frames(1, sequence="GAYPKW" * 20)[0, :, 1]
    p = seed_weights(neighbourhoods(ca, int(0.95 * len(ca))))
    assert p.sum().item() == pytest.approx(1)
