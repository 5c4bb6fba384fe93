// The payload: blocks of columns → JSON → gzip → base64, opened when they are needed. columns.py has the encoder.
const FORMS = {
  o: (keys, values) => Object.fromEntries(keys.map((k, i) => [k, unpacked(values[i])])),
  a: (items) => items,
  "=": (n, item) => new Array(n).fill(item),
  t(n, keys, columns, masks) {
    const rows = Array.from({ length: n }, () => []);
    keys.forEach((key, i) => {
      const items = unpacked(columns[i]);
      const mask = masks[i] && unpacked(masks[i]);
      let next = 0;
      for (let r = 0; r < n; r += 1) if (!mask || mask[r]) rows[r].push([key, items[next++]]);
    });
    return rows.map((pairs) => Object.fromEntries(pairs)); // own properties, '__proto__' among them
  },
  l(lengths, flat) {
    const items = unpacked(flat);
    let start = 0;
    return unpacked(lengths).map((n) => items.slice(start, (start += n)));
  },
  n(mask, rest) {
    const items = unpacked(rest);
    let next = 0;
    return unpacked(mask).map((there) => (there ? items[next++] : null));
  },
  m: (items) => items.map(unpacked),
};
const unpacked = (value) => (Array.isArray(value) ? FORMS[value[0]](...value.slice(1)) : value);

const BLOCKS = new Map();

async function block(name) {
  if (!BLOCKS.has(name)) BLOCKS.set(name, opened(name));
  return BLOCKS.get(name);
}

async function opened(name) {
  const node = $(`block-${name}`);
  if (!node) return null;
  const text = atob(node.textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return unpacked(JSON.parse(await new Response(stream).text()));
}

let REPORT = null; // the head: everything but details, interaction and comparison
let PAGE = null;   // what stands beside the report: kinds, terms, metrics, sparks, ceiling

async function details(index) {
  const chunk = await block(`details-${Math.floor(index / PAGE.chunk)}`);
  return (chunk && chunk[index % PAGE.chunk]) || { spectrum: null, directions: [] };
}

async function whole() {
  const { page, tensors, ...report } = await block("head");
  const rows = [];
  for (let i = 0; i < report.rows.length; i += 1) {
    const { index, ...row } = report.rows[i];
    rows.push({ ...row, ...(await details(i)) });
  }
  const [interaction, comparison] = [await block("interaction"), await block("comparison")];
  return { schema: "opnorm.report/1", ...report, rows, interaction, comparison };
}

async function download() {
  const file = new Blob([JSON.stringify(await whole(), null, 1), "\n"], { type: "application/json" });
  const url = URL.createObjectURL(file);
  el("a", { href: url, download: "opnorm-report.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

// Kinds have a color and a shape each; beyond the eighth they share the last.
const MARKS = ["●", "■", "▲", "◆", "▼", "★", "⬟", "○"];
const FAMILIES = new Map();
const family = (kind) => (FAMILIES.has(kind) ? FAMILIES.get(kind) : MARKS.length - 1);
const kindLabel = (kind) =>
  el("span", { class: "kind" }, el("i", { class: `mark k${family(kind)}`, "aria-hidden": "true" }, MARKS[family(kind)]), shown(kind, 40));

// Names to indices, the first of each.
const PLACES = new Map();

async function load() {
  const head = await block("head");
  REPORT = head;
  PAGE = head.page;
  PAGE.kinds.forEach((kind, i) => FAMILIES.set(kind, Math.min(i, MARKS.length - 1)));
  head.rows.forEach((row, i) => {
    row.index = i;
    row.tensors = head.tensors[i] || [row.name];
    if (!PLACES.has(row.name)) PLACES.set(row.name, i);
  });
}
