// A layer's spectrum: quantities, the profile by rank, the density by size, the noise edge, the tail, units.
function quantities(spectrum) {
  const rows = Object.entries(spectrum.quantities).map(([name, q]) => {
    const metric = Object.hasOwn(PAGE.metrics, name) ? PAGE.metrics[name] : null;
    return el("tr", {}, el("th", { scope: "row" }, term(name, metric ? shown(metric.title, 60) : shown(name.replaceAll("_", " "), 60))),
      el("td", { class: "number" }, quantityText(q)), el("td", {}, isNumber(strength(q)) && badge(q.evidence)), el("td", { class: "note" }, shown(q.note || "", 300)));
  });
  return el("table", { class: "facts" }, el("thead", { class: "unseen" }, el("tr", {}, ["quantity", "value", "evidence", "note"].map((t) => el("th", { scope: "col" }, t)))), el("tbody", {}, rows));
}

function profileChart(spectrum) {
  const points = spectrum.profile.map((s, i) => [spectrum.ranks[i] + 1, s]).filter(([, s]) => s > 0);
  if (points.length < 2) return null;
  const edge = spectrum.noise ? spectrum.noise.edge : null;
  const values = points.map(([, s]) => s).concat(edge > 0 ? [edge] : []);
  const floor = Math.max(Math.min(...values), Math.max(...values) * 1e-8);
  const x = logs(1, Math.max(points.at(-1)[0], 2), BOX.left + 6, BOX.width - BOX.right);
  const y = logs(floor / 1.2, Math.max(...values) * 1.2, BOX.height - BOX.bottom, BOX.top);
  const { chart, marks } = framed(`Singular values by rank, from ${figure(points[0][1])} down to ${figure(points.at(-1)[1])}`, BOX, x, y,
    logTicks(x.low, x.high), logTicks(y.low, y.high), "rank", "singular value");
  const seen = points.filter(([, s]) => s >= floor).map(([r, s]) => [x(r), y(s)]);
  marks.append(svg("path", { class: "curve", d: trace(seen) }), ...seen.map(([cx, cy]) => svg("circle", { class: "dot", cx, cy, r: 2.2 })));
  if (edge > 0) marks.append(...guide(BOX.left, BOX.width - BOX.right, y(edge), y(edge), "noise edge"));
  return figureOf("profile", "Singular values", chart);
}

function guide(x1, x2, y1, y2, text) {
  const upright = x1 === x2;
  return [svg("line", { class: "guide", x1, x2, y1, y2 }),
    svg("text", { class: "guide-text", x: upright ? x1 - 5 : x2, y: upright ? Math.min(y1, y2) + 10 : y1 - 5, "text-anchor": "end" }, text)];
}

const figureOf = (word, title, chart) => el("figure", {}, el("figcaption", {}, term(word, title)), chart);

// Bars by bin of log₁₀ σ, whiskers of one standard error where sampled.
function densityChart(spectrum) {
  const density = spectrum.density;
  if (!density || density.edges.length < 2) return null;
  const { edges, shares, errors } = density;
  const peak = Math.max(...shares.map((s, i) => s + (errors[i] || 0)), 1e-12);
  const x = linear(edges[0], edges.at(-1), BOX.left + 6, BOX.width - BOX.right);
  const y = linear(0, peak * 1.08, BOX.height - BOX.bottom, BOX.top);
  const base = BOX.height - BOX.bottom;
  const whole = logTicks(10 ** edges[0], 10 ** edges.at(-1)).map(Math.log10);
  const { chart, marks } = framed(`Density of singular values between ${figure(10 ** edges[0])} and ${figure(10 ** edges.at(-1))}, ${density.method}`, BOX, x, y, [], niceTicks(0, peak * 1.08, 4), "singular value", "share in bin");
  whole.forEach((t) => marks.append(svg("g", { class: "grid x" }, svg("line", { x1: x(t), x2: x(t), y1: base, y2: base + 4 }),
    svg("text", { x: x(t), y: base + 18, "text-anchor": "middle" }, tickText(Number((10 ** t).toPrecision(2)))))));
  shares.forEach((s, i) => {
    const [a, b] = [x(edges[i]), x(edges[i + 1])];
    marks.append(svg("rect", { class: "bin", x: a + 0.5, width: Math.max(0.5, b - a - 1), y: y(s), height: base - y(s) }));
    if (errors[i] > 0) marks.append(svg("line", { class: "error", x1: (a + b) / 2, x2: (a + b) / 2, y1: y(s + errors[i]), y2: y(Math.max(0, s - errors[i])) }));
  });
  const edge = spectrum.noise && spectrum.noise.edge > 0 ? Math.log10(spectrum.noise.edge) : null;
  if (edge !== null && edge > edges[0] && edge < edges.at(-1)) marks.append(...guide(x(edge), x(edge), BOX.top, base, "noise edge"));
  const sampled = density.method === "exact" ? "exact" : "sampled; whiskers are one standard error";
  const zero = density.zero > 0 ? `; ${figure(100 * density.zero, 3)} % lie below the first bin` : "";
  return el("figure", {}, el("figcaption", {}, term("density", "Density"), el("span", { class: "small" }, ` ${sampled}${zero}`)), chart);
}

function sentences(spectrum) {
  const { noise, tail, units } = spectrum;
  return [
    noise && el("p", {}, term("outliers", "Outliers"), `: ${count(noise.outliers)} above the `, term("noise edge", "noise edge"), ` of ${figure(noise.edge)} `, badge(noise.outliers.evidence),
      el("span", { class: "small" }, ` scale of an entry ${figure(noise.scale)}, ${shown(noise.scale_method, 80)}`)),
    tail && el("p", {}, term("tail", "Tail"), `: α ≈ ${figure(tail.alpha, 3)} ± ${figure(tail.error, 2)} from λ ≥ ${figure(tail.least, 3)}, ${tail.points} points; favored: ${shown(tail.favored, 40)} `, badge("estimate"),
      el("span", { class: "small" }, ` distance ${figure(tail.distance, 2)}${isNumber(tail.p_value) ? `, p ${figure(tail.p_value, 2)}` : ""}`)),
    units && (units.dead_outputs_count + units.dead_inputs_count + units.duplicate_outputs_count > 0) && el("p", {}, "Units: ",
      [[units.dead_outputs_count, "dead output"], [units.dead_inputs_count, "dead input"], [units.duplicate_outputs_count, "duplicate output"]]
        .filter(([n]) => n).map(([n, what]) => plural(n, what)).join(", "), el("span", { class: "small" }, indices(units))),
  ];
}

function indices(units) {
  const listed = [...units.dead_outputs.slice(0, 8), ...units.dead_inputs.slice(0, 8)].join(", ");
  const pairs = units.duplicate_outputs.slice(0, 6).map(([a, b]) => `${a} = ${b}`).join(", ");
  return [listed && ` dead: ${listed}`, pairs && ` alike: ${pairs}`].filter(Boolean).join(";");
}

function spectrumPart(spectrum) {
  if (!spectrum) return null;
  return el("section", { "aria-label": "Spectrum" }, el("h3", {}, "Spectrum", el("span", { class: "small" }, ` ${spectrum.rows}×${spectrum.columns}, by ${shown(spectrum.method, 30)}`)),
    profileChart(spectrum), densityChart(spectrum), sentences(spectrum), quantities(spectrum));
}
