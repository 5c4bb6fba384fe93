// Attention heads: a table of blocks by heads, colored by norm; the strongest compositions above chance.
const HEADS = [
  ["qk", "Query and key", (h) => h.qk], ["ov", "Output and value", (h) => h.ov],
  ["qk_rank", "Stable rank of query and key", (h) => h.qk_rank], ["ov_rank", "Stable rank of output and value", (h) => h.ov_rank],
];
const strength = (q) => (isNumber(q) ? q : q ? q.value ?? q.upper ?? q.lower : null);

function headsPart(interaction) {
  if (!interaction.heads.length) return null;
  const host = el("div", { class: "heads" });
  const present = HEADS.filter(([, , of]) => interaction.heads.some((h) => isNumber(strength(of(h)))));
  if (!present.length) return null;
  const draw = (key) => clear(host, headTable(interaction.heads, HEADS.find(([k]) => k === key)));
  draw(present[0][0]);
  return el("section", { "aria-label": "Attention heads" }, el("div", { class: "heading" }, el("h3", {}, "Attention heads"),
    el("div", { class: "tools" }, choice("What to show", present.map(([key, title]) => [key, title]), present[0][0], draw))), host);
}

function headTable(heads, [key, title, of]) {
  const byBlock = new Map();
  for (const head of heads) byBlock.set(head.block, [...(byBlock.get(head.block) || []), head]);
  const columnsOf = [...new Set(heads.map((h) => h.head))].sort((a, b) => a - b);
  const values = heads.map((h) => strength(of(h))).filter((v) => isNumber(v) && v > 0);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const share = logs(low, high > low ? high : low * 1.01, 0.04, 1);
  const cell = (head) => {
    const value = head ? strength(of(head)) : null;
    if (!isNumber(value)) return el("td", {}, "–");
    const s = value > 0 ? share(value) : 0;
    const node = el("td", { style: { backgroundColor: heatColor(s), color: heatInk(s) } }, figure(value, 3));
    const q = of(head);
    return hint(node, () => `${shown(head.name, 80)}: ${isNumber(q) ? figure(q) : `${quantityText(q)} (${q.evidence})`}`);
  };
  return [el("p", { class: "hint" }, term(Object.hasOwn(PAGE.terms, key) ? key : "stable rank", title), `, from ${figure(low, 3)} to ${figure(high, 3)}: single values; a cell tells its bracket.`),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, el("table", { class: "heat" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "block"), columnsOf.map((c) => el("th", { scope: "col" }, `head ${c}`)))),
      el("tbody", {}, [...byBlock].sort((a, b) => a[0] - b[0]).map(([number, row]) => el("tr", {}, el("th", { scope: "row" }, number), columnsOf.map((c) => cell(row.find((h) => h.head === c))))))))];
}

function compositionsPart(interaction) {
  const found = interaction.compositions;
  if (!found.length) return null;
  const line = (c) => el("tr", {}, el("td", {}, shown(c.kind, 8)), el("th", { scope: "row" }, path(c.earlier, 64)), el("td", {}, path(c.later, 64)),
    el("td", {}, meter(c.score / Math.max(...found.map((f) => f.score), 1e-300), c.chance / Math.max(...found.map((f) => f.score), 1e-300), `score ${figure(c.score, 2)}, chance ${figure(c.chance, 2)}`)),
    el("td", { class: "number" }, figure(c.score, 3)), el("td", { class: "number" }, `${figure(c.score / (c.chance || 1), 2)}×`));
  const table = (lines) => el("table", { class: "links" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "into"), el("th", { scope: "col" }, "earlier head"), el("th", { scope: "col" }, "later head"),
    el("th", { scope: "col" }, "score and chance"), el("th", { scope: "col", class: "number" }, "score"), el("th", { scope: "col", class: "number" }, "over chance"))), el("tbody", {}, lines));
  return el("section", { "aria-label": "Composition" }, el("h3", {}, term("composition", "Composition of heads")),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Strongest compositions" }, table(found.slice(0, 12).map(line))),
    found.length > 12 && el("details", { class: "topic" }, el("summary", {}, `${found.length - 12} more`), el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "More compositions" }, table(found.slice(12).map(line)))));
}
