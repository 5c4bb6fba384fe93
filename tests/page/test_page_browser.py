"""The page in headless Chromium: what a reader does with it, by pointer and by keyboard, and what it must never do."""

from __future__ import annotations

import json
import random
import re
from functools import cache

import pytest
from page_reports import compared, full, hostile, made, plain

from opnorm.report.document import Row
from opnorm.report.html import page
from opnorm.report.html.figures import figure, row_bracket
from page_browser import expect

pytestmark = pytest.mark.browser
TABLE = "#table table"


@cache
def _full() -> str:
    return page(full(), 6.0, "opnorm measure models/minilm --html report.html")


def names(view):
    return view.locator(f"{TABLE} tbody button.open").all_inner_texts()


def column(view, key):
    heads = view.locator(f"{TABLE} thead th").all_inner_texts()
    index = [h.strip() for h in heads].index(key)
    return [r.locator("th, td").nth(index).inner_text() for r in view.locator(f"{TABLE} tbody tr[data-at]").all()[:12]]


def test_sorting_by_a_number_both_ways_and_back(opened):
    view = opened(_full())
    assert "encoder.layer.0.bias" not in names(view)
    before, head = names(view), view.locator(f"{TABLE} thead th", has_text="σ₁")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    tops = {r.name: r.upper for r in full().rows if r.status == "measured" and r.upper is not None}
    assert names(view)[:10] == sorted(tops, key=lambda n: -tops[n])[:10]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert names(view)[:10] == sorted(tops, key=lambda n: tops[n])[:10]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "none"
    assert names(view) == before


def test_filtering_by_words_kind_and_evidence(opened):
    view = opened(_full())
    view.locator("#search").fill("layer.3. QUERY")
    expect(view.locator("#count")).to_contain_text("1 of")
    assert names(view) == ["encoder.layer.3.attention.query.weight"]
    assert view.locator("#skyline .dim").count() > 0, "the skyline is not dimmed with the table"
    view.get_by_role("button", name="Clear").click()
    assert view.locator("#skyline .dim").count() == 0
    view.locator("#standing").select_option("missing")
    assert "broken.weight" in names(view)
    assert not any("layer.0.mlp" in n for n in names(view))
    view.get_by_role("button", name="Clear").click()
    view.locator("#legend").get_by_role("button", name="embedding").click()
    assert names(view) == ["embeddings.weight"]


def test_the_script_prints_numbers_as_python_does(opened):
    rng = random.Random(9)
    ends = [(10 ** rng.uniform(-12, 12), 10 ** rng.uniform(-9, 1)) for _ in range(300)]
    rows = [
        Row(*(0, f"w{i}", ("w",), False, "linear", "", (1, 1), "float32", "measured"),
            lower=low, upper=low * (1 + width), evidence="proved" if i % 3 else "estimate", frobenius=low * 7)
        for i, (low, width) in enumerate(ends)
    ]  # fmt: skip
    view = opened(page(made(rows)))
    view.emulate_media(media="print")
    lines = view.locator(f"{TABLE} tbody tr[data-at]")
    expect(lines).to_have_count(len(rows))
    shown = lines.evaluate_all("rows => rows.map(r => [r.cells[3].textContent, r.cells[5].textContent])")
    assert shown == [[row_bracket(r), figure(r.frobenius)] for r in rows]


def test_the_keyboard_alone_opens_reads_and_closes_a_layer(opened):
    view = opened(_full())
    view.locator(f"{TABLE} tbody button.open").first.focus()
    for _ in range(3):
        view.keyboard.press("ArrowDown")
    focused = view.evaluate("document.activeElement.textContent")
    view.keyboard.press("Enter")
    view.wait_for_selector("dialog[open] .directions, dialog[open] figure")
    assert view.locator("#panel-title").inner_text() == focused
    assert view.url.endswith("#layer=3")
    view.keyboard.press("ArrowRight")
    assert view.locator("#panel-title").inner_text() != focused
    assert view.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    view.keyboard.press("Escape")
    assert view.locator("dialog[open]").count() == 0
    assert view.evaluate("document.activeElement.textContent") == focused, "focus is lost when the panel closes"


def test_the_skyline_speaks_to_the_keyboard(opened):
    view = opened(_full())
    cursor = view.get_by_role("slider")
    cursor.focus()
    view.keyboard.press("End")
    assert cursor.get_attribute("aria-valuenow") == cursor.get_attribute("aria-valuemax")
    view.keyboard.press("Home")
    assert cursor.get_attribute("aria-valuetext") == "embeddings.weight, σ₁ 28.70–28.98, proved"
    assert "28.70–28.98" in view.locator("#tip").inner_text()
    view.keyboard.press("Enter")
    assert view.locator("#panel-title").inner_text() == "embeddings.weight"


def test_a_skip_link_comes_first(opened):
    view = opened(_full())
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.className") == "skip"
    view.keyboard.press("Enter")
    assert view.evaluate("document.activeElement.id") == "main"


def test_an_estimate_never_looks_like_a_bound(opened):
    view = opened(_full())
    rows = (
        view.locator(f"{TABLE} tbody tr", has_text="ESTIMATE").all()
        or view.locator(f"{TABLE} tbody tr:has(.badge.estimate)").all()
    )
    assert rows
    for row in rows:
        text = row.locator("td.number").nth(1).inner_text()
        assert re.fullmatch(r"≈ [\d.]+", text.strip()), text
    drawn = view.locator("#skyline path.bar.estimate").evaluate_all("ps => ps.map(p => getComputedStyle(p).fill)")
    assert drawn
    assert all("hatch" in fill for fill in drawn)


def test_the_panel_shows_everything(opened):
    report = full()
    index = next(i for i, r in enumerate(report.rows) if r.directions)
    view = opened(_full(), f"#layer={index}")
    view.wait_for_selector("dialog .directions")
    text = view.locator("#panel").inner_text()
    row = report.rows[index]
    for said in (row.name, repr(row.lower), repr(row.frobenius), "Density", "noise edge", "Tail", "dead", "Neighbors"):
        assert said in text, said
    assert view.locator("dialog canvas").count() == 3
    assert "##ing" in text
    assert "naïve" in text
    pixels = (
        view.locator("dialog canvas")
        .nth(2)
        .evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].slice(0, 4)")
    )
    assert pixels == [0, 21, 42, 255], "a picture's −1 to 1 is not black to white"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_by_preference_and_by_choice(opened, scheme):
    view = opened(_full(), color_scheme=scheme)
    dark = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(c => c < 60)"
    assert view.evaluate(dark) is (scheme == "dark")
    for wanted in ("light", "dark", "auto"):
        view.locator("#theme").click()
        assert view.locator("#theme").inner_text() == f"Theme: {wanted}"
        assert view.evaluate(dark) is ((wanted if wanted != "auto" else scheme) == "dark")


def test_a_choice_of_theme_works_without_storage(opened):
    text = _full()
    view = opened(text)
    view.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('no') } }")
    view.locator("#theme").click()
    assert view.evaluate("document.documentElement.dataset.theme") == "light"


def test_paper_holds_every_row(opened, tmp_path):
    report = plain(120)
    view = opened(page(report), color_scheme="dark")
    rows = view.locator(f"{TABLE} tbody tr[data-at]")
    assert rows.count() < 120
    view.emulate_media(media="print")
    expect(rows).to_have_count(120)
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert view.pdf()[:5] == b"%PDF-"
    view.emulate_media(media="screen")
    expect(rows).not_to_have_count(120)


def test_the_downloaded_json_is_the_report(opened, tmp_path):
    report = full()
    view = opened(_full())
    with view.expect_download() as waiting:
        view.locator("#download").click()
    waiting.value.save_as(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == json.loads(report.to_json())


def test_hostile_names_are_only_text(opened):
    report = hostile()
    view = opened(page(report))
    view.locator("#standing").select_option("all")
    for index in (0, 1, 5, 60, 152):
        view.evaluate(f"location.hash = '#layer={index}'")
        expect(view.locator("dialog[open] .panel-bar")).to_contain_text(f"{index + 1} of 200")
        expect(view.locator("dialog[open] dl.facts + section").first).to_be_attached()
        view.keyboard.press("Escape")
    for place in view.locator("main > section").all():
        place.scroll_into_view_if_needed()
    assert view.evaluate("window.hacked === undefined && ({}).polluted === undefined")
    assert (
        view.evaluate("document.querySelectorAll('img, iframe, script[src], b[onmouseover], [autofocus]').length") == 0
    )
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", view.locator("body").inner_text())
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a long name widens the page"
    with view.expect_download() as waiting:
        view.locator("#download").click()
    found = json.loads(waiting.value.path().read_text(encoding="utf-8"))
    assert [r["name"] for r in found["rows"]] == [r.name for r in report.rows]


def test_what_changed(opened):
    report = compared()
    view = opened(page(report))
    assert view.locator("#skyline, #table").count() == 0
    table = view.get_by_role("table", name="Changed layers")
    drifts = {c.tuned_name: c.relative.value for c in report.comparison.changes if c.relative}
    worst = max(drifts, key=lambda n: drifts[n])
    first = table.locator("tbody button.open").first
    assert first.inner_text() == worst
    first.click()
    text = view.locator("#panel").inner_text()
    assert worst in text
    assert "ΔW stable rank" in text
    view.keyboard.press("Escape")
    assert view.locator("dialog[open]").count() == 0
    grown = view.locator("#compare g.growth").evaluate_all("gs => gs.map(g => g.className.baseVal.split(' ')[1])")
    wanted = [c for c in report.comparison.changes if c.status == "changed" and c.base.upper > 0]
    truth = [
        "grew" if c.tuned.lower > c.base.upper else "shrank" if c.tuned.upper < c.base.lower else "unclear"
        for c in wanted
    ]
    assert grown == truth
    assert "Only in the base: 1" in view.locator("#compare").inner_text()


def test_a_phone_needs_no_sideways_scrolling(opened):
    view = opened(_full(), viewport={"width": 380, "height": 760})
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_a_script_the_verdict_findings_and_largest_layers_stand(opened):
    view = opened(_full(), java_script_enabled=False)
    text = view.locator("main").inner_text()
    for said in (
        "9 of 42 weights exceed the ceiling of 6",
        "Load a checkpoint from before",
        "embeddings.weight",
        "28.70–28.98",
    ):
        assert said in text, said
    assert view.locator("#skyline-section").is_hidden()


def test_a_browser_without_decompression_says_so(browser, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(_full(), encoding="utf-8")
    view = browser.new_page()
    view.add_init_script("delete window.DecompressionStream")
    view.goto(file.as_uri())
    assert view.locator("#old").is_visible()
    assert view.locator(".still table").is_visible()
    view.close()


def test_reduced_motion_is_respected(opened):
    view = opened(_full(), "#layer=2", reduced_motion="reduce")
    assert view.evaluate("getComputedStyle(document.querySelector('dialog')).animationName") == "none"
