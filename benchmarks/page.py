"""The page of a large model: seconds to write, bytes, and how long Chromium takes until it can be used.

`python benchmarks/page.py [--rows 1000,10000] [--repeat 3]`. Rows are made by hand, each with a spectrum (64 singular
values, 32 bins of density, eleven quantities); one in forty has directions. Interactive: from the start of navigation
until skyline, table and panel answer, the page's own mark `opnorm-ready`; then one sort of all rows, one keystroke of
the filter and one panel, each until painted. Needs playwright and a Chromium (OPNORM_CHROMIUM or on the PATH).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "page"))

from page_reports import plain

from opnorm.report.html import page

TIMED = """([act, selector]) => new Promise((done) => {
  const node = document.querySelector(selector);
  const began = performance.now();
  if (act === "click") node.click();
  else { node.value = act; node.dispatchEvent(new Event("input", {bubbles: true})); }
  const change = act === "click" ? 0 : 80;  // the filter waits so long for the next key
  setTimeout(() => requestAnimationFrame(() => setTimeout(() => done(performance.now() - began - change), 0)), change);
})"""


def used(browser: Any, file: Path) -> dict[str, float]:
    """Milliseconds of one visit."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    view = context.new_page()
    view.goto(file.as_uri())
    view.wait_for_selector("html[data-ready=all]", timeout=60_000)
    ready = view.evaluate("performance.getEntriesByName('opnorm-ready')[0].startTime")
    found = {"interactive": ready}
    found["sort"] = view.evaluate(TIMED, ["click", "#table th:nth-child(4) button"])
    found["filter"] = view.evaluate(TIMED, ["7", "#search"])
    found["panel"] = view.evaluate(TIMED, ["click", "#table button.open"])
    found["heap"] = view.evaluate("performance.memory.usedJSHeapSize / 2 ** 20")
    context.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="1000,10000")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    path = os.environ.get("OPNORM_CHROMIUM") or shutil.which("chromium")
    print("rows    write s   of CPU   bytes      interactive ms   sort ms   filter ms   panel ms   heap MiB")
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for count in map(int, options.rows.split(",")):
            report = plain(count)
            written = []
            for _ in range(options.repeat):
                began = (time.perf_counter(), time.process_time())
                text = page(report)
                written.append((time.perf_counter() - began[0], time.process_time() - began[1]))
            file = Path(folder) / f"{count}.html"
            file.write_text(text, encoding="utf-8")
            visits = [used(browser, file) for _ in range(options.repeat)]
            middle = {key: statistics.median(v[key] for v in visits) for key in visits[0]}
            figures = "   ".join(f"{middle[k]:8.0f}" for k in ("interactive", "sort", "filter", "panel", "heap"))
            wall, processor = (statistics.median(times) for times in zip(*written, strict=True))
            print(f"{count:6d}   {wall:6.2f}   {processor:6.2f}   {len(text.encode()):9d}   {figures}")


if __name__ == "__main__":
    main()
