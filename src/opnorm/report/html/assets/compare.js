// Two models: how far each layer moved, as dots in file order; where the norms went, as slopes; every layer in a table.
const SLOPES = 60;

const drift = (c) => (c.relative ? strength(c.relative) : null);

function driftChart(changes, host) {
  const moved = changes.filter((c) => drift(c) > 0);
  if (!moved.length) return el("p", { class: "none" }, "No layer moved.");
  const width = Math.max(320, host.clientWidth);
  const box = { width, height: 250, left: 64, right: 12, top: 26, bottom: 26 };
  const values = moved.flatMap((c) => [drift(c), c.relative.lower, c.relative.upper]).filter((v) => v > 0);
  const y = logs(Math.min(...values) / 1.4, Math.max(...values) * 1.4, box.height - box.bottom, box.top);
  const x = linear(0, changes.length, box.left, width - box.right);
  const { chart, marks } = framed(`Relative change of ${plural(moved.length, "layer")}, from ${figure(Math.min(...values), 2)} to ${figure(Math.max(...values), 2)}`, box, x, y, [], logTicks(y.low, y.high), "", "‖ΔW‖/‖W‖");
  changes.forEach((c, i) => {
    const at = x(i + 0.5);
    if (!(drift(c) > 0)) { marks.append(svg("path", { class: "cross", d: `M${at - 2} ${box.height - box.bottom + 5}h4` })); return; }
    const q = c.relative;
    if (bounds(q.evidence) && q.lower > 0 && isNumber(q.upper)) marks.append(svg("line", { class: `whisker`, x1: at, x2: at, y1: y(q.lower), y2: y(q.upper) }));
    const dot = svg("circle", { class: `spot k${family(c.kind)}${bounds(q.evidence) ? "" : " hollow"}`, cx: at, cy: y(drift(c)), r: clamp((width - 90) / changes.length / 2.4, 2, 5) });
    marks.append(hintAt(dot, () => changeSaid(c)));
  });
  return chart;
}

function hintAt(node, content) {
  node.addEventListener("pointerenter", () => tellAt(node, content()));
  node.addEventListener("pointerleave", hush);
  return node;
}

const changeSaid = (c) => [el("p", {}, path(c.tuned_name, 70)), el("p", { class: "big" }, quantityText(c.relative), " ", c.relative && badge(c.relative.evidence)),
  el("p", { class: "small" }, `σ₁ ${quantityText(c.base)} → ${quantityText(c.tuned)}`)];

// The layers whose norm moved most, base at the left, tuned at the right, in one logarithmic scale.
function slopeChart(changes) {
  const both = changes.filter((c) => strength(c.base) > 0 && strength(c.tuned) > 0 && c.status === "changed")
    .sort((a, b) => Math.abs(Math.log(strength(b.tuned) / strength(b.base))) - Math.abs(Math.log(strength(a.tuned) / strength(a.base)))).slice(0, SLOPES);
  if (!both.length) return null;
  const box = { width: 420, height: 300, left: 64, right: 64, top: 26, bottom: 30 };
  const values = both.flatMap((c) => [strength(c.base), strength(c.tuned)]);
  const y = logs(Math.min(...values) / 1.1, Math.max(...values) * 1.1, box.height - box.bottom, box.top);
  const [a, b] = [box.left + 20, box.width - box.right - 20];
  const { chart, marks } = framed(`Norms of the ${plural(both.length, "layer")} that moved most, base against tuned`, box, (v) => v, y, [], logTicks(y.low, y.high), "", "σ₁");
  for (const c of both.slice().reverse()) {
    const grew = strength(c.tuned) > strength(c.base);
    marks.append(hintAt(svg("g", { class: `slope ${grew ? "grew" : "shrank"}` }, svg("path", { d: `M${a} ${y(strength(c.base)).toFixed(1)}L${b} ${y(strength(c.tuned)).toFixed(1)}` }),
      svg("circle", { cx: a, cy: y(strength(c.base)), r: 2.6 }), svg("circle", { cx: b, cy: y(strength(c.tuned)), r: 2.6 })), () => changeSaid(c)));
  }
  marks.append(svg("text", { class: "label", x: a, y: box.height - 8, "text-anchor": "middle" }, "base"), svg("text", { class: "label", x: b, y: box.height - 8, "text-anchor": "middle" }, "tuned"));
  return el("figure", {}, el("figcaption", {}, "Where the norms went", el("span", { class: "small" }, ` solid lines grew, dashed ones shrank; ${plural(both.length, "layer")}`)), chart);
}

function changeTable(changes, host) {
  const named = [...new Set(changes.flatMap((c) => Object.keys(c.quantities)))].slice(0, 6);
  const extra = named.map((name) => ({ key: `q-${name}`, title: shown(name.replaceAll("_", " "), 30), term: Object.hasOwn(PAGE.terms, name) ? name : null, number: true,
    value: (c) => strength(c.quantities[name]), cell: (c) => (name === "intruders" ? count(c.quantities[name]) : quantityText(c.quantities[name], 3)) }));
  const columns = [
    { key: "name", title: "layer", value: (c) => c.tuned_name, cell: (c, here) => [el("button", { type: "button", class: "open path", tabindex: here ? 0 : -1 }, shown(c.tuned_name, 60)), c.name !== c.tuned_name && el("span", { class: "small" }, ` was ${shown(c.name, 40)}`)] },
    { key: "status", title: "status", value: (c) => c.status, cell: (c) => el("span", { class: `status ${c.status}`, title: shown(c.reason, 300) }, shown(c.status, 20)) },
    { key: "relative", title: "‖ΔW‖/‖W‖", term: "relative change", number: true, value: drift, cell: (c) => quantityText(c.relative) },
    { key: "evidence", title: "evidence", value: (c) => (c.relative ? ORDER[c.relative.evidence] || 0 : -1), cell: (c) => (c.relative ? badge(c.relative.evidence) : "–") },
    { key: "delta", title: "‖ΔW‖", term: "change", number: true, value: (c) => strength(c.delta), cell: (c) => quantityText(c.delta) },
    { key: "base", title: "σ₁ base", number: true, value: (c) => strength(c.base), cell: (c) => quantityText(c.base) },
    { key: "tuned", title: "σ₁ tuned", number: true, value: (c) => strength(c.tuned), cell: (c) => quantityText(c.tuned) },
    ...extra,
  ];
  return grid({ host, label: "Changed layers", columns, rows: changes, sort: { key: "relative", down: true }, tall: 460,
    open: (c) => { const i = PLACES.get(c.tuned_name) ?? PLACES.get(c.name); if (i !== undefined) openPanel(i); } });
}

function unmatched(comparison) {
  const list = (title, names) => names.length > 0 && el("details", { class: "topic" }, el("summary", {}, `${title} ${names.length}`), el("ul", { class: "plain" }, names.slice(0, 200).map((n) => el("li", {}, path(n)))));
  return [list("Only in the base:", comparison.only_base), list("Only in the tuned model:", comparison.only_tuned),
    comparison.notes.length > 0 && el("ul", { class: "plain notes" }, comparison.notes.map((n) => el("li", {}, shown(n, 600))))];
}

async function startCompare() {
  const host = $("compare");
  const comparison = host && (await block("comparison"));
  if (!comparison) return;
  for (const c of comparison.changes) if (!FAMILIES.has(c.kind)) FAMILIES.set(c.kind, Math.min(FAMILIES.size, MARKS.length - 1));
  const drifts = el("div", {});
  const table = el("div", {});
  const slopes = slopeChart(comparison.changes);
  clear(host, el("div", { class: slopes ? "side-by-side" : null }, el("figure", {}, el("figcaption", {}, "How far each layer moved", el("span", { class: "small" }, " in file order; a hollow dot is an estimate")), drifts), slopes), table, unmatched(comparison));
  COMPARED.view = changeTable(comparison.changes, table);
  let width = 0;
  new ResizeObserver(() => {
    if (width === drifts.clientWidth) return;
    width = drifts.clientWidth;
    clear(drifts, driftChart(comparison.changes, drifts));
  }).observe(drifts);
}
const COMPARED = { view: null };
