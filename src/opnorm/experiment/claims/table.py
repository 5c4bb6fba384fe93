"""The claims by name. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from opnorm.errors import UsageError
from opnorm.experiment.claims import (
    complexity,
    cost,
    generalization,
    interpretability,
    overpenalization,
    reliability,
    robustness,
)
from opnorm.experiment.claims.claim import Claim
from opnorm.experiment.document import Design

CLAIMS: Mapping[str, Claim] = {
    module.CLAIM.name: module.CLAIM
    for module in (
        generalization,
        robustness,
        reliability,
        interpretability,
        overpenalization,
        complexity,
        cost,
    )
}
"""In the order of the report. 'cost' has no measures: it is reported in figures, not judged."""


def asked(design: Design) -> tuple[Claim, ...]:
    """The claims of a design, the primary one first; all of them where it names none."""
    names = tuple(dict.fromkeys((design.primary, *(design.claims or CLAIMS))))
    unknown = [name for name in names if name not in CLAIMS]
    if unknown or not CLAIMS[design.primary].measures:
        raise UsageError(
            f"claims={', '.join(unknown or [design.primary])!r}: choose among {', '.join(CLAIMS)}"
            + ("" if unknown else "; the primary claim must be one that is judged, and cost is only measured")
        )
    return tuple(CLAIMS[name] for name in names)
