// What happens first: the head is unpacked, skyline and table are drawn; the rest waits until the page is in use.
const THEMES = ["auto", "light", "dark"];

function startTheme() {
  const set = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    $("theme").textContent = `Theme: ${theme}`;
    $("theme").dataset.now = theme;
  };
  const kept = memory.get("theme");
  set(THEMES.includes(kept) ? kept : "auto");
  $("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf($("theme").dataset.now) + 1) % THEMES.length];
    set(next);
    memory.set("theme", next);
  });
}

// Paper has no scrolling: up to 2,000 rows are laid out, beyond that those in sight.
function startPrinting() {
  const views = () => [GRID.view, COMPARED.view].filter(Boolean);
  const lay = (all) => views().forEach((view) => view.every(all));
  addEventListener("beforeprint", () => lay(true));
  addEventListener("afterprint", () => lay(false));
  matchMedia("print").addEventListener("change", (event) => lay(event.matches));
}

async function start() {
  startTheme();
  if (typeof DecompressionStream === "undefined") return;
  await load();
  for (const node of document.querySelectorAll(".live")) node.hidden = false;
  for (const node of document.querySelectorAll("#old, .still")) node.hidden = true;
  document.documentElement.dataset.ready = "rows";
  if ($("table")) startTable();
  startSkyline();
  watchTerms();
  startPanel();
  startPrinting();
  $("download").addEventListener("click", download);
  document.documentElement.dataset.ready = "yes";
  performance.mark("opnorm-ready");
  later(async () => {
    await startCompare();
    await startInteraction();
    document.documentElement.dataset.ready = "all";
  });
}

start().catch((error) => {
  $("old").hidden = false;
  $("old").textContent = `The embedded report cannot be shown here: ${error.message}. The verdict, the findings and the largest layers are below.`;
  throw error;
});
