"""The truth tables of three values: which bounds, of which evidence, decide which limit."""

import itertools

import pytest
from made import bounds, quantity, report, row

from opnorm.bound import Evidence
from opnorm.errors import UsageError
from opnorm.report.budget.budget import Budget, Rule
from opnorm.report.budget.judge import judge, undefined, without_rule
from opnorm.report.budget.verdict import Judgement

PROBABLE = Evidence.PROBABLE


def verdicts(rule, *rows, evidence=PROBABLE, **options):
    return judge(report(*rows), Budget("b.toml", (rule,)), evidence, **options)


def holds(rule, *rows, evidence=PROBABLE):
    return [v.holds for v in verdicts(rule, *rows, evidence=evidence)]


ENDS = (None, 1.0, 2.0, 3.0)


@pytest.mark.parametrize(("lower", "upper"), [(a, b) for a in ENDS for b in ENDS if None in (a, b) or a <= b])
def test_ceilings_and_floors_of_every_bracket(lower, upper):
    """Against all numbers that the bracket allows: yes if all keep the limit, no if none does, else unknown."""
    for limit in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5):
        inside = [x for x in (0.0, *[i / 8 for i in range(1, 40)], 1e9) if (lower or 0.0) <= x <= (upper or 1e9)]
        for side, keeps in (("max", [x <= limit for x in inside]), ("min", [x >= limit for x in inside])):
            truth = True if all(keeps) else None if any(keeps) else False
            found = holds(Rule("r", **{side: limit}), row(lower=lower, upper=upper))
            assert found == [truth], (lower, upper, side, limit)


LEVELS = ("estimate", "probable", "proved")


@pytest.mark.parametrize(("has", "needs"), list(itertools.product(LEVELS, LEVELS)))
def test_evidence_that_is_too_weak_decides_nothing(has, needs):
    enough = LEVELS.index(has) >= LEVELS.index(needs)
    found = verdicts(
        Rule("r", max=5.0, min=1.0, evidence=Evidence.parse(needs)), row(lower=2.0, upper=3.0, evidence=has)
    )
    assert [v.holds for v in found] == [True if enough else None] * 2
    if enough:
        assert {v.evidence for v in found} == {has}
    else:
        assert all(f"known as {has}, not {needs}" in v.reason or "no bound" in v.reason for v in found)
    broken = holds(Rule("r", max=1.0, evidence=Evidence.parse(needs)), row(lower=2.0, upper=3.0, evidence=has))
    assert broken == [False if enough else None]


def test_a_verdict_names_the_strongest_evidence_that_decides():
    """Proved within [1, 4], probable within [1.9, 2.1], estimated at 2."""
    mixed = row("w", *bounds(1.0, 4.0), *bounds(1.9, 2.1, "probable"), *bounds(2.0, 2.0, "estimate"))
    cases = {5.0: (True, "proved"), 3.0: (True, "probable"), 0.5: (False, "proved"), 1.5: (False, "probable")}
    for limit, (truth, evidence) in cases.items():
        (found,) = verdicts(Rule("r", max=limit), mixed)
        assert (found.holds, found.evidence) == (truth, evidence)
    assert holds(Rule("r", max=2.05), mixed) == [None]
    assert holds(Rule("r", max=2.05), mixed, evidence=Evidence.ESTIMATE) == [True]
    assert holds(Rule("r", max=3.0, evidence=Evidence.PROVED), mixed) == [None]


def test_what_is_undecided_says_what_would_decide():
    (straddled,) = verdicts(Rule("r", max=2.5), row(lower=2.0, upper=3.0))
    assert "2 ≤ spectral_norm ≤ 3 straddles max 2.5" in straddled.reason
    assert "--width" in straddled.reason
    assert straddled.straddled == 2.5
    (half,) = verdicts(Rule("r", max=2.5), row(upper=3.0, reason="a narrower bound\nneeds sizes"))
    assert "only spectral_norm ≤ 3 is known" in half.reason
    assert half.detail == "a narrower bound\nneeds sizes"
    assert half.straddled is None
    (absent,) = verdicts(Rule("r", "condition", max=2.5), row(lower=1.0, upper=1.0))
    assert "condition is not known: the row's spectrum was not found" in absent.reason


def test_digits_are_shown_outward_and_on_their_side_of_the_limit():
    limit = 1.2345678
    for value in (limit * (1 + 1e-12), limit * (1 - 1e-12), limit, 1.0, 9.87654321e-7, 1e300):
        (found,) = verdicts(Rule("r", max=limit), row(lower=value, upper=value))
        told = float(found.reason.split()[2])
        assert (told <= limit) == (value <= limit)
        assert told >= value if found.holds else told <= value


def test_numbers_without_bounds_are_used_at_their_own_evidence():
    """A row read back from JSON keeps its numbers, not its list of bounds."""
    from dataclasses import replace

    stored = replace(row(lower=2.0, upper=3.0, evidence="probable"), bounds=())
    assert holds(Rule("r", max=4.0), stored) == [True]
    assert holds(Rule("r", max=4.0, evidence=Evidence.PROVED), stored) == [None]


def test_metrics_of_the_spectrum():
    rows = row(
        lower=1.0,
        upper=1.0,
        quantities={
            "effective_rank": quantity(3.0, 2.9, 3.1, "proved"),
            "condition": quantity(10.0),
            "alpha_weighted": quantity(4.0, error=0.5),
            "nuclear": quantity(None, note="too large for an SVD"),
            "log_det": quantity(-5.0, -5.1, -4.9, "proved"),
            "smallest": quantity(0.1, None, 0.2, "proved"),
        },
    )
    estimate = Evidence.ESTIMATE
    cases = [
        (Rule("r", "effective_rank", min=2.9), True),
        (Rule("r", "effective_rank", min=3.0), None),
        (Rule("r", "effective_rank", min=3.2), False),
        (Rule("r", "condition", max=11.0), None),
        (Rule("r", "condition", max=11.0, evidence=estimate), True),
        (Rule("r", "condition", max=9.0, evidence=estimate), False),
        (Rule("r", "alpha_weighted", max=5.0, evidence=estimate), True),
        (Rule("r", "alpha_weighted", max=4.9, evidence=estimate), None),
        (Rule("r", "alpha_weighted", max=2.9, evidence=estimate), False),
        (Rule("r", "nuclear", max=5.0, evidence=estimate), None),
        (Rule("r", "log_det", max=-4.9), True),
        (Rule("r", "log_det", max=-5.5), False),
        (Rule("r", "smallest", min=0.3), False),
        (Rule("r", "smallest", min=0.05), None),
        (Rule("r", "smallest", min=0.05, evidence=estimate), True),
    ]
    for rule, truth in cases:
        (found,) = verdicts(rule, rows)
        assert found.holds is truth, rule
        if rule.evidence is estimate and truth is True:
            assert found.evidence == "estimate", "a value without ends is never more than an estimate"
    assert "too large for an SVD" in verdicts(cases[9][0], rows)[0].reason
    assert 'evidence = "estimate" in the rule accepts it' in verdicts(cases[3][0], rows)[0].reason


def test_frobenius_and_stable_rank_without_a_spectrum():
    """A diagonal (3, 4): ‖A‖_F = 5, σ₁ = 4, stable rank 25/16."""
    known = row(lower=4.0, upper=4.0, frobenius=5.0)
    proved = Evidence.PROVED
    assert holds(Rule("r", "frobenius", max=5.0 + 1e-9, min=5.0 - 1e-9), known, evidence=proved) == [True, True]
    assert holds(Rule("r", "frobenius", max=5.0), known, evidence=proved) == [None]
    rank = 25 / 16
    assert holds(Rule("r", "stable_rank", max=rank + 1e-9, min=rank - 1e-9), known, evidence=proved) == [True, True]
    assert holds(Rule("r", "stable_rank", min=rank + 1e-9), known, evidence=proved) == [False]
    wide = row("w", *bounds(2.0, 5.0), *bounds(3.9, 4.1, "probable"), frobenius=5.0)
    assert holds(Rule("r", "stable_rank", min=1.2), wide, evidence=proved) == [None]
    assert holds(Rule("r", "stable_rank", min=1.2), wide) == [True]
    large = row(lower=4.0, upper=4.0, frobenius=5.0, shape=(10_000, 10_000))
    near = Rule("r", "frobenius", max=5.0 * (1 + 1e-9))
    assert holds(near, known, evidence=proved) == [True]
    assert holds(near, large, evidence=proved) == [None], "a sum of 1e8 squares is known to 1.1e-8 only"
    absent = row(lower=4.0, upper=4.0)
    for metric in ("frobenius", "stable_rank"):
        (found,) = verdicts(Rule("r", metric, max=9.0), absent)
        assert (found.holds, "not known" in found.reason) == (None, True)


def test_which_rows_a_rule_covers():
    rows = [
        row("encoder.0.attn.weight", lower=1.0, upper=1.0),
        row("encoder.0.mlp.weight", lower=1.0, upper=1.0),
        row("encoder.0.qkv.weight[q]", lower=1.0, upper=1.0),
        row("embed.weight", lower=1.0, upper=1.0, kind="embedding"),
        row("encoder.0.qk", lower=1.0, upper=1.0, kind="circuit", derived=True),
        row("encoder.0.lora", lower=1.0, upper=1.0, kind="adapted linear", derived=True),
        row("encoder.0.bias", status="not_a_map", kind="bias"),
    ]

    def covered(**given):
        return [r.name for r in rows if Rule("r", max=1.0, **given).covers(r)]

    everything = [r.name for r in rows if r.name not in ("encoder.0.qk", "encoder.0.bias")]
    assert covered() == everything
    assert covered(globs=("encoder.0",)) == [n for n in everything if n != "embed.weight"]
    assert covered(globs=("*.attn.*", "embed*")) == ["encoder.0.attn.weight", "embed.weight"]
    assert covered(globs=("encoder.0.qkv.weight[q]",)) == ["encoder.0.qkv.weight[q]"]
    assert covered(skip=("encoder",)) == ["embed.weight"]
    assert covered(kinds=("embedding",)) == ["embed.weight"]
    assert covered(kinds=("circuit",)) == []
    assert covered(kinds=("circuit",), derived=True) == ["encoder.0.qk"]


def test_all_rules_that_cover_a_row_apply():
    rules = (Rule("loose", max=9.0), Rule("tight", max=2.0), Rule("floor", min=1.0))
    found = judge(report(row(lower=3.0, upper=3.0)), Budget("b", rules), PROBABLE)
    assert [(v.rule, v.holds) for v in found] == [("loose", True), ("tight", False), ("floor", True)]


def test_a_rule_that_covers_nothing_is_a_mistake():
    one = row("encoder.weight", lower=1.0, upper=1.0)
    with pytest.raises(UsageError, match=r"covers no weight; near to it: encoder.weight.*optional = true"):
        verdicts(Rule("r", globs=("encodr.weight",), max=1.0), one)
    with pytest.raises(UsageError, match="near to it: linear"):
        verdicts(Rule("r", kinds=("liner",), max=1.0), one)
    assert verdicts(Rule("r", globs=("decoder*",), max=1.0, optional=True), one) == []
    rules = (Rule("a", globs=("decoder*",), max=1.0), Rule("b", max=1.0))
    assert len(judge(report(one), Budget("b", rules), PROBABLE, selected=True)) == 1
    with pytest.raises(UsageError, match="--only and --skip"):
        verdicts(rules[0], one, selected=True)
    partial = judge(report(one, complete=False), Budget("b", rules), PROBABLE)
    assert [(v.rule, v.holds) for v in partial] == [("a", None), ("b", True)]


def test_what_has_no_number_fails():
    rows = [row("a", status="undefined", reason="1 NaN"), row("b", status="refused", reason="codes\x1b[1m")]
    found = verdicts(Rule("r", max=1.0), *rows)
    assert [(v.holds, v.reason, v.detail) for v in found] == [
        (None, "undefined", "1 NaN"),
        (None, "refused", "codes\x1b[1m"),
    ]
    assert "\x1b" not in found[1].text


def test_nan_fails_whatever_the_rules_speak_of():
    rows = [row("a", lower=1.0, upper=1.0), row("b", status="undefined", reason="1 NaN"), row("c", status="refused")]
    budget = Budget("b", (Rule("r", globs=("a",), max=2.0),))
    found = judge(report(*rows), budget, PROBABLE)
    assert [v.holds for v in found] == [True]
    assert [(v.name, v.holds) for v in undefined(report(*rows), found)] == [("b", None)]
    assert [r.name for r in without_rule(report(*rows), budget)] == ["b", "c"]


def test_only_a_full_yes_passes():
    yes, no, unknown = (verdicts(Rule("r", max=m), row(lower=2.0, upper=3.0))[0] for m in (4.0, 1.0, 2.5))
    for given in itertools.chain.from_iterable(itertools.combinations((yes, no, unknown), n) for n in range(4)):
        assert Judgement(tuple(given), True).passed is (given == (yes,))
        assert not Judgement(tuple(given), False).passed
    assert Judgement((), True, asked=False).passed
    assert not Judgement((), False, asked=False).passed
    both = Judgement((unknown, no, yes), True)
    assert both.sentence == "1 of 3 limits hold (1 proved), 1 broken, 1 undecided"
    assert both.failed == (no, unknown)
