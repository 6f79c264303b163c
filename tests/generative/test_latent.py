"""Lines and arcs between latents, and descents to where calculus says."""

import torch

from genmatter.generative.latent import around, descend, interpolate

G = torch.Generator().manual_seed(0)
A, B = torch.randn(2, 8, generator=G, dtype=torch.float64)
ALPHAS = torch.linspace(0, 1, 9, dtype=torch.float64)


def test_both_paths_join_the_ends():
    for path in ("straight", "spherical"):
        z = interpolate(A, B, ALPHAS, path)
        torch.testing.assert_close(z[0], A)
        torch.testing.assert_close(z[-1], B)


def test_the_straight_path_is_even():
    steps = interpolate(A, B, ALPHAS).diff(dim=0)
    torch.testing.assert_close(steps, steps[:1].expand_as(steps))


def test_the_spherical_path_turns_evenly_and_moves_evenly_in_norm():
    z = interpolate(A, B, ALPHAS, "spherical")
    norms = z.norm(dim=1)
    torch.testing.assert_close(norms.diff(), norms.diff()[:1].expand(8))
    unit = z / norms[:, None]
    turns = (unit[1:] * unit[:-1]).sum(1).arccos()
    torch.testing.assert_close(turns, turns[:1].expand(8))


def test_where_no_arc_is_defined_the_path_is_straight():
    for b in (2 * A, -A, torch.zeros_like(A)):
        z = interpolate(A, b, ALPHAS, "spherical")
        torch.testing.assert_close(z, interpolate(A, b, ALPHAS))


def test_latents_of_several_places_are_joined_whole():
    z = interpolate(A.reshape(2, 4), B.reshape(2, 4), ALPHAS, "spherical")
    torch.testing.assert_close(z.flatten(1), interpolate(A, B, ALPHAS, "spherical"))


def test_a_descent_ends_where_property_and_prior_balance():
    """For f = |z - c|^2 / 2 and weight w, the lowest point is c / (1 + w)."""
    c = torch.tensor([2.0, -1.0])

    def objective(z):
        value = (z - c).square().sum(1) / 2
        return value, value

    found = descend(torch.randn(5, 2, generator=G), objective, 800, 0.05, prior=3.0)
    torch.testing.assert_close(found.z, (c / 4).expand(5, 2), atol=1e-3, rtol=0)
    assert found.values.shape == (801, 5)
    torch.testing.assert_close(found.path[-1], found.z)
    torch.testing.assert_close(objective(found.path[0])[0], found.values[0])


def test_points_around_lie_at_the_distance_in_every_direction():
    torch.manual_seed(0)
    for z in (A, A.reshape(2, 4), torch.zeros(3)):
        step = around(z, 4000, 1.5) - z
        assert step.shape == (4000, *z.shape)
        far = step.flatten(1)
        torch.testing.assert_close(far.norm(dim=1), torch.full_like(far[:, 0], 1.5))
        # the covariance of a uniform direction is that of the identity, over its dimensions
        even = 1.5**2 / far.shape[1] * torch.eye(far.shape[1], dtype=far.dtype)
        torch.testing.assert_close(far.T @ far / len(far), even, atol=0.05, rtol=0)
    torch.testing.assert_close(around(A, 2, 0.0), A.expand(2, 8))
