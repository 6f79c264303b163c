import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from domains.crystal.examples import nothing, perovskite, rocksalt, some
from matplotlib.figure import Figure
from pages import FRAMES, assert_alone, assert_whole, probed, told

from genmatter.domains.crystal import figures
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.sketch import colour, drawing, scene
from genmatter.domains.crystal.viewer import turned
from genmatter.errors import DataError
from genmatter.reporting.page import Html, Page, Section, render, write
from genmatter.reporting.picture import png


def whole(html):
    assert_whole(html)
    assert_alone(html)


def named(name="<b>&"):
    x = some()
    names = np.array([name] * len(x), dtype=object)
    return Crystals(x.numbers, x.frac, x.counts, x.lattice, {}, names)


def test_atoms_on_the_border_of_a_cell_are_seen_on_every_side():
    s = perovskite()
    seen = scene(np.array(s.atomic_numbers), s.frac_coords, s.lattice.matrix)
    counts = {z: int((seen.numbers == z).sum()) for z in (38, 22, 8)}
    assert counts == {38: 1, 22: 8, 8: 12}  # the middle, the corners, the edges
    assert seen.edges.shape == (12, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(seen.edges[:, 1] - seen.edges[:, 0], axis=1), 3.905)
    np.testing.assert_allclose(seen.at.mean(0), 0, atol=1e-9)


def test_bonds_are_between_atoms_that_touch():
    s = rocksalt()
    seen = scene(np.array(s.atomic_numbers), s.frac_coords, s.lattice.matrix)
    ends = np.linalg.norm(seen.at[seen.bonds[:, 0]] - seen.at[seen.bonds[:, 1]], axis=1)
    np.testing.assert_allclose(ends, 2.82)
    assert len(ends) == 54  # edges of eight cubes
    assert all(len({*seen.numbers[b].tolist()}) == 2 for b in seen.bonds)


def test_a_drawing_lies_in_its_frame_and_has_the_colours_of_its_elements():
    x = some()
    for z, f, m in zip(x.each_numbers(), x.each_frac(), x.lattice.numpy(), strict=True):
        svg = drawing(z, f, m)
        whole(svg)
        at = np.array(re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)"', svg), float)
        assert ((at > 0) & (at < [180, 150])).all()
        assert set(re.findall(r'fill="(#\w+)"', svg)) == {colour(int(k)) for k in set(z)}
        assert svg.count('class="edge"') == 12


def test_what_is_no_crystal_is_drawn_as_such():
    x = nothing()
    svg = drawing(x.each_numbers()[0], x.each_frac()[0], x.lattice[0].numpy())
    assert "no crystal" in svg
    assert "no crystal" in drawing(np.array([3]), np.zeros((1, 3)), np.zeros((3, 3)))


def test_a_row_has_formulas_and_titles_escaped():
    html = figures.strip(Crystals.cat([named(), nothing()]), ["a <i>", "b", "c", "d", "e"])
    whole(html)
    assert "a &lt;i&gt;" in html
    assert html.count("<li>") == 5
    assert "<strong>NaCl</strong>" in html
    with pytest.raises(DataError, match="4 crystals need as many titles; given: 1"):
        figures.strip(some(), ["a"])
    assert "and 2 more" in figures.strip(some()[[0] * 62], [""] * 62)


def test_a_map_shows_what_each_point_is():
    x = named()
    html = figures.hover_map(torch.randn(4, 2), x, {"density": torch.rand(4)}, {"density": "g"})
    whole(html)
    with pytest.raises(DataError, match="3 points need as many crystals; given: 4"):
        figures.hover_map(torch.randn(3, 2), x, {"density": torch.rand(3)})


def test_figures_are_drawn_of_samples_and_data():
    x = some()
    sheet = figures.symmetries(Crystals.cat([x, nothing()]), x)
    assert isinstance(sheet, Figure)
    assert len(png(sheet)) > 1000
    heights = [bar.get_height() for bar in sheet.axes[0].patches]
    assert sum(heights[:8]) == sum(heights[8:]) == 1
    assert heights[8] == 0.2  # one of five has no symmetry


def test_the_viewer_is_whole_asks_for_nothing_and_meets_no_other():
    x = named("</script><b>")
    html = turned(x)
    whole(html)
    whole(render(Page("two", "", [Section("a", [Html(html), Html(turned(x))])])))
    assert "</script><b>" not in html


def test_the_viewer_holds_every_crystal_and_leaves_out_what_is_none():
    x = Crystals.cat([some(), nothing(2)])
    found = told(turned(x))
    assert [t["name"] for t in found] == ["1: NaCl", "2: TiO2", "3: SiO2", "4: SrTiO3"]
    assert "space group 225" in found[0]["about"]
    for t in found:
        assert len(t["at"]) == 3 * len(t["kind"])
        assert max(t["bonds"], default=0) < len(t["kind"])
    np.testing.assert_allclose(found[1]["axes"], x.lattice[1].numpy(), atol=1e-3)
    with pytest.raises(DataError, match="none of 2 crystals"):
        turned(nothing(2))


STAGE = """
const events = {}, calls = {};
const pen = new Proxy({}, { get: (_, k) => k in calls || typeof k === "symbol" ? undefined :
  () => { calls.count = (calls.count ?? 0) + 1; return { addColorStop() {} }; },
  set: () => true });
const element = (more) => ({
  addEventListener: (k, f) => { (events[more?.id ?? ""] ??= {})[k] = f; },
  setAttribute() {}, append() {},
  replaceChildren() {}, replaceWith() {}, style: {}, dataset: { label: "x" }, hidden: true,
  clientWidth: 640, clientHeight: 400, width: 640, height: 400, getContext: () => pen,
  setPointerCapture() {}, ...more });
const text = require("fs").readFileSync(0, "utf8");
const parts = { "script[type='application/json']": element({ textContent: text }) };
const select = parts["select"] = element({ id: "select", selectedIndex: 0 });
parts[".cells"] = element({ id: "cells", value: "2" });
parts[".turn"] = element({ id: "turn", checked: false });
for (const k of [".back", ".next"]) parts[k] = element({ id: k });
const root = { querySelector: (k) => parts[k] ??= element({ id: k }), querySelectorAll: () => [] };
globalThis.document = { currentScript: { parentElement: root }, activeElement: null,
  createElement: (k) => element({ id: k }) };
globalThis.getComputedStyle = () => ({ getPropertyValue: () => "#123", color: "#123" });
globalThis.matchMedia = () => ({ matches: true, addEventListener() {} });
globalThis.ResizeObserver = globalThis.IntersectionObserver = class { observe() {} };
globalThis.devicePixelRatio = 1;
const frames = [];
globalThis.requestAnimationFrame = (f) => frames.push(f);
const run = () => { while (frames.length) frames.shift()(16); };
"""
PLAY = """
run();
const seen = [root.querySelector(".about").textContent];
const drawn = calls.count;
events[".next"].click(); run();
seen.push(root.querySelector(".about").textContent);
for (const key of ["ArrowLeft", "+", "-", "Home", "n", "P"])
  events.canvas.keydown({ key, preventDefault() {} });
events.canvas.pointerdown({ pointerId: 1, clientX: 0, clientY: 0 });
events.canvas.pointermove({ pointerId: 1, clientX: 30, clientY: 9 });
events.canvas.pointerup({ pointerId: 1 });
events.canvas.wheel({ ctrlKey: true, deltaY: 5, preventDefault() {} });
run();
console.log(JSON.stringify({ drawn, more: calls.count > drawn, seen, at: select.selectedIndex }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_draws_and_answers(tmp_path):
    html = turned(some())
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)[0]
    (tmp_path / "play.js").write_text(STAGE + script + PLAY)
    found = subprocess.run(
        ["node", str(tmp_path / "play.js")], input=json.dumps(told(html)), text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert result["drawn"] > 100
    assert result["more"]
    assert "space group 225" in result["seen"][0]
    assert "space group 136" in result["seen"][1]
    assert result["at"] == 1


PROBE = """
<script>
const errors = [];
addEventListener("error", (e) => errors.push(e.message));
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const viewers = [...document.querySelectorAll(".turned")];
const part = (name, k = 0) => viewers[k].querySelector(name);
(async () => {
  await wait(500);
  const drawings = document.querySelectorAll(".crystal").length;
  const found = { viewers: viewers.length, drawings };
  const canvas = part("canvas"), seen = () => canvas.toDataURL();
  const changes = async (act) => {
    const old = seen();
    act();
    await wait(250);
    return seen() !== old;
  };
  const press = (key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
  found.turning = part(".turn").checked;
  found.turns = await changes(() => {});
  part(".turn").click();
  await wait(250);
  found.rests = !(await changes(() => {}));
  for (const key of ["ArrowLeft", "+", "Home", "n"]) found[key] = await changes(() => press(key));
  found.second = part("select").selectedIndex;
  found.back = await changes(() => part(".back").click());
  found.cells = await changes(() => {
    part(".cells").value = "2";
    part(".cells").dispatchEvent(new Event("input"));
  });
  const drag = (type, pointerId, clientX) =>
    canvas.dispatchEvent(new PointerEvent(type, { pointerId, clientX, clientY: 9 }));
  canvas.setPointerCapture = () => {};
  found.drag = await changes(() => { drag("pointerdown", 1, 9); drag("pointermove", 1, 60); });
  found.pinch = await changes(() => { drag("pointerdown", 2, 160); drag("pointermove", 2, 260); });
  drag("pointerup", 1, 60);
  drag("pointerup", 2, 260);
  const wheel = () => canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -200 }));
  found.wheel_before = await changes(wheel);
  canvas.focus();
  found.wheel_after = await changes(wheel);
  found.other = part("select", 1).selectedIndex;
  found.hidden = document.querySelectorAll(".turned [hidden]").length;
  found.about = part(".about").textContent.includes("space group 225");
  found.errors = errors;
  document.title = JSON.stringify(found);
})();
</script>
"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_the_script_runs_in_chromium_and_obeys(tmp_path):
    html, path = turned(some()), tmp_path / "page.html"
    write(Page("viewers", "", [Section("a", [Html(FRAMES + html), Html(html + PROBE)])]), path)
    found = probed(path, "1000,1800")
    assert found == {
        "viewers": 2, "drawings": 0, "turning": True, "turns": True, "rests": True,
        "ArrowLeft": True, "+": True, "Home": True, "n": True, "second": 1, "back": True,
        "cells": True, "drag": True, "pinch": True, "wheel_before": False, "wheel_after": True,
        "other": 0, "hidden": 0, "about": True, "errors": [],
    }  # fmt: skip
