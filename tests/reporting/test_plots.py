import itertools

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch

from genmatter.reporting.picture import svg
from genmatter.reporting.plots import courses, curves, distributions, latent_map, scores, trace
from genmatter.reporting.style import INKS, SEQUENTIAL, WIDTH, dashes, inks, legend, panels, style
from genmatter.spine import Score


def normal(n: int, *key: int) -> np.ndarray:
    return np.random.default_rng(key).normal(size=n)


def words(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def titles(figure: Figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]


def line(ax, colour: str) -> Line2D:
    return next(x for x in ax.lines if x.get_color() == INKS[colour].light)


def history() -> list[dict[str, float]]:
    return [
        {
            "epoch": float(e),
            "step": 40.0 * e,
            "lr": 1e-3 / e,
            "beta": 1.0,
            "train/total": 5 / e,
            "valid/total": abs(e - 7) + 1.0,
            "valid/kl": np.nan if e == 3 else float(e),
        }
        for e in range(1, 11)
    ]


def drawings() -> dict[str, Figure]:
    z = normal(900, 1).reshape(300, 3)
    sets = {"test": {"Rg": normal(500, 2)}, "samples": {"Rg": normal(500, 3)}}
    return {
        "curves": curves(history()),
        "distributions": distributions(sets, {"Rg": "nm"}),
        "latent_map": latent_map(z, {"Rg": z[:, 0]}),
        "trace": trace({"Rg": normal(60, 4).reshape(20, 3)}, best=1),
        "scores": scores({"samples": {"Rg": Score(0.1, 0.0)}, "floor": {"Rg": Score(0.0, 0.0)}}),
    }


def test_drawing_leaves_no_window_and_no_setting_behind():
    with matplotlib.rc_context({"font.size": 3.5, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        for figure in drawings().values():
            svg(figure)
            assert figure.canvas.manager is None
        assert dict(matplotlib.rcParams) == before


def test_dollars_and_brackets_in_labels_are_drawn_as_they_are():
    name = "cost $x_{$ <b>"  # as mathematics this would be a mistake
    drawn = svg(distributions({name: {name: normal(50, 0)}}))
    assert drawn.count(">cost $x_{$ &lt;b&gt;</text>") == 2


def test_curves_have_a_panel_for_each_term_and_for_each_setting_that_moves():
    figure = curves(history(), {"kl": "nats"})
    assert titles(figure) == ["total", "kl (nats)", "lr"]


def test_curves_mark_the_epoch_with_the_lowest_validation_total():
    figure = curves(history())
    assert "best epoch (7)" in words(figure)
    pin = next(x for x in figure.axes[0].lines if x.get_marker() == "o")
    assert (list(pin.get_xdata()), list(pin.get_ydata())) == ([7.0], [1.0])


def test_early_epochs_do_not_press_the_late_ones_flat():
    rows = [{"epoch": e, "valid/total": 1e6 if e == 1 else e / 40} for e in range(1, 41)]
    low, high = curves(rows).axes[0].get_ylim()
    assert low < 2 / 40
    assert 1 < high < 2


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"epoch": 1.0, "valid/total": np.nan}],
        [{"epoch": 1.0, "valid/total": 2.0}],
        [{"epoch": float(e), "valid/total": np.inf, "train/total": None} for e in range(30)],
    ],
)
def test_curves_of_next_to_nothing(rows):
    assert svg(curves(rows))


def steps(ax) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = (p for p in ax.patches if isinstance(p, StepPatch))
    data = [(p, p.get_data()) for p in found]
    return {("test" if p.get_fill() else "other"): (d.values, d.edges) for p, d in data}


def test_densities_share_their_bins_and_count_what_they_leave_out():
    test, samples = normal(4000, 0), np.concatenate([normal(3000, 1), np.full(1000, 1e9)])
    figure = distributions({"test": {"E": test}, "samples": {"E": samples}})
    drawn = steps(figure.axes[0])
    edges = drawn["test"][1]
    np.testing.assert_array_equal(edges, drawn["other"][1])
    area = {k: float((v * np.diff(e)).sum()) for k, (v, e) in drawn.items()}
    assert area["test"] == pytest.approx(1, abs=0.01)
    assert area["other"] == pytest.approx(0.75, abs=0.01)
    assert figure.axes[0].get_xlabel() == "beyond: samples 25%"


def test_infinite_values_lie_beyond_and_nan_is_unknown():
    broken = np.concatenate([normal(500, 1), np.full(500, np.inf), np.full(1000, np.nan)])
    figure = distributions({"test": {"E": normal(999, 0)}, "samples": {"E": broken}, "pca": {}})
    assert figure.axes[0].get_xlabel() == "beyond: samples 50%"
    figure = distributions({"test": {"E": normal(999, 0)}, "samples": {"E": np.full(9, np.nan)}})
    assert figure.axes[0].get_xlabel() == "samples: no values"


@pytest.mark.parametrize("values", [np.zeros(9), np.full(3, 1e-30), np.full(3, 7e12), np.ones(1)])
def test_a_set_without_spread_has_a_density(values):
    (heights, edges), *_ = steps(distributions({"samples": {"x": values}}).axes[0]).values()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1)


def test_of_many_latents_the_two_widest_directions_are_shown():
    g = np.random.default_rng(0)
    plane = g.normal(size=(500, 2)) * [3, 2]
    turn = np.linalg.qr(g.normal(size=(5, 5)))[0]
    z = np.concatenate([plane, 1e-3 * g.normal(size=(500, 3))], 1) @ turn
    figure = latent_map(z, {"Rg": plane[:, 0]})
    shown = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert len(shown) == 500
    spread = np.sort(np.linalg.eigvalsh(np.cov(shown.T)))
    np.testing.assert_allclose(spread, np.sort(np.linalg.eigvalsh(np.cov(plane.T))), rtol=1e-3)
    assert figure.axes[0].get_xlabel().startswith("component 1 of 5 latents (")


def test_points_bear_the_colours_of_their_values_and_grey_without_one():
    z = np.stack([np.arange(100.0), np.zeros(100)], 1)
    values = np.where(np.arange(100) < 10, np.nan, np.arange(100.0))
    cloud = latent_map(z, {"Rg": values}).axes[0].collections[0]
    shown = {x: tuple(c[:3]) for (x, _), c in zip(
        np.asarray(cloud.get_offsets()), cloud.get_facecolors(), strict=True
    )}  # fmt: skip
    grey = to_rgb(INKS["train"].light)
    assert all((shown[x] == grey) == (x < 10) for x in shown)
    np.testing.assert_allclose(shown[99.0], SEQUENTIAL(1.0)[:3])
    assert list(np.asarray(cloud.get_offsets())[:10, 0] < 10) == [True] * 10  # drawn first


@pytest.mark.parametrize("shape", [(40, 1), (40, 2), (1, 3), (0, 4), (2000, 8)])
def test_latent_maps_of_any_size(shape):
    z = normal(shape[0] * shape[1], 0).reshape(shape)
    assert svg(latent_map(z, {"x": z[:, 0], "nothing": np.full(len(z), np.nan)}))


def test_tensors_and_lists_are_arrays_too():
    z = torch.zeros(3, 2)
    values = {"Rg": torch.arange(3.0)}
    assert svg(latent_map(z, values))
    assert svg(distributions({"test": values, "samples": {"Rg": [1.0, 2]}}))
    assert svg(trace({"Rg": z}))
    assert svg(trace({"Rg": [1.0, 0.5]}))


def test_a_crowd_is_drawn_as_pixels():
    z = normal(20_000, 0).reshape(10_000, 2)
    assert len(svg(latent_map(z, {"a": z[:, 0], "b": z[:, 1], "c": z[:, 0]}))) < 400_000


def test_a_trace_brings_out_the_best_and_the_median():
    y = np.arange(12.0).reshape(4, 3)
    y[2, 0] = np.nan
    y[3] = np.nan
    ax = trace({"Rg": y}, best=2, marks={"Rg": {"lowest": 0.5}}).axes[0]
    np.testing.assert_array_equal(line(ax, "samples").get_ydata(), y[:, 2])
    np.testing.assert_array_equal(line(ax, "ink").get_ydata(), [1, 4, 7.5, np.nan])
    np.testing.assert_array_equal(line(ax, "warning").get_ydata(), [0.5, 0.5])


def test_scores_stand_at_their_values_beside_the_floor():
    table = {
        "samples": {"Rg": Score(0.05, 0.0), "C2ST": Score(0.6, 0.5)},
        "pca": {"Rg": Score(40.0, 0.0), "C2ST": Score(np.nan, 0.5)},
        "floor": {"Rg": Score(0.02, 0.0), "C2ST": Score(0.49, 0.5)},
    }
    figure = scores(table)
    rg, c2st = figure.axes[:2]
    assert [t.get_text() for t in rg.get_yticklabels()] == ["samples", "pca"]
    assert line(rg, "floor").get_xdata()[0] == 0.02
    assert line(c2st, "ink").get_xdata()[0] == 0.5
    dots = {x.get_ydata()[0]: x.get_xdata()[0] for x in rg.lines if x.get_marker() in "oD"}
    assert dots == {0: 0.05, 1: 40.0}
    places = rg.transData.transform([(0.02, 0), (0.05, 0), (40.0, 0)])[:, 0]
    assert places[1] - places[0] > 0.02 * (places[2] - places[0])  # linear: 0.0008


def test_several_models_keep_their_inks_and_the_other_rows_stand_back():
    rows = {name: {"Rg": Score(0.1, 0.0)} for name in ("a", "b", "pca", "floor")}
    ax = scores(rows, samples=("a", "b")).axes[0]
    dots = {x.get_ydata()[0]: x for x in ax.lines if x.get_marker() in "oD"}
    assert [dots[i].get_marker() for i in range(3)] == ["D", "D", "o"]
    own = distributions(
        {"test": {"Rg": normal(90, 1)}, **{k: {"Rg": normal(90, 2)} for k in "ab"}}
    )
    drawn = {x.get_label(): x for x in own.legends[0].get_lines()}
    assert [dots[i].get_color() for i in range(2)] == [drawn[k].get_color() for k in "ab"]
    assert dots[2].get_color() == INKS["muted"].light


def test_a_set_that_the_others_are_there_for_is_shown_in_full():
    sets = {"test": {"Rg": normal(2000, 1)}, "sharp": {"Rg": 0.05 * normal(2000, 2)}}
    cut, full = (distributions(sets, samples=k).axes[0].get_ylim()[1] for k in ((), ("sharp",)))
    assert full > 3 * cut


def test_trainings_are_overlaid_term_by_term():
    other = [{"epoch": float(e), "valid/kl": 3.0 * e} for e in range(1, 5)]
    figure = courses({"a": history(), "b": other}, ["kl"], {"kl": "nats"})
    (ax,) = figure.axes[:1]
    assert titles(figure) == ["kl (nats)"]
    a, b = (x for x in ax.lines if len(x.get_xdata()) > 1)
    np.testing.assert_array_equal(a.get_ydata(), [1, 2, np.nan, 4, 5, 6, 7, 8, 9, 10])
    np.testing.assert_array_equal(b.get_ydata(), [3, 6, 9, 12])
    assert a.get_color() != b.get_color()
    assert a.get_linestyle() != b.get_linestyle()


def test_no_panel_cuts_off_a_training_that_another_is_far_below():
    low, high = (
        [{"epoch": float(e), "valid/kl": level + 1 / e} for e in range(1, 31)] for level in (0, 50)
    )
    ax = courses({"low": low, "high": high}, ["kl"]).axes[0]
    assert ax.get_ylim()[0] < 1
    assert ax.get_ylim()[1] > 50


def test_a_dozen_sets_can_be_told_apart():
    names = [f"run {i}" for i in range(12)]
    assert len({(inks(names)[n], str(dashes(names)[n])) for n in names}) == 12


def test_a_long_legend_takes_several_lines():
    sheet, _ = panels(1)
    handles = [Line2D([], [], label=f"a run with a very long name {i}") for i in range(6)]
    with style():
        legend(sheet, handles)
        sheet.canvas.draw()
    box = sheet.legends[0].get_window_extent()
    assert box.x1 <= WIDTH * sheet.dpi
    assert box.height > 30


# Machado, Oliveira & Fernandes 2009, full severity, linear RGB
_PROTAN = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
           [-0.003882, -0.048116, 1.051998]]  # fmt: skip
_DEUTAN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
           [-0.011820, 0.042940, 0.968881]]  # fmt: skip
_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def lab(colours, sight=None) -> np.ndarray:
    """CIE L*a*b* of sRGB colours, as somebody with that sight sees them."""
    rgb = np.array([to_rgb(c) for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if sight is not None:
        linear = np.clip(linear @ np.array(sight).T, 0, 1)
    xyz = linear @ np.array(_XYZ).T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@pytest.mark.parametrize("shade", ["light", "dark"])
@pytest.mark.parametrize("sight", [None, _PROTAN, _DEUTAN], ids=["all", "protan", "deutan"])
def test_inks_of_data_differ_to_every_eye(shade, sight):
    names = [n for n in INKS if n not in {"ink", "muted", "hairline", "paper"}]
    seen = lab([getattr(INKS[n], shade) for n in names], sight)
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(apart) > 16


@pytest.mark.parametrize("shade", ["light", "dark"])
def test_words_stand_out_from_the_paper(shade):
    def luminance(name: str) -> float:
        rgb = np.array(to_rgb(getattr(INKS[name], shade)))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ _XYZ[1])

    for name in ("ink", "muted"):
        a, b = sorted([luminance(name), luminance("paper")])
        assert (b + 0.05) / (a + 0.05) > 4.5  # WCAG 2.2, level AA


def test_the_sequential_colours_grow_lighter():
    lightness = lab(SEQUENTIAL(np.linspace(0, 1, 64)))[:, 0]
    assert (np.diff(lightness) > 0).all()


def test_style_can_be_nested():
    with style(), style():
        assert matplotlib.rcParams["svg.fonttype"] == "none"
