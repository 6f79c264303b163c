import math
from dataclasses import replace

import pytest
import torch
from domains.backbone.chains import fold, moved, normal

from genmatter.domains.backbone.ensemble import (
    figures,
    jaccard,
    principal_components,
    rmsf,
    scores,
)
from genmatter.errors import DataError

FOLD = fold(40)[0, :, 1]
WIDTH = torch.linspace(0.3, 0.9, 40).double()


def shaken(n, width=WIDTH, key=0):
    """Returns CA atoms that move by themselves, by normal noise of a width of their own."""
    return FOLD + width[:, None] * normal(n, 40, 3, key=key)


def test_a_normal_ensemble_has_its_rmsf_and_its_pairwise_distance():
    x, md = shaken(300), shaken(900, key=1)
    got = figures(x, md, FOLD)
    left = 1 - 6 / 120  # of the motion, after superposition has taken its six freedoms
    for profile, pairwise in ((got.rmsf, got.pairwise), (got.md_rmsf, got.md_pairwise)):
        torch.testing.assert_close(profile, WIDTH * math.sqrt(3 * left), rtol=0.15, atol=0)
        expected = (6 * WIDTH.square().mean() * left).sqrt().item()
        assert pairwise == pytest.approx(expected, rel=0.03)
    assert got.rmwd < 0.1
    assert got.md_pca_w2 < 0.15
    torch.testing.assert_close(rmsf(x - x.mean(0)), rmsf(x))


def test_figures_do_not_see_where_conformers_are():
    x, md = shaken(60), shaken(90, key=1)
    got, same = figures(x, md, FOLD), figures(*_moved(x, md), _moved(FOLD[None])[0][0])
    for name in ("pairwise", "translation", "variance", "md_pca_w2", "weak", "pc_similarity"):
        assert getattr(same, name) == pytest.approx(getattr(got, name), abs=1e-6)
    torch.testing.assert_close(same.rmsf, got.rmsf)


def _moved(*sets):
    return [moved(x[:, :, None], key=k)[:, :, 0] for k, x in enumerate(sets)]


def test_the_distance_of_widths_is_their_difference_and_of_places_their_shift():
    x, md = shaken(600, 0.5 * WIDTH), shaken(600, WIDTH, key=1)
    got = figures(x, md, FOLD)
    expected = (3 * (0.5 * WIDTH).square().mean()).sqrt().item()
    assert got.variance == pytest.approx(expected, rel=0.05)
    assert got.translation < 0.1
    assert got.rmwd == pytest.approx(math.hypot(got.translation, got.variance))
    bent = FOLD.clone()
    bent[:, 2] += 2 * torch.sin(torch.linspace(0, 6 * math.pi, 40).double())
    small = 0.1 * WIDTH
    shifted = figures(shaken(500, small) + bent - FOLD, shaken(500, small, key=1), FOLD)
    assert shifted.variance < 0.1
    assert shifted.translation == pytest.approx(math.sqrt(2), rel=0.1)


def along(n, amount, key=0):
    """Returns an ensemble that moves mostly along one direction, which has 1 A of RMSD in it."""
    mode = torch.linalg.cross(FOLD - FOLD.mean(0), FOLD.roll(1, 0) - FOLD.roll(-1, 0))
    mode[:, 0] += torch.cos(torch.linspace(0, 9, 40).double()) * 4
    mode = mode / mode.norm() * 40**0.5
    return shaken(n, 0.02 * WIDTH, key) + amount * normal(n, 1, 1, key=f"{key} amount") * mode


def test_one_motion_of_two_amplitudes_has_its_difference_on_the_components():
    got = figures(along(500, 0.4), along(500, 0.8, 1), FOLD)
    assert got.pc_similarity > 0.95
    ratio = got.pairwise / got.md_pairwise
    assert ratio == pytest.approx(0.5, abs=0.06)
    # W2 of N(0, .4^2) and N(0, .8^2), less what superposition takes of the motion
    assert got.md_pca_w2 == pytest.approx(
        0.4 * got.md_pairwise / (0.8 * 2 / math.pi**0.5), rel=0.15
    )
    assert got.joint_pca_w2 == pytest.approx(got.md_pca_w2, rel=0.1)
    assert figures(shaken(300), along(300, 0.8, 1), FOLD).pc_similarity < 0.5


def test_components_are_directions_of_greatest_variance():
    axes = principal_components(along(400, 0.8), 3)
    torch.testing.assert_close(axes @ axes.T, torch.eye(3).double())
    spread = (along(400, 0.8).flatten(1) @ axes.T).std(0)
    assert (spread.diff() <= 0).all()


def test_jaccard_is_what_both_have_of_what_either_has():
    a, b = torch.tensor([1, 1, 1, 0, 0]).bool(), torch.tensor([0, 1, 1, 1, 0]).bool()
    assert jaccard(a, b) == 0.5
    assert jaccard(a, a) == 1
    assert math.isnan(jaccard(a & ~a, a & ~a))


def hinge(n, share, ends):
    """Returns a straight chain whose last CA sits elsewhere in a share of the conformers."""
    x = torch.zeros(n, 12, 3).double()
    x[:, :, 0] = 3.8 * torch.arange(12)
    x[:, :, 1] = torch.tensor([0.0, 1.0, 0.0] * 4)
    x[:, :, 2] = torch.tensor([0.0, 0.0, 1.0] * 4)
    for end, place in ends.items():
        x[: int(share * n), end] = torch.tensor(place).double()
    return x


def test_contacts_that_open_and_contacts_that_form_are_found():
    closed = hinge(1, 0.0, {})[0]
    away, near = {11: (41.8, 30.0, 0.0)}, {11: (33.0, 4.0, 3.0)}
    # two residues along a straight chain touch: the last two leave each other in some frames
    opening = figures(hinge(50, 0.3, away), hinge(50, 0.2, away), closed)
    assert opening.weak == 1
    rare = figures(hinge(50, 0.05, away), hinge(50, 0.2, away), closed)
    assert rare.weak == 0
    forming = figures(hinge(50, 0.3, near), hinge(50, 0.2, near), closed)
    assert forming.transient == 1
    assert figures(hinge(50, 0.3, near), hinge(50, 0.0, near), closed).transient == 0
    still = hinge(50, 0.0, {}) + 1e-3 * normal(50, 12, 3)
    assert math.isnan(figures(still, still, closed).weak)


def test_a_table_of_proteins_has_medians_and_says_what_would_be_perfect():
    widths = (0.3, 0.6, 1.2)
    each = [
        figures(shaken(200, w * WIDTH, 2 * k), shaken(200, w * WIDTH, 2 * k + 1), FOLD)
        for k, w in enumerate(widths)
    ]
    table = scores(each)
    assert table["pairwise_rmsd"].value == each[1].pairwise
    assert table["pairwise_rmsd"].best == each[1].md_pairwise
    assert table["rmwd"].value == sorted(f.rmwd for f in each)[1]
    assert table["global_rmsf_r"].value > 0.97
    assert table["pairwise_rmsd_r"].value > 0.99
    assert "pairwise_rmsd_r" not in scores(each[:2])
    assert table["pc_sim"].best == 1
    assert scores(each[:1])["protein_rmsf_r"].value > 0.95


@pytest.mark.parametrize("sizes", [(1, 40), (20, 39)])
def test_sets_that_cannot_be_compared_are_refused(sizes):
    n, residues = sizes
    with pytest.raises(DataError, match="expected the same, and two"):
        figures(shaken(n)[:, :residues], shaken(20), FOLD)


def test_on_contacts_that_there_are_none_of_all_agree():
    x = shaken(20)
    none = replace(figures(x, x, x[0]), weak=math.nan, transient=math.nan)
    table = scores([none])
    assert table["weak_contacts"].value == table["transient_contacts"].value == 1
    some = replace(none, weak=0.25)
    assert scores([none, some])["weak_contacts"].value == 0.25
