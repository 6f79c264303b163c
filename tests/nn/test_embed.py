import torch

from genmatter.nn.embed import bumps, sinusoidal


def test_sinusoids_are_points_on_circles_of_falling_frequency():
    found = sinusoidal(torch.tensor([0.0, 3.0]), 64)
    assert found.shape == (2, 64)
    sines, cosines = found.chunk(2, -1)
    torch.testing.assert_close(sines.square() + cosines.square(), torch.ones(2, 32))
    assert sines[0].eq(0).all()
    assert cosines[0].eq(1).all()
    torch.testing.assert_close(sines[1, [0, -1]], torch.tensor([3.0, 3e-4]).sin())


def test_bumps_peak_at_their_places():
    found = bumps(torch.linspace(0, 1, 9), 9)
    torch.testing.assert_close(found.diagonal(), torch.ones(9))
    assert found.argmax(1).tolist() == list(range(9))
