"""One layer in both: brackets of ‖W‖, ‖W'‖ and ‖ΔW‖ by the measuring loop, and what follows from them.

Guarantee: the three brackets have the evidence asked for, as far as it was reached, and relative = ‖ΔW‖/‖W‖ the weaker
of its two. By Weyl's inequality |σᵢ(W') − σᵢ(W)| ≤ ‖ΔW‖ for every i. Cost: three measurements, and `figures`.
"""

from __future__ import annotations

import math
from dataclasses import replace

from opnorm.bound import Bracket, Evidence, Measurement
from opnorm.errors import Contradiction, OpnormError, UndefinedNorm
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.spectrum.comparison.document import Change
from opnorm.spectrum.comparison.figures import further, middle, ratio
from opnorm.spectrum.comparison.subject import Subject
from opnorm.spectrum.document import Quantity


def examined(change: Change, subject: Subject, request: Request) -> Change:
    """`change` with all its numbers, or with a status that says why there are none; raises `Contradiction`."""
    try:
        base = _norm(subject.base, request, subject.key, "BASE")
        tuned = _norm(subject.tuned, request, subject.key, "TUNED")
    except _Undefined as error:
        return replace(change, status="undefined", reason=str(error))
    except Contradiction:
        raise
    except OpnormError as error:
        return replace(change, status="refused", reason=str(error))
    try:
        delta = _norm(subject.delta, request, subject.key, "the difference, beyond the range of float64,")
    except Contradiction:
        raise
    except OpnormError as error:
        return replace(change, status="refused", reason=f"the difference of the two is not measured: {error}")
    norms = tuple(quantity_of(m, request) for m in (base, tuned, delta))
    if norms[2].upper == 0:
        change = replace(change, status="equal", reason=_joined(change.reason, "equal in every entry"))
    return replace(
        change,
        base=norms[0],
        tuned=norms[1],
        delta=norms[2],
        relative=ratio(norms[2], norms[0]),
        quantities=further(subject, delta, norms[2]),
        failure_probability=math.fsum(_odds(m, request) for m in (base, tuned, delta)),
    )


class _Undefined(OpnormError):
    """One of the two holds NaN or Inf."""


def _norm(operator: LinearOperator, request: Request, key: bytes, side: str) -> Measurement:
    try:
        return measure_operator(operator, replace(request, key=key))
    except UndefinedNorm as error:
        counts = " and ".join(f"{n} {name}" for n, name in ((error.nan, "NaN"), (error.inf, "Inf")) if n)
        raise _Undefined(f"{side} holds {counts}") from error


def quantity_of(measurement: Measurement, request: Request) -> Quantity:
    """The bracket of a measurement at the evidence asked for, or the best there is."""
    bracket = _bracket(measurement, request)
    ends = [b for b in (bracket.lower_bound, bracket.upper_bound) if b is not None]
    evidence = min((b.evidence for b in ends), default=Evidence.ESTIMATE)
    return Quantity(
        middle(bracket.lower, bracket.upper), bracket.lower, bracket.upper, evidence.label, note=measurement.note
    )


def _bracket(measurement: Measurement, request: Request) -> Bracket:
    bracket = measurement.bracket(max(request.evidence, measurement.best(request.width)))
    absent = bracket.lower_bound is None and bracket.upper_bound is None
    return measurement.bracket(Evidence.ESTIMATE) if absent else bracket


def _odds(measurement: Measurement, request: Request) -> float:
    return _bracket(measurement, request).failure_probability


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
