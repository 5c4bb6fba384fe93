"""Verdicts as findings of the report, so that its JSON and its page show what a budget or a baseline found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opnorm.report.budget.verdict import Verdict
from opnorm.report.document import Finding, Report

MOST = 50
"""Verdicts that are listed; the rest is counted."""

BROKEN, UNDECIDED = "limit-broken", "limit-undecided"


def with_verdicts(report: Report, verdicts: Sequence[Verdict]) -> Report:
    """The report, which begins with those limits that do not hold: the proved violations first."""
    failed = sorted((v for v in verdicts if v.holds is not True), key=lambda v: v.holds is None)
    found = [_finding(v) for v in failed[:MOST]]
    if len(failed) > MOST:
        found.append(Finding(BROKEN, f"{len(failed) - MOST} more limits do not hold", severity="serious"))
    return replace(report, findings=(*found, *report.findings))


def _finding(verdict: Verdict) -> Finding:
    told = f"{verdict.rule}: {verdict.reason}" + (f": {verdict.detail}" if verdict.detail else "")
    broken = verdict.holds is False
    return Finding(
        BROKEN if broken else UNDECIDED,
        told,
        verdict.name,
        "serious" if broken else "warning",
        evidence=verdict.evidence,
    )
