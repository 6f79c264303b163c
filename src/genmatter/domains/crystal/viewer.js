// Crystals in a canvas. Nothing is named in the page, so that viewers do not meet.
(() => {
  const root = document.currentScript.parentElement;
  const find = (name) => root.querySelector(name);
  const crystals = JSON.parse(find("script[type='application/json']").textContent);
  const stage = find(".stage"), chosen = find("select"), cells = find(".cells"), turning = find(".turn");
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  if (!pen) return; // the drawing stays

  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const first = [0.42, 0.91, 0, -0.28, 0.13, 0.95, 0.86, -0.4, 0.31];
  let view = [...first], zoom = 1, wanted = false, seen = true, last = 0, shown = null;

  const turn = (across, down) => { // about the screen's own axes
    const [c, s, d, e] = [Math.cos(across), Math.sin(across), Math.cos(down), Math.sin(down)];
    const by = [c, 0, s, e * s, d, -e * c, -d * s, e, d * c];
    view = view.map((_, i) => [0, 1, 2].reduce((sum, k) => sum + by[i - (i % 3) + k] * view[3 * k + (i % 3)], 0));
  };

  const load = () => { // atoms, bonds and edges of the chosen crystal, around its middle
    const it = crystals[chosen.selectedIndex], n = Number(cells.value), [a, b, c] = it.axes;
    const along = (i, j, k) => [0, 1, 2].map((m) => i * a[m] + j * b[m] + k * c[m]);
    const middle = along((n - 1) / 2, (n - 1) / 2, (n - 1) / 2), parts = [];
    const corner = (i, j, k) => along(i - n / 2, j - n / 2, k - n / 2);
    const known = new Set();
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) for (let k = 0; k < n; k++) {
      const shift = along(i, j, k).map((v, m) => v - middle[m]);
      const at = (p) => [0, 1, 2].map((m) => it.at[3 * p + m] + shift[m]);
      it.kind.forEach((kind, p) => {
        const x = at(p), key = x.map((v) => v.toFixed(1)).join();
        if (!known.has(key)) parts.push({ x, kind });
        known.add(key);
      });
      for (let p = 0; p < it.bonds.length; p += 2) parts.push({ x: at(it.bonds[p]), y: at(it.bonds[p + 1]) });
    }
    for (const i of [0, n]) for (const j of [0, n]) {
      parts.push({ x: corner(i, j, 0), y: corner(i, j, n), edge: 1 });
      parts.push({ x: corner(i, 0, j), y: corner(i, n, j), edge: 1 });
      parts.push({ x: corner(0, i, j), y: corner(n, i, j), edge: 1 });
    }
    const far = Math.max(...parts.flatMap(({ x, y }) => [x, y ?? x].map((v) => Math.hypot(...v))));
    shown = { parts, kinds: it.kinds, far: far + 0.8 };
    find(".about").textContent = it.about;
    find(".key").replaceChildren(...it.kinds.map(([name, colour]) => {
      const row = document.createElement("li"), dot = document.createElement("span");
      dot.style.background = colour;
      row.append(dot, name);
      return row;
    }));
    show();
  };

  const draw = () => {
    const style = getComputedStyle(root), ratio = canvas.width / canvas.clientWidth || 1;
    const size = (0.47 * zoom * Math.min(canvas.width, canvas.height)) / shown.far;
    const place = (x) => [0, 1, 2].map((k) => view[3 * k] * x[0] + view[3 * k + 1] * x[1] + view[3 * k + 2] * x[2]);
    const flat = (v) => [canvas.width / 2 + size * v[0], canvas.height / 2 - size * v[1]];
    const seenParts = shown.parts.map((part) => {
      const u = place(part.x), v = part.y && place(part.y);
      return { ...part, u, v, deep: v ? Math.min(u[2], v[2]) - (part.edge ? 0.5 : 0.05) : u[2] };
    });
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.lineCap = "round";
    for (const { kind, edge, u, v, deep } of seenParts.sort((p, q) => p.deep - q.deep)) {
      const near = 0.45 + 0.55 * Math.max(0, Math.min(1, (deep / shown.far + 1) / 2));
      const [x, y] = flat(u);
      pen.globalAlpha = near;
      if (v) {
        pen.strokeStyle = style.getPropertyValue(edge ? "--ink" : "--muted") || style.color;
        pen.lineWidth = ratio * (edge ? 1 : Math.max(2, (0.12 * size) / ratio));
        pen.beginPath();
        pen.moveTo(x, y);
        pen.lineTo(...flat(v));
        pen.stroke();
        continue;
      }
      const [, colour, radius] = shown.kinds[kind], r = 0.42 * radius * size;
      const light = pen.createRadialGradient(x - r / 3, y - r / 3, r / 10, x, y, r);
      light.addColorStop(0, "#fff");
      light.addColorStop(0.35, colour);
      light.addColorStop(1, colour);
      pen.globalAlpha = 1;
      pen.fillStyle = light;
      pen.beginPath();
      pen.arc(x, y, r, 0, 2 * Math.PI);
      pen.fill();
      pen.globalAlpha = near;
      pen.strokeStyle = "#0008";
      pen.lineWidth = ratio;
      pen.stroke();
    }
    ruler(size, style.color, ratio);
  };

  const ruler = (size, colour, ratio) => { // a round length of 40 pixels or a little more
    const long = [1, 2, 5, 10, 20, 50, 100].find((a) => (a * size) / ratio > 40) ?? 200;
    const [x, y] = [12 * ratio, canvas.height - 14 * ratio];
    pen.globalAlpha = 0.7;
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = 2 * ratio;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x + long * size, y);
    pen.stroke();
    pen.font = `${12 * ratio}px sans-serif`;
    pen.fillText(`${long} Å`, x + long * size + 6 * ratio, y + 4 * ratio);
  };

  const tick = (now) => {
    wanted = false;
    if (turning.checked) turn(Math.min(now - last, 50) * 0.0004, 0);
    last = now;
    draw();
    if (turning.checked) show();
  };
  const show = () => {
    if (wanted || !seen || !shown) return;
    wanted = true;
    requestAnimationFrame(tick);
  };
  const enlarge = (by) => {
    zoom = Math.max(0.4, Math.min(12, zoom * by));
    show();
  };
  const step = (by) => {
    chosen.selectedIndex = (chosen.selectedIndex + by + crystals.length) % crystals.length;
    load();
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
    Home: () => { [view, zoom] = [[...first], 1]; },
    n: () => step(1), p: () => step(-1),
  };
  canvas.addEventListener("keydown", (e) => {
    const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if (!(key in keys) || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    if (key.startsWith("Arrow")) turning.checked = false;
    keys[key]();
    show();
  });
  find(".back").addEventListener("click", () => step(-1));
  find(".next").addEventListener("click", () => step(1));
  for (const box of [chosen, cells]) box.addEventListener("input", load);
  turning.addEventListener("input", show);

  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${stage.dataset.label} Arrow keys turn it, plus and minus zoom, space turns it by itself, N and P go on and back, Home resets it.`);
  stage.replaceChildren(canvas);
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
  load();
})();
