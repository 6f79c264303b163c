import base64
import json
import re
import shutil
import zlib

import pytest
import torch
from matplotlib.colors import to_hex
from pages import probed

from genmatter.errors import DataError
from genmatter.reporting.page import Html, Page, Section, render, write
from genmatter.reporting.points import points
from genmatter.reporting.style import INKS, SEQUENTIAL

EVIL = "</script><script>alert('x')</script>\"&<!--"
DOT = re.compile(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+" style="fill:([^"]+)"/>')


def drawn(n=50, **more):
    """Points along a line up, coloured by their place."""
    x = torch.arange(float(n))
    names = [f"name {i}" for i in range(n)]
    pictures = [f"<b>{i}</b>" for i in range(n)]
    return points(torch.stack([x, 2 * x], 1), {"place": x} | more, {"place": "Å"}, names, pictures)


def packed(html):
    text = re.search(r'<script type="application/octet-stream">(.*?)</script>', html)[1]
    return json.loads(zlib.decompress(base64.b64decode(text)))


def dots(html):
    return [(float(x), float(y), fill) for x, y, fill in DOT.findall(html)]


def test_every_point_lies_where_it_should_in_the_colour_of_its_value():
    html = drawn()
    found, names = dots(html), packed(html)["names"]
    assert len(found) == 50
    place = {name: dot for name, dot in zip(names, found, strict=True)}
    xs, ys, fills = zip(*(place[f"name {i}"] for i in range(50)), strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys, reverse=True)  # up is up
    assert (min(xs), max(xs), min(ys), max(ys)) == (12, 628, 12, 468)
    assert fills[0] == to_hex(SEQUENTIAL(0.0))
    assert fills[-1] == to_hex(SEQUENTIAL(1.0))
    middle = to_hex(SEQUENTIAL(31 / 63)), to_hex(SEQUENTIAL(32 / 63))
    assert {fills[24], fills[25]} <= {*middle}


def test_what_a_point_tells_is_its_own():
    html = drawn(mass=torch.where(torch.arange(50) < 5, torch.nan, 100 - torch.arange(50.0)))
    data = packed(html)
    place, mass = data["properties"]
    assert (place["name"], mass["name"]) == ("place (Å)", "mass")
    for i, name in enumerate(data["names"]):
        k = int(name.split()[1])
        assert data["pictures"][i] == f"<b>{k}</b>"
        assert float(place["told"][i]) == k
        assert mass["told"][i] == ("–" if k < 5 else f"{100 - k:.1f}")
        assert (mass["shades"][i] == -1) == (k < 5)
        assert 0 <= place["shades"][i] < 64
    assert data["palette"][-1] == f"var(--train, {INKS['train'].light})"


def test_the_scale_says_where_colours_end_and_that_values_lie_beyond():
    place = packed(drawn())["properties"][0]
    assert (place["low"], place["high"]) == ("≤ 1.0", "≥ 48.0")
    even = packed(drawn(x=torch.ones(50)))["properties"][1]
    assert (even["low"], even["high"]) == ("1.00", "2.00")


def test_points_that_lie_nowhere_are_left_out_and_unknown_values_are_grey():
    xy = torch.tensor([[0.0, 0.0], [torch.nan, 1.0], [1.0, torch.inf], [2.0, 2.0]])
    values = {"x": torch.tensor([1.0, 2.0, 3.0, torch.nan])}
    html = points(xy, values, {}, list("abcd"), list("ABCD"))
    assert sorted(packed(html)["names"]) == ["a", "d"]
    assert packed(html)["names"][0] == "d"  # unknown ones lie below
    assert dots(html)[0][2].startswith("var(--train")
    for bad in (points, lambda *a: points(a[0][:1], {}, *a[2:])):
        with pytest.raises(DataError, match="a map shows finite points"):
            bad(torch.full((4, 2), torch.nan), values, {}, list("abcd"), list("ABCD"))


def test_points_at_one_place_are_in_the_middle():
    html = points(torch.ones(3, 2), {"x": torch.ones(3)}, {}, list("abc"), list("abc"))
    assert {(x, y) for x, y, _ in dots(html)} == {(320.0, 240.0)}


def test_names_are_text_and_maps_do_not_meet():
    html = drawn(**{EVIL: torch.ones(50)})
    assert html.count("<script") == 2
    assert "alert" not in html.replace("&lt;script&gt;alert", "")
    page = render(Page("two", "", [Section("a", [Html(html), Html(html)])]))
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert not re.search(r"https?:|@import|fetch\(|getElementById|import ", html)


PROBE = """
<script>
const errors = [];
addEventListener("error", (e) => errors.push(e.message));
addEventListener("unhandledrejection", (e) => errors.push(String(e.reason)));
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  await wait(500);
  const [map, other] = document.querySelectorAll(".points");
  const part = (name) => map.querySelector(name);
  const plane = part(".plane"), dots = [...plane.querySelectorAll("circle:not(.ring)")];
  const name = () => part(".name").textContent;
  const index = (dot) => dots.indexOf(dot);
  const lies = (dot) => [Number(dot.getAttribute("cx")), Number(dot.getAttribute("cy"))];
  const most = (cost) => dots.reduce((a, b) => (cost(lies(b)) > cost(lies(a)) ? b : a));
  const over = (type, dot, dx = 0) => {
    const box = dot.getBoundingClientRect();
    const [clientX, clientY] = [box.x + box.width / 2 + dx, box.y + box.height / 2];
    plane.dispatchEvent(new PointerEvent(type, { clientX, clientY, bubbles: true }));
  };
  const press = (key) => plane.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const left = most(([x]) => -x), right = most(([x]) => x);
  const found = { first: name(), hidden: map.querySelectorAll("[hidden]").length };
  over("pointermove", left);
  found.left = [name(), part(".look").textContent];
  found.values = part("dl").textContent;
  over("pointermove", right);
  found.right = name();
  over("pointermove", right, 2);
  found.near = name();
  over("click", right);
  over("pointermove", left);
  found.held = name();
  over("click", right);
  over("pointermove", left);
  found.free = name();
  press("ArrowRight");
  found.arrow = name();
  found.said = part("[aria-live]").textContent;
  press("ArrowUp");
  found.up = name();
  press("ArrowLeft");
  press("ArrowLeft");
  press("ArrowLeft");
  found.end = name();
  press("Enter");
  over("pointermove", right);
  found.kept = name();
  press("Escape");
  over("pointermove", right);
  found.gone = name();
  const colour = () => getComputedStyle(left).fill;
  const before = colour();
  part("select").selectedIndex = 1;
  part("select").dispatchEvent(new Event("input"));
  found.colour = [before, colour()];
  found.scale = part(".low").textContent + " " + part(".high").textContent;
  found.other = other.querySelector(".name").textContent;
  found.focus = plane.tabIndex;
  found.errors = errors;
  document.title = JSON.stringify(found);
})();
</script>
"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_the_script_runs_in_chromium_and_obeys(tmp_path):
    html = drawn(11, back=20 - torch.arange(11.0))
    path = tmp_path / "page.html"
    write(Page("maps", "", [Section("a", [Html(html), Html(html + PROBE)])]), path)
    found = probed(path, "1250,1600")
    low, high = ([round(255 * c) for c in SEQUENTIAL(v)[:3]] for v in (0.0, 1.0))
    assert found == {
        "first": "name 5", "hidden": 0, "left": ["name 0", "0"],
        "values": "place (Å)0.00back20.0", "right": "name 10", "near": "name 10",
        "held": "name 10", "free": "name 0", "arrow": "name 1",
        "said": "place (Å) 1.00, back 19.0, name 1", "up": "name 2", "end": "name 0",
        "kept": "name 0", "gone": "name 10", "colour": [
            f"rgb({', '.join(map(str, low))})", f"rgb({', '.join(map(str, high))})"
        ], "scale": "≤ 10.2 ≥ 19.8", "other": "name 5", "focus": 0, "errors": [],
    }  # fmt: skip
