"""The report in a notebook: a small table without a script, as `Report._repr_html_` returns it."""

from __future__ import annotations

from collections import Counter

from opnorm.report.document import Report
from opnorm.report.html import summary
from opnorm.report.html.assemble import largest_rows, template, title_of

TOP = 10


def fragment(report: Report) -> str:
    """Verdict, counts, the largest rows and the findings, styled under one class; follows the notebook's colors."""
    norms, concerns = summary.verdict(report, None)
    statuses = Counter(row.status.replace("_", " ") for row in report.rows)
    return template("notebook.html").render(
        title=title_of(report),
        norms=norms,
        concerns=concerns,
        statuses=statuses.most_common(),
        rows=largest_rows(report)[:TOP],
        more=max(0, statuses["measured"] - TOP),
        findings=summary.shown_findings(report),
    )
