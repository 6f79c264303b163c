from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from genmatter.domains.protein import figures
from genmatter.domains.protein.family import simulated
from genmatter.domains.protein.sequences import ALPHABET, Numbering, Sequences
from genmatter.errors import DataError
from genmatter.reporting.picture import png
from genmatter.reporting.style import INKS

EVIL = "<script>alert('x')</script>\"&"
LAW = simulated(24, 0)


@pytest.fixture
def some():
    return Sequences.of(LAW.sample(40, "x")[0], Numbering((*range(5, 20), *range(30, 39))))


def long(n, sites):
    g = torch.Generator().manual_seed(0)
    return Sequences.of(torch.randint(0, 21, (n, sites), generator=g))


def test_a_row_shows_every_residue_in_its_ink(some):
    html = figures.strip(some[:3], ["a", EVIL, "c"])
    tree = ElementTree.fromstring(f"<div>{html}</div>")
    rows = tree.findall("ul/li")
    assert [row.find("span").text for row in rows] == ["a", EVIL, "c"]
    shown = ["".join(row.find("code").itertext()).replace(" ", "") for row in rows]
    assert shown == some[:3].texts
    for part in tree.iter("b"):
        assert part.get("class") in INKS
        assert {figures._INK[one] for one in part.text} == {part.get("class")}
    assert {*figures._INK} == {*ALPHABET[1:]}


def test_a_long_row_says_what_it_leaves_out():
    html = figures.strip(long(70, 5), [str(k) for k in range(70)])
    assert html.count("<code>") == 60
    assert "and 10 more" in html
    with pytest.raises(DataError, match="as many titles"):
        figures.strip(long(3, 5), ["a"])


def heights(axes):
    """How high the letters of a logo stand in all."""
    return sum(p.get_extents().height for p in axes.patches)


def test_logos_are_rows_of_letters_as_high_as_what_they_tell(some):
    sheet = figures.logos({"test": some, "samples": some[:20]}, [0, 23])
    assert len(sheet.axes) == 2
    assert [a.get_ylabel() for a in sheet.axes] == ["test, bits", "samples, bits"]
    assert [t.get_text() for t in sheet.axes[0].get_xticklabels()] == ["10", "30"]
    table = figures._information(torch.eye(21)[[1, 20]].double())
    torch.testing.assert_close(table.sum(1), torch.full((2,), np.log2(20)).double())
    half = torch.zeros(1, 21).double()
    half[0, [0, 3]] = 0.5
    assert figures._information(half)[0, 2] == pytest.approx(np.log2(20) / 2)
    even = torch.full((1, 21), 1 / 20).double()
    even[0, 0] = 0
    assert figures._information(even).sum() == pytest.approx(0, abs=1e-9)
    marks = sheet.axes[0].lines[-1]
    assert marks.get_xdata().tolist() == [0, 23]
    assert png(sheet)


def test_long_logos_have_even_rows():
    sheet = figures.logos({"x": long(5, 130)})
    assert len(sheet.axes) == 3
    assert {round(a.get_xlim()[1] - a.get_xlim()[0]) for a in sheet.axes} == {44}
    assert figures._even(60, 60) == 60
    assert figures._even(61, 60) == 31


def test_covariances_mark_contacts(some):
    sheet = figures.covariances({"a": some, "b": some[:20]}, LAW.contacts)
    first, second = sheet.axes
    assert first.get_title(loc="left") == "a"
    assert len(first.collections[0].get_offsets()) == len(LAW.contacts)
    assert first.images[0].get_clim() == second.images[0].get_clim()
    assert first.get_xticklabels()[-1].get_text() == "38"
    assert len(figures.covariances({"a": some}).axes[0].collections) == 0
    assert png(sheet)


def test_the_average_product_is_taken_away():
    rows = torch.tensor([1.0, 2.0, 3.0, 4.0])
    norms = rows[:, None] * rows
    found = figures.corrected(norms - torch.diag(norms.diagonal()))
    assert torch.equal(found.diagonal(), torch.zeros(4))
    assert found.sum(1).abs().max() < norms.sum(1).max() / 4
    bump = norms.clone()
    bump[0, 3] = bump[3, 0] = 9.0
    bump -= torch.diag(bump.diagonal())
    assert figures.corrected(bump).argmax() in (3, 12)


def test_planes_and_identities_show_each_set(some):
    sheet = figures.planes({"train": some, "samples": some[:5]}, some)
    assert [a.get_title(loc="left") for a in sheet.axes] == ["train", "samples"]
    assert [len(a.collections[0].get_offsets()) for a in sheet.axes] == [40, 5]
    assert sheet.axes[0].get_xlim() == sheet.axes[1].get_xlim()
    assert png(sheet)
    assert png(figures.identities({"test": some, "samples": some[:9]}, some))


def test_a_heat_map_marks_the_wild_type():
    values = torch.randn(150, 20)
    values[3] = torch.nan
    wild = "ACDEFGHIKLMNPQRSTVWY" * 7 + "ACDEFGHIK-"
    sheet = figures.heat_map(values, wild, range(24, 174), "log odds")
    first, second, bar = sheet.axes
    image = np.asarray(first.images[0].get_array().filled(np.nan))
    assert image.shape == (20, 75)
    row = figures._ORDER.index("W")
    assert image[row, 0] == pytest.approx(values[0, ALPHABET.index("W") - 1].item())
    assert np.isnan(image[:, 3]).all()
    x, y = first.lines[0].get_data()
    assert (x[1], y[1]) == (1, figures._ORDER.index("C"))
    assert len(second.lines[0].get_xdata()) == 74
    assert bar.get_ylabel() == "log odds"
    assert first.get_xticklabels()[0].get_text() == "30"
    low, high = first.images[0].get_clim()
    assert low == -high
    assert sorted(figures._ORDER) == sorted(ALPHABET[1:])
    assert png(sheet)
    with pytest.raises(DataError, match="as many residues"):
        figures.heat_map(values, wild[1:], range(150))


def test_an_unknown_heat_map_is_drawn():
    assert png(figures.heat_map(torch.full((4, 20), torch.nan), "MKVL", range(4)))


def test_a_map_shows_what_is_pointed_at(some):
    kinds = np.array([EVIL, *["x"] * 39], dtype=object)
    told = replace(some, labels={"kind": kinds})
    html = figures.hover_map(torch.randn(40, 2), told, {"x": torch.arange(40.0)}, {"x": "e"})
    assert html.count("<circle") == 41
    assert EVIL not in html
    assert figures._called(told, 1) == "2, kind x"
    assert figures._called(some, 1) == "2"
    with pytest.raises(DataError, match="as many sequences"):
        figures.hover_map(torch.randn(3, 2), some, {})


def test_a_map_of_many_shows_some_of_them():
    many = long(1700, 4)
    html = figures.hover_map(torch.randn(1700, 2), many, {"x": torch.arange(1700.0)})
    assert html.count("<circle") == 1501
