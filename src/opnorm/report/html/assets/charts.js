// Scales, axes and small charts, all as SVG.
const logs = (low, high, from, to) => {
  const [a, b] = [Math.log10(low), Math.log10(high)];
  const scale = (x) => from + ((Math.log10(x) - a) / (b - a || 1)) * (to - from);
  return Object.assign(scale, { low, high });
};
const linear = (low, high, from, to) => Object.assign((x) => from + ((x - low) / (high - low || 1)) * (to - from), { low, high });

// Decades, and 2 and 5 between them where there are few; plain steps within less than one.
function logTicks(low, high, most = 6) {
  const span = Math.log10(high / low);
  if (span < 0.7) return niceTicks(low, high, 5);
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const steps = span > 2.3 ? [1] : [1, 2, 5];
  const stride = Math.max(1, Math.ceil((last - first) / most));
  const ticks = [];
  for (let e = first; e <= last; e += stride) for (const s of steps) ticks.push(s * 10 ** e);
  return ticks.map((t) => Number(t.toPrecision(3))).filter((t) => t >= low * 0.999 && t <= high * 1.001);
}

function niceTicks(low, high, most = 5) {
  const raw = (high - low) / most || 1;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((s) => s * unit).find((s) => s >= raw);
  const ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) ticks.push(Number(t.toPrecision(12)));
  return ticks;
}

const tickText = (t) => {
  if (t === 0) return "0";
  const e = Math.floor(Math.log10(Math.abs(t)) + 1e-9);
  if (e < -3 || e > 4) return `${Number((t / 10 ** e).toPrecision(3)) === 1 ? "" : `${Number((t / 10 ** e).toPrecision(3))}×`}10${raised(e)}`;
  return String(Number(t.toPrecision(4)));
};

// A frame with axes; `box` is {width, height, left, right, top, bottom}. Marks go into the returned group.
function framed(title, box, x, y, xTicks, yTicks, xLabel, yLabel) {
  const base = box.height - box.bottom;
  const marks = svg("g", {});
  const chart = svg("svg", { class: "chart", viewBox: `0 0 ${box.width} ${box.height}`, role: "img", "aria-label": title },
    yTicks.map((t) => svg("g", { class: "grid" },
      svg("line", { x1: box.left, x2: box.width - box.right, y1: y(t), y2: y(t) }),
      svg("text", { x: box.left - 8, y: y(t) + 4, "text-anchor": "end" }, tickText(t)))),
    xTicks.map((t) => svg("g", { class: "grid x" },
      svg("line", { x1: x(t), x2: x(t), y1: base, y2: base + 4 }),
      svg("text", { x: x(t), y: base + 18, "text-anchor": "middle" }, tickText(t)))),
    svg("line", { class: "axis", x1: box.left, x2: box.width - box.right, y1: base, y2: base }),
    marks,
    svg("text", { class: "label", x: box.width - box.right, y: box.height - 4, "text-anchor": "end" }, xLabel),
    svg("text", { class: "label", x: box.left, y: 12 }, yLabel));
  return { chart, marks };
}

const BOX = { width: 620, height: 230, left: 56, right: 14, top: 24, bottom: 42 };

const trace = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");

// A share between 0 and 1 as a bar with a tick for chance.
function meter(value, mark, label, width = 110) {
  return svg("svg", { class: "meter", viewBox: `0 0 ${width} 10`, width, height: 10, role: "img", "aria-label": label },
    svg("rect", { class: "track", width, height: 6, y: 2, rx: 1 }),
    svg("rect", { class: "value", width: width * clamp(value, 0, 1), height: 6, y: 2, rx: 1 }),
    isNumber(mark) && svg("line", { class: "chance", x1: width * clamp(mark, 0, 1), x2: width * clamp(mark, 0, 1), y1: 0, y2: 10 }));
}

// A spectrum in sixteen heights.
function spark(text) {
  const [width, tall] = [64, 18];
  const points = [...text].map((c, i) => [1 + (i * (width - 2)) / (text.length - 1), 1 + (tall - 2) * (1 - (c.charCodeAt(0) - 48) / 39)]);
  return svg("svg", { class: "spark", viewBox: `0 0 ${width} ${tall}`, width, height: tall, "aria-hidden": "true" },
    svg("path", { class: "under", d: `${trace(points)}L${width - 1} ${tall}L1 ${tall}Z` }), svg("path", { class: "over", d: trace(points) }));
}

// From paper to ink, for heat maps: five stops that darken evenly, so that they read in gray as well.
const HEAT = [[247, 244, 236], [196, 214, 224], [123, 166, 199], [52, 104, 158], [20, 45, 94]];
function heat(share) {
  const at = clamp(share, 0, 1) * (HEAT.length - 1);
  const i = Math.min(Math.floor(at), HEAT.length - 2);
  return HEAT[i].map((c, k) => Math.round(c + (HEAT[i + 1][k] - c) * (at - i)));
}
const heatColor = (share) => `rgb(${heat(share).join(" ")})`;

// The ink that stands out more on that color, by relative luminance.
function heatInk(share) {
  const [r, g, b] = heat(share).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}
