"""The page as text: what it holds, what it can never hold, how large it is. No browser."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_reports import HOSTILE, compared, directions, empty, full, hostile, made, plain, row, spectrum

from opnorm.errors import UsageError
from opnorm.report.document import Report
from opnorm.report.html import fragment, page
from opnorm.report.html.coarse import LEVELS, Coarse, nearest, outward
from opnorm.report.html.columns import packed, unpacked
from opnorm.report.html.figures import bracket, figure
from opnorm.report.html.payload import allowance, embedded, payload_of
from page_markup import Strict

VOID = frozenset({"meta", "link", "br", "input", "img", "rect", "path", "circle", "line", "hr"})
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=40,
)


def same(report: Report) -> dict:
    return json.loads(report.to_json())


@pytest.mark.parametrize(
    "report",
    [full(), hostile(), empty(), compared(), full(12, detail=False)],
    ids=["full", "hostile", "empty", "two", "light"],
)
def test_the_embedded_json_is_the_report_to_the_last_digit(report):
    assert embedded(page(report)) == same(report)


@given(VALUES)
def test_columns_lose_nothing(value):
    found = unpacked(json.loads(packed(value)))
    assert found == value
    assert json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True), (
        "a type changed: True for 1, 1 for 1.0"
    )


@pytest.mark.parametrize("report", [full(), hostile(), empty(), compared()], ids=["full", "hostile", "empty", "two"])
def test_well_formed_and_of_known_elements(report):
    text = page(report, 6.0)
    parsed = Strict(text, VOID)
    assert not {tag for tag, _ in parsed.tags} & {"img", "iframe", "object", "embed", "base", "form", "audio", "video"}
    for tag, attributes in parsed.tags:
        assert not [a for a in attributes if a.startswith("on") or a in ("style", "srcset", "srcdoc")], (
            tag,
            attributes,
        )
        for key in ("href", "src"):
            assert (attributes.get(key) or "#").startswith(("#", "data:image/svg+xml")), (tag, attributes)
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"] for t, a in parsed.tags if t == "a" and not str(a["href"]).startswith("#layer=")}
    assert {t.removeprefix("#") for t in targets} <= set(ids)


def test_the_policy_allows_this_style_and_this_script_and_nothing_else():
    text = page(full())
    policy = next(a["content"] for t, a in Strict(text, VOID).tags if "Content-Security-Policy" in a.values())
    style, script = re.search("<style>(.*?)</style>", text, re.S)[1], re.findall("<script>(.*?)</script>", text, re.S)
    assert len(script) == 1

    def digest(part: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == digest(style)
    assert rules["script-src"] == digest(script[0])
    assert rules["img-src"] == "data:"
    assert rules["require-trusted-types-for"] == "'script'"


@pytest.mark.parametrize(
    "word", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "XMLHttp"]
)
def test_the_script_has_no_way_to_write_markup_or_to_ask_the_network(word):
    assert word not in page(empty())
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page(empty()))


def test_hostile_names_are_escaped_and_shown_harmless():
    text = page(hostile(), command="opnorm </script><script>window.hacked=1</script>")
    assert len(re.findall("<script", text)) == len(re.findall("</script>", text))
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert "window.hacked=1</script" not in outside
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\u2028\x00-\x08\x1b\ud800-\udfff]", text)
    assert "{{ 7*7 }}" in text, "a name was taken for a template"
    text.encode("utf-8")


def test_the_fragment_is_scoped_static_and_small():
    for report in (full(), hostile(), empty()):
        text = fragment(report)
        parsed = Strict(text, VOID)
        assert not {"script", "img", "iframe", "link"} & {tag for tag, _ in parsed.tags}
        assert parsed.tags[0] == ("div", {"class": "opnorm-report"})
        style = re.search("<style>(.*?)</style>", text, re.S)[1]
        assert all(rule.strip().startswith(".opnorm-report") for rule in style.split("}") if rule.strip())
        assert len(text.encode()) < 40_000
    assert "28.70–28.98" in fragment(full())


def test_sizes_to_a_thousand_rows():
    assert len(page(plain(1000)).encode()) <= 1_000_000
    assert len(page(made([row_of(i) for i in range(1000)])).encode()) <= 400_000


def row_of(index):
    import random

    return row(random.Random(index), index, detail=False)


@pytest.mark.slow
def test_sizes_at_ten_thousand_rows():
    assert len(page(plain(10_000)).encode()) <= 5_000_000


def test_a_page_of_many_rows_keeps_brackets_exact_and_says_what_it_rounded():
    report = plain(900)
    assert payload_of(report, {}).level > 0
    text = page(report)
    assert LEVELS[payload_of(report, {}).level].saying in text
    found = embedded(text)
    for kept, whole in zip(found["rows"], same(report)["rows"], strict=True):
        for key in ("lower", "upper", "frobenius", "stable_rank", "evidence", "name"):
            assert kept[key] == whole[key]
        for name, quantity in whole["spectrum"]["quantities"].items():
            short = kept["spectrum"]["quantities"][name]
            if quantity["lower"] is not None:
                assert short["lower"] <= quantity["lower"] <= quantity["upper"] <= short["upper"]
                assert (
                    short["upper"] - short["lower"] < quantity["upper"] - quantity["lower"] + 3e-5 * quantity["upper"]
                )
            assert (short["value"] is None) == (quantity["value"] is None)


@pytest.mark.parametrize("level", LEVELS[:-1])
def test_every_level_keeps_the_shape_and_the_outliers(level):
    import random

    found = [{"spectrum": spectrum(random.Random(1), 64, 64), "directions": directions(random.Random(2))}]
    kept = unpacked(json.loads(packed(found, Coarse(level))))[0]
    assert set(kept["spectrum"]) == set(found[0]["spectrum"].__dataclass_fields__)
    assert kept["spectrum"]["noise"]["outliers"]["lower"] == 8
    assert len(kept["spectrum"]["profile"]) == len(kept["spectrum"]["ranks"]) <= max(level.points, 0)
    if level.points:
        assert kept["spectrum"]["ranks"][:8] == list(range(8))
        assert kept["spectrum"]["ranks"][-1] == found[0]["spectrum"].ranks[-1]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1), st.integers(2, 7))
def test_ends_are_rounded_outward(values, digits):
    low, high = (list(map(float, outward(values, digits, d))) for d in (-1, 1))
    for value, a, b in zip(values, low, high, strict=True):
        assert a <= value <= b
        assert b - a <= abs(value) * 2.1 * 10.0 ** (1 - digits)
    assert all(
        math.isclose(float(t), v, rel_tol=10.0 ** (1 - digits))
        for t, v in zip(nearest(values, digits), values, strict=True)
    )


@given(st.floats(1e-300, 1e300), st.floats(0, 1))
def test_a_printed_bracket_holds_the_bracket(lower, width):
    upper = lower * (1 + width)
    said = bracket(lower, upper, "proved")
    if "–" in said and lower != upper:
        a, b = (read(part) for part in said.split("–"))
        assert a <= lower <= upper <= b
        assert b <= a * (1 + width) * (1 + 3e-3)


def read(text: str) -> float:
    mantissa, _, power = text.partition("×10")
    return float(f"{mantissa}e{power.translate(str.maketrans('⁻⁰¹²³⁴⁵⁶⁷⁸⁹', '-0123456789')) or 0}")


@pytest.mark.parametrize(
    ("lower", "upper", "evidence", "said"),
    [
        (6.1249, 6.1301, "proved", "6.124–6.131"),
        (6.125, 6.131, "estimate", "≈ 6.128"),
        (6.1249, None, "estimate", "≈ 6.125"),
        (None, 3.3001, "proved", "≤ 3.301"),
        (3.3001, None, "probable", "≥ 3.300"),
        (0.0, 0.0, "proved", "0"),
        (1.0, 1.0, "proved", "1"),
        (100.0, 100.0, "proved", "100"),
        (None, None, "proved", "–"),
        (2e-9, 2.1e-9, "proved", "2.000×10⁻⁹–2.100×10⁻⁹"),
        (1.00001, 1.00002, "proved", "1.00001–1.00002"),
    ],
)
def test_brackets_in_words(lower, upper, evidence, said):
    assert bracket(lower, upper, evidence) == said


def test_figures():
    assert [figure(v) for v in (None, 0, 1234567.0, 99999.9, 0.00012345)] == [
        "–",
        "0",
        "1.235×10⁶",
        "100000",
        "0.0001234",
    ]


def test_the_verdict_says_what_is_wrong():
    calm = replace(full(), findings=(), rows=tuple(r for r in full().rows if r.status in ("measured", "not_a_map")))
    assert "Nothing calls for attention." in page(calm)
    assert "1 serious finding, 1 warning and 2 weights without a number." in page(full())
    assert "This report is incomplete." in page(replace(full(), complete=False))
    assert "9 of 42 weights exceed the ceiling of 6; 3 cannot be decided." in page(full(), 6.0)
    counts = re.search(r"(\d+) of (\d+) layers changed, at most by 0\.\d+–0\.\d+ of its norm", page(compared()))
    assert counts
    assert int(counts[2]) - int(counts[1]) == 2
    assert "The one weight lies within the ceiling of 1e+09" in page(made([row_of(0)]), 1e9)


def test_the_same_report_gives_the_same_page():
    assert page(full(), 6.0) == page(full(), 6.0)


def test_no_page_is_told_so():
    with pytest.raises(UsageError, match="--html"):
        embedded("<html></html>")


def test_allowance_has_no_jump():
    assert allowance(1000) == 850_000
    assert allowance(10_000) == 4_800_000
    assert allowance(10_001) - allowance(10_000) < 1000


def test_every_hostile_name_is_there():
    names = {r["name"] for r in embedded(page(hostile()))["rows"]}
    assert names == set(HOSTILE)


@pytest.mark.parametrize("value", [1.7976931348623157e308, 5e-324, 2.2250738585072014e-308])
def test_numbers_at_the_ends_of_the_range_are_printed(value):
    from opnorm.report.html.figures import bracket, figure

    for direction in (-1, 0, 1):
        assert "10" in figure(value, 4, direction)
    assert bracket(value, value * 0.999, "estimate").startswith("≈")
    assert "–" in bracket(value / 3, value, "proved")
