"""The page of a trial in headless Chromium: what a reader sees and does, and what it must never do."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

import pytest
from trial_reports import HOSTILE, bare, full, hostile, one_arm

from opnorm.report.trial import page, to_json
from page_browser import expect

pytestmark = pytest.mark.browser

OVERLAPS = """() => {
  const found = [];
  for (const table of document.querySelectorAll('.estimates')) {
    if (!table.checkVisibility() || table.closest('details:not([open])')) continue;
    for (const row of table.querySelectorAll('tbody tr')) {
      const said = (c) => c.checkVisibility() && c.innerText.trim() && !c.querySelector('.unseen');
      const boxes = [...row.cells].filter(said).map(c => {
        const range = document.createRange(); range.selectNodeContents(c); return range.getBoundingClientRect(); });
      boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
          found.push(row.textContent.trim().slice(0, 80));
      }));
    }
  }
  return found;
}"""


def brief():
    """Every part of the page in few rows."""
    return full(("none", "dropout", "cap"), 5, 4)


@cache
def _full() -> str:
    return page(full())


@pytest.mark.parametrize("width", [360, 800, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_nothing_overlaps(opened, width, scheme):
    view = opened(_full(), viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert view.evaluate(OVERLAPS) == []
    small = "[...document.querySelectorAll('main :not(script)')].filter(e => e.checkVisibility() && "
    small += "parseFloat(getComputedStyle(e).fontSize) < 10).map(e => e.outerHTML.slice(0, 80))"
    assert view.evaluate(small) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_hostile_texts_are_only_text_and_do_not_widen_the_page(opened, width):
    view = opened(page(hostile()), viewport={"width": width, "height": 900})
    view.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for mark in view.locator("main circle").all()[:3]:
        mark.hover(force=True)
    assert view.evaluate("window.hacked === undefined && ({}).polluted === undefined")
    assert view.evaluate("document.querySelectorAll('img, iframe, script[src], b[onclick]').length") == 0
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert HOSTILE[0] in view.locator("#untested").inner_text()


@pytest.mark.parametrize(
    ("made", "scheme", "width"),
    [
        (brief, "light", 1280),
        pytest.param(brief, "dark", 360, marks=pytest.mark.slow),
        pytest.param(full, "light", 1280, marks=pytest.mark.slow),
        pytest.param(full, "dark", 1280, marks=pytest.mark.slow),
        pytest.param(hostile, "light", 1280, marks=pytest.mark.slow),
        pytest.param(bare, "light", 360, marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing(opened, made, scheme, width):
    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    view = opened(page(made()), color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 900})
    view.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    view.evaluate(axe)
    found = view.evaluate("axe.run({resultTypes: ['violations']})")
    broken = [(v["id"], n["html"][:200], n["failureSummary"]) for v in found["violations"] for n in v["nodes"][:3]]
    assert broken == []


def test_the_answer_is_never_by_color_alone(opened):
    view = opened(_full())
    told = [t for t in view.locator(".badge.answer").all_inner_texts() if t]
    assert {t.split()[0] for t in told} == {"▲", "▼", "=", "?"}
    assert all(re.fullmatch(r"\S (HELPS|HURTS|PRACTICALLY THE SAME|NOT ENOUGH EVIDENCE)", t) for t in told)


def test_a_dot_says_its_seed(opened):
    view = opened(_full())
    pair = full().verdicts[0].comparisons[0].pairs[0]
    before, after = (f"{100 * v:.2f}" for v in (pair.baseline, pair.arm))
    dot = view.locator(".plot circle").first
    dot.scroll_into_view_if_needed()
    dot.hover(force=True)
    expect(view.locator("#tip")).to_contain_text(f"seed 0: {before} → {after}")
    assert view.locator("main svg title").count() == 0, "the browser would show its own tooltip beside the page's"
    view.keyboard.press("Escape")
    assert view.locator("#tip").is_hidden()


def test_keyboard_and_theme(opened):
    view = opened(_full())
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.className") == "skip"
    view.keyboard.press("Enter")
    assert view.evaluate("document.activeElement.id") == "main"
    for wanted in ("light", "dark", "auto"):
        view.locator("#theme").press("Enter")
        assert view.locator("#theme").inner_text() == f"Theme: {wanted}"
    view.locator("#models summary").press("Enter")
    assert view.locator("#models tbody tr").count() == len(full().records)


def test_without_a_script_all_of_it_stands(opened):
    view = opened(_full(), java_script_enabled=False)
    text = view.locator("main").inner_text()
    for said in ("cap+l2 helps: test accuracy", "Certified radius", "model.fit(X, y)", "▲ HELPS", "1.15 to 1.31"):
        assert said in text, said
    assert view.locator(".measure .plot").first.bounding_box()["width"] > 300
    assert view.locator(".plot circle title").count() > 100
    assert view.locator("#download").is_hidden()


def test_paper(opened):
    view = opened(_full(), color_scheme="dark", viewport={"width": 690, "height": 900})
    view.emulate_media(media="print")
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert view.evaluate(OVERLAPS) == []
    assert view.pdf()[:5] == b"%PDF-"


def test_the_downloaded_json_is_the_report(opened, tmp_path):
    report = one_arm()
    view = opened(page(report))
    with view.expect_download() as waiting:
        view.locator("#download").click()
    waiting.value.save_as(tmp_path / "trial.json")
    assert json.loads((tmp_path / "trial.json").read_text(encoding="utf-8")) == json.loads(to_json(report))
