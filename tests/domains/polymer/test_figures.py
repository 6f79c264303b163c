import os
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from genmatter.domains.polymer.figures import duel, gallery, strip
from genmatter.maths.geometry import centre
from genmatter.maths.noise import generator
from genmatter.reporting.picture import svg
from genmatter.reporting.style import INKS

DISC = 13


def chains(n: int, beads: int = 12, dim: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, beads, dim, generator=generator(seed, "figures")).cumsum(1)


def shapes(figure: Figure) -> PathCollection:
    return next(c for c in figure.axes[0].collections if isinstance(c, PathCollection))


def discs(figure: Figure, warning: bool = False) -> list[tuple[np.ndarray, tuple[float, ...]]]:
    """Centres in inches and colours of the circles, in the order of drawing."""
    drawn = shapes(figure)
    red = to_rgb(INKS["warning"].light)
    found = [
        ((path.vertices.max(0) + path.vertices.min(0)) / 2, tuple(colour[:3]))
        for path, colour in zip(drawn.get_paths(), drawn.get_facecolors(), strict=True)
        if len(path.vertices) == DISC
    ]
    return [(at, colour) for at, colour in found if (colour == red) == warning]


def centres(figure: Figure) -> torch.Tensor:
    return torch.tensor(np.array([at for at, _ in discs(figure)]))


def test_every_chain_keeps_its_shape_and_all_have_one_scale():
    x = chains(7)
    for figure in (strip(x), gallery(x, columns=3), gallery(x, columns=2)):
        at = centres(figure).reshape(7, 12, 2)
        true, drawn = torch.cdist(x, x).double(), torch.cdist(at, at)
        scale = (drawn.sum() / true.sum()).item()
        torch.testing.assert_close(drawn, true * scale, rtol=1e-5, atol=1e-5)
        area = [torch.linalg.det(c[..., 1:3] - c[..., :1]) for c in (x.mT.double(), at.mT)]
        assert (area[0].sign() == area[1].sign()).all()  # turned, never mirrored


def test_chains_in_space_are_seen_along_their_smallest_axis():
    x = chains(3, dim=3)
    drawn = strip(x)
    count = [at for at, _ in discs(drawn)]
    assert len(count) == 36
    at = torch.tensor(np.array(count))
    spread = torch.linalg.eigvalsh(centre(x).mT @ centre(x)).double()
    seen = [centre(at[at[:, 0].sub(c).abs() < 9.2 / 6]) for c in (9.2 / 6, 9.2 / 2, 9.2 * 5 / 6)]
    ratio = torch.stack([s.square().sum() for s in seen]) / spread[:, 1:].sum(-1)
    torch.testing.assert_close(ratio, ratio[:1].expand(3), rtol=1e-4, atol=0)


def test_what_is_near_hides_what_is_far():
    flat = torch.tensor([[0.0, 0, 0], [3, 0, 0], [3, 2, 0], [0, 2, 0.4], [1, 1, -0.4]])
    figure = duel(flat, flat)
    order = [tuple(c) for _, c in discs(figure)]
    spread = torch.linalg.svd(centre(flat))
    depth = centre(flat) @ spread.Vh[2]
    assert len(order) == 10
    assert {int(depth.argmax()), int(depth.argmin())} == {3, 4}
    greys = [max(c) - min(c) for c in order[:2] + order[-2:]]
    assert max(greys[:2]) < min(greys[2:])  # the far ones fade, and come first


def test_beads_that_clash_are_ringed():
    line = torch.tensor([[0.0, 0], [1, 0], [2, 0], [2, 1], [1.05, 0.02], [0, 2]])
    free = line.clone()
    free[4] = torch.tensor([1.0, 1.0])
    rings = discs(gallery(torch.stack([line, free])), warning=True)
    assert len(rings) == 2
    assert not discs(gallery(free[None]), warning=True)
    assert len(discs(gallery(free[None], clash=1.01), warning=True)) > 0


def test_neighbours_along_the_chain_never_clash():
    line = torch.tensor([[0.0, 0], [0.01, 0], [1, 0]])
    assert not discs(strip(line[None]), warning=True)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_chain_that_is_not_finite_is_left_out(dim):
    x = chains(3, dim=dim)
    x[1, 4] = torch.nan
    x[2, 0] = torch.inf
    assert len(discs(strip(x, ["a", "b", "c"]))) == 12


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("n", "beads"), [(0, 5), (1, 2), (5, 12), (30, 4)])
def test_everything_lies_on_the_sheet(n, beads, dim):
    x = chains(n, beads, dim) * 37
    for figure in (strip(x, ["t"] * n), gallery(x, columns=4)):
        width, height = figure.get_size_inches()
        for path in shapes(figure).get_paths():
            low, high = path.vertices.min(0), path.vertices.max(0)
            assert (low >= 0).all()
            assert high[0] <= width
            assert high[1] <= height
        assert svg(figure)


@pytest.mark.parametrize("x", [torch.zeros(1, 5, 2), torch.zeros(1, 5, 3), torch.eye(5, 2)[None]])
def test_a_chain_without_extent_can_be_drawn(x):
    drawn = np.array([at for at, _ in discs(strip(x))])
    assert len(drawn) == 5
    assert np.isfinite(drawn).all()
    assert np.ptp(drawn) < 10


def test_titles_stand_over_their_chains():
    figure = strip(chains(3), ["Rg 0.71", "", "<b>"])
    said = [t.get_text() for t in figure.axes[0].texts]
    assert said[:3] == ["Rg 0.71", "", "<b>"]
    assert said[3].endswith("length")


def test_no_title_is_written_over_a_chain():
    figure = duel(*chains(2), ["first", "second"])
    top = max(path.vertices[:, 1].max() for path in shapes(figure).get_paths())
    assert all(t.get_position()[1] > top for t in figure.axes[0].texts[:2])


def test_large_galleries_stay_small():
    assert len(svg(gallery(chains(12, 400), columns=6))) < 800_000
    assert len(svg(gallery(chains(18), columns=6))) < 120_000


REAL = os.environ.get("GENMATTER_REAL_DATA", "")


@pytest.mark.skipif(not REAL, reason="needs GENMATTER_REAL_DATA")
def test_measured_chains_have_no_clash_and_one_scale():
    x = torch.from_numpy(np.load(Path(REAL) / "polymer" / "long_paths.npz")["arr"]).float()
    figure = gallery(x[::100], columns=7)
    assert not discs(figure, warning=True)
    at = centres(figure).reshape(-1, 12, 2)
    ratio = torch.cdist(at, at).sum((1, 2)) / torch.cdist(x[::100], x[::100]).sum((1, 2))
    torch.testing.assert_close(ratio, ratio[:1].expand(len(ratio)), rtol=1e-4, atol=0)
