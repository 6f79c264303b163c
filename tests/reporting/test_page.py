import math
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from pages import probed
from PIL import Image

from genmatter.reporting import picture
from genmatter.reporting.page import (
    Code,
    Facts,
    Html,
    Note,
    Page,
    Picture,
    ScoreTable,
    Section,
    Table,
    Text,
    render,
    write,
)
from genmatter.reporting.picture import png, svg
from genmatter.reporting.plots import curves, latent_map
from genmatter.reporting.style import INKS
from genmatter.reporting.words import number
from genmatter.spine import Score

EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Outline(HTMLParser):
    """What a browser would find in a page; fails where tags do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.text += data

    def all(self, name: str) -> list[dict[str, str]]:
        return [attrs for tag, attrs in self.tags if tag == name]


def score(value: float, best: float = 0.0, unit: str = "") -> Score:
    return Score(value, best, unit)


def history(n: int = 20) -> list[dict[str, float]]:
    return [{"epoch": i, "train/total": 1 / i, "valid/total": (i - 9) ** 2} for i in range(1, n)]


def table() -> ScoreTable:
    rows = {
        "mixture": {"Rg": score(0.03), "C2ST": score(0.6, 0.5, EVIL)},
        EVIL: {"Rg": score(0.04)},
        "floor": {"Rg": score(0.02), "C2ST": score(0.49, 0.5)},
        "samples": {"Rg": score(0.05), "C2ST": score(0.55, 0.5), EVIL: score(1.0)},
    }
    return ScoreTable(rows, caption=EVIL)


def page() -> Page:
    z = np.random.default_rng(0).normal(size=(400, 4))
    blocks = [
        Text(f"{EVIL} **{EVIL}** `{EVIL}`\n\nsecond"),
        Note("warning", EVIL),
        Facts([(EVIL, EVIL), ("n", 1_000)]),
        table(),
        Table([EVIL, "x"], [[EVIL, 1.0], ["b", None]], [0], EVIL),
        Picture(curves(history(), {"total": EVIL}), EVIL, EVIL),
        Picture(curves(history(), {"total": EVIL}), "the same again"),
        Picture(latent_map(z, {EVIL: z[:, 0]}), "points"),
        Picture(b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', EVIL),
        Picture(png(Figure(figsize=(1, 1))), "empty"),
        Code(EVIL),
    ]
    return Page(EVIL, EVIL, [Section(EVIL, blocks), Section(EVIL, [Text("end")])])


@pytest.fixture(scope="module")
def html() -> str:
    return render(page())


def test_text_of_users_stays_text(html):
    outline = Outline(html)
    assert not outline.all("script")
    assert not [a for _, attrs in outline.tags for a in attrs if a.startswith("on")]
    assert [v for _, attrs in outline.tags for v in attrs.values()].count(EVIL) == 4
    assert outline.text.count(EVIL) == 27


def test_nothing_is_loaded(html):
    outline = Outline(html)
    for tag, attrs in outline.tags:
        assert tag not in {"link", "iframe", "object", "embed", "script", "base"}
        for name in ("src", "href", "xlink:href", "srcset", "data", "poster", "action"):
            assert attrs.get(name, "#").startswith(("#", "data:image/"))
    for target in re.findall(r"url\(([^)]*)\)", html):
        assert target.startswith("#")
    assert "@import" not in html


def test_policy_forbids_connections_and_allows_scripts_only_to_trusted_html(html):
    def policy(text: str) -> str:
        return next(a["content"] for a in Outline(text).all("meta") if "http-equiv" in a)

    assert "default-src 'none'" in policy(html)
    assert "script-src" not in policy(html)
    script = Html("<script>let x = 1;</script>")
    trusted = render(Page("", "", [Section("viewer", [script])]))
    assert "<script>let x = 1;</script>" in trusted
    assert "script-src 'unsafe-inline'" in policy(trusted)
    assert "http" not in policy(trusted)


def test_ids_are_unique_and_every_reference_has_one(html):
    ids = [attrs["id"] for _, attrs in Outline(html).tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:url\(|href=")#([^")]+)', html)
    used += re.findall(r'aria-labelledby="([^"]+)"', html)
    assert used
    assert set(used) <= set(ids)
    assert {i for i in ids if re.search(r"-\d+-", i)} <= set(used)  # figures keep no other


def test_readers_who_do_not_see_are_told(html):
    outline = Outline(html)
    assert all(attrs["alt"] for attrs in outline.all("img"))
    assert all(a["role"] == "img" and a["aria-label"] for a in outline.all("svg"))
    assert all("scope" in attrs for attrs in outline.all("th"))
    assert outline.all("html") == [{"lang": "en"}]
    levels = [tag for tag, _ in outline.tags if re.fullmatch(r"h\d", tag)]
    assert levels == ["h1", "h2", "h2"]


def test_contents_list_each_section(html):
    outline = Outline(html)
    sections = [attrs["id"] for attrs in outline.all("section")]
    links = [attrs["href"] for attrs in outline.all("a") if "class" not in attrs]
    assert links == [f"#{i}" for i in sections]


def test_figures_use_the_inks_of_the_page(html):
    drawn = svg(curves(history()), "k")
    assert not [ink.light for ink in INKS.values() if ink.light in drawn]
    assert set(re.findall(r"var\(--([\w-]+)\)", html)) <= set(re.findall(r"--([\w-]+):", html))
    assert "DejaVu" not in html


def test_inks_do_not_share_a_shade():
    assert len({ink.light for ink in INKS.values()}) == len(INKS)


def test_the_same_figure_is_the_same_bytes():
    first, second = (Picture(curves(history()), "c").html("k") for _ in range(2))
    assert first == second


def test_a_large_figure_becomes_pixels(monkeypatch):
    monkeypatch.setattr(picture, "LIMIT", 1000)
    drawn = Picture(curves(history()), "c").html("k")
    assert "<svg" not in drawn
    assert "data:image/png" in drawn


def test_a_page_replaces_another_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "report.html"
    write(Page("first", "", []), path)
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write(Page("second", "", []), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    monkeypatch.undo()
    with path.open("rb") as reader:
        write(Page("second", "", []), path)
        assert reader.read() == before  # who had begun to read goes on with the first
    assert "<h1>second</h1>" in path.read_text()


def test_scores_come_with_samples_first_and_simple_models_last(html):
    part = html[html.index('<table class="scores">') :]
    places = [part.index(f'<th scope="row">{row}') for row in ("samples", "floor", "mixture")]
    assert places == sorted(places)


def test_the_best_is_the_nearest_and_never_the_floor():
    rows = {
        "samples": {"a": score(0.3), "b": score(0.9, 1.0)},
        "floor": {"a": score(0.0), "b": score(1.0, 1.0)},
        "pca": {"a": score(-0.1), "b": score(0.2, 1.0)},
        "void": {"a": score(math.nan)},
        "reweighted": {"a": score(0.0), "b": score(1.0, 1.0)},
    }
    scores = ScoreTable(rows, apart=("reweighted",))
    assert scores.best("a") == {"pca"}
    assert scores.best("b") == {"samples"}
    assert scores.baselines == ["pca", "void"]


@pytest.mark.parametrize(
    ("mine", "floor", "rival", "lost"),
    [
        (0.30, 0.02, 0.10, True),
        (0.10, 0.02, 0.30, False),
        (0.10, 0.02, 0.10, True),  # as well is not better
        (0.02, 0.03, 0.01, False),  # both below what the data can tell
        (0.00, math.nan, 0.00, False),  # nothing beats perfect
        (math.nan, 0.02, 0.30, True),  # no score, no win
        (0.10, 0.02, math.nan, False),
        (0.30, math.nan, 0.10, True),
    ],
)
def test_samples_that_do_not_beat_a_simple_model_are_marked(mine, floor, rival, lost):
    rows = {"samples": {"Rg": score(mine)}, "floor": {"Rg": score(floor)}}
    scores = ScoreTable(rows | {"pca": {"Rg": score(rival)}})
    assert scores.unbeaten("Rg") == (["pca"] if lost else [])
    html = scores.html("k")
    assert ("not better than pca" in html) is lost
    assert ("<strong>Not better than</strong> <strong>pca</strong> on Rg" in html) is lost


def test_a_missing_score_is_a_dash():
    rows = {"samples": {"a": score(1.0)}, "pca": {"b": score(2.0)}}
    html = ScoreTable(rows).html("k")
    assert len(re.findall(r"–</td>", html)) == 2


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.02613, "0.0261"),
        (-0.0008, "−0.0008"),
        (3.259, "3.26"),
        (14.23, "14.2"),
        (148_248, "148,248"),
        (1.234e11, "1.2 × 10¹¹"),
        (-2.5e-7, "−2.5 × 10⁻⁷"),
        (0.0, "0"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (None, "–"),
        (np.float32(0.5), "0.500"),
        (np.int64(12), "12"),
        ("as it is", "as it is"),
    ],
)
def test_numbers_are_written_as_people_write_them(value, said):
    assert number(value) == said


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_chromium_shows_the_page_light_and_dark(tmp_path):
    path = tmp_path / "page.html"
    write(page(), path)

    def shot(name: str, *flags: str) -> float:
        """Returns how bright the page is, of 255."""
        command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={tmp_path / name}", "--window-size=1200,1200",
            f"--screenshot={tmp_path / name}.png", "--enable-logging=stderr", *flags,
            path.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert "CONSOLE" not in done.stderr  # a breach of the policy would be logged there
        return float(np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).mean())

    assert shot("light") > 220
    assert shot("dark", "--blink-settings=preferredColorScheme=0") < 60


WIDE = """
<script>
(() => {
  const { scrollWidth, clientWidth } = document.documentElement;
  document.title = JSON.stringify([scrollWidth, clientWidth]);
})();
</script>
"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_a_wide_table_scrolls_by_itself_and_the_page_does_not(tmp_path):
    rows = {name: {f"score {k}": score(0.5) for k in range(40)} for name in ("samples", "pca")}
    path = tmp_path / "page.html"
    write(Page("wide", "", [Section("a", [ScoreTable(rows), Html(WIDE)])]), path)
    needed, there = probed(path, "1100,900")
    assert 0 < needed <= there


def test_chance_below_the_best_value_is_not_held_against_an_unbiased_distance():
    rows = {
        "samples": {"d": Score(-0.002, 0.0, unbiased=True)},
        "floor": {"d": Score(0.0005, 0.0, unbiased=True)},
        "simple": {"d": Score(0.001, 0.0, unbiased=True)},
    }
    assert ScoreTable(rows).unbeaten("d") == []
    assert Score(-0.002, 0.0).gap == 0.002


def test_several_models_share_a_table_and_each_is_told_what_it_does_not_beat():
    rows = {
        "a": {"Rg": score(0.05), "C2ST": score(0.6, 0.5)},
        "b": {"Rg": score(0.02), "C2ST": score(0.7, 0.5)},
        "floor": {"Rg": score(0.01), "C2ST": score(0.5, 0.5)},
        "pca": {"Rg": score(0.03), "C2ST": score(0.8, 0.5)},
    }
    scores = ScoreTable(rows, samples=("a", "b"), errors={"a": {"Rg": 0.004, "C2ST": math.nan}})
    assert scores.baselines == ["pca"]
    assert (scores.best("Rg"), scores.best("C2ST")) == ({"b"}, {"a"})
    assert (scores.unbeaten("Rg", "a"), scores.unbeaten("Rg", "b")) == (["pca"], [])
    html = scores.html("k")
    body = html.split('<tbody class="samples">')[1].split("</tbody>")[0]
    assert body.count("<tr>") == 2
    assert html.count("±") == 1
    assert "0.050<small>± 0.004</small>" in html
    assert html.count('class="behind" role') == 1
    assert "a: <strong>Not better than</strong> <strong>pca</strong> on Rg" in html
    assert "b: Better than every simple model" in html
