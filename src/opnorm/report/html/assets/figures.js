// Numbers as text, by the same rules as figures.py: ends of brackets are rounded outward, estimates have a ≈.
const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const raised = (n) => String(n).replace("-", "⁻").replace(/\d/g, (d) => RAISED[d]);

function figure(value, digits = 4, direction = 0) {
  if (!isNumber(value)) return "–";
  if (value === 0) return "0";
  let [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const rounded = Number(`${mantissa}e${exponent}`);
  if ((direction < 0 && rounded > value) || (direction > 0 && rounded < value)) {
    const moved = rounded + direction * Number(`1e${Number(exponent) - digits + 1}`);
    [mantissa, exponent] = moved.toExponential(digits - 1).split("e");
  }
  const power = Number(exponent);
  if (power < -4 || power >= 6) return `${mantissa}×10${raised(power)}`.replace("-", "−");
  return Number(`${mantissa}e${exponent}`).toFixed(Math.max(0, digits - 1 - power)).replace("-", "−");
}

const bounds = (evidence) => evidence === "proved" || evidence === "probable";

function bracket(lower, upper, evidence, most = 6) {
  const known = [lower, upper].filter(isNumber);
  if (!known.length) return "–";
  if (!bounds(evidence)) return `≈ ${figure(known.reduce((a, b) => a + b) / known.length)}`;
  if (!isNumber(upper)) return `≥ ${figure(lower, 4, -1)}`;
  if (!isNumber(lower)) return `≤ ${figure(upper, 4, 1)}`;
  if (lower === upper) return figure(upper, 6).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  const size = Math.floor(Math.log10(Math.abs(upper)));
  let digits = 4;
  while (digits < most && 10 ** (size - digits + 1) >= upper - lower) digits += 1;
  return `${figure(lower, digits, -1)}–${figure(upper, digits, 1)}`;
}

const rowBracket = (row, most) => bracket(row.lower, row.upper, row.evidence, most);
const height = (row) => (isNumber(row.upper) ? row.upper : row.lower);

function quantityText(q, digits = 4) {
  if (!q) return "–";
  if (bounds(q.evidence) && (isNumber(q.lower) || isNumber(q.upper))) return bracket(q.lower, q.upper, q.evidence);
  if (!isNumber(q.value)) return "–";
  const error = isNumber(q.error) && q.error > 0 ? ` ± ${figure(q.error, 2)}` : "";
  return `${bounds(q.evidence) ? "" : "≈ "}${figure(q.value, digits)}${error}`;
}

const count = (q) => {
  if (!q) return "–";
  if (isNumber(q.lower) && isNumber(q.upper)) return q.lower === q.upper ? `${q.lower}` : `${q.lower} to ${q.upper}`;
  return isNumber(q.value) ? `≈ ${Math.round(q.value)}` : "–";
};

const badge = (evidence) => (evidence ? el("span", { class: `badge ${bounds(evidence) ? evidence : "estimate"}` }, shown(evidence, 20)) : null);
const shape = (sizes) => sizes.join("×");
