"""JSON: exact both ways, strict, and a verdict whose bytes know no clock."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_reports import all_failed, bare, extreme, full, hostile, one_arm

from opnorm.errors import UsageError
from opnorm.experiment.document import SCHEMA, Answer, Cost, Point
from opnorm.report.trial import read_json, to_json, verdict_json

SMALL = one_arm()
TINY = to_json(
    replace(SMALL, records=tuple(replace(r, curve=r.curve[:2]) for r in SMALL.records[:2]), verdicts=SMALL.verdicts[:1])
)
BRIEF = full(seeds=3, epochs=4)
EVERY = {"full": full, "one": one_arm, "bare": bare, "failed": all_failed, "extreme": extreme, "hostile": hostile}


def strict(text: str) -> Any:
    """As a reader that follows RFC 8259: no NaN, no Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("made", EVERY.values(), ids=EVERY)
def test_a_report_comes_back_the_same(made):
    report = made()
    text = to_json(report)
    assert strict(text)["schema"] == SCHEMA == "opnorm.trial/1"
    found = read_json(text)
    assert found == report
    assert to_json(found) == text


@given(
    st.floats(allow_nan=False),
    st.floats(allow_nan=False),
    st.floats(allow_nan=False),
    st.sampled_from(Answer),
    st.text(),
)
def test_any_number_any_text_comes_back(difference, low, score, answer, text):
    first = SMALL.verdicts[0]
    one = replace(first.comparisons[0], difference=difference, interval=(low, difference), answer=answer, note=text)
    record = replace(SMALL.records[0], scores={text: score, "none": None}, curve=(Point(1, None, score, {text: low}),))
    report = replace(SMALL, verdicts=(replace(first, comparisons=(one,)),), records=(record,), subject={text: score})
    if all(map(math.isfinite, (difference, low, score))):
        assert read_json(to_json(report)) == report
    found = read_json(to_json(replace(report, subject={})))
    assert found == replace(report, subject={})


def test_numbers_that_json_has_not():
    record = replace(SMALL.records[0], scores={"a": math.nan, "b": math.inf, "c": -math.inf})
    found = read_json(to_json(replace(SMALL, records=(record,)))).records[0].scores
    assert math.isnan(found["a"])
    assert (found["b"], found["c"]) == (math.inf, -math.inf)


def test_the_verdict_knows_no_clock_machine_or_command():
    report = full(seeds=3, epochs=4)
    slower = tuple(replace(r, seconds=r.seconds * 3, notes=("slow",)) for r in reversed(report.records))
    elsewhere = replace(
        report, version="9.9", command="another", records=slower, costs=(Cost("cap", 9.0, None, None),),
        environment={"torch": "0"}, subject={"path": "elsewhere"}, apply="", notes=("x",), untested=(),
    )  # fmt: skip
    assert verdict_json(elsewhere) == verdict_json(report)
    found = strict(verdict_json(report))
    assert set(found) == {"schema", "design", "verdicts", "controls", "winner"}
    assert verdict_json(report) == json.dumps(found, sort_keys=True, separators=(",", ":")) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, winner="none"),
        lambda r: replace(r, controls=()),
        lambda r: replace(r, design=replace(r.design, margin=0.02)),
        lambda r: replace(r, verdicts=(replace(r.verdicts[0], sentence="no"), *r.verdicts[1:])),
    ],
)
def test_what_was_found_changes_the_verdict(change):
    assert verdict_json(change(BRIEF)) != verdict_json(BRIEF)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "schema is None"),
        ('{"schema": "opnorm.report/1"}', "opnorm.report/1"),
        (f'{{"schema": "{SCHEMA}"}}', "object with"),
        (to_json(SMALL).replace('"complete": true', '"complete": 1'), "complete is '1', not a bool"),
        (to_json(SMALL).replace('"helps"', '"cures"', 1), "cures"),
        (to_json(SMALL).replace('"winner"', '"loser"', 1), "loser"),
        (to_json(SMALL).replace('"difference": 0.', '"difference": NaN, "x": 0.', 1), "NaN is no number"),
    ],
)
def test_what_is_no_report_is_refused(text, said):
    with pytest.raises(UsageError, match="no report of a trial") as caught:
        read_json(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


def leaves(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, item in pairs for found in leaves(item, (*place, key)))]


@given(st.data())
def test_a_changed_file_is_read_or_refused_never_more(data):
    tree = json.loads(TINY)
    *way, last = data.draw(st.sampled_from([p for p in leaves(tree) if p]))
    node = tree
    for key in way:
        node = node[key]
    node[last] = data.draw(st.sampled_from([None, True, 3, -1.5, "NaN", "x", [], {}, [1], {"a": 1}, [None, None]]))
    try:
        found = read_json(json.dumps(tree))
    except UsageError:
        return
    assert read_json(to_json(found)) == found or "NaN" in json.dumps(tree)
