"""The only measuring loop: center an operator, take what the entries give, then follow the plan."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from opnorm.bound import Bound, Evidence, Measurement
from opnorm.linalg.at_most import at_most
from opnorm.linalg.by_gram import by_gram
from opnorm.linalg.by_lanczos import by_lanczos
from opnorm.linalg.centering import centered, checked_warm, scaled_back
from opnorm.linalg.environment import require_ieee
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.plan import choose
from opnorm.linalg.request import Found, Request, proved, relative_width
from opnorm.linalg.rounding import Float64, ldexp_up
from opnorm.linalg.stored import StoredMatrix

METHODS = {"gram": by_gram, "lanczos": by_lanczos}
"""Name of a method → what runs it. The name appears in reports; `opnorm explain NAME` describes it."""


def measure_operator(operator: LinearOperator, request: Request, warm: Float64 | None = None) -> Measurement:
    """Bounds on the spectral norm of `operator`.

    `warm` (short side, k): vectors believed to lie near the top singular space (left singular vectors where
    rows ≤ columns, else right), such as those of the previous step of a training run; they join the random
    block and leave its guarantee as it is.
    Raises `UndefinedNorm` for non-finite entries, `Contradiction` if two bounds exclude each other.
    Cost: see the method chosen (`opnorm.linalg.plan`).
    """
    began = time.perf_counter()
    require_ieee()
    own = operator.own_bounds(request)
    if own is not None:
        return _measurement(own, operator, request, own.frobenius, 0, began)
    # A square matrix is read along its memory, unless warm vectors say which side is meant.
    square = operator.shape[0] == operator.shape[1]
    wide, exponent = centered(operator if square and warm is not None else operator.wide())
    warm = None if warm is None else checked_warm(warm, wide.shape[0])
    found, frobenius = _find(wide, request, warm)
    return _decided(_measurement(found, operator, request, frobenius, exponent, began), operator, request)


def _decided(measurement: Measurement, operator: LinearOperator, request: Request) -> Measurement:
    """With bounds that tell whether the norm is at most the ceiling asked for, where the bracket straddles it."""
    bracket = measurement.bracket(request.evidence)
    straddles = request.ceiling is not None and bracket.at_most(request.ceiling) is None
    if not straddles or not isinstance(operator, StoredMatrix):
        return measurement
    assert request.ceiling is not None
    closer = at_most(operator, request.ceiling, request.seed)
    return replace(
        measurement,
        bounds=(*measurement.bounds, *closer.bounds),
        passes=measurement.passes + closer.passes,
        seconds=measurement.seconds + closer.seconds,
    )


def _measurement(
    found: Found, operator: LinearOperator, request: Request, frobenius: float | None, exponent: int, began: float
) -> Measurement:
    bounds = (scaled_back(bound, exponent) for bound in found.bounds)
    return Measurement(
        bounds=tuple(bound for bound in bounds if bound is not None),
        shape=operator.shape,
        method=found.method,
        passes=found.passes,
        seconds=time.perf_counter() - began,
        seed=request.seed,
        frobenius=None if frobenius is None else _finite(ldexp_up(frobenius, exponent)),
        note=found.note or _subnormal_note(found, exponent),
    )


def _find(wide: LinearOperator, request: Request, warm: Float64 | None) -> tuple[Found, float | None]:
    if 0 in wide.shape:
        return _zero(passes=0), 0.0
    sums = wide.entrywise()
    if sums is not None and sums.one == 0:
        return _zero(passes=1), 0.0
    if sums is None:
        if wide.rounding is not None and wide.rounding.norm == 0:
            return _zero(passes=1), None
        return _follow_plan(wide, (), request, warm), None
    known = sums.bounds()
    if relative_width(known) <= request.width:
        return Found(known, "entrywise", 1), sums.frobenius
    found = _follow_plan(wide, known, request, warm)
    return replace(found, passes=found.passes + 1), sums.frobenius


def _zero(passes: int) -> Found:
    return Found((proved("lower", 0.0, "zero"), proved("upper", 0.0, "zero")), "zero", passes)


def _follow_plan(wide: LinearOperator, known: tuple[Bound, ...], request: Request, warm: Float64 | None) -> Found:
    rounding = wide.rounding
    evidence = Evidence.ESTIMATE if rounding is None else request.evidence
    if rounding is not None and not known:
        known = (proved("upper", rounding.norm, "norm law"),)
    plan = choose(wide.shape, stored=wide.columns_are_cheap, evidence=evidence, width=request.width)
    method = "lanczos" if rounding is None else plan.method
    return METHODS[method](wide, known, plan, request, warm)


def _subnormal_note(found: Found, exponent: int) -> str:
    """Below 2⁻¹⁰²² floats are a fixed distance apart, whatever width was reached before scaling back."""
    largest = max((b.value for b in found.bounds if b.side == "lower"), default=0.0)
    if largest == 0 or math.frexp(largest)[1] + exponent > -1022:
        return ""
    return "the norm is subnormal: float64 itself is too coarse there to show a narrow bracket"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
