import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from genmatter.domains.polymer.metrics import (
    CLASH,
    OBSERVABLES,
    asphericity,
    bond_lengths,
    clash_distance,
    end_to_end,
    faults,
    match,
    mean_bond,
    pair_distances,
    score,
    shortest_nonbonded,
    turn_angles,
)
from genmatter.errors import DataError
from genmatter.maths.geometry import align_principal, centre, radius_of_gyration
from genmatter.maths.noise import generator


def normal(*shape, key=0):
    return torch.randn(shape, generator=generator("metrics", key), dtype=torch.float64)


def walks(n, beads=12, dim=2, key=0):
    return normal(n, beads, dim, key=key).cumsum(1)


def rotations(n, dim, key=0):
    q = torch.linalg.qr(normal(n, dim, dim, key=key)).Q * normal(n, 1, dim, key=key + 100).sign()
    return torch.cat([q[..., :-1], q[..., -1:] * torch.linalg.det(q)[:, None, None]], -1)


def rod(beads, dim):
    x = torch.zeros(1, beads, dim, dtype=torch.float64)
    x[0, :, 0] = 0.5 * torch.arange(beads)
    return x


def polygon(beads):
    angle = torch.arange(beads, dtype=torch.float64) * (2 * math.pi / beads)
    return torch.stack([angle.cos(), angle.sin()], -1)[None]


@pytest.mark.parametrize("dim", [2, 3])
def test_a_rod_has_the_numbers_of_a_rod(dim):
    x = rod(12, dim)
    assert radius_of_gyration(x).item() == pytest.approx(0.5 * math.sqrt((12**2 - 1) / 12))
    assert end_to_end(x).item() == pytest.approx(5.5)
    assert asphericity(x).item() == pytest.approx(1)
    assert mean_bond(x).item() == pytest.approx(0.5)
    assert shortest_nonbonded(x).item() == pytest.approx(1)
    assert turn_angles(x).abs().max().item() < 1e-12
    assert pair_distances(x).shape == (1, 66)


def test_round_clouds_have_no_asphericity_and_a_polygon_turns_evenly():
    cube = torch.tensor([[[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]])
    assert asphericity(cube.double()).item() == pytest.approx(0, abs=1e-12)
    assert asphericity(polygon(9)).item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(
        turn_angles(polygon(9)), torch.full((1, 7), 2 * math.pi / 9).double()
    )


def test_a_hairpin_turns_by_pi_and_clashes():
    hairpin = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
    assert turn_angles(hairpin).item() == pytest.approx(math.pi)
    assert shortest_nonbonded(hairpin).item() == 0


@pytest.mark.parametrize("dim", [2, 3])
def test_asphericity_of_long_random_walks_is_the_closed_form(dim):
    x = walks(4000, 200, dim)
    weight = radius_of_gyration(x) ** 4
    # Rudnick & Gaspari (1987): 2 (d + 2) / (5 d + 4), for the ratio of the averages
    expected = 2 * (dim + 2) / (5 * dim + 4)
    assert (asphericity(x) * weight).mean() / weight.mean() == pytest.approx(expected, abs=0.02)


def test_shortest_nonbonded_looks_at_all_pairs_but_neighbours():
    x = walks(40, 9, 3)
    d = torch.cdist(x, x)
    i, j = torch.triu_indices(9, 9, 2)
    torch.testing.assert_close(shortest_nonbonded(x), d[:, i, j].amin(1))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("observable", OBSERVABLES, ids=lambda o: o.name)
def test_observables_depend_on_the_shape_alone_and_scale_with_their_unit(observable, dim):
    x = walks(30, 12, dim)
    value = observable.of(x)
    moved = x @ rotations(30, dim) + normal(30, 1, dim, key=1)
    torch.testing.assert_close(observable.of(moved), value)
    torch.testing.assert_close(observable.of(-x), value)
    torch.testing.assert_close(observable.of(x.flip(1)), value)
    factor = 3.0 if observable.unit == "length" else 1.0
    torch.testing.assert_close(observable.of(3 * x), factor * value)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("observable", OBSERVABLES, ids=lambda o: o.name)
def test_observables_have_right_gradients_and_finite_ones_on_degenerate_chains(observable, dim):
    assert torch.autograd.gradcheck(observable.of, walks(2, 6, dim).requires_grad_())
    doubled = rod(6, dim)
    doubled[:, 3] = doubled[:, 2]
    hairpin = rod(6, dim)
    hairpin[:, 4:] = hairpin[:, [2, 1]]
    x = torch.cat([rod(6, dim), doubled, hairpin]).requires_grad_()
    observable.of(x).sum().backward()
    assert x.grad.isfinite().all()


def test_faults_name_their_reason():
    x = rod(5, 2).repeat(3, 1, 1)
    x[1, 4] = x[1, 0] + 0.05
    x[2, 0, 0] = math.nan
    assert faults(x) == ["", "two beads closer than 0.12", "not finite"]
    assert faults(x, clash=0.05)[1] == ""
    assert faults(x, clash=1.5)[0] == "two beads closer than 1.5"


def test_the_clash_distance_of_other_data_is_a_quantile_that_one_bad_frame_does_not_move():
    x = 10 * walks(5000)
    clash = clash_distance(x)
    assert (shortest_nonbonded(x) < clash).double().mean() == pytest.approx(0.001, abs=2e-4)
    broken = torch.cat([x, torch.zeros_like(x[:1])])
    assert clash_distance(broken) == pytest.approx(clash, rel=0.25)
    assert clash_distance(3 * x) == pytest.approx(3 * clash)


def values(scores):
    return {name: s.value for name, s in scores.items()}


def square_energy(x):
    return x.diff(dim=1).square().sum((-2, -1)) / 2


@pytest.mark.parametrize("dim", [2, 3])
def test_samples_of_the_same_law_score_near_the_best(dim):
    sets = [walks(1500, 12, dim, key=k).float() for k in range(3)]
    scores = score(*sets, energy=square_energy)
    tolerance = {"c2st": 0.06, "novelty": 0.05, "energy_gap": 0.5, "energy_high": 0.003}
    for name, s in scores.items():
        assert s.value == pytest.approx(s.best, abs=tolerance.get(name, 0.1)), name
    assert list(scores) == [
        *("finite", "w1_rg", "w1_end_to_end", "w1_bond", "w1_angle", "energy_distance", "c2st"),
        *("novelty", "clash", "energy_gap", "energy_high"),
    ]


def test_each_score_answers_to_its_own_failure():
    test, train = walks(800), walks(800, key=1)
    swollen = values(score(1.1 * test, test, train))
    rg = radius_of_gyration(test)
    assert swollen["w1_rg"] == pytest.approx(0.1 * (rg.mean() / rg.std()).item(), rel=0.01)
    assert swollen["w1_bond"] > 0.15
    assert swollen["w1_angle"] < 1e-6
    assert values(score(train, test, train))["novelty"] < 1e-3
    crushed = test.clone()
    crushed[:400, 5] = crushed[:400, 3] + 0.01
    scores = score(crushed, test, train, square_energy, clash=0.02)
    assert scores["clash"].value - scores["clash"].best == pytest.approx(0.5, abs=0.02)
    assert "below 0.02" in scores["clash"].unit
    assert values(score(1.5 * test, test, train))["c2st"] > 0.75


def test_energies_survive_values_that_would_decide_a_mean():
    test, train = walks(500), walks(500, key=1)
    wild = test.clone()
    wild[:100, 0] += 1e12
    scores = values(score(wild, test, train, square_energy))
    assert scores["energy_high"] == pytest.approx(0.2, abs=0.01)
    assert abs(scores["energy_gap"]) < 5
    assert all(map(math.isfinite, scores.values()))
    assert "energy_gap" not in score(wild, test, train)


def test_an_energy_that_is_not_a_number_counts_as_high():
    test, train = walks(500), walks(500, key=1)
    wild = test.clone()
    wild[:100, 0] = wild[:100, 1]

    def energy(x):  # infinite terms of either sign where beads coincide
        bond = x.diff(dim=1).square().sum(-1)
        return (1 / bond - 1 / bond + bond).sum(1)

    scores = values(score(wild, test, train, energy))
    assert scores["energy_high"] == pytest.approx(0.2, abs=0.01)
    assert math.isfinite(scores["energy_gap"])


def test_scores_do_not_depend_on_pose_or_unit():
    samples, test, train = walks(600, key=0), walks(600, key=1), walks(600, key=2)
    expected = values(score(samples, test, train))
    posed = samples @ rotations(600, 2) + 100
    scaled = values(score(64 * samples, 64 * test, 64 * train, clash=64 * CLASH))
    for got in (values(score(posed, test, train)), scaled):
        assert got.pop("c2st") == pytest.approx(expected["c2st"], abs=0.03)
        assert got == pytest.approx({k: expected[k] for k in got}, abs=1e-6)


def test_chains_that_are_not_finite_are_counted_and_left_out():
    samples, test, train = walks(400, key=0), walks(400, key=1), walks(400, key=2)
    broken = torch.cat([samples, torch.full_like(samples[:100], math.nan)])
    scores = values(score(broken, test, train))
    assert scores.pop("finite") == 0.8
    clean = values(score(samples, test, train))
    assert scores == {k: clean[k] for k in scores}
    assert values(score(broken[-100:], test, train)) == {"finite": 0}


def test_beads_on_one_spot_are_told_apart_not_lost():
    test, train = walks(800), walks(800, key=1)
    doubled = test.clone()
    doubled[:, 5] = doubled[:, 4]
    scores = values(score(doubled, test, train))
    assert all(map(math.isfinite, scores.values()))
    assert scores["c2st"] > 0.95


def test_long_chains_are_compared_through_landmarks(monkeypatch):
    widths = []

    def record(a, b):
        widths.extend((a.shape[1], b.shape[1]))
        return 0.0

    monkeypatch.setattr("genmatter.domains.polymer.metrics.energy_distance", record)
    score(walks(100, 150, 3), walks(100, 150, 3, key=1), walks(100, 150, 3, key=2))
    score(walks(100, 32), walks(100, 32, key=1), walks(100, 32, key=2))
    assert widths == [32 * 31 // 2] * 4


def test_other_shapes_than_the_test_set_are_refused():
    with pytest.raises(DataError, match=r"\(5, 10, 2\).*\(12, 2\)"):
        score(walks(5, 10), walks(5), walks(5))
    with pytest.raises(DataError, match="one to one"):
        match(walks(5), walks(4))


@pytest.mark.parametrize("dim", [2, 3])
def test_a_reconstruction_is_matched_up_to_rigid_motion(dim):
    x = walks(300, 12, dim)
    moved = values(match(x, x @ rotations(300, dim) + 5))
    assert moved == pytest.approx({"finite": 1, "rmsd": 0, "reconstruction_mse": 0}, abs=1e-7)
    noisy = values(match(x, x + 0.01 * normal(*x.shape, key=1)))
    freedom = 1 - (dim + dim * (dim - 1) / 2) / (12 * dim)  # what superposition takes away
    assert noisy["rmsd"] == pytest.approx(0.01 * math.sqrt(dim * freedom), rel=0.03)
    mirrored = x.clone()
    mirrored[..., 0] *= -1
    assert match(x, mirrored)["rmsd"].value > 0.3


def test_a_reconstruction_that_is_not_finite_is_counted():
    x = walks(4)
    copies = x.clone()
    copies[0] = math.inf
    assert values(match(x, copies))["finite"] == 0.75
    assert values(match(x[:1], copies[:1])) == {"finite": 0}


REAL = os.environ.get("GENMATTER_REAL_DATA", "")


@pytest.mark.skipif(not REAL, reason="GENMATTER_REAL_DATA is not set")
def test_two_principal_components_reach_the_walkthroughs_reconstruction():
    with np.load(Path(REAL) / "polymer" / "long_paths.npz") as file:
        x = torch.from_numpy(file["arr"])[np.random.RandomState(42).permutation(2048)]
    train, test = (align_principal(centre(y)).flatten(1) for y in (x[:1843], x[1843:]))
    axes = torch.linalg.svd(train - train.mean(0), full_matrices=False).Vh[:2]
    copies = train.mean(0) + (test - train.mean(0)) @ axes.T @ axes
    error = match(x[1843:], copies.unflatten(1, (12, 2)))["reconstruction_mse"].value
    assert error == pytest.approx(0.196, abs=0.005)
    assert clash_distance(x) == pytest.approx(CLASH, abs=0.005)
    assert bond_lengths(x).mean() == pytest.approx(0.722, abs=1e-3)
