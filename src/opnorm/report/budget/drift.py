"""How far a model has moved from its baseline: |σ/σ₀ − 1| ≤ δ for every row, in three values.

From brackets a ≤ σ₀ ≤ b then and c ≤ σ ≤ d now: it holds for certain where d ≤ (1 + δ)a and c ≥ (1 − δ)b, and is broken
for certain where c > (1 + δ)b or d < (1 − δ)a. The comparisons are of rational numbers, without rounding. A row of
the very file that the baseline was written from, by its SHA-256, has not moved at all, however wide the brackets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from opnorm.bound import Evidence
from opnorm.errors import UsageError
from opnorm.report.budget.baseline import Baseline, Line
from opnorm.report.budget.budget import Budget, Drift, Rule, is_weight
from opnorm.report.budget.metrics import SPECTRAL_NORM, ends, quantity_of
from opnorm.report.budget.verdict import Verdict
from opnorm.report.document import Report, Row
from opnorm.report.text import number
from opnorm.spectrum.document import Quantity

LABEL = "drift"
"""The label of verdicts of [drift]."""

_OTHER = "another operator than in the baseline, which has"

Ends = tuple[float | None, float | None]


def drifted(now: Ends, then: Ends, allowed: float) -> bool | None:
    """Whether the change keeps within `allowed`: True, False, or None where the ends cannot tell."""
    (c, d), (a, b) = ([None if x is None else Fraction(x) for x in pair] for pair in (now, then))
    least, most = 1 - Fraction(allowed), 1 + Fraction(allowed)
    if (b is not None and c is not None and c > most * b) or (a is not None and d is not None and d < least * a):
        return False
    if a is None or b is None or c is None or d is None:
        return None
    return True if d <= most * a and c >= least * b else None


def judge_drift(
    report: Report,
    baseline: Baseline,
    budget: Budget,
    evidence: Evidence,
    selected: Callable[..., bool] = lambda *_: True,
) -> list[Verdict]:
    """Verdicts of every rule's drift and of [drift]; `UsageError` where the baseline is of another model.

    selected: of a name and its tensors, whether it was to be measured, so that rows of the baseline that were left
    out on purpose are not missed.
    """
    _require_same_model(report, baseline, selected)
    judging = _Judging(report, baseline, evidence)
    rules = [rule for rule in budget.rules if rule.drift is not None]
    found = [v for rule in rules for row in report.rows if rule.covers(row) for v in judging.of_rule(rule, row)]
    if budget.drift is None:
        return found
    spoken = {v.name for v in found if v.metric == SPECTRAL_NORM}
    for row in report.rows:
        if row.status != "not_a_map" and is_weight(row) and row.name not in spoken:
            found += judging.of_row(row, budget.drift)
    return found if budget.drift.unmatched else [*found, *_missing(report, baseline, selected)]


@dataclass(frozen=True, slots=True)
class _Judging:
    report: Report
    baseline: Baseline
    evidence: Evidence

    def of_rule(self, rule: Rule, row: Row) -> Iterator[Verdict]:
        assert rule.drift is not None
        if row.status == "measured":  # else its ceiling, or [drift], says so
            yield self._verdict(row, rule.label, rule.metric, rule.drift, rule.evidence or self.evidence, rule.line)
        elif rule.max is None and rule.min is None:
            yield Verdict(rule.label, row.name, rule.metric, None, row.status, row.reason, input=row.input)

    def of_row(self, row: Row, drift: Drift) -> Iterator[Verdict]:
        if row.name not in self.baseline.lines and drift.unmatched:
            return
        if row.status == "measured":
            yield self._verdict(row, LABEL, SPECTRAL_NORM, drift.relative, self.evidence, 0)
        else:
            yield Verdict(LABEL, row.name, SPECTRAL_NORM, None, row.status, row.reason, input=row.input)

    def _verdict(self, row: Row, label: str, metric: str, allowed: float, least: Evidence, line: int) -> Verdict:
        holds, reason, basis = self._moved(row, metric, allowed, least)
        then = self.baseline.lines.get(row.name)
        detail = f"{then.kind} {then.operator}" if reason == _OTHER and then is not None else ""
        known = (basis, row.input, row.seconds)
        return Verdict(label, row.name, metric, holds, reason, detail, *known, line=line, side="drift")

    def _moved(self, row: Row, metric: str, allowed: float, least: Evidence) -> tuple[bool | None, str, str]:
        then = self.baseline.lines.get(row.name)
        if then is None:
            return None, f'it is not in the baseline; write that anew, or say unmatched = "allow" in [{LABEL}]', ""
        if (then.kind, then.operator, then.shape) != (row.kind, row.operator, row.shape):
            return None, _OTHER, ""
        if self._same_file(row, then):
            return True, "the same file as the baseline's", Evidence.PROVED.label
        return _compared(row, then, metric, allowed, least)

    def _same_file(self, row: Row, then: Line) -> bool:
        """Whether the row's one file is the baseline's, bit for bit."""
        digest = self.report.inputs[row.input].sha256 if row.input < len(self.report.inputs) else ""
        return not row.derived and bool(digest) and digest == self.baseline.digest(then)


def _compared(row: Row, then: Line, metric: str, allowed: float, least: Evidence) -> tuple[bool | None, str, str]:
    before = then.metrics.get(metric)
    if before is None:
        return None, f"the baseline does not have {metric}: write it anew with this budget", ""
    for level in (level for level in sorted(Evidence, reverse=True) if level >= least):
        after = quantity_of(row, metric, level)
        holds = drifted(ends(after, level), ends(before, level), allowed)
        if holds is not None:
            within = "within" if holds else "not within"
            moved = f"{_range(before, level)} to {_range(after, level)}"
            return holds, f"{metric} went from {moved}, {within} drift {allowed!r} ({level.label})", level.label
    return None, f"cannot tell: {_undecided(before, after, metric, allowed, least)}", ""


def _undecided(before: Quantity, after: Quantity, metric: str, allowed: float, least: Evidence) -> str:
    for what, quantity in (("the baseline", before), ("this run", after)):
        if Evidence.parse(quantity.evidence) < least:
            return f"{what} knows {metric} as {quantity.evidence}, not {least.label}"
        if None in ends(quantity, least):
            return f"{what} lacks an end of {metric}"
    moved = f"from {_range(before, least)} to {_range(after, least)}"
    return f"{metric} went {moved}, which may be drift {allowed!r} or less; a narrower --width, for both, decides"


def _range(quantity: Quantity, level: Evidence) -> str:
    lower, upper = ends(quantity, level)
    return f"[{number(lower, down=True)}, {number(upper, down=False)}]"


def _missing(report: Report, baseline: Baseline, selected: Callable[..., bool]) -> Iterator[Verdict]:
    known = {row.name for row in report.rows}
    for line in baseline.lines.values():
        if not line.derived and line.name not in known and selected(line.name, *line.tensors):
            reason = f'it is in the baseline and not in this model; unmatched = "allow" in [{LABEL}] permits it'
            yield Verdict(LABEL, line.name, SPECTRAL_NORM, None, reason)


def _require_same_model(report: Report, baseline: Baseline, selected: Callable[..., bool]) -> None:
    wanted = [line for line in baseline.lines.values() if selected(line.name, *line.tensors)]
    known = {row.name for row in report.rows}
    if report.complete and not any(line.name in known for line in wanted):
        of = next(iter(baseline.lines), "nothing")
        raise UsageError(
            f"{baseline.path}: is the baseline of another model: none of its {len(baseline.lines)} rows, such as "
            f"{of[:120]!r}, is in this one; nothing was written"
        )
