"""What a trial says nothing of, so that no answer is read for more than was asked."""

from __future__ import annotations

from opnorm.experiment.claims.claim import applicable, facts_of
from opnorm.experiment.claims.rows import arms_of, compared
from opnorm.experiment.claims.table import CLAIMS, asked
from opnorm.experiment.document import Design
from opnorm.experiment.subject import Subject

ALWAYS = (
    "a certified radius: how far an input may move is attacked here, not proved",
    "other attacks and other noise than those described, and inputs moved within their allowed range only",
    "data from elsewhere or from later: all parts come from the data given",
    "other models, optimizers, metrics and lengths of training than those of the design",
    "whether a person understands what a layer does: interpretability here is stability over seeds",
)


def untested(design: Design, subject: Subject) -> tuple[str, ...]:
    """Claims not asked, measures that could not be taken with the reason, techniques left out, and what never is."""
    facts, wanted = facts_of(subject, design), asked(design)
    unasked = [claim for claim in CLAIMS.values() if claim.measures and claim not in wanted]  # costs have no verdict
    found = [f"{claim.title.lower()}: not asked" for claim in unasked]
    for claim in wanted:
        measures, reasons = applicable(claim, design, facts)
        found += [f"{claim.title.lower()}, {reason}" for reason in reasons]
        found += [
            f"{claim.title.lower()}, {m.title}: no arm has a ceiling to loosen"
            for m in measures
            if not compared(m, arms_of(design))
        ]
    return (*found, *_techniques(design), *ALWAYS)


def _techniques(design: Design) -> tuple[str, ...]:
    from opnorm.experiment.arms import ARMS

    parts = {part for arm in design.arms for part in arm.split("@")[0].split("+")}
    missing = [name for name in ARMS if name not in parts]
    return (f"techniques that were not among the arms: {', '.join(missing)}",) if missing else ()
