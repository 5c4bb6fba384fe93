// The skyline: a bar a layer in file order. A bar is filled to the lower end of its bracket; a whisker goes on to the
// upper. An upper end alone is an outline, an estimate is hatched: neither looks like a bound that it is not.
const SKY = { mode: "weights", rows: [], at: 0, match: null, geometry: null };
const SKY_BOX = { height: 300, left: 52, right: 8, top: 26, bottom: 40 };

function skylineRows() {
  const wanted = REPORT.rows.filter((r) => r.status !== "not_a_map" && (SKY.mode === "all" || !r.derived));
  return wanted.length ? wanted : REPORT.rows.filter((r) => r.status !== "not_a_map");
}

const ends = (row) => [row.lower, row.upper].filter((v) => isNumber(v) && v > 0);

function range(rows) {
  const values = rows.flatMap(ends);
  if (PAGE.ceiling > 0) values.push(PAGE.ceiling);
  if (!values.length) return [0.1, 1];
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, 0]);
  return [low / Math.max(1.6, (high / low) ** 0.12), high * 1.12];
}

// Runs of layers of one block: 'encoder.layer.3.' and all that follows with it.
function blocks(rows) {
  const runs = [];
  rows.forEach((row, i) => {
    const match = /^(?:[^.[\]]{1,60}\.){0,6}?(\d{1,5})(?=\.)/.exec(row.name);
    const key = match ? match[0] : "";
    const last = runs.at(-1);
    if (last && last.key === key) last.end = i + 1;
    else runs.push({ key, label: match ? match[1] : "", start: i, end: i + 1 });
  });
  return runs;
}

function bar(row, x, width, y, base) {
  const rect = (top, bottom) => `M${x.toFixed(2)} ${bottom.toFixed(2)}V${top.toFixed(2)}h${width.toFixed(2)}V${bottom.toFixed(2)}Z`;
  if (!ends(row).length) return null;
  if (!bounds(row.evidence)) return { style: "estimate", d: rect(y(Math.max(...ends(row))), base) };
  if (!isNumber(row.lower) || row.lower <= 0) return { style: "upper", d: rect(y(row.upper), base) };
  const found = { style: "solid", d: rect(y(row.lower), base) };
  if (isNumber(row.upper)) {
    const top = y(row.upper);
    const middle = (x + width / 2).toFixed(2);
    found.whisker = `M${x.toFixed(2)} ${top.toFixed(2)}h${width.toFixed(2)}M${middle} ${top.toFixed(2)}V${y(row.lower).toFixed(2)}`;
  }
  return found;
}

function drawSkyline() {
  const rows = (SKY.rows = skylineRows());
  const host = $("skyline");
  const width = Math.max(320, host.clientWidth);
  const { height: tall, left, right, top, bottom } = SKY_BOX;
  const base = tall - bottom;
  const [low, high] = range(rows);
  const y = logs(low, high, base, top);
  const step = Math.min(64, (width - left - right) / Math.max(1, rows.length));
  const bars = Math.max(0.5, step > 3 ? Math.min(step * 0.74, 30) : step);
  SKY.geometry = { width, left, step, y, base, top };
  const paths = new Map();
  const add = (key, d) => paths.set(key, (paths.get(key) || "") + d);
  const marks = [];
  let crosses = "";
  rows.forEach((row, i) => {
    const x = left + i * step + (step - bars) / 2;
    const dim = SKY.match && !SKY.match.has(row.index) ? " dim" : "";
    const drawn = row.status === "measured" ? bar(row, x, bars, y, base) : null;
    if (!drawn && height(row) === 0) {
      marks.push(svg("text", { class: "nil", x: x + bars / 2, y: base - 4, "text-anchor": "middle" }, "0"));
      return;
    }
    if (!drawn) {
      const [c, r] = [x + bars / 2, clamp(bars / 2, 1, 3)];
      crosses += `M${(c - r).toFixed(2)} ${base + 4}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
      return;
    }
    add(`bar ${drawn.style} k${family(row.kind)}${dim}`, drawn.d);
    if (drawn.whisker && bars >= 2) add(`whisker${dim}`, drawn.whisker);
    if (step >= 11 && !dim) marks.push(svg("text", { class: `mark k${family(row.kind)}`, x: x + bars / 2, y: y(height(row)) - 6, "text-anchor": "middle" }, MARKS[family(row.kind)]));
  });
  const chart = svg("svg", { viewBox: `0 0 ${width} ${tall}`, height: tall, "aria-hidden": "true", focusable: "false" },
    hatches(), bands(rows, left, step, base, top), gridLines(y, width, left, right, low, high),
    [...paths].map(([key, d]) => svg("path", { class: key, d, style: key.includes("estimate") ? { fill: `url(#hatch-${/k(\d)/.exec(key)[1]})` } : null })),
    marks, crosses && svg("path", { class: "cross", d: crosses }),
    svg("line", { class: "axis", x1: left, x2: width - right, y1: base, y2: base }), budget(y, width, left, right),
    svg("rect", { id: "sky-here", class: "here", y: top - 8, height: base - top + 8, width: Math.max(step, 2), visibility: "hidden" }));
  clear(host, chart, slider(rows));
}

const hatches = () => svg("defs", {}, MARKS.map((_, k) =>
  svg("pattern", { id: `hatch-${k}`, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 2, height: 5, class: `fill k${k}` }))));

function bands(rows, left, step, base, top) {
  const runs = blocks(rows);
  if (runs.length < 3) return null;
  let free = -Infinity;
  let said = "";
  return runs.map((run, i) => {
    const [x, w] = [left + run.start * step, (run.end - run.start) * step];
    const middle = x + w / 2;
    const fits = run.label && middle - free > 8 + run.label.length * 7;
    if (fits) free = middle + (run.label.length * 7) / 2;
    const word = fits && run.key.split(".").at(-2);
    if (word && !said) run.label = said = `${word} ${run.label}`;
    return svg("g", {}, i % 2 === 1 && svg("rect", { class: "band", x, y: top - 8, width: w, height: base - top + 8 }),
      fits && svg("text", { class: "band-label", x: middle, y: base + 26, "text-anchor": "middle" }, run.label));
  });
}

const gridLines = (y, width, left, right, low, high) => logTicks(low, high).map((t) => svg("g", { class: "grid" },
  svg("line", { x1: left, x2: width - right, y1: y(t), y2: y(t) }),
  svg("text", { x: left - 10, y: y(t) + 4, "text-anchor": "end" }, tickText(t))));

const budget = (y, width, left, right) => PAGE.ceiling > 0 && svg("g", { class: "budget" },
  svg("line", { x1: left, x2: width - right, y1: y(PAGE.ceiling), y2: y(PAGE.ceiling) }),
  svg("text", { x: width - right, y: y(PAGE.ceiling) - 6, "text-anchor": "end" }, `ceiling ${Number(PAGE.ceiling.toPrecision(6))}`));

const spoken = (row) => `${shown(row.name, 80)}, ${row.status === "measured" ? `σ₁ ${rowBracket(row)}, ${row.evidence}` : row.status}`;

// The keyboard's way through the bars, and the pointer's.
function slider(rows) {
  const node = el("div", { class: "cursor", role: "slider", tabindex: 0, "aria-label": "Layers in file order; Enter opens one", "aria-orientation": "horizontal",
    "aria-valuemin": 1, "aria-valuemax": Math.max(1, rows.length), "aria-valuenow": 1, "aria-valuetext": rows.length ? spoken(rows[0]) : "no layers" });
  const index = (event) => clamp(Math.floor((event.clientX - node.getBoundingClientRect().left - SKY.geometry.left) / SKY.geometry.step), 0, rows.length - 1);
  const go = (i) => { if (rows.length) pointAt(node, clamp(i, 0, rows.length - 1)); };
  const page = Math.max(10, Math.round(rows.length / 20));
  const keys = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: page, PageDown: -page, Home: -rows.length, End: rows.length };
  node.addEventListener("pointermove", (event) => go(index(event)));
  node.addEventListener("pointerleave", () => { if (document.activeElement !== node) unpoint(); });
  node.addEventListener("click", (event) => rows.length && openPanel(rows[index(event)].index));
  node.addEventListener("focus", () => go(SKY.at));
  node.addEventListener("blur", unpoint);
  node.addEventListener("keydown", (event) => {
    if (event.key in keys) { go(SKY.at + keys[event.key]); event.preventDefault(); }
    if ((event.key === "Enter" || event.key === " ") && rows.length) { openPanel(rows[SKY.at].index); event.preventDefault(); }
  });
  return node;
}

function pointAt(node, i) {
  SKY.at = i;
  const row = SKY.rows[i];
  const { left, step, y, base } = SKY.geometry;
  node.setAttribute("aria-valuenow", i + 1);
  node.setAttribute("aria-valuetext", spoken(row));
  const here = $("sky-here");
  here.setAttribute("x", left + i * step);
  here.setAttribute("visibility", "visible");
  const box = node.getBoundingClientRect();
  const top = ends(row).length ? y(height(row)) : base;
  tell(box.left + left + (i + 0.5) * step, box.top + top - 6, summaryOf(row));
}

function unpoint() {
  const here = $("sky-here");
  if (here) here.setAttribute("visibility", "hidden");
  hush();
}

const summaryOf = (row) => [
  el("p", {}, path(row.name, 70)),
  row.status === "measured"
    ? el("p", { class: "big" }, rowBracket(row), " ", badge(row.evidence))
    : el("p", {}, row.status.replaceAll("_", " "), row.reason && `: ${shown(row.reason, 160)}`),
  el("p", { class: "small" }, kindLabel(row.kind), ` ${shape(row.shape)}`, row.stable_rank && ` · stable rank ${figure(row.stable_rank[0], 3)}`),
];

function legend() {
  const counts = new Map();
  for (const row of SKY.rows) counts.set(row.kind, (counts.get(row.kind) || 0) + 1);
  const styles = new Set(SKY.rows.filter((r) => ends(r).length).map((r) => (!bounds(r.evidence) ? "estimate" : isNumber(r.lower) ? "solid" : "upper")));
  const missing = SKY.rows.filter((r) => r.status !== "measured").length;
  clear($("legend"), [...counts].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([kind, n]) =>
    button([kindLabel(kind), el("span", { class: "small" }, ` ${n}`)], () => toggleKind(kind), { "aria-pressed": GRID.kinds.has(kind), title: "Show only this kind" })),
    styles.has("upper") && el("span", { class: "small" }, "outline: an upper bound alone"),
    styles.has("estimate") && el("span", { class: "small" }, "hatched: an estimate"),
    missing > 0 && el("span", { class: "small" }, `× ${missing} without a number`));
}

function startSkyline() {
  if (!$("skyline")) return;
  const derived = REPORT.rows.some((r) => r.derived && r.status === "measured");
  const weights = REPORT.rows.some((r) => !r.derived && r.status === "measured");
  if (derived && weights) {
    $("skyline-tools").append(choice("Which operators", [["weights", "Weights"], ["all", "With circuits and folded layers"]], "weights",
      (mode) => { SKY.mode = mode; SKY.at = 0; drawSkyline(); legend(); }));
  }
  drawSkyline();
  let width = $("skyline").clientWidth;
  new ResizeObserver(() => {
    if (width === $("skyline").clientWidth) return;
    width = $("skyline").clientWidth;
    drawSkyline();
  }).observe($("skyline"));
  legend();
}
