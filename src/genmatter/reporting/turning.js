// A picture in space, turned by hand: a canvas in the place of a drawing, which follows pointers,
// keys and the wheel, and draws when something has changed.
//
// draw(pen, { canvas, style, ratio, zoom, place }) paints, and returns how many pixels an angstrom
// has; ratio is pixels of the canvas over those of the page, and place turns a point. moves(now)
// may change what is drawn, and says whether it goes on. keys are more of them, and told says what
// they do. Returns what has the next frame drawn, or nothing where there is no canvas to draw on.
const turning = (root, { first, label, draw, moves = () => false, keys = {}, told = "" }) => {
  const find = (name) => root.querySelector(name), box = find(".turn");
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  if (!pen) return null;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let view = [...first], zoom = 1, wanted = false, seen = true, last = 0;

  const turn = (across, down) => { // about the screen's own axes
    const [c, s, d, e] = [Math.cos(across), Math.sin(across), Math.cos(down), Math.sin(down)];
    const by = [c, 0, s, e * s, d, -e * c, -d * s, e, d * c];
    view = view.map((_, i) => [0, 1, 2].reduce((sum, k) => sum + by[i - (i % 3) + k] * view[3 * k + (i % 3)], 0));
  };
  const place = (x) => [0, 3, 6].map((k) => view[k] * x[0] + view[k + 1] * x[1] + view[k + 2] * x[2]);

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
    if (box.checked) turn(Math.min(now - last, 50) * 0.0004, 0);
    last = now;
    const more = moves(now), style = getComputedStyle(root);
    const ratio = canvas.width / canvas.clientWidth || 1;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.lineCap = pen.lineJoin = "round";
    ruler(draw(pen, { canvas, style, ratio, zoom, place }), style.color, ratio);
    if (box.checked || more) show();
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
    box.checked = false;
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
  const every = {
    ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0),
    ArrowUp: () => turn(0, -0.1), ArrowDown: () => turn(0, 0.1),
    "+": () => enlarge(1.15), "=": () => enlarge(1.15), "-": () => enlarge(1 / 1.15),
    " ": () => { box.checked = !box.checked; },
    Home: () => { [view, zoom] = [[...first], 1]; },
    ...keys,
  };
  canvas.addEventListener("keydown", (e) => {
    const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if (!(key in every) || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    if (key.startsWith("Arrow")) box.checked = false;
    every[key]();
    show();
  });
  box.addEventListener("input", show);

  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${label} Arrow keys turn it, plus and minus zoom, space turns it by itself, ${told}Home resets it.`);
  find(".stage").replaceChildren(canvas);
  for (const part of root.querySelectorAll("[hidden]")) part.hidden = false;
  box.checked = !still.matches;
  still.addEventListener("change", () => { box.checked = !still.matches; show(); });
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
  return show;
};
