"""ON115: neighbors whose norms multiply to far more than their product has."""

from __future__ import annotations

import math
from collections.abc import Iterator

from opnorm.report.display import display_name
from opnorm.report.document import Report
from opnorm.report.findings.found import Found, at_least, found, percent, weakest
from opnorm.report.findings.thresholds import Thresholds

ADVICE = (
    "do not judge the pair by the product of its norms: what the first writes, the second hardly reads (see its "
    "alignment); measure ‖W₂W₁‖ itself"
)


def loose(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """One finding for all loose pairs: the loosest, and how many there are."""
    links = report.interaction.links if report.interaction else ()
    far = sorted((k for k in links if k.looseness >= thresholds.looseness), key=lambda k: -k.looseness)
    if far:
        first = far[0]
        many = "" if len(far) == 1 else f" ({len(far)} of {len(links)} pairs are looser than {thresholds.looseness:g})"
        message = (
            f"its product with {display_name(first.second)} has {percent(1 / first.looseness)} of the norm that "
            f"multiplying their norms gives, {at_least(first.looseness)} times less{many}"
        )
        evidence = weakest((first.gain.evidence, first.product.evidence))
        excess = math.log(first.looseness / thresholds.looseness)
        yield found("ON115", "note", first.first, message, ADVICE, excess=excess, evidence=evidence)
