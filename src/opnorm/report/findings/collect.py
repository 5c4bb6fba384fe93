"""All judges over one report, ranked; many rows under one code become the worst of them and a count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from opnorm.report.document import Finding, Report
from opnorm.report.findings.found import SEVERITIES, Found
from opnorm.report.findings.table import CODES
from opnorm.report.findings.thresholds import DEFAULT, Thresholds


def findings_of(report: Report, thresholds: Thresholds = DEFAULT) -> tuple[Finding, ...]:
    """What is worth looking at first: by severity, then by how far beyond its threshold. Needs no weights."""
    judges = dict.fromkeys(kind.judge for kind in CODES.values() if kind.judge is not None)
    return ranked((f for judge in judges for f in judge(report, thresholds)), thresholds)


def ranked(found: Iterable[Found], thresholds: Thresholds) -> tuple[Finding, ...]:
    """The most serious first; of each code at most `most_rows` rows, the last saying how many more there are."""
    kept: list[Finding] = []
    counts: dict[str, int] = {}
    for item in sorted(found, key=_rank):
        code = item.finding.code
        if code in thresholds.off:
            continue
        counts[code] = counts.get(code, 0) + 1
        if counts[code] <= thresholds.most_rows:
            kept.append(item.finding)
    return tuple(_with_rest(kept, counts, thresholds.most_rows))


def _rank(item: Found) -> tuple[int, float, str, str]:
    finding = item.finding
    return SEVERITIES.index(finding.severity), -item.excess, finding.code, finding.row


def _with_rest(kept: list[Finding], counts: dict[str, int], most: int) -> list[Finding]:
    """The last of a code that was cut says how many rows more have it."""
    last = {finding.code: index for index, finding in enumerate(kept)}
    for code, index in last.items():
        rest = counts[code] - most
        if rest > 0:
            rows = f"{rest} more row{'s have' if rest > 1 else ' has'} {code}"
            kept[index] = replace(kept[index], message=f"{kept[index].message} ({rows})")
    return kept
