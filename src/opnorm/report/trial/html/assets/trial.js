// What the page of a trial adds to what stands in it already: a theme, tooltips, and the report as a file.
PAGE = { terms: {}, metrics: {} };

const THEMES = ["auto", "light", "dark"];

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
  $("theme").dataset.now = theme;
}

function startTheme() {
  const kept = memory.get("theme");
  setTheme(THEMES.includes(kept) ? kept : "auto");
  $("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf($("theme").dataset.now) + 1) % THEMES.length];
    setTheme(next);
    memory.set("theme", next);
  });
}

// A mark's own <title> becomes a tooltip in the page's look; without a script the browser shows it.
function startTips() {
  for (const title of document.querySelectorAll("main svg title")) {
    const text = title.textContent;
    title.parentNode.classList.add("telling");
    hint(title.parentNode, text);
    title.remove();
  }
}

async function saveReport() {
  const file = new Blob([JSON.stringify(await block("trial"), null, 1), "\n"], { type: "application/json" });
  const url = URL.createObjectURL(file);
  el("a", { href: url, download: "opnorm-trial.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

startTheme();
startTips();
watchTerms();
if (typeof DecompressionStream !== "undefined") {
  for (const node of document.querySelectorAll(".live")) node.hidden = false;
  $("download").addEventListener("click", saveReport);
}
document.documentElement.dataset.ready = "all";
