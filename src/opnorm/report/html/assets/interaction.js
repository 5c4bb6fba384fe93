// The map of the model: layers on a line from input to output, an arc from each that writes to each that reads. An arc
// is as dark and as wide as the overlap of what is written and read exceeds chance.
const ARCS = 400;
const ARC_BOX = { left: 16, right: 16, bottom: 34 };

const above = (l) => Math.log10(Math.max(l.overlap, 1e-12) / Math.max(l.chance, 1e-12));

function modelOrder(interaction) {
  const linked = new Set(interaction.links.flatMap((l) => [l.first, l.second]));
  const order = interaction.order.filter((name) => linked.has(name));
  const known = new Set(order);
  return [...order, ...[...linked].filter((name) => !known.has(name))];
}

function arcs(interaction, host) {
  const order = modelOrder(interaction);
  const at = new Map(order.map((name, i) => [name, i]));
  const links = interaction.links.slice().sort((a, b) => above(b) - above(a)).slice(0, ARCS).reverse();
  const width = Math.max(320, host.clientWidth || 900);
  const reach = Math.max(...links.map((l) => Math.abs(at.get(l.second) - at.get(l.first))), 1);
  const tall = clamp(60 + Math.sqrt(reach) * 40, 120, 300);
  const x = (name) => ARC_BOX.left + ((at.get(name) + 0.5) * (width - ARC_BOX.left - ARC_BOX.right)) / order.length;
  const base = tall - ARC_BOX.bottom;
  const top = Math.max(...links.map(above), 0.05);
  const drawn = links.map((l) => {
    const [a, b] = [x(l.first), x(l.second)];
    const lift = (base - 12) * Math.sqrt(Math.abs(at.get(l.second) - at.get(l.first)) / reach) * 1.3;
    const share = clamp(above(l) / top, 0, 1);
    return svg("path", { class: `arc ${above(l) > 0.3 ? "strong" : ""}`, d: `M${a.toFixed(1)} ${base}C${a.toFixed(1)} ${(base - lift).toFixed(1)} ${b.toFixed(1)} ${(base - lift).toFixed(1)} ${b.toFixed(1)} ${base}`,
      "stroke-width": (0.6 + 2.6 * share).toFixed(2), "stroke-opacity": (0.1 + 0.8 * share).toFixed(2), "data-first": at.get(l.first), "data-second": at.get(l.second) });
  });
  const nodes = order.map((name) => nodeOf(name, x(name), base, width / order.length));
  const chart = svg("svg", { viewBox: `0 0 ${width} ${tall}`, height: tall, class: "map", "aria-hidden": "true" }, orderBands(order, width, base), drawn, nodes);
  chart.addEventListener("pointerover", (event) => { const node = event.target.closest(".node"); if (node) trackNode(chart, order, at, node.dataset.name, node, interaction); });
  chart.addEventListener("pointerout", () => { chart.classList.remove("tracing"); hush(); });
  chart.addEventListener("click", (event) => { const node = event.target.closest(".node"); if (node && PLACES.has(node.dataset.name)) openPanel(PLACES.get(node.dataset.name)); });
  return chart;
}

function nodeOf(name, x, base, room) {
  const row = PLACES.has(name) ? REPORT.rows[PLACES.get(name)] : null;
  return svg("g", { class: "node", "data-name": name },
    svg("rect", { class: "catch", x: x - Math.max(room, 6) / 2, y: base - 8, width: Math.max(room, 6), height: 20 }),
    svg("circle", { class: `fill k${row ? family(row.kind) : 7}`, cx: x, cy: base, r: clamp(room / 3, 1.5, 4) }));
}

function orderBands(order, width, base) {
  const room = (width - ARC_BOX.left - ARC_BOX.right) / order.length;
  let free = -Infinity;
  return blocks(order.map((name) => ({ name }))).map((run) => {
    const middle = ARC_BOX.left + ((run.start + run.end) / 2) * room;
    const fits = run.label && middle - free > 8 + run.label.length * 7;
    if (fits) free = middle + (run.label.length * 7) / 2;
    return fits && svg("text", { class: "band-label", x: middle, y: base + 26, "text-anchor": "middle" }, run.label);
  });
}

function trackNode(chart, order, at, name, node, interaction) {
  chart.classList.add("tracing");
  const i = String(at.get(name));
  for (const arc of chart.querySelectorAll(".arc")) arc.classList.toggle("traced", arc.dataset.first === i || arc.dataset.second === i);
  const own = interaction.links.filter((l) => l.first === name || l.second === name);
  tellAt(node, el("p", {}, path(name, 70)), el("p", { class: "small" }, `writes for ${own.filter((l) => l.first === name).length}, reads from ${own.filter((l) => l.second === name).length}`));
}

// Every name here is a weight's: the word is left out.
const brief = (name) => shown(name.replace(/\.weight$/, ""), 48);

function pairs(links) {
  const columns = [
    { key: "first", title: "writes", value: (l) => l.first, cell: (l, here) => el("button", { type: "button", class: "open path", tabindex: here ? 0 : -1 }, brief(l.first)) },
    { key: "second", title: "reads", value: (l) => l.second, cell: (l) => el("span", { class: "path" }, brief(l.second)) },
    { key: "through", title: "through", value: (l) => l.through, cell: (l) => shown(l.through, 28) || "–" },
    { key: "alignment", title: "alignment", term: "alignment", number: true, value: (l) => l.alignment, cell: (l) => figure(l.alignment, 2) },
    { key: "overlap", title: "overlap", term: "overlap", number: true, value: (l) => l.overlap, cell: (l) => [meter(l.overlap, l.chance, `overlap ${figure(l.overlap, 2)}, chance ${figure(l.chance, 2)}`, 56), ` ${figure(l.overlap, 2)}`] },
    { key: "times", title: "× chance", term: "chance", number: true, value: above, cell: (l) => figure(l.overlap / (l.chance || 1), 2) },
    { key: "gain", title: "gain ‖W₂W₁‖", term: "gain", number: true, value: (l) => l.gain.value ?? l.gain.upper, cell: (l) => quantityText(l.gain) },
    { key: "looseness", title: "looseness", term: "looseness", number: true, value: (l) => l.looseness, cell: (l) => `${figure(l.looseness, 3)}×` },
  ];
  const host = el("div", { class: "narrow" });
  grid({ host, label: "Links between layers", columns, rows: links, sort: { key: "times", down: true }, tall: 380, open: (l) => PLACES.has(l.first) && openPanel(PLACES.get(l.first)) });
  return host;
}

// Links in words, for those who do not see the map.
function linksSaid(interaction) {
  const { links } = interaction;
  const loose = links.reduce((a, b) => (b.looseness > a.looseness ? b : a));
  const near = links.filter((l) => l.overlap > 2 * l.chance).length;
  return el("p", { class: "hint" }, `${plural(links.length, "link")} between ${plural(modelOrder(interaction).length, "layer")}; ${near} carry more than twice the overlap of chance. The product of norms is loosest, `,
    `${figure(loose.looseness, 3)}×, between `, path(loose.first, 60), " and ", path(loose.second, 60), ". Alignment, overlap and looseness are estimates.");
}

async function startInteraction() {
  const host = $("interaction");
  const interaction = host && (await block("interaction"));
  if (!interaction) return;
  const map = el("div", { class: "map-host" });
  const parts = [];
  if (interaction.links.length) parts.push(linksSaid(interaction), map, pairs(interaction.links));
  parts.push(headsPart(interaction), compositionsPart(interaction));
  if (interaction.notes.length) parts.push(el("ul", { class: "plain notes" }, interaction.notes.map((n) => el("li", {}, shown(n, 600)))));
  clear(host, parts);
  if (!interaction.links.length) return;
  let width = 0;
  new ResizeObserver(() => {
    if (width === map.clientWidth) return;
    width = map.clientWidth;
    clear(map, arcs(interaction, map));
  }).observe(map);
}
