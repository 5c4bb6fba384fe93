// A table of any length: only the rows in sight are in the document, the rest is the height of two spacers. It is a real
// table to a screen reader (row count and indices are stated). Arrow keys move between rows, Enter opens one.
const ROW = 34;

// columns: {key, title, term, number, value(row) to sort by, cell(row), width}. open(row): what Enter and a click do.
function grid({ host, label, columns, rows, sort, open, tall = 620 }) {
  const state = { rows, shown: [], sort, at: 0, first: -1, last: -1, every: false };
  const body = el("tbody", {});
  const heads = columns.map((c) => el("th", { scope: "col", class: c.number ? "number" : null },
    el("button", { type: "button", class: "sort", onclick: () => sortBy(c.key), title: PAGE.terms[c.term] || null }, c.title, el("i", { "aria-hidden": "true" }))));
  const table = el("table", { "aria-label": label }, el("thead", {}, el("tr", { "aria-rowindex": 1 }, heads)), body);
  const scroller = el("div", { class: "grid-scroll", tabindex: 0, role: "region", "aria-label": `${label}, scrollable` }, table);
  clear(host, scroller);

  function sortBy(key) {
    const column = columns.find((c) => c.key === key);
    const same = state.sort && state.sort.key === key;
    state.sort = same && state.sort.again ? null : { key, down: same ? !state.sort.down : Boolean(column.number), again: same };
    arrange();
  }

  // Rows without a value come last, whichever way.
  function arrange() {
    state.shown = state.rows.slice();
    const column = state.sort && columns.find((c) => c.key === state.sort.key);
    if (column) {
      const sign = state.sort.down ? -1 : 1;
      const keyed = state.shown.map((row) => [column.value(row), row]);
      const none = (v) => v === null || v === undefined || v === "";
      keyed.sort(([a], [b]) => (none(a) || none(b) ? none(a) - none(b) : a < b ? -sign : a > b ? sign : 0));
      state.shown = keyed.map(([, row]) => row);
    }
    columns.forEach((c, i) => heads[i].setAttribute("aria-sort", column === c ? (state.sort.down ? "descending" : "ascending") : "none"));
    table.setAttribute("aria-rowcount", state.shown.length + 1);
    state.at = 0;
    scroller.scrollTop = 0;
    draw(true);
  }

  const spacer = (n) => (n > 0 ? el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: columns.length, style: { height: `${n * ROW}px` } })) : null);

  function line(row, i) {
    const cells = columns.map((c, k) => el(k ? "td" : "th", { scope: k ? null : "row", class: c.number ? "number" : null }, c.cell(row, i === state.at)));
    return el("tr", { "aria-rowindex": i + 2, "data-at": i, class: i % 2 ? "odd" : null }, cells);
  }

  function draw(force) {
    const first = state.every ? 0 : clamp(Math.floor(scroller.scrollTop / ROW) - 12, 0, Math.max(0, state.shown.length - 1));
    const last = state.every ? state.shown.length : Math.min(state.shown.length, first + Math.ceil(tall / ROW) + 25);
    if (!force && first === state.first && last === state.last) return;
    [state.first, state.last] = [first, last];
    clear(body, spacer(first), state.shown.slice(first, last).map((row, k) => line(row, first + k)), spacer(state.shown.length - last),
      !state.shown.length && el("tr", {}, el("td", { colspan: columns.length, class: "none" }, "No layer matches.")));
  }

  function move(to) {
    state.at = clamp(to, 0, state.shown.length - 1);
    const head = table.tHead.offsetHeight;
    const [top, bottom] = [state.at * ROW, (state.at + 1) * ROW + head];
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (bottom > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = bottom - scroller.clientHeight;
    draw(true);
    const target = body.querySelector(`[data-at="${state.at}"] button`);
    if (target) target.focus({ preventScroll: true });
  }

  scroller.addEventListener("scroll", () => requestAnimationFrame(() => draw(false)), { passive: true });
  body.addEventListener("click", (event) => {
    const at = event.target.closest("tr[data-at]");
    if (at && !event.target.closest(".term")) { state.at = Number(at.dataset.at); open(state.shown[state.at]); }
  });
  body.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || !state.shown.length) return;
    event.preventDefault();
    move(clamp(state.at + steps[event.key], 0, state.shown.length - 1));
  });
  arrange();
  return {
    show(found) { state.rows = found; arrange(); },
    every(yes) { state.every = yes && state.shown.length <= 2000; draw(true); },
    order: () => state.shown,
  };
}
