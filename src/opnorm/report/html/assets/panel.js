// A layer's panel: everything that is known of it. A modal dialog: Escape closes it, focus returns to where it was.
let OPEN = -1;

const LINKS = { of: null };

async function neighbors(name) {
  if (!LINKS.of) {
    const interaction = await block("interaction");
    LINKS.of = new Map();
    for (const link of interaction ? interaction.links : []) {
      for (const side of new Set([link.first, link.second])) {
        if (!LINKS.of.has(side)) LINKS.of.set(side, []);
        LINKS.of.get(side).push(link);
      }
    }
  }
  return LINKS.of.get(name) || [];
}

async function openPanel(index) {
  const row = REPORT.rows[index];
  if (!row) return;
  OPEN = index;
  hush();
  const dialog = $("panel");
  const parts = [details(index), neighbors(row.name)];
  clear(dialog, panelHead(row), el("div", { class: "panel-body", tabindex: -1 }, facts(row)));
  if (!dialog.open) dialog.showModal();
  remember(`#layer=${index}`);
  $("panel-title").focus();
  const [found, links] = await Promise.all(parts);
  if (OPEN !== index) return;
  dialog.querySelector(".panel-body").append(...[spectrumPart(found.spectrum), directionsPart(found.directions), neighborsPart(row, links), explainedPart(row)].filter(Boolean));
}

function panelHead(row) {
  const order = GRID.view ? GRID.view.order() : [];
  const at = order.indexOf(row);
  const step = (by) => { const next = order[at + by]; if (next) openPanel(next.index).then(() => $(by > 0 ? "next" : "previous").focus()); };
  return el("div", { class: "panel-head" },
    el("div", { class: "panel-bar" },
      el("span", { class: "small" }, at < 0 ? `Row ${row.index + 1} of ${REPORT.rows.length}` : `${(at + 1).toLocaleString("en-US")} of ${order.length.toLocaleString("en-US")} in the table`),
      button("Previous", () => step(-1), { id: "previous", disabled: at <= 0 }),
      button("Next", () => step(1), { id: "next", disabled: at < 0 || at >= order.length - 1 }),
      button("Close", () => $("panel").close(), { id: "close" })),
    el("h2", { id: "panel-title", class: "path", tabindex: -1 }, shown(row.name, 400)),
    el("p", { class: "panel-kind" }, kindLabel(row.kind), " ", shown(row.operator.startsWith(`${row.kind} `) ? row.operator.slice(row.kind.length + 1) : row.operator, 200)),
    row.status === "measured"
      ? el("p", { class: "panel-norm" }, el("span", { class: "value" }, rowBracket(row)), " ", badge(row.evidence), " ", term("norm", "spectral norm σ₁"))
      : el("p", { class: "panel-norm" }, statusLabel(row), " ", shown(row.reason, 600)));
}

const fact = (title, ...value) => (value.flat().some((v) => v !== null && v !== undefined && v !== "" && v !== false) ? el("div", {}, el("dt", {}, title), el("dd", {}, value)) : null);
const exact = (v) => (isNumber(v) ? String(v) : null);

function facts(row) {
  const input = REPORT.inputs[row.input];
  const tensors = row.tensors || [];
  return el("dl", { class: "facts" },
    row.status === "measured" && [
      fact(bounds(row.evidence) ? "lower bound" : "lower estimate", exact(row.lower)), fact(bounds(row.evidence) ? "upper bound" : "upper estimate", exact(row.upper)),
      fact("failure probability", row.failure_probability ? `≤ ${row.failure_probability}` : null),
      fact(term("frobenius", "Frobenius norm"), exact(row.frobenius)),
      fact(term("stable rank", "stable rank"), row.stable_rank && bracket(row.stable_rank[0], row.stable_rank[1], row.evidence)),
      fact("method", shown(row.method, 40), row.passes ? `, ${plural(row.passes, "pass").replace("passs", "passes")}` : "", row.seconds ? `, ${figure(row.seconds, 2)} s` : ""),
      fact("note", row.reason && shown(row.reason, 800))],
    row.also.map((b) => fact(shown(b.name, 60), b.evidence ? bracket(b.lower, b.upper, b.evidence) : "not found", " ", badge(b.evidence), el("span", { class: "small" }, ` ${shown(b.meaning, 400)}`))),
    fact("shape", shape(row.shape)), fact("stored as", shown(row.dtype, 60)),
    fact("tensors", tensors.length > 0 && tensors.slice(0, 6).map((t, i) => [i ? el("br") : "", path(t, 200)]), tensors.length > 6 ? `, ${tensors.length - 6} more` : ""),
    fact("row", row.derived && term("derived", "made of several tensors")),
    fact("file", input && path(input.path, 200)));
}

const jump = (name) => (PLACES.has(name)
  ? el("button", { type: "button", class: "open path", onclick: () => openPanel(PLACES.get(name)) }, shown(name, 72)) : path(name, 72));

function neighborsPart(row, links) {
  if (!links.length) return null;
  const strongest = links.slice().sort((a, b) => b.overlap / (b.chance || 1) - a.overlap / (a.chance || 1));
  const half = (title, found) => found.length > 0 && [el("h4", {}, title), linkTable(title, found.slice(0, 8), (l) => (l.first === row.name ? l.second : l.first)), found.length > 8 && el("p", { class: "small" }, `and ${found.length - 8} weaker ones`)];
  return el("section", { "aria-label": "Neighbors" }, el("h3", {}, "Neighbors"),
    half("It reads what these write", strongest.filter((l) => l.second === row.name)), half("It writes what these read", strongest.filter((l) => l.first === row.name)));
}

function linkTable(title, links, name) {
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, el("table", { class: "links" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "layer"), el("th", { scope: "col" }, "through"), el("th", { scope: "col" }, term("alignment", "alignment")),
      el("th", { scope: "col" }, term("overlap", "overlap"), " and ", term("chance", "chance")), el("th", { scope: "col", class: "number" }, term("gain", "gain")), el("th", { scope: "col", class: "number" }, term("looseness", "looseness")))),
    el("tbody", {}, links.map((l) => el("tr", {}, el("th", { scope: "row" }, jump(name(l))), el("td", {}, shown(l.through, 60) || "–"), el("td", { class: "number" }, figure(l.alignment, 2)),
      el("td", {}, meter(l.overlap, l.chance, `overlap ${figure(l.overlap, 2)}, chance ${figure(l.chance, 2)}`, 64), el("span", { class: "small" }, ` ${figure(l.overlap, 2)}`)),
      el("td", { class: "number" }, quantityText(l.gain)), el("td", { class: "number" }, `${figure(l.looseness, 3)}×`))))));
}

function explainedPart(row) {
  const topic = row.method && document.querySelector(`[data-topic="${CSS.escape(row.method)}"]`);
  if (!topic) return null;
  const copy = [...topic.querySelectorAll("p, pre")].map((p) => p.cloneNode(true));
  return el("section", { "aria-label": "How this number was got" }, el("details", { class: "topic" }, el("summary", {}, `How this number was got: ${shown(row.method, 40)}`), copy));
}

function startPanel() {
  const dialog = $("panel");
  dialog.addEventListener("close", () => { OPEN = -1; hush(); document.body.append($("tip")); remember(location.pathname + location.search); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, .scroll")) return;
    const key = { ArrowLeft: "previous", ArrowRight: "next" }[event.key];
    if (key && $(key) && !$(key).disabled) { event.preventDefault(); $(key).click(); }
  });
  const follow = () => {
    const match = /^#layer=(\d{1,9})$/.exec(location.hash);
    if (match) openPanel(Number(match[1]));
  };
  addEventListener("hashchange", follow);
  follow();
}
