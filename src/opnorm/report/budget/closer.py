"""Rows whose bracket straddles a limit on σ₁ are measured once more, with the limit as the question.

A width of one per cent says little of a weight that was capped at the very limit; a proof aimed at it does
(`opnorm.linalg.at_most`). Only the undecided rows are read again; what is found joins the bounds that are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from opnorm.bound import Evidence, tightest
from opnorm.report.budget.verdict import Verdict
from opnorm.report.document import Finding, Report, Row

Key = tuple[str, str]
"""The path of a row's file, and the row's name."""


def straddling(verdicts: Iterable[Verdict]) -> dict[float, list[str]]:
    """The limits that lie inside a bracket, and the names of the rows of each."""
    found: dict[float, list[str]] = {}
    for verdict in verdicts:
        if verdict.straddled is not None:
            found.setdefault(verdict.straddled, []).append(verdict.name)
    return found


def with_bounds(report: Report, again: Report) -> Report:
    """`report` with the bounds that `again` found for its rows; a file that changed meanwhile adds nothing."""
    digests = {i.path: i.sha256 for i in report.inputs}
    same = {i.path for i in again.inputs if i.sha256 == digests.get(i.path)}
    found: Mapping[Key, Row] = {_key(again, row): row for row in again.rows if row.status == "measured"}
    rows, findings = [], list(report.findings)
    for row in report.rows:
        closer = found.get(_key(report, row)) if row.status == "measured" else None
        joined = row if closer is None or _key(report, row)[0] not in same else _joined(row, closer)
        if joined is None:
            message = f"{row.name}: two measurements of it exclude each other; please report this file; trust neither"
            findings.append(Finding("contradiction", message, row.name))
        rows.append(joined or row)
    return replace(report, rows=tuple(rows), findings=tuple(findings))


def _key(report: Report, row: Row) -> Key:
    return (report.inputs[row.input].path if row.input < len(report.inputs) else "", row.name)


def _joined(row: Row, closer: Row) -> Row | None:
    """The row with the bounds of both; None where they exclude each other."""
    bounds = tuple(dict.fromkeys((*row.bounds, *closer.bounds)))
    sure = tightest(bounds, Evidence.PROBABLE)
    if sure.lower is not None and sure.upper is not None and sure.lower > sure.upper:
        return None
    bracket = tightest(bounds, Evidence.parse(row.evidence or Evidence.ESTIMATE))
    return replace(
        row,
        bounds=bounds,
        lower=bracket.lower,
        upper=bracket.upper,
        failure_probability=bracket.failure_probability,
        passes=row.passes + closer.passes,
        seconds=row.seconds + closer.seconds,
    )
