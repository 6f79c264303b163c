import base64
import re
import shutil

import numpy as np
import pytest
import torch
from pages import FRAMES, assert_alone, assert_whole, probed, told

from genmatter.domains.backbone.viewer import overlay
from genmatter.errors import DataError
from genmatter.maths import rotation
from genmatter.maths.noise import generator
from genmatter.reporting.page import Html, Page, Section, render, write


def conformers(n=12, residues=10, seed=0):
    g = generator(seed, "viewer")
    chain = torch.randn(residues, 5, 3, generator=generator("chain")) + torch.tensor(
        [[[3.8 * k, 0.0, 0.0]] for k in range(residues)]
    )
    x = chain + 0.3 * torch.randn(n, residues, 5, 3, generator=g)
    turns = rotation.to_matrix(torch.randn(n, 1, 4, generator=g))
    return x @ turns + 20 * torch.randn(n, 1, 1, 3, generator=g)


def clouds(html):
    data = told(html)
    raw = (np.frombuffer(base64.b64decode(s["data"]), "<i2") for s in data["sets"])
    sizes = [s["n"] for s in data["sets"]]
    shapes = [(n, -1, data["atoms"], 3) for n in sizes]
    return [data["unit"] * x.reshape(shape) for x, shape in zip(raw, shapes, strict=True)]


def test_the_viewer_is_whole_asks_for_nothing_and_meets_no_other():
    sets = {"samples": conformers(), "MD <1>": conformers(9, seed=1)}
    html = overlay(sets)
    page = render(Page("two", "", [Section("a", [Html(html), Html(overlay(sets))])]))
    for text in (html, page):
        assert_whole(text)
    assert_alone(html)
    assert "MD &lt;1&gt; (9)" in html
    assert "MD <1>" not in html


def test_conformers_are_superposed_before_they_are_written():
    one = conformers(1, 7).expand(5, -1, -1, -1)
    turns = rotation.to_matrix(torch.randn(5, 1, 4, generator=generator("turns")))
    (x,) = clouds(overlay({"MD": one @ turns + torch.randn(5, 1, 1, 3, generator=generator(3))}))
    assert x.shape == (5, 7, 4, 3)
    assert np.abs(x - x[0]).max() <= 0.0101  # written to a hundredth
    assert np.abs(x[:, :, 1].mean(1)).max() < 0.02


def test_distances_are_kept_to_what_is_written():
    x = conformers(3, 20)
    drawn = torch.from_numpy(clouds(overlay({"samples": x}))[0])
    for k in (0, 1, 2, 3):
        own, seen = (torch.cdist(y[:, :, k], y[:, :, k]) for y in (x, drawn))
        torch.testing.assert_close(own.double(), seen, atol=0.02, rtol=0)


def test_a_peptide_is_small_and_a_long_chain_is_its_alphas():
    sets = {"samples": conformers(500), "MD": conformers(700, seed=1)}
    assert len(overlay(sets)) < 60_000
    assert [x.shape for x in clouds(overlay(sets))] == [(40, 10, 4, 3)] * 2
    assert "samples (40 of 500)" in overlay(sets)
    long = {"samples": conformers(60, 300), "MD": conformers(60, 300, seed=1)}
    assert [x.shape for x in clouds(overlay(long))] == [(13, 300, 1, 3)] * 2
    assert len(overlay(long)) < 100_000
    assert len(clouds(overlay(sets, most=3))[0]) == 3


def test_large_structures_fit_into_their_numbers():
    far = conformers(2, 100)
    far[:, :, :, 0] *= 5
    far = far * 3
    (x,) = clouds(overlay({"MD": far}))
    own = torch.cdist(far[:, :, 1], far[:, :, 1]).amax().item()
    assert np.linalg.norm(x[:, :, None] - x[:, None], axis=-1).max() == pytest.approx(own, abs=1)


def test_conformers_that_are_not_finite_are_left_out_and_nothing_to_show_is_refused():
    x = conformers(4)
    x[2, 0, 0] = torch.nan
    assert told(overlay({"samples": x}))["sets"][0]["n"] == 3
    for sets in ({}, {"samples": x[2:3]}, {"samples": x, "MD": conformers(3, 8)}):
        with pytest.raises(DataError, match="of one length"):
            overlay(sets)


def test_without_scripts_there_is_a_drawing_in_the_inks_of_the_page():
    html = overlay({"samples": conformers(), "MD": conformers(5, seed=1)})
    svg = re.search(r"<svg.*?</svg>", html)[0]
    lines = re.findall(r'stroke:(var\(--[\w-]+), #\w+\)" points="([^"]+)"', svg)
    assert {name for name, _ in lines} == {"var(--samples", "var(--baseline-1"}
    assert all(len(way.split()) == 30 for _, way in lines)
    at = np.array([[float(v) for v in p.split(",")] for _, way in lines for p in way.split()])
    inside = ((at >= 0) & (at <= [640, 400])).all(1)
    assert inside.mean() > 0.97
    assert re.search(r'<div class="bar" hidden><button', html)  # what does nothing is not shown
    assert len(re.findall(r"<input[^>]* hidden>", html)) == 2


PROBE = """
<script>
const errors = [];
addEventListener("error", (e) => errors.push(e.message));
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const viewers = [...document.querySelectorAll(".overlay")];
const part = (name, k = 0) => viewers[k].querySelector(name);
const set = (input, value) => {
  if (input.type === "checkbox") input.checked = value; else input.value = value;
  input.dispatchEvent(new Event("input"));
};
(async () => {
  await wait(500);
  const drawings = document.querySelectorAll(".overlay svg").length;
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
  set(part(".turn"), false);
  await wait(250);
  const other = part("canvas", 1).toDataURL();
  found.rests = !(await changes(() => {}));
  found.arrow = await changes(() => press("ArrowLeft"));
  found.plus = await changes(() => press("+"));
  found.home = await changes(() => press("Home"));
  found.hide = await changes(() => set(part(".set input"), false));
  found.step = await changes(() => set(part("input[type=range]"), 2));
  found.told = part("output").textContent;
  const drag = (type, clientX) =>
    canvas.dispatchEvent(new PointerEvent(type, { pointerId: 1, clientX, clientY: 9 }));
  canvas.setPointerCapture = () => {};
  found.drag = await changes(() => {
    drag("pointerdown", 9);
    drag("pointermove", 60);
    drag("pointerup", 60);
  });
  const wheel = () => canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -200 }));
  found.wheel_before = await changes(wheel);
  canvas.focus();
  found.wheel_after = await changes(wheel);
  part(".play").click();
  await wait(1000);
  found.played = Number(part("input[type=range]").value) !== 2;
  part(".play").click();
  found.other = part("canvas", 1).toDataURL() !== other || !found.turning;
  found.hidden = document.querySelectorAll(".overlay [hidden]").length;
  found.errors = errors;
  document.title = JSON.stringify(found);
})();
</script>
"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
@pytest.mark.parametrize("still", [False, True])
def test_the_script_runs_in_chromium_and_obeys(tmp_path, still):
    html = overlay({"samples": conformers(4), "MD": conformers(3, seed=1)})
    path = tmp_path / "page.html"
    write(Page("viewers", "", [Section("a", [Html(FRAMES + html), Html(html + PROBE)])]), path)
    found = probed(path, "1000,1600", *(["--force-prefers-reduced-motion"] if still else []))
    assert found == {
        "viewers": 2, "drawings": 0, "turning": not still, "turns": not still, "rests": True,
        "arrow": True, "plus": True, "home": True, "hide": True, "step": True, "told": "2 of 4",
        "drag": True, "wheel_before": False, "wheel_after": True, "played": True, "other": True,
        "hidden": 0, "errors": [],
    }  # fmt: skip
