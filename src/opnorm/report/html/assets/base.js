// Elements are made by calls, never from markup: a name is only ever text.
const $ = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(node.style, value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false && child !== "") node.append(child);
  }
  return node;
}

const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const clear = (node, ...children) => { node.replaceChildren(...children.flat(Infinity).filter(Boolean)); return node; };
const plural = (n, thing) => `${n.toLocaleString("en-US")} ${thing}${n === 1 ? "" : "s"}`;
const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
const isNumber = (x) => typeof x === "number" && Number.isFinite(x);
const later = (work) => requestAnimationFrame(() => setTimeout(work, 0));

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Variation_Selector}\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0]/gu;

// A name made harmless: what does not show, or reorders what does, is written as \u{…}; shortened in the middle.
function shown(name, limit = 120) {
  const text = String(name).slice(0, 4000).replace(HIDDEN, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  if (text.length <= limit) return text;
  const half = (limit - 1) >> 1;
  return `${text.slice(0, half)}…${text.slice(-half)}`;
}

const path = (name, limit) => el("span", { class: "path" }, shown(name, limit));

function button(label, action, attributes) {
  return el("button", { type: "button", class: "quiet", onclick: action, ...attributes }, label);
}

// One of several: a row of buttons of which one is pressed.
function choice(label, options, chosen, action) {
  const buttons = options.map(([value, text]) =>
    button(text, () => { mark(value); action(value); }, { "data-value": value }));
  const mark = (value) => buttons.forEach((b) => b.setAttribute("aria-pressed", b.dataset.value === value));
  mark(chosen);
  return el("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}

const memory = {
  get(key) { try { return localStorage.getItem(`opnorm-${key}`); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(`opnorm-${key}`, value); } catch { /* a file may have no storage */ } },
};

// The address keeps the open layer where the browser lets a file do that.
function remember(address) {
  try { history.replaceState(null, "", address); } catch { /* a frame or a file without an origin */ }
}
