"""What of a latent is drawn: the kinds of its units, found in latents that are made of them."""

import pytest
import torch

from genmatter.domains.crystal.layout import Layout

N, ATOMS = 300, 6
SAID, SHARED, OWN = [0], [1, 2], [3, 4]


@pytest.fixture(scope="module")
def made():
    """Latents of which the first unit is the element's, two are the crystal's, two the atom's."""
    g = torch.Generator().manual_seed(0)
    types = torch.randint(1, 9, (N, ATOMS), generator=g)
    types[:, 4:] *= torch.rand(N, 2, generator=g) < 0.5
    mask = types > 0
    z = 3 + 2 * torch.randn(N, ATOMS, 5, generator=g)
    z[..., SAID] = (types[..., None] ** 2).float() + 0.1 * z[..., SAID]
    z[..., SHARED] = 5 * z[:, :1, SHARED] + 0.1 * z[..., SHARED]
    z = z * mask[..., None]
    layout = Layout(5)
    layout.fit([(z[:200], types[:200]), (z[200:], types[200:])])
    return layout, z, types, mask


def test_kinds_are_found(made):
    layout = made[0]
    assert layout.said.nonzero()[:, 0].tolist() == SAID
    assert layout.shared.nonzero()[:, 0].tolist() == SHARED
    assert layout.own.nonzero()[:, 0].tolist() == OWN


def test_states_have_mean_0_and_spread_1_in_what_is_drawn(made):
    layout, z, _, mask = made
    x = layout.state(z, mask)
    assert (x[..., SAID] == 0).all()
    assert (x[~mask] == 0).all()
    own, shared = x[mask][:, OWN], x[:, 0, SHARED]
    for part in (own, shared):
        torch.testing.assert_close(part.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
        torch.testing.assert_close(part.std(0), torch.ones(2), atol=1e-2, rtol=0)
    torch.testing.assert_close(x[:, 1, SHARED], x[:, 0, SHARED])


def test_latents_come_back_up_to_what_hardly_differs(made):
    layout, z, types, mask = made
    again = layout.latents(layout.state(z, mask), types)
    torch.testing.assert_close(again[..., OWN], z[..., OWN], atol=1e-4, rtol=1e-4)
    assert (again - z)[..., SAID + SHARED].abs().max() < 2.0  # a fifth of the noise that was added
    assert (again[~mask] == 0).all()


def test_states_are_states_already(made):
    layout, z, _, mask = made
    x = layout.state(z, mask)
    torch.testing.assert_close(layout.along(x, mask), x)


def test_noise_is_normal_and_one_number_of_a_crystal_in_what_is_shared(made):
    layout, z, _, mask = made
    torch.manual_seed(0)
    eps = torch.cat([layout.noise(z, mask) for _ in range(30)])
    many = mask.repeat(30, 1)
    assert (eps[..., SAID] == 0).all()
    assert (eps[~many] == 0).all()
    torch.testing.assert_close(eps[:, 1, SHARED], eps[:, 0, SHARED])
    for part in (eps[many][:, OWN], eps[:, 0, SHARED]):
        torch.testing.assert_close(part.std(0), torch.ones(2), atol=0.03, rtol=0)
    torch.testing.assert_close(layout.along(eps, many), eps)


def test_errors_are_means_over_atoms_and_units(made):
    layout, z, _, mask = made
    gap = torch.ones_like(z)
    gap[..., SHARED] = 3.0
    own, shared = layout.errors(gap * mask[..., None], mask)
    torch.testing.assert_close(own, torch.ones(N))
    torch.testing.assert_close(shared, torch.full((N,), 9.0))


def test_where_nothing_is_shared_all_is_the_atoms_own():
    g = torch.Generator().manual_seed(0)
    z, types = torch.randn(50, 4, 3, generator=g), torch.randint(1, 4, (50, 4), generator=g)
    layout = Layout(3)
    layout.fit([(z, types)])
    assert layout.own.all()
    own, shared = layout.errors(z, types > 0)
    assert (shared == 0).all()
    assert (own > 0).all()
