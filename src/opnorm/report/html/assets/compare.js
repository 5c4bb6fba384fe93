// Two models: how far each layer moved, as dots in file order; whether its norm grew; every layer in a table.
const FIRST = ["delta_stable_rank", "intruders", "rotation"];

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
    if (!(drift(c) > 0)) { marks.append(svg("path", { class: "still-here", d: `M${at - 2} ${box.height - box.bottom + 5}h4` })); return; }
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
  el("p", { class: "small" }, kindLabel(c.kind), ` σ₁ ${quantityText(c.base)} → ${quantityText(c.tuned)}`)];

// By how much a norm grew, in percent, between the ends that both brackets allow: a whisker that crosses zero is undecided.
function growth(c) {
  const [a, b] = [c.base, c.tuned];
  if (!a || !b || !(strength(a) > 0) || !(strength(b) > 0)) return null;
  const percent = (x, y) => 100 * (x / y - 1);
  const bounded = [a, b].every((q) => bounds(q.evidence) && q.lower > 0 && isNumber(q.upper));
  return { middle: percent(strength(b), strength(a)), low: bounded ? percent(b.lower, a.upper) : null, high: bounded ? percent(b.upper, a.lower) : null };
}

const told = (g) => (g.low === null ? "hollow" : g.low > 0 ? "grew" : g.high < 0 ? "shrank" : "unclear");

function growthChart(changes, host) {
  const found = changes.map((c) => (c.status === "changed" ? growth(c) : null));
  const values = found.filter(Boolean).flatMap((g) => [g.middle, g.low, g.high]).filter(isNumber);
  if (!values.length) return null;
  const box = { width: Math.max(280, host.clientWidth), height: 250, left: 50, right: 8, top: 26, bottom: 26 };
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const pad = 0.08 * (high - low || 1);
  const y = linear(low - pad, high + pad, box.height - box.bottom, box.top);
  const x = linear(0, changes.length, box.left, box.width - box.right);
  const counts = found.filter(Boolean).map(told);
  const { chart, marks } = framed(`Change of the norms in percent: ${counts.filter((w) => w === "grew").length} grew, ${counts.filter((w) => w === "shrank").length} shrank, the others are undecided`,
    box, x, y, [], niceTicks(low - pad, high + pad, 5), "", "change of σ₁ in %");
  marks.append(svg("line", { class: "axis", x1: box.left, x2: box.width - box.right, y1: y(0), y2: y(0) }));
  found.forEach((g, i) => g && marks.append(hintAt(svg("g", { class: `growth ${told(g)}` },
    g.low !== null && svg("line", { x1: x(i + 0.5), x2: x(i + 0.5), y1: y(g.low), y2: y(g.high) }),
    svg("circle", { cx: x(i + 0.5), cy: y(g.middle), r: clamp(box.width / changes.length / 3, 1.6, 3.6) })), () => changeSaid(changes[i]))));
  return chart;
}

function changeTable(changes, host) {
  const named = FIRST.filter((name) => changes.some((c) => Object.hasOwn(c.quantities, name)));
  const extra = named.map((name) => ({ key: `q-${name}`, title: words(name), term: Object.hasOwn(PAGE.terms, name) ? name : null, number: true,
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
    open: openChange });
}

const words = (name) => shown(name.replaceAll("_", " ").replace("delta", "ΔW"), 60);

// A changed layer's panel.
function openChange(c) {
  const dialog = $("panel");
  const own = PLACES.get(c.tuned_name) ?? PLACES.get(c.name);
  const line = ([name, q]) => el("tr", {}, el("th", { scope: "row" }, term(name, words(name))), el("td", { class: "number" }, quantityText(q)), el("td", {}, isNumber(strength(q)) && badge(q.evidence)), el("td", { class: "note" }, shown(q.note || "", 300)));
  const main = [["‖ΔW‖/‖W‖", c.relative], ["‖ΔW‖", c.delta], ["σ₁ of the base", c.base], ["σ₁ of the tuned", c.tuned]].filter(([, q]) => q);
  OPEN = -1;
  clear(dialog, el("div", { class: "panel-head" }, el("div", { class: "panel-bar" }, el("span", { class: "small" }, shown(c.status, 20)), own !== undefined && button("The layer itself", () => openPanel(own)), button("Close", () => dialog.close(), { id: "close" })),
    el("h2", { id: "panel-title", class: "path", tabindex: -1 }, shown(c.tuned_name, 400)), el("p", { class: "panel-kind" }, kindLabel(c.kind), ` ${shown(c.operator, 200)} ${shape(c.shape)}`, c.name !== c.tuned_name && `, in the base ${shown(c.name, 200)}`),
    el("p", { class: "panel-norm" }, c.relative ? [el("span", { class: "value" }, quantityText(c.relative)), " ", badge(c.relative.evidence), " ", term("relative change", "relative change")] : shown(c.reason || c.status, 400))),
    el("div", { class: "panel-body", tabindex: 0 }, c.reason && c.relative && el("p", {}, shown(c.reason, 600)),
      el("table", { class: "facts" }, el("thead", { class: "unseen" }, el("tr", {}, ["quantity", "value", "evidence", "note"].map((t) => el("th", { scope: "col" }, t)))), el("tbody", {}, main.map(line), Object.entries(c.quantities).map(line)))));
  if (!dialog.open) dialog.showModal();
  $("panel-title").focus();
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
  const kinds = new Map();
  for (const c of comparison.changes) kinds.set(c.kind, (kinds.get(c.kind) || 0) + 1);
  for (const [kind] of [...kinds].sort((a, b) => b[1] - a[1])) if (!FAMILIES.has(kind)) FAMILIES.set(kind, Math.min(FAMILIES.size, MARKS.length - 1));
  const [drifts, growths, table] = [el("div", {}), el("div", {}), el("div", {})];
  clear(host, el("div", { class: "side-by-side" }, el("figure", {}, el("figcaption", {}, "How far each layer moved", el("span", { class: "small" }, " in file order; a hollow dot is an estimate")), drifts),
    el("figure", {}, el("figcaption", {}, "Whether its norm grew", el("span", { class: "small" }, " gray: the brackets cannot tell")), growths)), table, unmatched(comparison));
  COMPARED.view = changeTable(comparison.changes, table);
  let width = 0;
  new ResizeObserver(() => {
    if (width === host.clientWidth) return;
    width = host.clientWidth;
    clear(drifts, driftChart(comparison.changes, drifts));
    clear(growths, growthChart(comparison.changes, growths) || el("p", { class: "none" }, "Norms were not measured."));
  }).observe(host);
}
const COMPARED = { view: null };
