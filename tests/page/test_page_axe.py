"""axe-core, the reference checker of accessibility, finds nothing to object to: page and panel, light and dark."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec

import pytest
from page_reports import full

from opnorm.report.html import page
from page_browser import missing

pytestmark = pytest.mark.browser


def _axe() -> str:
    """The source of axe-core, out of whichever package carries it."""
    for package in ("axe_playwright_python", "axe_core_python"):
        if find_spec(package) is not None:
            return (files(package) / "axe.min.js").read_text(encoding="utf-8")
    return missing("no package carries axe-core")


@pytest.mark.parametrize(
    ("scheme", "address"),
    [
        ("light", ""),
        ("dark", "#layer=4"),
        pytest.param("dark", "", marks=pytest.mark.slow),
        pytest.param("light", "#layer=4", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing(browser, tmp_path, scheme, address):
    axe = _axe()
    file = tmp_path / "report.html"
    file.write_text(page(full(12), 6.0), encoding="utf-8")
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    view = context.new_page()
    view.goto(f"{file.as_uri()}{address}")
    view.wait_for_selector("html[data-ready=all]")
    view.evaluate(axe)
    found = view.evaluate("axe.run({resultTypes: ['violations']})")
    broken = [(v["id"], n["html"][:200], n["failureSummary"]) for v in found["violations"] for n in v["nodes"][:3]]
    assert broken == []
    context.close()
