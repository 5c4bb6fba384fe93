"""The method `lanczos`: block Lanczos, then one float64 pass that makes the bound hold.

Guarantee: lower PROVED (a Rayleigh quotient less its errors), upper PROBABLE (`opnorm.linalg.probable`).
Cost: two to twenty fused passes in the weights' own precision, and one in float64: with 16 columns, a sketch of
the basis, down to a width of 2e-3; with the whole basis below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from opnorm.bound import Bound, Evidence
from opnorm.errors import UndefinedNorm
from opnorm.linalg import probable
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.operator import LinearOperator, Rounding
from opnorm.linalg.plan import GRAM_SIDE_MOST, Plan
from opnorm.linalg.request import Found, Request, proved, relative_width, shortfall
from opnorm.linalg.rounding import Float64, down, frobenius_up, up
from opnorm.linalg.sketch import sketch
from opnorm.linalg.start import start_block

NOISE32 = 2.0**-22
"""What float32 products leave in the residuals, relative to σ₁²; decides only when to stop."""

NOISE64 = 2.0**-50

SKETCH = 15
"""Columns of the sketch: its odds of 1e-12 cost a factor of two; with the top vector, 16 share one pass."""

SKETCH_WIDTH = 2e-3
"""Down to this width a sketch of float32 images suffices; below, the whole basis is multiplied again."""

_MOST_VERIFICATIONS = 4
_BLACK_BOX_CEILING = 1e6


@dataclass(frozen=True, slots=True)
class _Check:
    """How a basis is verified: by a sketch of its images, or with float64 images of all of it."""

    request: Request
    precise: bool
    by_sketch: bool
    shared: bool


def by_lanczos(
    wide: LinearOperator, known: tuple[Bound, ...], plan: Plan, request: Request, warm: Float64 | None
) -> Found:
    """Explore until the bound would be as narrow as asked, then verify; explore on if it is not."""
    rounding = wide.rounding
    if rounding is None:
        return _black_box(wide, plan, request, warm)
    start = start_block(wide.shape[0], plan.block, request.seed, request.key)
    lanczos = BlockLanczos(wide.gram64 if plan.precise else wide.gram, start, warm)
    if request.evidence is Evidence.ESTIMATE:
        seen = _explore(lanczos, plan, request, request.width)
        ceiling = max(_ceiling(known), seen.lower)
        return Found((*known, *_estimated(seen, ceiling)), "lanczos", lanczos.passes)
    bounds, width, verified = known, 0.95 * request.width, 0
    sketched = not plan.precise and request.width >= SKETCH_WIDTH
    check = _Check(request, plan.precise, by_sketch=sketched, shared=sketched)
    while verified < _MOST_VERIFICATIONS and relative_width(bounds) > request.width:
        if verified and lanczos.spent(plan.passes) and not check.by_sketch:
            break
        _explore(lanczos, plan, request, width)
        bounds += _verified(lanczos, wide, rounding, _ceiling(known), check)
        verified, width = verified + 1, 0.3 * width
        check = replace(check, by_sketch=False)
    passes = lanczos.passes + (0 if plan.precise else verified)
    return Found(bounds, "lanczos", passes, shortfall(bounds, request, _remedy(wide)))


def _remedy(wide: LinearOperator) -> str:
    if wide.shape[0] <= GRAM_SIDE_MOST:
        return "the budget of passes is spent; --evidence proved would reach it"
    return "the budget of passes is spent; only a larger --width can be reached at this size"


def _explore(lanczos: BlockLanczos, plan: Plan, request: Request, width: float) -> probable.Projection:
    """At least one step; stop where the unverified bound is within `width`, or the budget is spent.

    Looking costs about as much as half a pass, so it waits until the decay seen so far makes it worth while.
    """
    before, at, due = math.inf, 0, 1
    while True:
        lanczos.step()
        if not np.isfinite(lanczos.projection).all():
            raise UndefinedNorm(int(np.isnan(lanczos.projection).sum()), int(np.isinf(lanczos.projection).sum()))
        if lanczos.passes < due and not lanczos.spent(plan.passes):
            continue
        seen = _glimpse(lanczos, plan, request)
        near = probable.nearness(seen, seen.lower * (1 + width) ** 2)
        if near < 1 or lanczos.spent(plan.passes):
            return seen
        due = lanczos.passes + _worth_waiting(before, near, lanczos.passes - at)
        before, at = near, lanczos.passes


def _worth_waiting(before: float, now: float, passes: int) -> int:
    """Passes until a quantity that fell from `before` to `now` in `passes` should fall below 1: a shy guess."""
    if not math.isfinite(before) or not now < before:
        return 1
    return max(1, int(0.75 * math.log(now) / math.log(before / now) * passes))


def _glimpse(lanczos: BlockLanczos, plan: Plan, request: Request) -> probable.Projection:
    width = lanczos.start.shape[1]
    return probable.unverified(
        lanczos.projection,
        lanczos.coupling,
        lanczos.start_factor[:width, :width],
        request.failure_probability,
        NOISE64 if plan.precise else NOISE32,
    )


def _ceiling(known: tuple[Bound, ...]) -> float:
    """A proved upper bound on λ = σ₁²."""
    return up(min(b.value for b in known if b.side == "upper") ** 2)


def _verified(
    lanczos: BlockLanczos, wide: LinearOperator, rounding: Rounding, ceiling: float, check: _Check
) -> tuple[Bound, ...]:
    request, basis = check.request, lanczos.basis
    # The start and a sketch share η; once shared, later passes keep to the start's half.
    eta = request.failure_probability / (2 if check.shared else 1)
    if check.by_sketch:
        images = lanczos.images
        _, top = lanczos.top()
        probe = start_block(basis.shape[1], SKETCH, request.seed, request.key + b"sketch")
        seen_by = sketch(wide, rounding, basis, images, top, probe, eta)
        error, lower = seen_by.error, seen_by.lower
    else:
        images = lanczos.images if check.precise else wide.gram64(basis)
        error, lower = up(rounding.gram * frobenius_up(basis)), 0.0
    seen = probable.verify(basis, images, error, lanczos.start, lanczos.start_factor, eta)
    if seen is None:
        return ()
    lower = lower if check.by_sketch else seen.lower
    # Half of the width asked for tells enough; walking on costs more than it tells.
    goal = lower * (1 + 0.5 * request.width) ** 2
    upper = up(math.sqrt(up(probable.upper_eigenvalue(seen, ceiling, goal))))
    return (
        proved("lower", down(math.sqrt(lower)), "lanczos"),
        Bound("upper", upper, Evidence.PROBABLE, "lanczos", request.failure_probability),
    )


def _estimated(seen: probable.Projection, ceiling: float) -> tuple[Bound, ...]:
    upper = probable.upper_eigenvalue(seen, ceiling)
    return (
        Bound("lower", math.sqrt(max(seen.lower, 0.0)), Evidence.ESTIMATE, "lanczos"),
        Bound("upper", math.sqrt(upper), Evidence.ESTIMATE, "lanczos"),
    )


def _black_box(wide: LinearOperator, plan: Plan, request: Request, warm: Float64 | None) -> Found:
    """An operator of unknown rounding: the recurrence alone, in whatever precision it has."""
    start = start_block(wide.shape[0], plan.block, request.seed, request.key)
    lanczos = BlockLanczos(wide.gram, start, warm)
    seen = _explore(lanczos, plan, request, request.width)
    note = "an operator given by functions has unknown rounding: nothing better than an estimate is possible"
    bounds = _estimated(seen, seen.lower * _BLACK_BOX_CEILING)
    return Found(bounds, "lanczos", lanczos.passes, note)
