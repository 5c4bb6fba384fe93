// Singular directions in the reader's own terms: coordinates as bars to either side, filters as pictures. Blanks of a
// token are shown.
const SIDES = { input: "what excites it", output: "what it writes" };

function directionsPart(directions) {
  if (!directions.length) return null;
  return el("section", { "aria-label": "Directions" }, el("h3", {}, term("direction", "Directions")),
    el("div", { class: "directions" }, directions.map(direction)));
}

function direction(d) {
  const terms = [...d.positive, ...d.negative.slice().reverse()];
  return el("article", { class: "direction" },
    el("h4", {}, `${d.rank + 1}. ${SIDES[d.side] || shown(d.side, 20)}`, el("span", { class: "small" }, ` σ ≈ ${figure(d.sigma)} · ${shown(d.kind, 20)}`,
      isNumber(d.concentration) && [" · ", term("concentration", "concentration"), ` ${figure(d.concentration, 2)}`])),
    terms.length > 0 && termBars(terms, d.kind), d.pictures.length > 0 && el("div", { class: "pictures" }, d.pictures.map(picture)),
    d.note && el("p", { class: "small" }, shown(d.note, 400)));
}

function termBars(terms, kind) {
  const most = Math.max(...terms.map((t) => Math.abs(t.weight)), 1e-300);
  const width = 150;
  return el("table", { class: "terms" }, el("thead", { class: "unseen" }, el("tr", {}, ["coordinate", "weight", "bar"].map((t) => el("th", { scope: "col" }, t)))),
    el("tbody", {}, terms.map((t) => {
      const w = (width / 2 - 2) * (Math.abs(t.weight) / most);
      return el("tr", {}, el("th", { scope: "row" }, el("span", { class: "token", title: `index ${t.index}` }, kind === "tokens" ? shown(t.label, 48).replaceAll(" ", "␣") : shown(t.label, 48))),
        el("td", { class: "number" }, figure(t.weight, 3)),
        el("td", {}, svg("svg", { class: "bars", viewBox: `0 0 ${width} 10`, width, height: 10, "aria-hidden": "true" },
          svg("line", { class: "axis", x1: width / 2, x2: width / 2, y1: 0, y2: 10 }),
          svg("rect", { class: t.weight < 0 ? "minus" : "plus", x: t.weight < 0 ? width / 2 - w : width / 2, y: 1, width: w, height: 8 }))));
    })));
}

function picture(p) {
  const scale = clamp(Math.floor(96 / Math.max(p.height, p.width, 1)), 1, 24);
  const caption = shown(p.caption, 120);
  const canvas = el("canvas", { width: p.width, height: p.height, role: "img", "aria-label": caption || `${p.height} by ${p.width} picture`, style: { width: `${p.width * scale}px`, height: `${p.height * scale}px` } });
  const context = canvas.getContext("2d");
  const image = context.createImageData(Math.max(1, p.width), Math.max(1, p.height));
  for (let i = 0; i < p.width * p.height; i += 1) {
    for (let c = 0; c < 3; c += 1) image.data[4 * i + c] = Math.round(127.5 * (1 + clamp(p.values[i * p.channels + (p.channels === 3 ? c : 0)] || 0, -1, 1)));
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return el("figure", {}, canvas, caption && el("figcaption", {}, caption));
}
