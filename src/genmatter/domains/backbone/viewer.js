// Superposed conformers in a canvas. Nothing is named in the page, so that viewers do not meet.
(() => {
  const root = document.currentScript.parentElement;
  const find = (name) => root.querySelector(name);
  const { unit, atoms, far, high, sets } = JSON.parse(find("script[type='application/json']").textContent);
  const stage = find(".stage"), step = find("input[type=range]"), told = find("output");
  const play = find(".play"), turning = find(".turn");
  const boxes = [...root.querySelectorAll(".set input")];
  const swatches = [...root.querySelectorAll(".swatch")];
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  if (!pen) return; // the drawing stays

  const LAYERS = 10; // depths at which lines are drawn together, the furthest first
  const LINK = atoms === 1 ? 6 : 2.5; // angstrom, above which a chain is broken
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const clouds = sets.map(({ n, data }) => {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    return { n, x: Float32Array.from(new Int16Array(bytes.buffer), (v) => v * unit) };
  });
  const points = clouds[0].x.length / clouds[0].n / 3;
  const most = Math.max(...clouds.map(({ n }) => n));
  const bonds = []; // pairs of points: the chain N, CA, C, N ..., or CA to CA, then C to O
  for (let i = 0; i < points; i += atoms) {
    for (let k = 1; k < Math.min(atoms, 3); k++) bonds.push([i + k - 1, i + k, 1]);
    if (i + atoms < points) bonds.push([i + Math.min(atoms, 3) - 1, i + atoms, 1]);
    if (atoms === 4) bonds.push([i + 2, i + 3, 0.45]);
  }
  let view = [1, 0, 0, 0, 1, 0, 0, 0, 1], zoom = 1, wanted = false, seen = true, last = 0, stepped = 0;

  const turn = (across, down) => { // about the screen's own axes
    const [c, s, d, e] = [Math.cos(across), Math.sin(across), Math.cos(down), Math.sin(down)];
    const by = [c, 0, s, e * s, d, -e * c, -d * s, e, d * c];
    view = view.map((_, i) => [0, 1, 2].reduce((sum, k) => sum + by[i - (i % 3) + k] * view[3 * k + (i % 3)], 0));
  };
  const scale = () => zoom * Math.min((0.47 * canvas.width) / far, (0.44 * canvas.height) / high);

  const layers = (cloud, some) => { // screen lines of some conformers by depth and weight
    const size = scale(), [cx, cy] = [canvas.width / 2, canvas.height / 2];
    const found = Array.from({ length: LAYERS }, () => new Map());
    const at = new Float32Array(3 * points);
    for (const i of some) {
      const x = cloud.x.subarray(3 * points * i, 3 * points * (i + 1));
      for (let p = 0; p < 3 * points; p += 3)
        for (let k = 0; k < 3; k++)
          at[p + k] = view[3 * k] * x[p] + view[3 * k + 1] * x[p + 1] + view[3 * k + 2] * x[p + 2];
      for (const [a, b, weight] of bonds) {
        const [p, q] = [3 * a, 3 * b];
        if (Math.hypot(at[p] - at[q], at[p + 1] - at[q + 1], at[p + 2] - at[q + 2]) > LINK) continue;
        const deep = ((at[p + 2] + at[q + 2]) / 2 / far + 1) / 2;
        const layer = found[Math.max(0, Math.min(LAYERS - 1, Math.floor(deep * LAYERS)))];
        if (!layer.has(weight)) layer.set(weight, new Path2D());
        layer.get(weight).moveTo(cx + size * at[p], cy - size * at[p + 1]);
        layer.get(weight).lineTo(cx + size * at[q], cy - size * at[q + 1]);
      }
    }
    return found;
  };

  const draw = () => {
    const style = getComputedStyle(root), ratio = canvas.width / canvas.clientWidth || 1;
    const one = Number(step.value), shown = clouds.map((_, s) => s).filter((s) => boxes[s].checked);
    const all = (cloud) => [...Array(cloud.n).keys()];
    const thin = shown.map((s) => layers(clouds[s], all(clouds[s])));
    const thick = shown.map((s) => layers(clouds[s], one ? [(one - 1) % clouds[s].n] : []));
    const width = ratio * Math.max(0.9, Math.min(1.6, (0.1 * scale()) / ratio));
    const stroke = (layer, colour, share, opacity) => {
      pen.strokeStyle = colour;
      pen.globalAlpha = opacity;
      for (const [weight, path] of layer) {
        pen.lineWidth = width * share * weight;
        pen.stroke(path);
      }
    };
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.lineCap = pen.lineJoin = "round";
    for (let k = 0; k < LAYERS; k++) {
      const near = 0.35 + (0.65 * k) / (LAYERS - 1);
      shown.forEach((s, i) => {
        const colour = getComputedStyle(swatches[s]).color;
        stroke(thin[i][k], colour, 1, near * (one ? 0.13 : 0.6));
      });
      shown.forEach((s, i) => {
        stroke(thick[i][k], style.getPropertyValue("--paper") || "#fff", 5, 1);
        stroke(thick[i][k], getComputedStyle(swatches[s]).color, 3.4, 1);
      });
    }
    ruler(style.color, ratio);
    told.textContent = one ? `${one} of ${most}` : "all";
  };

  const ruler = (colour, ratio) => { // a round length of 40 pixels or a little more
    const pixel = scale() / ratio, long = [1, 2, 5, 10, 20, 50, 100].find((a) => a * pixel > 40) ?? 200;
    const [x, y] = [12 * ratio, canvas.height - 14 * ratio];
    pen.globalAlpha = 0.7;
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = 2 * ratio;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x + long * scale(), y);
    pen.stroke();
    pen.font = `${12 * ratio}px sans-serif`;
    pen.fillText(`${long} Å`, x + long * scale() + 6 * ratio, y + 4 * ratio);
  };

  const playing = () => play.getAttribute("aria-pressed") === "true";
  const tick = (now) => {
    wanted = false;
    const past = Math.min(now - last, 50);
    last = now;
    if (turning.checked) turn(past * 0.0004, 0);
    if (playing() && now - stepped > 400) {
      step.value = (Number(step.value) % most) + 1;
      stepped = now;
    }
    draw();
    if (turning.checked || playing()) show();
  };
  const show = () => {
    if (wanted || !seen) return;
    wanted = true;
    requestAnimationFrame(tick);
  };
  const enlarge = (by) => {
    zoom = Math.max(0.4, Math.min(12, zoom * by));
    show();
  };

  const held = new Map(); // pointers that are down: one turns, two zoom
  const spread = () => {
    const [a, b] = [...held.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  canvas.addEventListener("pointerdown", (e) => {
    held.set(e.pointerId, [e.clientX, e.clientY]);
    canvas.setPointerCapture(e.pointerId);
    turning.checked = false;
  });
  canvas.addEventListener("pointermove", (e) => {
    const from = held.get(e.pointerId);
    if (!from) return;
    const before = held.size === 2 && spread();
    held.set(e.pointerId, [e.clientX, e.clientY]);
    if (before) enlarge(spread() / before);
    else turn((e.clientX - from[0]) * 0.01, (e.clientY - from[1]) * 0.01);
    show();
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, (e) => held.delete(e.pointerId));
  canvas.addEventListener("wheel", (e) => { // the page scrolls until the viewer is asked for
    if (document.activeElement !== canvas && !e.ctrlKey) return;
    e.preventDefault();
    enlarge(Math.exp(-e.deltaY * 0.0015));
  }, { passive: false });
  const keys = {
    ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0),
    ArrowUp: () => turn(0, -0.1), ArrowDown: () => turn(0, 0.1),
    "+": () => enlarge(1.15), "=": () => enlarge(1.15), "-": () => enlarge(1 / 1.15),
    " ": () => { turning.checked = !turning.checked; },
    Home: () => { [view, zoom] = [[1, 0, 0, 0, 1, 0, 0, 0, 1], 1]; },
  };
  canvas.addEventListener("keydown", (e) => {
    if (!(e.key in keys) || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    if (e.key.startsWith("Arrow")) turning.checked = false;
    keys[e.key]();
    show();
  });
  play.addEventListener("click", () => {
    play.setAttribute("aria-pressed", String(!playing()));
    play.textContent = playing() ? "Pause" : "Play";
    show();
  });
  for (const input of [...boxes, step, turning]) input.addEventListener("input", show);

  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${find("svg").getAttribute("aria-label")} Arrow keys turn it, plus and minus zoom, space turns it by itself, Home resets it.`);
  find("svg").replaceWith(canvas);
  for (const part of root.querySelectorAll("[hidden]")) part.hidden = false;
  turning.checked = !still.matches;
  still.addEventListener("change", () => { turning.checked = !still.matches; show(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  new ResizeObserver(() => {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    show();
  }).observe(canvas);
  new IntersectionObserver((entries) => {
    seen = entries.at(-1).isIntersecting;
    show();
  }).observe(canvas);
  step.max = most;
  draw();
})();
