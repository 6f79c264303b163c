import math

import pytest
import torch
from domains.backbone.chains import loose, moved, normal

from genmatter.domains.backbone.kinetics import (
    features,
    free_energy,
    slow_components,
)
from genmatter.errors import DataError


def process(n, memory, key=0):
    """Returns a normal process of variance 1 that keeps a share of itself in each step."""
    x = normal(n, len(memory), key=key)
    rho = torch.tensor(memory).double()
    for t in range(1, n):
        x[t] = rho * x[t - 1] + (1 - rho**2).sqrt() * x[t]
    return x


MEMORY = (0.5, 0.98, 0.2, 0.9)


def test_slow_coordinates_are_found_among_large_fast_ones_with_their_times():
    series = [process(4000, MEMORY, k) for k in range(3)]
    mixing = torch.linalg.qr(normal(4, 4, key="mixing")).Q * torch.tensor([30.0, 0.2, 10.0, 1.0])
    found = slow_components([x @ mixing.T + 7 for x in series], lag=4)
    assert found.correlation.tolist() == pytest.approx([0.98**4, 0.9**4], abs=0.04)
    assert found.timescales[0].item() == pytest.approx(-1 / math.log(0.98), rel=0.25)
    assert found.lag == 4
    y = found.of(series[0] @ mixing.T + 7)
    for k, hidden in ((0, 1), (1, 3)):
        both = torch.stack([y[:, k], series[0][:, hidden]])
        assert both.corrcoef()[0, 1].abs() > 0.97
    whole = found.of(torch.cat(series) @ mixing.T + 7)
    torch.testing.assert_close(whole.T.cov(), torch.eye(2).double(), atol=0.02, rtol=0)


def test_time_reversal_changes_nothing():
    x = process(500, MEMORY)
    forth, back = slow_components([x], 3), slow_components([x.flip(0)], 3)
    torch.testing.assert_close(forth.correlation, back.correlation)


def test_no_pair_of_frames_spans_two_trajectories():
    jump = torch.cat([process(60, (0.0,)), 50 + process(60, (0.0,), 1)])
    apart = slow_components([jump[:60], jump[60:]], 1, components=1)
    # each run stays where it is, so that the pairs within agree fully on which it is
    assert apart.correlation.item() > 0.99
    tight = slow_components([jump[:60] - jump[:60].mean(0), jump[60:] - jump[60:].mean(0)], 1, 1)
    assert abs(tight.correlation.item()) < 0.3


def test_features_that_repeat_or_stand_still_do_no_harm():
    x = process(500, MEMORY)
    doubled = torch.cat([x, x, torch.ones(500, 1).double()], 1)
    torch.testing.assert_close(
        slow_components([doubled], 3).correlation, slow_components([x], 3).correlation
    )


@pytest.mark.parametrize(("sizes", "lag"), [((5, 12), 10), ((), 1), ((50,), 0)])
def test_too_short_trajectories_are_refused_with_their_lengths(sizes, lag):
    with pytest.raises(DataError, match=f"a lag of {lag} frames.*given"):
        slow_components([process(n, MEMORY) for n in sizes], lag)


def test_features_are_numbers_of_the_shape_and_few_even_of_long_chains():
    x = loose(10)
    torch.testing.assert_close(features(moved(x)), features(x), atol=1e-7, rtol=0)
    assert features(x).shape == (10, 4 * 5 + 10)
    assert features(loose(2, residues=60)).shape == (2, 4 * 59 + 105)


def test_the_free_energy_of_normal_points_is_half_their_squared_distance():
    points = normal(2_000_000, 2)
    found = free_energy(points, bins=30, limits=((-2.0, 2.0), (-2.0, 2.0)))
    x, y = ((edges[1:] + edges[:-1]) / 2 for edges in (found.x, found.y))
    expected = (x[:, None] ** 2 + y**2) / 2
    gap = found.energy - expected
    assert (gap - gap.mean()).abs().max() < 0.2
    assert (gap - gap.mean()).square().mean().sqrt() < 0.04
    assert found.energy.min() == 0
    assert free_energy(points[:100]).energy.isinf().any()
    shifted = free_energy(points[:1000] + torch.tensor([5.0, 0.0]), bins=10)
    assert shifted.x[0] == pytest.approx(points[:1000, 0].min().item() + 5)
