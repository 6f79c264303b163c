// Crystals, one at a time: what `turning` draws of them.
(() => {
  const root = document.currentScript.parentElement;
  const find = (name) => root.querySelector(name);
  const crystals = JSON.parse(find("script[type='application/json']").textContent);
  const chosen = find("select"), cells = find(".cells");
  let shown = null;

  const assembled = (it, n) => { // atoms, bonds and edges of n cells each way, around their middle
    const [a, b, c] = it.axes, parts = [], known = new Set();
    const along = (i, j, k) => [0, 1, 2].map((m) => i * a[m] + j * b[m] + k * c[m]);
    const middle = along((n - 1) / 2, (n - 1) / 2, (n - 1) / 2);
    const corner = (i, j, k) => along(i - n / 2, j - n / 2, k - n / 2);
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
    return parts;
  };

  const load = () => {
    const it = crystals[chosen.selectedIndex], parts = assembled(it, Number(cells.value));
    const far = Math.max(...parts.flatMap(({ x, y }) => [x, y ?? x].map((v) => Math.hypot(...v))));
    shown = { parts, kinds: it.kinds, far: far + 0.8 };
    find(".about").textContent = it.about;
    find(".key").replaceChildren(...it.kinds.map(([name, colour]) => {
      const row = document.createElement("li"), dot = document.createElement("span");
      dot.style.background = colour;
      row.append(dot, name);
      return row;
    }));
  };

  const draw = (pen, { canvas, style, ratio, zoom, place }) => {
    const size = (0.47 * zoom * Math.min(canvas.width, canvas.height)) / shown.far;
    const flat = (v) => [canvas.width / 2 + size * v[0], canvas.height / 2 - size * v[1]];
    const parts = shown.parts.map((part) => {
      const u = place(part.x), v = part.y && place(part.y);
      return { ...part, u, v, deep: v ? Math.min(u[2], v[2]) - (part.edge ? 0.5 : 0.05) : u[2] };
    });
    for (const { kind, edge, u, v, deep } of parts.sort((p, q) => p.deep - q.deep)) {
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
    return size;
  };

  const step = (by) => {
    chosen.selectedIndex = (chosen.selectedIndex + by + crystals.length) % crystals.length;
    load();
  };
  load();
  const show = turning(root, {
    first: [0.42, 0.91, 0, -0.28, 0.13, 0.95, 0.86, -0.4, 0.31],
    label: find(".stage").dataset.label, draw,
    keys: { n: () => step(1), p: () => step(-1) }, told: "N and P go on and back, ",
  });
  if (!show) return; // the drawing stays
  const then = (act) => () => { act(); show(); };
  find(".back").addEventListener("click", then(() => step(-1)));
  find(".next").addEventListener("click", then(() => step(1)));
  for (const box of [chosen, cells]) box.addEventListener("input", then(load));
  show();
})();
