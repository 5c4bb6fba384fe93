"""ON112, ON113 and ON114, of two models side by side: a quantization that changed a layer, a drift, new directions.

What rounding to a format of 8 bits or fewer explains follows from its unit roundoff u: an iid matrix rounded entry by
entry has ‖ΔW‖ ≤ 2·rms(δ)·‖W‖ ≤ 0.84u‖W‖, and a matrix with larger singular values less. Allowed is twice u, and for
whole-number codes what their step makes of Gaussian entries (`thresholds.FORMATS`). Formats of 16 bits explain less
than any tuning changes, so that a change between them is a drift.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from opnorm.report.document import Report
from opnorm.report.findings.found import Found, at_least, found
from opnorm.report.findings.thresholds import Thresholds
from opnorm.spectrum.comparison.document import Change
from opnorm.spectrum.document import Quantity

FINER = (
    "keep this layer in a wider format, or quantize it by smaller blocks: an outlier in a block takes the steps of all "
    "others; a change near 1 points to scales that do not belong to their codes"
)
STEADY = "if it was to be fine-tuned, lower the learning rate or freeze the layer; opnorm.cap on ΔW's layer limits it"
UNLIKE = "check that both are of one training run: most layers differ by as much as they are large"
INTRUDER = (
    "intruder dimensions go with forgetting (Shuttleworth et al., 2024): a larger rank, a smaller α or learning rate "
    "make fewer; judge by the base model's own tasks"
)
MOST = 0.5
"""Of the layers compared: if so many drifted, they are one finding."""

_CODES = re.compile(r"\b(\w+) codes\b")
_STORED = re.compile(r"\bstored as (\w+) and (\w+)")


def quantized(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Layers that changed more than the format they were rounded to explains."""
    dtypes = _dtypes(report)
    for change in _changes(report):
        explained, (relative, norm) = _explained(change, dtypes, thresholds), _larger(change)
        if explained is None or relative <= explained[1]:
            continue
        name, allowed = explained
        words = f"‖ΔW‖{norm} ≥ {at_least(relative)}·‖W‖{norm}"
        message = f"{words}, where rounding to {name} explains {allowed:.2g}"
        severity = "serious" if relative >= 0.5 else "warning"
        excess = math.log(relative / allowed) if allowed else math.inf
        yield found("ON112", severity, change.tuned_name, message, FINER, excess=excess, evidence=_evidence(change))


def drifted(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Layers whose change is large beside what they were; one finding where that is most of them."""
    dtypes = _dtypes(report)
    plain = [c for c in _changes(report) if _explained(c, dtypes, thresholds) is None]
    far = [(c, r) for c in plain if (r := _relative(c)) is not None and r >= thresholds.drift]
    if len(far) > 3 and len(far) >= MOST * len(_changes(report)):
        least = min(r for _, r in far)
        message = (
            f"{len(far)} of {len(plain)} layers changed by at least {at_least(least)}·‖W‖: hardly one model tuned from "
            "the other"
        )
        yield found(
            "ON113", "serious", "", message, UNLIKE, excess=math.log(least / thresholds.drift), evidence="estimate"
        )
        return
    for change, relative in far:
        message = f"‖ΔW‖ ≥ {at_least(relative)}·‖W‖: by Weyl's inequality singular values may have moved that far"
        excess = math.log(relative / thresholds.drift) if thresholds.drift else math.inf
        yield found("ON113", "warning", change.tuned_name, message, STEADY, excess=excess, evidence=_evidence(change))


def intruded(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Layers with top directions that the base does not have."""
    for change in _changes(report):
        count = change.quantities.get("intruders")
        least = None if count is None else _least(count)
        if count is None or least is None or least < thresholds.intruders:
            continue
        if (_relative(change) or 0.0) >= thresholds.drift:  # named already, and no wonder
            continue
        directions = "1 of its top directions is" if least == 1 else f"{least:.0f} of its top directions are"
        message = f"{directions} far from every direction of the base"
        excess = math.log(least / thresholds.intruders)
        yield found("ON114", "note", change.tuned_name, message, INTRUDER, excess=excess, evidence=count.evidence)


def _changes(report: Report) -> list[Change]:
    changes = report.comparison.changes if report.comparison else ()
    return [c for c in changes if c.status == "changed"]


def _larger(change: Change) -> tuple[float, str]:
    """‖ΔW‖/‖W‖ or ‖ΔW‖_F/‖W‖_F, and which: an outlier widens all steps and hides that in its own spectral norm."""
    whole = change.quantities.get("relative_frobenius")
    return max((_relative(change) or 0.0, ""), ((_least(whole) if whole else None) or 0.0, "_F"))


def _relative(change: Change) -> float | None:
    return None if change.relative is None else _least(change.relative)


def _least(quantity: Quantity) -> float | None:
    return quantity.value if quantity.lower is None else quantity.lower


def _evidence(change: Change) -> str:
    q = change.relative
    return "" if q is None else "estimate" if q.lower is None else q.evidence


def _formats(change: Change, dtypes: dict[str, str]) -> list[str]:
    """What the weight is held in, in either model, as far as anything says: codes, or a dtype."""
    codes, stored = _CODES.search(change.operator), _STORED.search(change.reason)
    named = [codes[1]] if codes else [stored[1], stored[2]] if stored else [dtypes.get(change.tuned_name, "")]
    return [name for name in named if name]


def _explained(change: Change, dtypes: dict[str, str], thresholds: Thresholds) -> tuple[str, float] | None:
    """The coarser of these formats, and the change that rounding to it explains; None where neither is coarse."""
    known = [(thresholds.quantization.get(name, 0.0), name) for name in _formats(change, dtypes)]
    share, name = max(known, default=(0.0, ""))
    return (name, share) if name in thresholds.quantization else None


def _dtypes(report: Report) -> dict[str, str]:
    return {row.name: row.dtype for row in report.rows if row.status == "measured"}
