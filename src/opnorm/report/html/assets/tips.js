// Tooltips: of terms (the dictionary) and of marks in charts. One element, placed beside what it is about.
function place(tip, x, y) {
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = clamp(x - box.width / 2, 8, innerWidth - box.width - 8);
  const above = y - box.height - 14;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : y + 18}px`;
}

function tell(x, y, ...content) {
  const tip = $("tip");
  const dialog = $("panel");
  const home = dialog.open ? dialog : document.body;
  if (tip.parentNode !== home) home.append(tip);
  clear(tip, content);
  place(tip, x, y);
}

const hush = () => { $("tip").hidden = true; };

function tellAt(node, ...content) {
  const box = node.getBoundingClientRect();
  tell(box.left + box.width / 2, box.top, ...content);
}

function meaning(word) {
  if (Object.hasOwn(PAGE.terms, word)) return [el("p", {}, PAGE.terms[word])];
  if (!Object.hasOwn(PAGE.metrics, word)) return null;
  const metric = PAGE.metrics[word];
  const line = (label, text) => text && el("p", { class: "small" }, el("b", {}, label), ` ${text}`);
  return [el("p", {}, metric.definition), line("unit", metric.unit), line("cost", metric.cost), line("source", metric.source)];
}

const term = (word, text) =>
  (Object.hasOwn(PAGE.terms, word) || Object.hasOwn(PAGE.metrics, word)
    ? el("span", { class: "term", tabindex: 0, "data-term": word }, text ?? word)
    : document.createTextNode(text ?? word));

function watchTerms() {
  const show = (event) => {
    const node = event.target.closest && event.target.closest("[data-term]");
    if (!node) return;
    const said = meaning(node.dataset.term);
    if (!said) return;
    node.setAttribute("aria-describedby", "tip");
    tellAt(node, said);
  };
  const hide = (event) => { if (event.target.closest && event.target.closest("[data-term]")) hush(); };
  document.addEventListener("mouseover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("mouseout", hide);
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || $("tip").hidden) return;
    hush();
    if (!$("panel").open) event.preventDefault();
  });
  addEventListener("scroll", hush, { passive: true, capture: true });
}

// Anything with data-tip shows that text.
function hint(node, text) {
  node.addEventListener("mouseenter", () => tellAt(node, el("p", {}, typeof text === "function" ? text() : text)));
  node.addEventListener("mouseleave", hush);
  return node;
}
