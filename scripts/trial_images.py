"""Pictures of the page of a trial for the documentation: python scripts/trial_images.py trial.html [docs/images]."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright


def main(source: Path, folder: Path) -> None:
    """The first screen in light, the estimation plots of the primary claim in dark."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme, place in (("light", None), ("dark", "#differences")):
            view = browser.new_page(
                viewport={"width": 1280, "height": 860}, color_scheme=scheme, reduced_motion="reduce"
            )
            view.goto(source.resolve().as_uri())
            view.wait_for_selector("html[data-ready=all]")
            shoot(view, place, folder / f"trial-{scheme}.png")
        browser.close()


def shoot(view: Page, place: str | None, target: Path) -> None:
    if place is not None:
        view.evaluate(f"document.querySelector('{place}').scrollIntoView()")
    view.screenshot(path=target)
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "docs/images"))
