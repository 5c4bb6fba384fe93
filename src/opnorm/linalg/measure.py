"""The only measuring loop: center an operator, take what the entries give, then follow the plan."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from opnorm.bound import Bound, Evidence, Measurement
from opnorm.errors import UnsupportedInput
from opnorm.linalg.by_gram import by_gram
from opnorm.linalg.by_lanczos import by_lanczos
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.plan import choose
from opnorm.linalg.request import Found, Request, proved, relative_width
from opnorm.linalg.rounding import Float64, ldexp_down, ldexp_up
from opnorm.linalg.stored import StoredMatrix

METHODS = {"gram": by_gram, "lanczos": by_lanczos}
"""Name of a method → what runs it. The name appears in reports; `opnorm explain NAME` describes it."""

PART_EXPONENT = 400
"""Operators made of parts are measured with norms within 2^±400; stored matrices have no limit."""


def measure_operator(operator: LinearOperator, request: Request, warm: Float64 | None = None) -> Measurement:
    """Bounds on the spectral norm of `operator`.

    `warm` (short side, k): vectors believed to lie near the top singular space, such as those of the
    previous step of a training run; they join the random block and leave its guarantee as it is.
    Raises `UndefinedNorm` for non-finite entries, `Contradiction` if two bounds exclude each other.
    Cost: see the method chosen (`opnorm.linalg.plan`).
    """
    began = time.perf_counter()
    wide, exponent = _centered(operator.wide())
    found, frobenius = _find(wide, request, warm)
    bounds = (_scaled_back(bound, exponent) for bound in found.bounds)
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
    sums = wide.entrywise()
    if 0 in wide.shape or (sums is not None and sums.one == 0):
        return Found((proved("lower", 0.0, "zero"), proved("upper", 0.0, "zero")), "zero", 1), 0.0
    if sums is None:
        return _follow_plan(wide, (), request, warm), None
    known = sums.bounds()
    if relative_width(known) <= request.width:
        return Found(known, "entrywise", 1), sums.frobenius
    found = _follow_plan(wide, known, request, warm)
    return replace(found, passes=found.passes + 1), sums.frobenius


def _follow_plan(wide: LinearOperator, known: tuple[Bound, ...], request: Request, warm: Float64 | None) -> Found:
    rounding = wide.rounding
    evidence = Evidence.ESTIMATE if rounding is None else request.evidence
    if rounding is not None and not known:
        _refuse_extreme(wide, rounding.norm)
        known = (proved("upper", rounding.norm, "norm law"),)
    plan = choose(wide.shape, stored=isinstance(wide, StoredMatrix), evidence=evidence, width=request.width)
    method = "lanczos" if rounding is None else plan.method
    return METHODS[method](wide, known, plan, request, warm)


def _refuse_extreme(wide: LinearOperator, norm: float) -> None:
    if norm != 0 and not 2.0**-PART_EXPONENT < norm < 2.0**PART_EXPONENT:
        raise UnsupportedInput(
            f"the parts of {wide!r} allow a norm of {norm:.3g}; an operator made of parts is measured where that "
            f"lies within 2^±{PART_EXPONENT}. Scale the parts by powers of two first"
        )


def _centered(operator: LinearOperator) -> tuple[LinearOperator, int]:
    if not isinstance(operator, StoredMatrix):
        return operator, 0
    centered = operator.centered()
    return centered, operator.exponent - centered.exponent


def _scaled_back(bound: Bound, exponent: int) -> Bound | None:
    """The bound in the units of the weights; an upper bound beyond the largest float is no bound."""
    if exponent == 0:
        return bound
    if bound.side == "lower":
        return replace(bound, value=ldexp_down(bound.value, exponent))
    value = ldexp_up(bound.value, exponent)
    return replace(bound, value=value) if math.isfinite(value) else None


def _subnormal_note(found: Found, exponent: int) -> str:
    """Below 2⁻¹⁰²² floats are a fixed distance apart, whatever width was reached before scaling back."""
    largest = max((b.value for b in found.bounds if b.side == "lower"), default=0.0)
    if largest == 0 or math.frexp(largest)[1] + exponent > -1022:
        return ""
    return "the norm is subnormal: float64 itself is too coarse there to show a narrow bracket"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
