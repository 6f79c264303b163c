import re

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection

from genmatter.domains.backbone import figures
from genmatter.domains.backbone.traces import LONGEST, laid, strip
from genmatter.errors import DataError
from genmatter.maths import rotation
from genmatter.maths.noise import generator
from genmatter.reporting.picture import svg


def conformers(n=20, residues=8, spread=0.2, seed=0):
    """Fluctuations about one chain, each moved somewhere else."""
    g = generator(seed, "figures")
    chain = torch.randn(residues * 5, 3, generator=generator("chain")).cumsum(0)
    x = chain.unflatten(0, (residues, 5)) + spread * torch.randn(n, residues, 5, 3, generator=g)
    return moved(x, g)


def moved(x, g):
    q = torch.nn.functional.normalize(torch.randn(len(x), 4, generator=g), dim=-1)
    turned = x @ rotation.to_matrix(q.to(x))[:, None]
    return turned + 10 * torch.randn(len(x), 1, 1, 3, generator=g).to(x)


def lines(figure):
    return next(c for c in figure.axes[0].collections if isinstance(c, LineCollection))


def pixels(figure, panel):
    return np.ma.filled(figure.axes[panel].images[0].get_array(), np.nan)


def test_conformers_are_superposed_and_lie_along_the_axes_of_their_mean():
    one = conformers(1)
    x = moved(one.expand(6, -1, -1, -1).double(), generator("moves"))
    at = laid(x, x)
    torch.testing.assert_close(at, at[:1].expand_as(at), atol=1e-6, rtol=0)
    ca = at[0, :, 1]
    assert ca.mean(0).abs().max() < 1e-6
    spread = ca.T @ ca
    assert (spread - spread.diag().diag()).abs().max() < 1e-6 * spread.max()
    assert (spread.diag().diff() <= 0).all()


def test_conformers_are_turned_and_never_mirrored():
    x = conformers(4, spread=0.0).double()
    at = laid(x, x)
    mirrored = laid(x * torch.tensor([-1.0, 1, 1]).to(x), x)
    own = (torch.cdist(x[:, :, 1], x[:, :, 1]) - torch.cdist(at[:, :, 1], at[:, :, 1])).abs().max()
    assert own < 1e-6
    assert (mirrored - at).norm(dim=-1).mean() > 0.1


def test_every_conformer_of_a_row_has_one_scale_and_stands_in_its_place():
    x = conformers(1).expand(5, -1, -1, -1)
    drawn = strip(moved(x.double(), generator("row")), ["t"] * 5)
    width, height = drawn.get_size_inches()
    ends = np.array([s for s in lines(drawn).get_segments() if np.ptp(s) > 0.01])
    assert (ends >= 0).all()
    assert (ends[..., 0] <= width).all()
    assert (ends[..., 1] <= height).all()
    columns = (ends.mean(1)[:, 0] // (width / 5)).astype(int)
    assert np.bincount(columns).tolist() == [len(ends) // 5] * 5
    said = [t.get_text() for t in drawn.axes[0].texts]
    assert said[:5] == ["t"] * 5
    assert "C-terminus" in said


def test_a_broken_chain_is_drawn_broken():
    x = conformers(1, spread=0.0)
    whole = len(lines(strip(x)).get_segments())
    apart = x.clone()
    apart[:, 4:] += torch.tensor([30.0, 0, 0])
    assert len(lines(strip(apart)).get_segments()) < whole


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_conformers_that_are_not_finite_are_left_out(bad):
    x = conformers(3)
    with_bad = x.clone()
    with_bad[1, 2, 3] = bad
    counts = [len(lines(strip(y)).get_segments()) for y in (x[[0, 2]], with_bad)]
    assert counts[0] == pytest.approx(counts[1], abs=12)  # edges depend on the scale
    assert np.allclose(pixels(figures.contacts(with_bad, x), 0), pixels(figures.contacts(
        x[[0, 2]], x), 0), equal_nan=True)  # fmt: skip
    with pytest.raises(DataError, match="finite"):
        figures.contacts(with_bad[1:2], x)


@pytest.mark.parametrize(("n", "residues"), [(0, 5), (1, 2), (8, 10), (2, 200)])
def test_strips_of_any_size_become_pictures(n, residues):
    drawn = strip(conformers(n, residues) if n else torch.zeros(0, residues, 5, 3), ["a"] * n)
    assert len(svg(drawn)) < 800_000
    assert ("O" in [t.get_text() for t in drawn.axes[0].texts]) == (residues <= LONGEST)


def test_contacts_are_those_counted_by_hand():
    line = torch.zeros(2, 5, 5, 3)
    line[:, :, 1, 0] = torch.tensor([[0.0, 3, 6, 9, 12], [0, 2, 4, 6, 8.5]])
    share = figures.touching(line)
    far = torch.arange(5)[:, None].sub(torch.arange(5)).abs()
    expected = torch.tensor([1.0, 1, 1, 0.5, 0])[far].double()
    torch.testing.assert_close(share, expected)


def test_samples_are_above_the_diagonal_and_molecular_dynamics_below():
    ours, theirs = conformers(30, 12, 0.5), conformers(40, 12, 2.0, seed=1)
    drawn = figures.contacts(ours, theirs)
    both, gap = (np.nan_to_num(np.asarray(pixels(drawn, k))) for k in (0, 1))
    i, j = np.tril_indices(12, -3)  # the image's rows go up the page: row above column
    assert drawn.axes[0].images[0].origin == "lower"
    a, b = (figures.touching(x).numpy() for x in (ours, theirs))
    np.testing.assert_allclose(both[i, j], a[i, j])
    np.testing.assert_allclose(both[j, i], b[i, j])
    np.testing.assert_allclose(gap[i, j], (a - b)[i, j])
    assert np.abs(np.diag(both, 2)).max() == 0


def test_fluctuations_are_those_about_the_mean_and_forget_where_a_conformer_is():
    spread = torch.linspace(0.1, 0.6, 40)
    g = generator("rmsf")
    rest = torch.randn(40, 1, 3, generator=g).cumsum(0) * 4
    x = rest + spread[:, None, None] * torch.randn(3000, 40, 1, 3, generator=g)
    found = figures.fluctuations(moved(x.expand(-1, -1, 5, -1), g))
    torch.testing.assert_close(found, spread.double() * 3**0.5, rtol=0.05, atol=0.05)


def test_rmsf_is_drawn_over_residue_numbers_and_broken_where_they_jump():
    x = conformers(50)
    numbers = [3, 4, 5, 6, 20, 21, 22, 23]
    drawn = figures.rmsf(x, x, x[:30], numbers)
    ax = drawn.axes[0]
    assert [len(line.get_xdata()) for line in ax.lines] == [4] * 6
    assert ax.xaxis.get_major_formatter()(4, 0) == "20"
    said = [t.get_text() for t in drawn.legends[0].get_texts()]
    assert said[:2] == ["test", "samples: r = 1.00, amplitude × 1.00"]
    heights = np.concatenate([line.get_ydata() for line in ax.lines[:2]])
    np.testing.assert_allclose(heights, figures.fluctuations(x))


def test_ramachandran_has_one_scale_and_a_density_of_one_on_average():
    drawn = figures.ramachandran(conformers(200, spread=0.5), conformers(300, spread=1.0))
    first, second = drawn.axes[0].images[0], drawn.axes[1].images[0]
    assert first.get_clim() == second.get_clim()
    for panel in (0, 1):
        assert np.nansum(pixels(drawn, panel)) == pytest.approx(pixels(drawn, panel).size)
    with pytest.raises(DataError, match="three residues"):
        figures.ramachandran(conformers(4, 2), conformers(4, 2))


def test_phi_is_across_and_psi_is_up():
    x = conformers(1, 3, 0.0)
    drawn = figures.ramachandran(x, x)
    row, column = np.argwhere(np.isfinite(pixels(drawn, 0)))[0]
    phi, psi = (float(of(x)[0, k].rad2deg()) for of, k in ((figures.phi, 0), (figures.psi, 1)))
    assert abs((column + 0.5) * 6 - 180 - phi) <= 3.01
    assert abs((row + 0.5) * 6 - 180 - psi) <= 3.01


def test_free_energy_says_its_lag_and_shows_equal_sets_alike():
    md = [conformers(150, 5, 0.4, seed=k) for k in (0, 1)]
    drawn = figures.free_energy(torch.cat(md), md, 3, 2.0)
    assert "lag 3 frames, 6 ps" in drawn.axes[0].get_title(loc="left")
    a, b = pixels(drawn, 0), pixels(drawn, 1)
    np.testing.assert_allclose(a, b)
    assert np.nanmin(a) == 0
    assert "ps" not in figures.free_energy(md[0], md, 3).axes[0].get_title(loc="left")
    with pytest.raises(DataError, match="lag"):
        figures.free_energy(md[0], md, 200)


def test_figures_of_real_frames_are_small_and_follow_the_theme(real_data):
    def frames(replica):
        path = real_data / "backbone" / "CLN025_300K" / f"CLN025_300K_R{replica}.npy"
        return torch.from_numpy(np.load(path)[::2, :, :5].astype(np.float32))

    a, b = frames(1), frames(2)
    drawn = [
        figures.ramachandran(a, b), figures.rmsf(a, b), figures.contacts(a, b),
        figures.free_energy(a, [b], 10), strip(a[:8], [""] * 8),
    ]  # fmt: skip
    for figure in drawn:
        text = svg(figure)
        assert len(text) < 200_000
        assert "var(--muted)" in text
        assert not re.search(r"mathdefault|\$", text)
