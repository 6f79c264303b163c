// Points that show what they are. Nothing is named in the page, so that maps do not meet.
(async (root) => {
  const find = (name) => root.querySelector(name);
  const packed = Uint8Array.from(atob(find("script[type]").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const { palette, names, pictures, properties } = await new Response(stream).json();
  const plane = find(".plane"), ring = find(".ring"), card = find(".card"), told = find("[aria-live]");
  const select = find("select"), stage = find(".stage");
  const dots = [...plane.querySelectorAll("circle:not(.ring)")];
  const at = dots.map((dot) => [Number(dot.getAttribute("cx")), Number(dot.getAttribute("cy"))]);
  const REACH = 30; // how far from a point it is still meant
  let chosen = -1, held = false;

  const paint = () => {
    const { low, high, shades } = properties[select.selectedIndex];
    dots.forEach((dot, i) => { dot.style.fill = palette.at(shades[i]); });
    find(".low").textContent = low;
    find(".high").textContent = high;
    plane.setAttribute("aria-label", `${names.length} points, coloured by ${properties[select.selectedIndex].name}. ${find(".hint").textContent}`);
    if (chosen >= 0) tell();
  };
  const tell = () => {
    find(".name").textContent = names[chosen];
    find("dl").replaceChildren(...properties.flatMap(({ name, told }, k) => [["dt", name], ["dd", told[chosen]]].map(([tag, text]) => {
      const part = document.createElement(tag);
      part.textContent = text;
      part.classList.toggle("chosen", k === select.selectedIndex);
      return part;
    })));
  };
  const choose = (i) => {
    if (i < 0 || i === chosen) return;
    chosen = i;
    ring.setAttribute("cx", at[i][0]);
    ring.setAttribute("cy", at[i][1]);
    find(".look").innerHTML = pictures[i];
    tell();
  };
  const hold = (on) => {
    held = on && chosen >= 0;
    plane.classList.toggle("held", held);
  };
  const lowest = (cost) => { // the last of equals lies on top
    let best = -1, least = Infinity;
    at.forEach((p, i) => {
      const c = cost(p, i);
      if (c <= least && c < Infinity) [best, least] = [i, c];
    });
    return best;
  };
  const near = (e) => {
    const here = new DOMPoint(e.clientX, e.clientY).matrixTransform(plane.getScreenCTM().inverse());
    return lowest(([x, y]) => {
      const far = Math.hypot(x - here.x, y - here.y);
      return far > REACH ? Infinity : far;
    });
  };
  const beside = (across, down) => { // the nearest one on that side, straight ahead before askew
    const [x, y] = at[chosen];
    return lowest((p, i) => {
      const ahead = (p[0] - x) * across + (p[1] - y) * down;
      const askew = Math.abs((p[0] - x) * down - (p[1] - y) * across);
      return i === chosen || ahead <= 0 || askew > 2 * ahead ? Infinity : ahead + 2 * askew;
    });
  };

  plane.addEventListener("pointermove", (e) => { if (!held) choose(near(e)); });
  plane.addEventListener("click", (e) => { // a tap is a click too
    const i = near(e);
    const same = held && (i === chosen || i < 0);
    choose(i);
    hold(!same && i >= 0);
  });
  const keys = {
    ArrowLeft: () => choose(beside(-1, 0)), ArrowRight: () => choose(beside(1, 0)),
    ArrowUp: () => choose(beside(0, -1)), ArrowDown: () => choose(beside(0, 1)),
    Enter: () => hold(!held), " ": () => hold(!held), Escape: () => hold(false),
  };
  plane.addEventListener("keydown", (e) => {
    if (!(e.key in keys) || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    keys[e.key]();
    told.textContent = `${properties.map(({ name, told }) => `${name} ${told[chosen]}`).join(", ")}, ${names[chosen]}`;
  });
  select.addEventListener("input", paint);

  for (const part of root.querySelectorAll("[hidden]")) part.hidden = false;
  find(".still").remove();
  stage.classList.add("live");
  plane.tabIndex = 0;
  plane.setAttribute("role", "application");
  select.selectedIndex = 0; // what a browser remembers of the last visit is not what is drawn
  paint();
  choose(lowest(([x, y]) => Math.hypot(x - plane.viewBox.baseVal.width / 2, y - plane.viewBox.baseVal.height / 2)));
})(document.currentScript.parentElement);
