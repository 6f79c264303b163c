import numpy as np
import pytest
import torch
from matplotlib.patches import StepPatch

from genmatter.reporting.picture import svg
from genmatter.reporting.plots import search, steered
from genmatter.reporting.style import INKS


def test_each_target_has_a_panel_that_says_how_far_samples_are():
    reached = {30.0: [29.0, 33.0, np.nan], 50: torch.tensor([52.0, 52.0]), 120.0: np.zeros(0)}
    sheet = steered(reached, "tpsa", "Å²", np.linspace(10, 90, 50))
    titles = [ax.get_title(loc="left") for ax in sheet.axes[:4]]
    assert titles == ["30 Å² wanted", "50 Å² wanted", "120 Å² wanted", "tpsa (Å²)"]
    assert [ax.get_xlabel() for ax in sheet.axes[:4]] == [
        "error 2, bias +1\n1 without a value", "error 2, bias +2", "no values\nbeyond the data",
        "wanted",
    ]  # fmt: skip
    for ax, wanted in zip(sheet.axes, reached, strict=False):
        (line,) = ax.lines
        assert line.get_xdata()[0] == wanted
        assert ax.get_xlim() == sheet.axes[0].get_xlim()
        assert ax.get_xlim()[0] < 10 < 120 < ax.get_xlim()[1]


def test_densities_of_samples_and_data_have_one_scale():
    sheet = steered({0.0: np.random.default_rng(0).normal(size=999)}, "x", data=np.linspace(-3, 3))
    steps = [p.get_data() for p in sheet.axes[0].patches if isinstance(p, StepPatch)]
    assert len(steps) == 2
    for d in steps:
        assert (d.values * np.diff(d.edges)).sum() == pytest.approx(1, abs=0.01)


def test_what_was_reached_stands_above_what_was_wanted():
    gen = np.random.default_rng(0)
    sheet = steered({w: w + 5 + gen.normal(size=4000) for w in (0.0, 10.0)}, "x")
    parity = sheet.axes[2]
    dots = [line for line in parity.lines if line.get_marker() == "o"]
    at = [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots]
    np.testing.assert_allclose(at, [(0, 5), (10, 15)], atol=0.1)
    spans = [line.get_ydata() for line in parity.lines if len(line.get_xdata()) == 2][-2:]
    np.testing.assert_allclose([y[1] - y[0] for y in spans], 3.29, atol=0.15)
    assert parity.get_xlim() == parity.get_ylim()


@pytest.mark.parametrize("reached", [{}, {1.0: []}, {1.0: [1.0]}, {1.0: [1.0], 1e9: [np.nan]}])
def test_next_to_nothing_reached_is_drawn_too(reached):
    assert svg(steered(reached, "x"))


def test_a_search_is_the_median_of_its_repeats_between_the_extremes():
    y = torch.tensor([[0.0, 1.0, 5.0], [2.0, 3.0, 9.0]])
    ax = search({"a": y, "b": [1.0, 4.0]}, "nats", 2.5, name="score").axes[0]
    a, b, best = ax.lines
    assert (list(a.get_xdata()), list(a.get_ydata())) == ([1, 2], [1, 3])
    assert list(b.get_ydata()) == [1, 4]
    assert list(best.get_ydata()) == [2.5, 2.5]
    assert best.get_color() == INKS["warning"].light
    assert a.get_color() != b.get_color()
    assert len(ax.collections) == 1
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0, 9)
    assert ax.get_ylabel() == "score (nats)"


def test_a_search_without_training_value_or_repeats_is_drawn_too():
    sheet = search({"a": [1.0]})
    assert [t.get_text() for t in sheet.legends[0].get_texts()] == ["a"]
    assert svg(sheet)
