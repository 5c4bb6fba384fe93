"""ON111: a layer that its ceiling holds down while the loss pushes it up; from a gate's report, after training.

The figures are those of `opnorm explain overpenalization`; the thresholds are the same as `gate.report()` advises by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from opnorm.report.document import Finding
from opnorm.report.findings.collect import ranked
from opnorm.report.findings.found import Found, found
from opnorm.report.findings.thresholds import DEFAULT, Thresholds
from opnorm.report.findings.undefined import ADVICE as RESTORE

if TYPE_CHECKING:
    from opnorm.constraint.diagnosis.advice import GateReport, SiteReport


def findings_from_gate(report: GateReport, thresholds: Thresholds = DEFAULT) -> tuple[Finding, ...]:
    """What `gate.report()` found, as findings: layers under too tight a ceiling, and steps that were not finite."""
    return ranked((f for site in report.sites for f in _of_site(site, thresholds)), thresholds)


def _of_site(site: SiteReport, thresholds: Thresholds) -> Iterator[Found]:
    s = site.summary
    if s.totals.skipped:
        message = f"{s.totals.skipped:.0f} of {s.moves} visits of the gate found NaN or Inf among its entries"
        yield found("ON101", "serious", s.name, message, RESTORE, excess=math.inf, evidence="proved")
    held = site.technique in ("cap", "band") and math.isfinite(s.hi) and s.hi > 0
    if not held or s.moves < thresholds.gate_visits or s.acted < thresholds.gate_acted:
        return
    push = s.push if s.push is not None and s.push > thresholds.gate_push else None
    left = s.ranks[-1][1] / s.ranks[0][1] if s.ranks and s.ranks[0][1] > 0 else 1.0
    if push is None and left >= thresholds.gate_rank:
        return
    why = f"the loss pushes outward (cosine {push:.2g})" if push is not None else f"its stable rank fell to {left:.0%}"
    message = f"its ceiling {s.hi:.3g} acted on {s.acted:.0%} of {s.moves} visits, and {why}: it is likely too tight"
    level = (
        f"raise it to {site.free:.3g}, the layer's free-run level"
        if site.free is not None
        else ("find the layer's free level by opnorm.suggest and raise the ceiling to it")
    )
    excess = (
        math.log(push / thresholds.gate_push)
        if push and thresholds.gate_push
        else math.log(thresholds.gate_rank / left)
        if left > 0 and not push
        else math.inf
    )
    yield found(
        "ON111", "warning", s.name, message, f"{level}, or use opnorm.penalize", excess=excess, evidence="estimate"
    )
