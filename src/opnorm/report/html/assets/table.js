// The table of layers and its filters, which dim the skyline as well.
const GRID = { kinds: new Set(), text: "", evidence: "maps", view: null };

const rankAt = (row) => (row.stable_rank ? row.stable_rank[0] : null);
const ORDER = { proved: 3, probable: 2, estimate: 1 };

function columns() {
  const several = REPORT.inputs.length > 1;
  const sparks = PAGE.sparks.some(Boolean);
  const [low, high] = range(REPORT.rows.filter((r) => r.status === "measured"));
  const share = logs(low, high, 0, 1);
  return [
    { key: "name", title: "layer", value: (r) => r.name, cell: (r, here) => nameButton(r, here) },
    several && { key: "input", title: "input", number: true, value: (r) => r.input, cell: (r) => r.input },
    { key: "kind", title: "kind", value: (r) => r.kind, cell: (r) => kindLabel(r.kind) },
    { key: "shape", title: "shape", number: true, value: (r) => r.shape.reduce((a, b) => a * b, 1), cell: (r) => shape(r.shape) || "–" },
    { key: "norm", title: "σ₁", term: "norm", number: true, value: (r) => height(r), cell: (r) => normCell(r, share) },
    { key: "evidence", title: "evidence", term: "bracket", value: (r) => ORDER[r.evidence] || (r.status === "measured" ? 0 : -1), cell: (r) => (r.status === "measured" ? badge(r.evidence) : statusLabel(r)) },
    { key: "frobenius", title: "‖W‖F", term: "frobenius", number: true, value: (r) => r.frobenius, cell: (r) => figure(r.frobenius) },
    { key: "stable_rank", title: "stable rank", term: "stable rank", number: true, value: rankAt, cell: (r) => figure(rankAt(r), 3) },
    sparks && { key: "spark", title: "spectrum", term: "profile", value: (r) => flatness(r.index), cell: (r) => (PAGE.sparks[r.index] ? spark(PAGE.sparks[r.index]) : "–") },
  ].filter(Boolean);
}

const flatness = (i) => (PAGE.sparks[i] ? [...PAGE.sparks[i]].reduce((s, c) => s + c.charCodeAt(0) - 48, 0) : null);
const statusLabel = (row) => el("span", { class: `status ${row.status}`, title: shown(row.reason, 300) }, row.status.replaceAll("_", " "));
const nameButton = (row, here) =>
  el("button", { type: "button", class: "open path", tabindex: here ? 0 : -1, title: row.name.length > 60 ? shown(row.name, 400) : null }, shown(row.name, 72));

function normCell(row, share) {
  if (row.status !== "measured") return "–";
  const over = PAGE.ceiling === null || (isNumber(row.upper) && row.upper <= PAGE.ceiling) ? null : row.lower > PAGE.ceiling ? "over" : "unsure";
  const wide = ends(row).length ? 46 * clamp(share(height(row)), 0, 1) : 0;
  return [el("span", { class: over }, rowBracket(row)),
    svg("svg", { class: "inline", viewBox: "0 0 46 8", width: 46, height: 8, "aria-hidden": "true" },
      svg("rect", { class: "track", width: 46, height: 8 }), svg("rect", { class: `fill k${family(row.kind)}`, width: wide, height: 8 }))];
}

function matching() {
  const words = GRID.text.toLowerCase().split(/\s+/).filter(Boolean);
  return REPORT.rows.filter((row) =>
    (!GRID.kinds.size || GRID.kinds.has(row.kind)) && wanted(row) &&
    words.every((w) => row.name.toLowerCase().includes(w) || row.kind.includes(w) || row.operator.toLowerCase().includes(w)));
}

// Biases, scales and their like stand in the table only when all rows are asked for.
const standing = (row) => (row.status === "not_a_map" ? "none" : row.status !== "measured" ? "missing" : bounds(row.evidence) ? row.evidence : "estimate");
const wanted = (row) => GRID.evidence === "all" || (GRID.evidence === "maps" ? standing(row) !== "none" : standing(row) === GRID.evidence);

function filter() {
  const found = matching();
  const narrowed = GRID.text || GRID.kinds.size || GRID.evidence !== "maps";
  GRID.view.show(found);
  $("count").textContent = `${found.length.toLocaleString("en-US")} of ${plural(REPORT.rows.length, "row")}.`;
  SKY.match = narrowed ? new Set(found.map((r) => r.index)) : null;
  $("clear").hidden = !narrowed;
  if ($("skyline")) drawSkyline();
}

function toggleKind(kind) {
  if (!GRID.kinds.delete(kind)) GRID.kinds.add(kind);
  const at = [...$("legend").querySelectorAll("button")].indexOf(document.activeElement);
  filter();
  legend();
  if (at >= 0) $("legend").querySelectorAll("button")[at].focus();
}

function reset() {
  GRID.text = $("search").value = "";
  GRID.kinds.clear();
  GRID.evidence = $("standing").value = "maps";
  filter();
  legend();
  $("search").focus();
}

function startTable() {
  const present = new Set(REPORT.rows.map(standing));
  const options = [["maps", "linear maps"], ["proved", "proved"], ["probable", "probable"], ["estimate", "estimates"], ["missing", "without a number"], ["all", "all rows"]];
  let wait = 0;
  const search = el("input", { id: "search", type: "search", placeholder: "Filter by name or kind", "aria-label": "Filter layers by name or kind", spellcheck: "false", autocomplete: "off",
    oninput: (event) => { clearTimeout(wait); wait = setTimeout(() => { GRID.text = event.target.value; filter(); }, 80); } });
  const select = el("select", { id: "standing", "aria-label": "Filter by evidence", onchange: (event) => { GRID.evidence = event.target.value; filter(); } },
    options.filter(([v]) => v === "maps" || v === "all" || present.has(v)).map(([v, text]) => el("option", { value: v }, text)));
  clear($("table-tools"), button("Clear", reset, { id: "clear", hidden: true }), select, search);
  GRID.view = grid({ host: $("table"), label: "Layers", columns: columns(), rows: matching(), sort: null, open: (row) => openPanel(row.index) });
  $("count").textContent = `${matching().length.toLocaleString("en-US")} of ${plural(REPORT.rows.length, "row")}.`;
}
