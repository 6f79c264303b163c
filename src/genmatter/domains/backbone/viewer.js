// Superposed conformers: what `turning` draws of them.
(() => {
  const root = document.currentScript.parentElement;
  const find = (name) => root.querySelector(name);
  const { unit, atoms, far, high, sets } = JSON.parse(find("script[type='application/json']").textContent);
  const step = find("input[type=range]"), told = find("output"), play = find(".play");
  const boxes = [...root.querySelectorAll(".set input")];
  const swatches = [...root.querySelectorAll(".swatch")];

  const LAYERS = 10; // depths at which lines are drawn together, the furthest first
  const LINK = atoms === 1 ? 6 : 2.5; // angstrom, above which a chain is broken
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

  const layers = (cloud, some, place, size, [cx, cy]) => { // screen lines by depth and weight
    const found = Array.from({ length: LAYERS }, () => new Map());
    const at = new Float32Array(3 * points);
    for (const i of some) {
      const x = cloud.x.subarray(3 * points * i, 3 * points * (i + 1));
      for (let p = 0; p < 3 * points; p += 3) at.set(place(x.subarray(p, p + 3)), p);
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

  const draw = (pen, { canvas, style, ratio, zoom, place }) => {
    const size = zoom * Math.min((0.47 * canvas.width) / far, (0.44 * canvas.height) / high);
    const middle = [canvas.width / 2, canvas.height / 2];
    const one = Number(step.value), shown = clouds.map((_, s) => s).filter((s) => boxes[s].checked);
    const some = (cloud, rows) => layers(cloud, rows, place, size, middle);
    const thin = shown.map((s) => some(clouds[s], Array(clouds[s].n).keys()));
    const thick = shown.map((s) => some(clouds[s], one ? [(one - 1) % clouds[s].n] : []));
    const width = ratio * Math.max(0.9, Math.min(1.6, (0.1 * size) / ratio));
    const stroke = (layer, colour, share, opacity) => {
      pen.strokeStyle = colour;
      pen.globalAlpha = opacity;
      for (const [weight, path] of layer) {
        pen.lineWidth = width * share * weight;
        pen.stroke(path);
      }
    };
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
    told.textContent = one ? `${one} of ${most}` : "all";
    return size;
  };

  let stepped = 0;
  const playing = () => play.getAttribute("aria-pressed") === "true";
  const moves = (now) => {
    if (playing() && now - stepped > 400) {
      step.value = (Number(step.value) % most) + 1;
      stepped = now;
    }
    return playing();
  };
  const label = find("svg").getAttribute("aria-label");
  const show = turning(root, { first: [1, 0, 0, 0, 1, 0, 0, 0, 1], label, draw, moves });
  if (!show) return; // the drawing stays
  play.addEventListener("click", () => {
    play.setAttribute("aria-pressed", String(!playing()));
    play.textContent = playing() ? "Pause" : "Play";
    show();
  });
  for (const input of [...boxes, step]) input.addEventListener("input", show);
  step.max = most;
  show();
})();
