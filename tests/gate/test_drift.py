"""Drift from a baseline in three values, against every pair of numbers that the brackets allow."""

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import quantity, report, row

from opnorm.bound import Evidence
from opnorm.errors import UsageError
from opnorm.report.budget.baseline import baseline_of
from opnorm.report.budget.budget import Budget, Drift, Rule
from opnorm.report.budget.drift import drifted, judge_drift

GRID = [i / 4 for i in range(13)]


def test_all_brackets_of_a_grid():
    """Yes if all pairs keep within the drift, no if none does, unknown between; the ends decide, by monotony."""
    brackets = [(a, b) for a, b in itertools.product(GRID[::2], GRID[::2]) if a <= b]
    for allowed in (0.0, 0.25, 1.0, 1.5):
        for then, now in itertools.product(brackets, brackets):
            kept = [abs(Fraction(y) - Fraction(x)) <= Fraction(allowed) * Fraction(x) for x in then for y in now]
            found = drifted(now, then, allowed)
            if all(kept):
                assert found is True, (then, now, allowed)
            elif any(kept):
                assert found is None, (then, now, allowed)
            else:
                assert found in (False, None), "between the ends some pair may keep what no ends do"


@given(*[st.floats(0, 1e300) for _ in range(4)], st.floats(0, 3), st.floats(0, 1), st.floats(0, 1))
def test_a_decision_is_never_wrong(a, b, c, d, allowed, s, t):
    """Whatever numbers lie in the brackets, exactly compared."""
    (a, b), (c, d) = sorted((a, b)), sorted((c, d))
    found = drifted((c, d), (a, b), allowed)
    before = Fraction(a) + Fraction(s) * (Fraction(b) - Fraction(a))
    after = Fraction(c) + Fraction(t) * (Fraction(d) - Fraction(c))
    keeps = abs(after - before) <= Fraction(allowed) * before
    assert found is None or found is keeps


def test_missing_ends():
    assert drifted((None, 1.0), (1.0, 1.0), 0.1) is None
    assert drifted((None, 0.5), (1.0, 1.0), 0.1) is False
    assert drifted((2.0, None), (1.0, 1.0), 0.1) is False
    assert drifted((2.0, None), (None, 1.0), 0.1) is False
    assert drifted((2.0, None), (1.0, None), 0.1) is None
    assert drifted((0.0, 0.0), (0.0, 0.0), 0.0) is True
    assert drifted((1e-300, 1.0), (0.0, 0.0), 9.0) is False


FIVE_PERCENT, TENTH = Budget("", drift=Drift(0.05)), Budget("", drift=Drift(0.1))


def judged(now, then, budget=FIVE_PERCENT, evidence=Evidence.PROBABLE, **options):
    baseline = baseline_of(report(*then, sha256="b" * 64), ("stable_rank", "condition"))
    return [(v.name, v.holds) for v in verdicts(now, baseline, budget, evidence, **options)]


def verdicts(now, baseline, budget=FIVE_PERCENT, evidence=Evidence.PROBABLE, **options):
    return judge_drift(report(*now), baseline, budget, evidence, **options)


def at(value, name="w", **more):
    return row(name, lower=value, upper=value, **more)


def test_a_row_within_and_beyond():
    then = [at(1.0)]
    assert judged([at(1.04)], then) == [("w", True)]
    assert judged([at(0.96)], then) == [("w", True)]
    assert judged([at(1.06)], then) == [("w", False)]
    assert judged([at(0.94)], then) == [("w", False)]
    assert judged([row(lower=1.0, upper=1.1)], then) == [("w", None)]


def test_evidence_of_either_side_counts():
    proved, probable = at(1.0), at(1.0, evidence="probable")
    for now, then in ((proved, probable), (probable, proved)):
        assert judged([now], [then]) == [("w", True)]
        assert judged([now], [then], evidence=Evidence.PROVED) == [("w", None)]
    (found,) = verdicts([proved], baseline_of(report(probable, sha256="b")), evidence=Evidence.PROVED)
    assert "the baseline knows spectral_norm as probable, not proved" in found.reason


def test_the_same_file_has_not_moved_however_wide_its_brackets():
    wide = row(lower=1.0, upper=2.0)
    assert judged([wide], [wide]) == [("w", None)]
    baseline = baseline_of(report(wide))
    (found,) = verdicts([wide], baseline, Budget("", drift=Drift(0.0)))
    assert (found.holds, found.evidence) == (True, "proved")
    derived = replace(wide, derived=True, kind="adapted linear")
    assert [v.holds for v in verdicts([derived], baseline_of(report(derived)))] == [None], (
        "other files have a part in it"
    )
    nameless = baseline_of(report(wide, sha256=""))
    assert [v.holds for v in judge_drift(report(wide, sha256=""), nameless, TENTH, Evidence.PROVED)] == [None]
    for unknown in ("", "c" * 64):
        assert [v.holds for v in judge_drift(report(wide, sha256=unknown), baseline, TENTH, Evidence.PROVED)] == [None]


def test_another_operator_cannot_be_compared():
    for other in (at(1.0, shape=(4, 5)), at(1.0, kind="embedding"), at(1.0, operator="convolution 3x3\x1b")):
        assert judged([other], [at(1.0)]) == [("w", None)]


def test_rows_without_a_partner():
    old, new, both = at(1.0, "old"), at(1.0, "new"), at(1.0, "both")
    assert judged([both, new], [both, old]) == [("both", True), ("new", None), ("old", None)]
    lenient = Budget("", drift=Drift(0.05, unmatched=True))
    assert judged([both, new], [both, old], lenient) == [("both", True)]
    assert judged([both], [both, old], selected=lambda *names: "old" not in names) == [("both", True)]


def test_a_baseline_of_another_model():
    baseline = baseline_of(report(at(1.0, "decoder")))
    with pytest.raises(UsageError, match="baseline of another model: none of its 1 rows, such as 'decoder'"):
        verdicts([at(1.0, "encoder")], baseline)
    partial = judge_drift(report(complete=False), baseline, Budget("", drift=Drift(0.1)), Evidence.PROVED)
    assert [v.holds for v in partial] == [None]


def test_a_row_that_was_measured_and_is_refused_now_fails():
    refused = row("w", status="refused", reason="codes without scales")
    assert judged([refused, at(1.0, "v")], [at(1.0), at(1.0, "v")]) == [("w", None), ("v", True)]
    lenient = Budget("", drift=Drift(0.05, unmatched=True))
    assert judged([refused, at(1.0, "v")], [at(1.0), at(1.0, "v")], lenient) == [("w", None), ("v", True)]
    assert judged([refused, at(1.0, "v")], [at(1.0, "v")], lenient) == [("v", True)]


def test_a_rule_speaks_before_the_default():
    budget = Budget("", (Rule("r", globs=("a",), drift=0.5),), Drift(0.05))
    now, then = [at(1.4, "a"), at(1.4, "b")], [at(1.0, "a"), at(1.0, "b")]
    assert judged(now, then, budget) == [("a", True), ("b", False)]


def test_drift_of_another_metric():
    def with_condition(value):
        return at(1.0, quantities={"condition": quantity(value, value, value, "proved")})

    budget = Budget("", (Rule("r", "condition", drift=0.1),))
    assert judged([with_condition(10.5)], [with_condition(10.0)], budget) == [("w", True)]
    assert judged([with_condition(12.0)], [with_condition(10.0)], budget) == [("w", False)]
    (found,) = verdicts([with_condition(10.0)], baseline_of(report(with_condition(10.0), sha256="b")), budget)
    assert "the baseline does not have condition" in found.reason
