"""The page as text: what it holds, what it can never hold, its size, and that its figures are true. No browser."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_reports import all_failed, bare, extreme, full, hostile, one_arm

from opnorm.errors import UsageError
from opnorm.report.trial import page
from opnorm.report.trial.html import curves, estimation, tuning
from opnorm.report.trial.html.payload import KEPT, embedded, payload
from opnorm.report.trial.html.svg import Scale, beeswarm, covering, covering_logs, node, tick_texts, ticks
from opnorm.report.trial.points import in_points
from page_markup import Strict

VOID = frozenset({"meta", "link", "br"})
EVERY = {"full": full, "one": one_arm, "bare": bare, "failed": all_failed, "extreme": extreme, "hostile": hostile}


def numbers(text: str, tag: str, name: str) -> list[float]:
    """An attribute of all elements of a kind, in per cent."""
    return [float(a[name].rstrip("%")) for t, a in Strict(text, VOID).tags if t == tag and name in a]


def test_long_facts_are_unfolded_whole_and_not_cut_into_the_first_line():
    unused = "; ".join(f"'column_{i}': the same value everywhere" for i in range(60))
    text = page(replace(full(), subject={"data": "bank.csv", "columns not used": unused, "task": "binary"}))
    assert "<summary>data bank.csv · task binary · data, design, command</summary>" in text
    assert "&#39;column_30&#39;: the same value everywhere; &#39;column_31&#39;" in text


def test_the_page_says_what_its_arms_are():
    assert "<b>none</b>: plain training; <b>l2</b>: weight decay;" in page(full())


def test_the_chance_of_a_false_control_is_that_of_any():
    assert "the chance of any is at most 5 %" in page(full())


@pytest.mark.parametrize("made", EVERY.values(), ids=EVERY)
def test_well_formed_harmless_and_exact(made):
    report = made()
    text = page(report)
    parsed = Strict(text, VOID)
    assert not {t for t, _ in parsed.tags} & {"img", "iframe", "object", "embed", "base", "form", "audio", "b-"}
    for tag, attributes in parsed.tags:
        assert not [a for a in attributes if a.startswith("on") or a in ("style", "srcset", "srcdoc")], (
            tag,
            attributes,
        )
        for key in ("href", "src"):
            assert (attributes.get(key) or "#").startswith(("#", "data:image/svg+xml")), (tag, attributes)
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"].removeprefix("#") for t, a in parsed.tags if t == "a"} <= set(ids)
    assert {a["aria-labelledby"] for _, a in parsed.tags if "aria-labelledby" in a} <= set(ids)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\u2028\x00-\x08\x1b\ud800-\udfff]", text)
    text.encode("utf-8")
    assert embedded(text) == report


def test_the_policy_allows_this_style_and_this_script_and_nothing_else():
    text = page(one_arm())
    policy = next(a["content"] for t, a in Strict(text, VOID).tags if "Content-Security-Policy" in a.values())
    style, script = re.search("<style>(.*?)</style>", text, re.S)[1], re.findall("<script>(.*?)</script>", text, re.S)
    assert len(script) == 1

    def digest(part: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert (rules["style-src"], rules["script-src"]) == (digest(style), digest(script[0]))
    assert rules["require-trusted-types-for"] == "'script'"


@pytest.mark.parametrize("word", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch("])
def test_the_script_has_no_way_to_write_markup_or_to_ask_the_network(word):
    text = page(bare())
    assert word not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_hostile_texts_are_escaped():
    text = page(hostile())
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert len(re.findall("<script", text)) == len(re.findall("</script>", text)) == 2
    assert "window.hacked=1</script" not in outside
    assert "{{ 7*7 }}" in text, "a name was taken for a template"
    assert "&amp;lt;b&amp;gt;" in text


def test_the_same_report_gives_the_same_page():
    assert page(one_arm()) == page(one_arm())


def test_sizes():
    assert len(page(full()).encode()) < 700_000
    assert len(page(bare()).encode()) < 60_000


@pytest.mark.slow
def test_a_large_trial_stays_a_small_page():
    assert len(page(full(seeds=20, epochs=60)).encode()) < 1_000_000
    arms = ("none", "l2", "dropout", "cap", "cap+l2")
    assert len(page(full(arms, 50, 40)).encode()) < 1_050_000


def test_a_page_without_room_says_what_it_left_out_and_keeps_every_score():
    report = full(seeds=6, epochs=12)
    sizes = []
    for room in (10**9, 60_000, 40_000, 1):
        block, kept = payload(report, room)
        sizes.append((len(block), KEPT.index(kept)))
        found = embedded(f'<script type="application/gzip" id="block-trial">{block}</script>')
        assert [(r.scores, r.setting, r.tried) for r in found.records] == [
            (r.scores, r.setting, r.tried) for r in report.records
        ]
        assert (found.verdicts, found.controls) == (report.verdicts, report.controls)
    assert sizes[0][1] == 0
    assert sizes[-1][1] == len(KEPT) - 1
    assert sizes == sorted(sizes, key=lambda s: (-s[0], s[1]))


def test_no_page_is_told_so():
    with pytest.raises(UsageError, match="--html"):
        embedded("<html></html>")


def test_every_section_says_its_part():
    text = page(full())
    words = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", re.sub("<(script|style).*?</\\1>", "", text, flags=re.S)))
    for said in (
        "Can spectral norm improve my model?", "cap+l2 helps: test accuracy", "seeds, the same for every arm 10",
        "opnorm trial --data credit.csv", "hurts", "needs second derivatives", "1.15 to 1.31", "weight_decay",
        "every setting diverged", "Certified radius", "Four answers.", "0 of 8", "160 models", "model.fit(X, y)",
        "no attack: tokens", "seconds", "Declared before the run.",
    ):  # fmt: skip
        assert said in words, said
    assert text.count('class="measure"') == 18, "ten measures and eight of the control"


# The figures are measured, not looked at: places are numbers of which the truth is known.


@pytest.mark.parametrize("index", range(10))
def test_dots_stand_where_the_differences_are(index):
    report = in_points(full())
    found = [m for v in report.verdicts for m in estimation.measures(v.comparisons)][index]
    for line in found.lines:
        moves = [p.arm - p.baseline for p in line.comparison.pairs]
        places = numbers(line.plot, "circle", "cx")
        assert len(places) == len(moves)
        slope, start = np.polyfit(moves, places, 1)
        assert np.allclose(places, start + slope * np.array(moves), atol=0.02)
        ends = numbers(line.plot, "line", "x1")[-1], numbers(line.plot, "line", "x2")[-1]
        assert ends == pytest.approx([start + slope * e for e in line.comparison.interval], abs=0.02)
        (left,), (wide,) = numbers(line.plot, "rect", "x"), numbers(line.plot, "rect", "width")
        margin = line.comparison.margin
        assert (left, left + wide) == pytest.approx((start - slope * margin, start + slope * margin), abs=0.03)
        assert numbers(line.plot, "line", "x1")[0] == pytest.approx(start, abs=0.02), "the zero line"
        middle = numbers(line.plot, "svg", "x")[0]
        assert middle == pytest.approx(start + slope * line.comparison.difference, abs=0.02)


def test_all_arms_of_a_measure_share_one_scale():
    found = estimation.measures(in_points(full()).verdicts[0].comparisons)[0]
    zeros = {numbers(line.plot, "line", "x1")[0] for line in found.lines}
    assert len(zeros) == 1


def test_slopes_lead_from_the_baseline_to_the_arm():
    comparison = in_points(one_arm()).verdicts[0].comparisons[0]
    line = estimation.measures([comparison])[0].lines[0]
    found = re.findall(r"M10 ([\d.]+)L82 ([\d.]+)", re.search('class="seeds" d="([^"]*)"', line.slope)[1])
    heights = -np.array(found, float)
    values = np.array([[p.baseline, p.arm] for p in comparison.pairs])
    slope, start = np.polyfit(values.ravel(), heights.ravel(), 1)
    assert slope > 0, "higher is not up"
    assert np.allclose(heights, start + slope * values, atol=0.1)


def test_the_norms_median_is_drawn_on_a_logarithmic_scale():
    report = one_arm()
    drawn = curves.curves(report)
    assert len(drawn.panels) == 2
    first = re.search(r'<g class="layer k0">.*?class="mean" d="([^"]*)"', drawn.panels[0].norms)[1]
    heights = -np.array([float(y) for _, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", first)])
    records = [r for r in report.records if (r.arm, r.condition) == ("none", "full")]
    truth = [np.median([r.curve[e].norms["layers.0.weight"] for r in records]) for e in range(12)]
    slope, start = np.polyfit(np.log(truth), heights, 1)
    assert slope > 0
    assert np.allclose(heights, start + slope * np.log(truth), atol=0.1)


def test_what_was_tuned_is_counted():
    report = one_arm()
    found = next(line for line in tuning.lines(report) if line.setting == "cap")
    records = [r for r in report.records if (r.arm, r.condition) == ("cap", "full")]
    tried = {t.setting["cap"] for r in records for t in r.tried}
    chosen = [r.setting["cap"] for r in records]
    assert len(numbers(found.strip, "circle", "cx")) == len(set(chosen))
    assert (float(found.low), float(found.high)) == (min(tried), max(tried))
    assert float(found.middle) == np.median(chosen)
    assert found.edges == f"{sum(c in (min(tried), max(tried)) for c in chosen)} of {len(chosen)}"
    assert tuning.trainings(report) == (18 * 4, 0)


SIZES = st.floats(-1e12, 1e12, allow_nan=False).filter(lambda v: v == 0 or abs(v) > 1e-12)


@given(st.lists(SIZES, min_size=1, max_size=20), st.integers(2, 8))
def test_ticks_are_round_inside_and_few(values, most):
    scale = covering(values)
    found = ticks(scale, most)
    assert all(scale.low - 1e-9 * abs(scale.low) <= t <= scale.high + 1e-9 * abs(scale.high) for t in found)
    assert len(found) <= most + 2
    assert len(set(tick_texts(found))) == len(found)
    assert all(scale.start <= scale(v) <= scale.end for v in values)


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=20), st.integers(3, 8))
def test_logarithmic_ticks(values, most):
    scale = covering_logs(values)
    found = ticks(scale, most)
    assert 1 <= len(found) <= 2 * most + 2
    assert all(scale.low * 0.999 <= t <= scale.high * 1.001 for t in found)
    assert scale(max(values)) >= scale(min(values))


@given(st.lists(st.floats(0, 100), max_size=12))
def test_dots_do_not_cover_each_other_while_there_are_lanes(places):
    lanes = beeswarm(places, 2.0)
    crowded = any(sum(abs(p - q) < 2 * 2.0 for q in places) > 5 for p in places)
    for i, (p, a) in enumerate(zip(places, lanes, strict=True)):
        for q, b in list(zip(places, lanes, strict=True))[:i]:
            assert a != b or abs(p - q) >= 2.0 or crowded


def test_nodes_escape():
    assert node("text", "<b>", x='"1"') == '<text x="&#34;1&#34;">&lt;b&gt;</text>'
    assert node("g", node("a"), class_="k", stroke_width=1.50) == '<g class="k" stroke-width="1.5"><a/></g>'


def test_a_scale_of_huge_numbers_does_not_overflow():
    scale = Scale(-1.7e308, 1.7e308)
    assert scale(0.0) == pytest.approx(50)
    assert len(ticks(scale)) >= 1
