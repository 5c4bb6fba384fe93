"""What is asked of a measurement, and what a method hands back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from opnorm.bound import Bound, Evidence, Side
from opnorm.errors import UsageError

FAILURE_PROBABILITY = 1e-12
"""η of one measurement."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to reach: the least evidence, the relative width, and what keys the random start.

    ceiling: a number that the norm is to be compared with; where a bracket of that width cannot tell, it is decided
    on its own (`linalg.at_most`).
    `UsageError` for a width that is not above 0, or evidence that cannot be measured.
    """

    evidence: Evidence = Evidence.PROBABLE
    width: float = 0.01
    seed: int = 0
    key: bytes = b""
    failure_probability: float = FAILURE_PROBABILITY
    ceiling: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.width < math.inf:
            raise UsageError(f"width {self.width!r} is not possible: give a relative width above 0, such as 0.01")
        if self.evidence is Evidence.ASSUMED:
            raise UsageError("evidence 'assumed' cannot be measured; choose one of: estimate, probable, proved")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} is not possible: give a whole number of at least 0")


@dataclass(frozen=True, slots=True)
class Found:
    """Bounds in the units of the operator that the method was given; `passes` over its entries."""

    bounds: tuple[Bound, ...]
    method: str
    passes: int
    note: str = ""
    frobenius: float | None = None


def proved(side: Side, value: float, method: str) -> Bound:
    """A PROVED bound."""
    return Bound(side, value, Evidence.PROVED, method)


def relative_width(bounds: Iterable[Bound]) -> float:
    """(upper − lower)/lower of the tightest ends; infinite where an end is absent or lower is 0."""
    ends = list(bounds)
    lower = max((b.value for b in ends if b.side == "lower"), default=0.0)
    upper = min((b.value for b in ends if b.side == "upper"), default=math.inf)
    return (upper - lower) / lower if lower > 0 else math.inf


def shortfall(bounds: Iterable[Bound], request: Request, remedy: str) -> str:
    """Empty, or what width was reached of the one asked for and what would reach it."""
    reached = relative_width(bounds)
    if reached <= request.width:
        return ""
    return f"width {reached:.2g} reached, {request.width:.2g} asked for: {remedy}"
