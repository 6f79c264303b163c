import numpy as np
import pytest

from genmatter.reporting.picture import png
from genmatter.reporting.plots import parity


def test_each_number_has_a_panel_with_its_error_and_unknown_ones_are_left_out():
    a = np.array([1.0, 2.0, np.nan, 4.0])
    b = np.array([1.5, 2.0, 3.0, np.inf])
    sheet = parity({"density": (a, b), "none": (a * np.nan, b)}, {"density": "g/cm^3"})
    first, second = sheet.axes[:2]
    assert first.get_title(loc="left") == "density (g/cm^3)"
    drawn = np.asarray(first.collections[0].get_offsets())
    assert drawn.tolist() == [[1.0, 1.5], [2.0, 2.0]]
    assert first.texts[0].get_text() == "mean error 0.250"
    assert first.lines[0].get_xdata() == pytest.approx([1, 2])
    assert "–" in second.texts[0].get_text()
    assert len(png(sheet)) > 1000
