import math

import numpy as np
import pytest
import torch
from domains.backbone.chains import chains, fold, loose, moved, normal

from genmatter.domains.backbone.metrics import doubts, faults, overlapping, score
from genmatter.domains.backbone.observables import phi, psi
from genmatter.errors import DataError
from genmatter.maths import atoms
from genmatter.maths.residues import aatype


def values(scores):
    return {name: s.value for name, s in scores.items()}


def shaken(n, width, key=0, residues=30):
    """Moves each residue of a fold as a whole by normal noise of a width of its own."""
    return fold(residues) + width[:, None, None] * normal(n, residues, 1, 3, key=key)


WIDTH = torch.linspace(0.1, 0.4, 30).double()


def test_sets_of_one_law_score_near_the_best_and_say_how_many_they_were():
    x, test, train = (loose(600, key=k) for k in range(3))
    got = score(x, test, train, series=[train])
    assert set(values(got)) == {
        "finite", "torsion_js", "ramachandran_js", "ca_pair_js", "clash", "clash_all", "rmsf_r",
        "rmsf_amplitude", "w1_rg", "ca_valid", "cn_valid", "cn_bonds", "cis", "w1_cn",
        "w1_ca_c_n", "w1_c_n_ca", "psi_error", "left_handed", "phi_positive", "pca_w2",
        "tica_w2", "novelty",
    }  # fmt: skip
    assert all(s.unit.endswith("n=500") for name, s in got.items() if name != "finite")
    # what chance leaves: bins that either basin reaches, about 25 of them
    assert got["torsion_js"].value == pytest.approx(math.sqrt(25 / 2000), rel=0.3)
    assert got["rmsf_amplitude"].value == pytest.approx(1, abs=0.05)
    assert got["novelty"].value == pytest.approx(1, abs=0.1)
    assert got["rmsf_r"].value > 0.7
    assert got["tica_w2"].value < 0.3
    assert got["pca_w2"].value < 0.4
    for name in ("finite", "ca_valid", "cn_valid", "cn_bonds", "left_handed"):
        assert got[name].value == 1
    for name in ("clash", "cis"):
        assert got[name].value == pytest.approx(got[name].best, abs=0.01)


def test_fewer_frames_are_compared_where_there_are_fewer_and_chance_leaves_more():
    x, test, train = (loose(600, key=k) for k in range(3))
    few, many = (score(x[:n], test, train) for n in (60, 600))
    assert few["torsion_js"].unit == "sqrt nat, n=60"
    assert few["torsion_js"].value > 1.5 * many["torsion_js"].value
    assert score(x, test, train, most=40)["torsion_js"].unit == "sqrt nat, n=40"
    assert "tica_w2" not in many


def test_scores_do_not_see_where_conformers_are():
    x, test, train = (loose(60, key=k) for k in range(3))
    first = score(x, test, train, series=[train])
    second = score(moved(x), moved(test, 1), moved(train, 2), series=[moved(train, 3)])
    assert values(second) == pytest.approx(values(first), rel=1e-4, abs=1e-5)


def test_the_seed_draws_other_frames_of_larger_sets_and_nothing_else():
    x, test, train = (loose(60, key=k) for k in range(3))
    for most, same in ((60, True), (30, False)):
        first, second = (score(x, test, train, most=most, seed=k) for k in range(2))
        assert (values(first) == pytest.approx(values(second), abs=1e-4)) is same
    assert values(score(x, test, train, most=30)) == values(score(x, test, train, most=30))


def test_mirror_images_are_caught_even_where_their_cb_is_right():
    x, test, train = (loose(200, key=k) for k in range(3))
    mirror = x * torch.tensor([-1.0, 1.0, 1.0])
    got = score(mirror, test, train)
    assert got["left_handed"].value == 0
    assert got["phi_positive"].value > 0.95
    assert got["phi_positive"].best < 0.05
    assert got["torsion_js"].value > 0.7
    frames = atoms.atom14_to_frames(mirror)
    psi = torch.ones(200, 6, 2).double()
    rebuilt = score(atoms.backbone(frames, psi), test, train)
    assert rebuilt["left_handed"].value == 1
    assert rebuilt["phi_positive"].value > 0.95


def test_phi_and_psi_are_compared_together_and_not_each_by_itself():
    x, test = (chains(phi(y), psi(y).flip(1)) for y in (loose(600, 3), loose(600, 3, key=1)))
    torn = chains(phi(x), psi(x).roll(300, 0))  # the residue between has phi of one basin and psi
    fine, got = score(x, test, test), score(torn, test, test)  # of the other
    assert got["torsion_js"].value == pytest.approx(fine["torsion_js"].value, rel=0.1)
    assert got["ramachandran_js"].value > 1.3 * fine["ramachandran_js"].value


def test_a_stiffer_ensemble_has_its_amplitude_told():
    x, test, train = (shaken(400, WIDTH * f, k) for k, f in enumerate((0.5, 1.0, 1.0)))
    got = score(x, test, train)
    assert got["rmsf_amplitude"].value == pytest.approx(0.5, abs=0.02)
    assert got["rmsf_r"].value > 0.98
    turned = score(shaken(400, WIDTH.flip(0)), test, train)
    assert turned["rmsf_r"].value < -0.9
    assert turned["rmsf_amplitude"].value == pytest.approx(1, abs=0.05)


def test_broken_links_are_counted_by_frames_and_by_bonds():
    test, train = fold(11).repeat(40, 1, 1, 1), fold(11).repeat(40, 1, 1, 1)
    x = test.clone()
    for frames, place in ((10, 5), (5, 8)):
        along = test[0, place, 1] - test[0, place - 1, 1]
        x[:frames, place:] += 0.5 * along / along.norm()
    got = score(x, test, train)
    assert got["cn_valid"].value == 0.75
    assert got["cn_bonds"].value == pytest.approx(1 - 15 / 400)
    assert got["ca_valid"].value == 0.75
    assert (got["cn_valid"].best, got["ca_valid"].best) == (1, 1)
    assert got["cis"].value == 0


def test_an_oxygen_that_is_turned_has_its_angle_told():
    x = loose(40)
    frames, psi = atoms.atom14_to_frames(x), torch.zeros(40, 6).double()
    psi[:, :-1] = torch.atan2(*_sin_cos(x))
    for degrees in (0.0, 30.0, -170.0):
        told = psi + math.radians(degrees)
        turned = atoms.backbone(frames, torch.stack([told.sin(), told.cos()], -1))
        got = score(turned, x, x)["psi_error"]
        assert got.value == pytest.approx(abs(degrees), abs=0.2)  # ideal residues move N a bit
        assert got.best == pytest.approx(0, abs=1e-4)


def _sin_cos(x):
    n, ca, c = x[:, :, :3].unbind(2)
    psi = atoms.dihedral(n[:, :-1], ca[:, :-1], c[:, :-1], n[:, 1:])
    return psi.sin(), psi.cos()


def test_clashes_are_counted_of_ca_and_of_all_atoms():
    x = fold(12).repeat(8, 1, 1, 1)
    assert not overlapping(x).any()
    x[:2, 11] += (x[:2, 0, 1] - x[:2, 11, 1])[:, None] + 0.5
    x[2, 11, 3] = x[2, 0, 0] + 1.0  # an oxygen in a nitrogen
    x[3, 11, 4] = 0.0  # a glycine's CB is not there, even if the origin is
    x[3] = x[3] - x[3, 3, 1]
    x[3, 11, 4] = 0.0
    assert overlapping(x).tolist() == [True, True, True, *[False] * 5]
    test = fold(12).repeat(8, 1, 1, 1)
    got = score(x, test, test)
    assert got["clash"].value == 0.25
    assert got["clash_all"].value == 0.375
    assert doubts(x)[:4] == ["a CA-CA bond not within 3.8 +- 0.4 A"] * 2 + [""] * 2
    near = loose(1)
    near[:, 3:, :] += near[:, 1:2, 1:2] - near[:, 3:4, 1:2] + 1
    near[:, 2, 1] = near[:, 3, 1] + torch.tensor([2.2, 2.2, 2.2])
    near[:, 1, 1] = near[:, 2, 1] - torch.tensor([2.2, 2.2, 2.2])
    near[:, 0, 1] = near[:, 1, 1] + torch.tensor([3.8, 0.0, 0.0])
    near[:, 4:, 1] = near[:, 3:4, 1] + torch.tensor([[-3.8, 0, 0], [-7.6, 0, 0]])
    assert doubts(near) == ["two CA closer than 3 A"]


def test_what_is_not_finite_counts_in_finite_alone():
    x, test, train = (loose(80, key=k) for k in range(3))
    broken = torch.cat([x, x[:20] * math.nan])
    got, clean = score(broken, test, train), score(x, test, train)
    assert got["finite"].value == 0.8
    assert values(got) | {"finite": 1} == values(clean)
    assert set(score(broken[-22:], test, train)) == {"finite"}
    assert faults(broken[78:82]) == ["", "", "not finite", "not finite"]
    assert math.isnan(score(x[:0], test, train)["finite"].value)


def test_copies_of_training_frames_are_not_novel_and_noise_is_too_novel():
    test, train = loose(200), loose(200, key=1)
    assert score(moved(train), test, train)["novelty"].value < 1e-3
    assert score(2 * train, test, train)["novelty"].value > 3


def test_glycines_have_no_hand():
    x, test, train = (loose(60, key=k) for k in range(3))
    for y in (x, test, train):
        y[:, 2:, 4] = 0
    mirror = x * torch.tensor([-1.0, 1.0, 1.0])
    half = torch.cat([x[:30], mirror[30:]])
    got = score(half, test, train)
    assert got["left_handed"].value == 0.5
    assert got["phi_positive"].value == pytest.approx(0.5, abs=0.02)
    for y in (half, test, train):
        y[:, :, 4] = 0
    assert "left_handed" not in score(half, test, train)


@pytest.mark.parametrize("shape", [(9, 5, 5, 3), (9, 6, 4, 3), (9, 6, 5)])
def test_other_proteins_are_refused_by_their_shapes(shape):
    test = loose(10)
    with pytest.raises(DataError, match=r"expected \[n, residues, 5, 3\] of one protein"):
        score(torch.zeros(shape), test, test)
    with pytest.raises(DataError, match="2 residues"):
        score(*[test[:, :2]] * 3)


def replicas(folder, protein, numbers):
    return [
        torch.from_numpy(np.load(folder / "backbone" / protein / f"{protein}_R{k}.npy"))
        .float()[:, :, :5]
        for k in numbers
    ]  # fmt: skip


def floors(one, two, most):
    return values(score(one, two, one, most=most))


def test_replicas_of_a_short_peptide_are_as_far_apart_as_they_were_found_to_be(real_data):
    one, two, three = replicas(real_data, "AAAAA_400K", (1, 2, 3))
    for a, b in ((one, two), (one, three), (two, three)):
        got = floors(a, b, 2000)
        assert 0.15 < got["torsion_js"] < 0.21
        assert 0.75 < got["rmsf_r"] < 0.97
        assert got["cn_valid"] > 0.99
        assert (got["ca_valid"], got["clash"], got["clash_all"]) == (1, 0, 0)
    part = floors(one, three, 500)
    assert 0.19 < part["torsion_js"] < 0.27  # fewer frames are farther apart
    assert 0.15 < part["ca_pair_js"] < 0.24


def test_replicas_of_chignolin_are_as_far_apart_as_they_were_found_to_be(real_data):
    one, two = replicas(real_data, "CLN025_300K", (1, 2))
    whole = floors(one, two, 2000)
    assert 0.11 < whole["torsion_js"] < 0.15
    assert 0.97 < whole["rmsf_r"] < 0.99
    assert 1 / 1.07 < whole["rmsf_amplitude"] < 1.07 or whole["rmsf_amplitude"] == 1


def test_ideal_residues_cost_peptide_bonds_and_no_torsions(real_data):
    (x,) = replicas(real_data, "AAAAA_400K", (1,))
    atom37 = atoms.atom14_to_atom37(torch.nn.functional.pad(x, (0, 0, 0, 9)), aatype("AAAAA"))
    told = atoms.atom37_to_torsions(atom37, aatype("AAAAA")).torsion_angles_sin_cos[..., 2, :]
    ideal = atoms.backbone(atoms.atom14_to_frames(x), told)
    got = score(ideal, x, x, most=2000)
    assert got["cn_valid"].value == pytest.approx(0.62, abs=0.05)
    assert got["torsion_js"].value < 0.15
    assert got["psi_error"].value < 10
