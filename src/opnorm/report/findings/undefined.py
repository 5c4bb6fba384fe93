"""ON101: a weight that holds NaN or Inf."""

from __future__ import annotations

from collections.abc import Iterator

from opnorm.report.document import Report
from opnorm.report.findings.found import Found, found
from opnorm.report.findings.thresholds import Thresholds

ADVICE = (
    "go back to the last checkpoint without them; look at the loss scale, the learning rate and the dtype of the step "
    "in between (opnorm measure on each checkpoint finds it)"
)


def undefined(report: Report, thresholds: Thresholds) -> Iterator[Found]:  # noqa: ARG001
    """Rows whose entries are not all finite."""
    for row in report.rows:
        if row.status == "undefined":
            message = (
                f"{row.reason or 'NaN or Inf among its entries'}: it has no norm, and what it computes is not finite"
            )
            yield found("ON101", "serious", row.name, message, ADVICE, excess=float("inf"), evidence="proved")
