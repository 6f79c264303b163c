import math

import pytest
import torch
from domains.backbone.chains import chains, fold, loose, moved, normal

from genmatter.domains.backbone.observables import (
    OBSERVABLES,
    alphas,
    ca_bonds,
    contacts,
    end_to_end,
    helix,
    left_handed,
    link_angles,
    link_bonds,
    mean_link,
    omega,
    oxygen_psi,
    pair_distances,
    phi,
    psi,
    radius_of_gyration,
    rmsd_to,
    shortest_nonbonded,
)


def test_a_chain_has_the_torsions_that_it_is_grown_from():
    told = [2 * normal(20, 7, key=k).clamp(-1.5, 1.5) for k in range(3)]
    x = chains(*told)
    for of, angle in zip((phi, psi, omega), told, strict=True):
        torch.testing.assert_close(of(x), angle)
    torch.testing.assert_close(oxygen_psi(x)[:, :-1].cos(), told[1].cos())
    torch.testing.assert_close(oxygen_psi(x)[:, :-1].sin(), told[1].sin())
    torch.testing.assert_close(link_bonds(x), torch.full((20, 7), 1.329).double())
    for angle, degrees in zip(link_angles(x), (116.2, 121.7), strict=True):
        torch.testing.assert_close(angle.rad2deg(), torch.full((20, 7), degrees).double())


def test_neighbours_of_trans_links_are_3_8_angstrom_apart_and_of_cis_links_a_quarter_less():
    flat = torch.zeros(1, 3).double()
    assert ca_bonds(chains(flat, flat)).mean() == pytest.approx(3.8, abs=0.02)
    assert ca_bonds(chains(flat, flat, flat)).mean() == pytest.approx(2.77, abs=0.02)


def test_a_helix_is_one_and_a_strand_is_none():
    links = torch.ones(1, 11).double()
    alpha, beta = chains(-1.05 * links, -0.78 * links), chains(-2.2 * links, 2.3 * links)
    assert (helix(alpha).item(), helix(beta).item()) == (1, 0)
    assert helix(fold(30)).item() == pytest.approx(27 / 28)
    assert end_to_end(alpha).item() == pytest.approx(1.5 * 11, abs=1.5)  # 1.5 A for each residue
    assert contacts(alpha) > contacts(beta)
    assert contacts(beta).item() == pytest.approx(0, abs=1e-3)


def test_contacts_count_pairs_three_or_more_apart():
    x = torch.zeros(1, 5, 5, 3).double()
    x[0, :, 1, 0] = torch.tensor([0.0, 0.5, 1.0, 1.5, 20.0])
    assert contacts(x).item() == pytest.approx(1)  # the first and the fourth
    assert pair_distances(x).shape == (1, 6)
    assert shortest_nonbonded(x).item() == pytest.approx(1)
    assert radius_of_gyration(x).item() == pytest.approx(alphas(x)[0, :, 0].std(correction=0))


def test_mirror_images_have_their_torsions_turned_round_and_their_cb_on_the_other_side():
    x = loose(30)
    mirror = x * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(phi(mirror), -phi(x))
    torch.testing.assert_close(psi(mirror), -psi(x))
    assert left_handed(x).all()
    assert not left_handed(mirror).any()


EVERY = (*OBSERVABLES, rmsd_to(loose(1, key=3)[0]))


@pytest.mark.parametrize("observable", EVERY, ids=lambda o: o.name)
def test_observables_do_not_see_where_a_conformer_is(observable):
    x = loose(20)
    torch.testing.assert_close(observable.of(moved(x)), observable.of(x))


@pytest.mark.parametrize("observable", EVERY, ids=lambda o: o.name)
def test_observables_that_say_so_have_right_and_finite_gradients(observable):
    if not observable.differentiable:
        pytest.skip("it counts")
    x = loose(2)
    assert torch.autograd.gradcheck(observable.of, x.requires_grad_())
    degenerate = torch.cat([loose(2, key=3), torch.zeros(1, 6, 5, 3).double()])
    degenerate[1, 3] = degenerate[1, 2]
    degenerate[2, :, :, 0] = torch.arange(6)[:, None]  # on a line; the first is the reference
    observable.of(degenerate.requires_grad_()).sum().backward()
    assert degenerate.grad.isfinite().all()


def test_the_distance_from_a_reference_is_blind_to_motion_and_not_to_mirrors():
    x = loose(10)
    of = rmsd_to(x[0], "rmsd_native")
    assert of.name == "rmsd_native"
    assert of.of(moved(x[:1])).item() == pytest.approx(0, abs=1e-6)
    assert of.of(-x[:1]).item() > 0.1
    assert mean_link(x).mean() == pytest.approx(1.329)
    assert not math.isnan(of.of(x).sum())
