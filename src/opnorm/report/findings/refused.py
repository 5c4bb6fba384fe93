"""ON116: a share of the weights that could not be measured, so that the report is silent about them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from opnorm.report.document import Report
from opnorm.report.findings.found import Found, found, percent
from opnorm.report.findings.thresholds import Thresholds

ADVICE = "each refused row says what would help; until then judge nothing about the model as a whole"


def refused(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """One finding for all refused bytes of a report."""
    size, missing = report.coverage.get("bytes", 0), report.coverage.get("refused", 0)
    share = missing / size if size else 0.0
    if not missing or share < thresholds.refused_share:
        return
    kinds = Counter(r.kind for r in report.rows if r.status == "refused")
    rows = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(3))
    message = f"{percent(share)} of all bytes were refused ({rows}): nothing is known of them"
    excess = math.log(share / thresholds.refused_share) if thresholds.refused_share else math.inf
    severity = "serious" if share >= 0.5 else "warning"
    yield found("ON116", severity, "", message, ADVICE, excess=excess)
