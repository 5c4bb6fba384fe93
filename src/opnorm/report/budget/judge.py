"""Does a report keep a budget? Yes, no, or cannot tell, for every limit of every row that a rule covers.

A limit holds only if an end of the bracket, of the evidence asked for, says so; it is broken only if the other end
does. Between them nothing is known, the verdict is None, and the gate fails with what would decide. A verdict names the
strongest evidence that decides it. Cost: a few comparisons per row; nothing is measured here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from opnorm.bound import Evidence
from opnorm.errors import UsageError
from opnorm.report.budget.budget import Budget, Rule, is_weight, paths
from opnorm.report.budget.metrics import SPECTRAL_NORM, STABLE_RANK, ends, quantity_of
from opnorm.report.budget.verdict import Verdict
from opnorm.report.display import display_name
from opnorm.report.document import Report, Row
from opnorm.report.gate import Verdict as OfCeiling
from opnorm.report.text import number
from opnorm.spectrum.document import Quantity

UNCOVERED = "no rule"
"""The label of verdicts that no rule gave."""


def judge(report: Report, budget: Budget, evidence: Evidence, *, selected: bool = False) -> list[Verdict]:
    """The verdicts of all rules' ceilings and floors, in the order of the file.

    evidence: what a rule asks for that does not say. selected: only a part of the model was measured on purpose, so
    that a rule may cover nothing. Raises `UsageError` for a rule that covers nothing of a report that is complete.
    """
    verdicts: list[Verdict] = []
    covered = False
    for rule in budget.rules:
        rows = [row for row in report.rows if rule.covers(row)]
        covered = covered or bool(rows)
        if not rows and not rule.optional and not (selected and report.complete):
            verdicts.append(_covers_nothing(rule, report, budget))
        for row in rows:
            verdicts += _limits(rule, row, rule.evidence or evidence)
    if selected and budget.rules and not covered and report.complete:
        raise UsageError(f"{budget.path}: no rule covers anything that --only and --skip leave")
    return verdicts


def undefined(report: Report, verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Of weights that hold NaN or Inf and have no verdict: no check passes them, whatever its rules speak of."""
    judged = {(v.input, v.name) for v in verdicts}
    rows = [row for row in report.rows if row.status == "undefined" and is_weight(row)]
    return [
        Verdict(UNCOVERED, row.name, SPECTRAL_NORM, None, row.status, row.reason, input=row.input)
        for row in rows
        if (row.input, row.name) not in judged
    ]


def without_rule(report: Report, budget: Budget) -> list[Row]:
    """Weights that no rule covers: a budget need not speak of everything, and its reader should know."""
    return [row for row in report.rows if row.status != "not_a_map" and is_weight(row) and not _ruled(row, budget)]


def named_like_weights(report: Report, budget: Budget) -> list[str]:
    """Of rules that cover every weight, but have the name of one: likely a `name` where `glob` was meant."""
    rows = [row for row in report.rows if row.status != "not_a_map" and is_weight(row)]
    notes = []
    for rule in budget.rules:
        covered = [row for row in rows if rule.covers(row)] if rule.globs == ("*",) and not rule.kinds else []
        named = sum(rule.label in paths(row.name, *row.tensors) for row in covered)
        if 0 < named < len(covered):
            notes.append(
                f"rule {display_name(rule.label)!r} has no glob and covers all {len(covered)} weights; if it is to "
                f"cover {display_name(rule.label)} alone, give it as glob"
            )
    return notes


def _ruled(row: Row, budget: Budget) -> bool:
    return any(rule.covers(row) for rule in budget.rules)


def of_ceiling(found: OfCeiling, ceiling: float) -> Verdict:
    """A verdict of `opnorm.report.gate`, with others' words apart from this project's."""
    row, reason = found.row, found.reason.removeprefix(f"{display_name(found.row.name)}: ")
    if row.status != "measured":
        reason = row.status
    elif row.reason:
        reason = reason.removesuffix(f": {row.reason}")
    detail = row.reason if found.holds is None else ""
    evidence = row.evidence or "" if found.holds is not None else ""
    return Verdict(
        f"--max {ceiling:g}", row.name, SPECTRAL_NORM, found.holds, reason, detail, evidence, row.input, row.seconds
    )


def _covers_nothing(rule: Rule, report: Report, budget: Budget) -> Verdict:
    """The failure of an incomplete report; of a complete one `UsageError`, as the rule is a mistake."""
    if not report.complete:
        return Verdict(rule.label, "", rule.metric, None, "covers nothing of what was measured", line=rule.line)
    near = _near(rule.globs, (r.name for r in report.rows)) + _near(rule.kinds, (r.kind for r in report.rows))
    hint = f"; near to it: {', '.join(near)}" if near else ""
    raise UsageError(
        f"{budget.path}: rule {rule.label!r} covers no weight{hint}. Correct its glob, skip or kind, or say "
        "optional = true if it may cover nothing"
    )


def _near(patterns: Sequence[str], known: Iterable[str]) -> list[str]:
    names = list(dict.fromkeys(known))
    found = (difflib.get_close_matches(p.strip("*"), names, 2, 0.5) for p in patterns if p.strip("*"))
    return [name for names in found for name in names]


def _limits(rule: Rule, row: Row, least: Evidence) -> Iterator[Verdict]:
    if row.status != "measured":
        yield _verdict(rule, row, None, row.status, row.reason)
        return
    if rule.max is not None:
        yield _limit(rule, row, least, rule.max, "max")
    if rule.min is not None:
        yield _limit(rule, row, least, rule.min, "min")


def _limit(rule: Rule, row: Row, least: Evidence, limit: float, side: str) -> Verdict:
    for level in (level for level in sorted(Evidence, reverse=True) if level >= least):
        quantity = quantity_of(row, rule.metric, level)
        lower, upper = ends(quantity, level)
        holds = _compared(lower, upper, limit, side)
        if holds is not None:
            reason = _decided(rule.metric, upper if holds == (side == "max") else lower, limit, side, holds)
            return _verdict(rule, row, holds, f"{reason} ({level.label})", evidence=level.label, side=side)
    reason = f"cannot tell: {_undecided(rule.metric, quantity, least, limit, side)}"
    inside = rule.metric == SPECTRAL_NORM and lower is not None and upper is not None
    detail = row.reason if lower is None or upper is None else ""
    return _verdict(rule, row, None, reason, detail, straddled=limit if inside else None, side=side)


def _compared(lower: float | None, upper: float | None, limit: float, side: str) -> bool | None:
    """Whether the number in [lower, upper] keeps the limit; None where that cannot be told."""
    if side == "max":
        return True if upper is not None and upper <= limit else False if lower is not None and lower > limit else None
    return True if lower is not None and lower >= limit else False if upper is not None and upper < limit else None


def _decided(metric: str, end: float | None, limit: float, side: str, holds: bool) -> str:
    assert end is not None
    is_upper = holds == (side == "max")
    told = f"{metric} {'≤' if is_upper else '≥'} {shown(end, limit, down=not is_upper)}"
    return told if holds else f"{told} {'exceeds' if side == 'max' else 'is below'} {side} {limit!r}"


def shown(value: float, limit: float, *, down: bool) -> str:
    """A few digits, rounded outward; all of them where fewer would not lie on the same side of the limit."""
    text = number(value, down=down)
    sides = [(x > limit) - (x < limit) for x in (value, float(text))]
    return text if sides[0] == sides[1] else repr(value)


def _undecided(metric: str, quantity: Quantity, least: Evidence, limit: float, side: str) -> str:
    """What is known, and what would decide."""
    lower, upper = ends(quantity, least)
    if lower is not None and upper is not None:
        known = f"{shown(lower, limit, down=True)} ≤ {metric} ≤ {shown(upper, limit, down=False)}"
        return f"{known} straddles {side} {limit!r}; {_remedy(metric, quantity)}"
    if lower is not None or upper is not None:
        sign, end = ("≤", upper) if lower is None else ("≥", lower)
        return f"only {metric} {sign} {shown(end or 0.0, limit, down=lower is not None)} is known"
    if Evidence.parse(quantity.evidence) < least and _says_something(quantity):
        return _too_weak(metric, quantity, least)
    return quantity.note or f"no bound on {metric} of evidence {least.label} is known"


def _says_something(quantity: Quantity) -> bool:
    return any(x is not None for x in (quantity.value, quantity.lower, quantity.upper))


def _too_weak(metric: str, quantity: Quantity, least: Evidence) -> str:
    better = f"--evidence {least.label} may reach it" if metric in (SPECTRAL_NORM, STABLE_RANK) else ""
    accept = f'evidence = "{quantity.evidence}" in the rule accepts it'
    told = f" {quantity.value:.5g}" if quantity.value is not None else ""
    return f"{metric}{told} is known as {quantity.evidence}, not {least.label}; {better or accept}"


def _remedy(metric: str, quantity: Quantity) -> str:
    if metric in (SPECTRAL_NORM, STABLE_RANK):
        return "a narrower --width, such as 1e-6, decides"
    spread = "within its standard errors" if quantity.error else "inside what is known"
    return f"the limit lies {spread}: choose another, or evidence that allows less"


def _verdict(
    rule: Rule,
    row: Row,
    holds: bool | None,
    reason: str,
    detail: str = "",
    *,
    evidence: str = "",
    straddled: float | None = None,
    side: str = "",
) -> Verdict:
    basis = (evidence, row.input, row.seconds, straddled, rule.line)
    return Verdict(rule.label, row.name, rule.metric, holds, reason, detail, *basis, side=side)
