"""How true a number is: evidence, one-sided bounds, brackets, and the measurement that keeps them all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, TypeAlias

from opnorm.errors import Contradiction, UsageError

Side: TypeAlias = Literal["lower", "upper"]


class Evidence(IntEnum):
    """How true a number is, from the user's word to a proof."""

    ASSUMED = 0
    """The user's word."""
    ESTIMATE = 1
    """No guarantee: unconverged, sampled, extrapolated, or of unknown rounding."""
    PROBABLE = 2
    """False with probability at most ``failure_probability``, over opnorm's own random start vectors."""
    PROVED = 3
    """Holds for the stored numbers, every rounding error included."""

    @property
    def label(self) -> str:
        """The name in lower case, as the command line and the JSON spell it."""
        return self.name.lower()

    @classmethod
    def parse(cls, value: Evidence | str) -> Evidence:
        """Turn ``"probable"`` or an `Evidence` into an `Evidence`; `UsageError` for anything else."""
        if isinstance(value, Evidence):
            return value
        try:
            return cls[str(value).upper()]
        except KeyError:
            allowed = ", ".join(e.label for e in cls)
            raise UsageError(f"evidence {value!r} is not known; choose one of: {allowed}") from None


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a number, with what it rests on.

    `value` is finite and not negative. `method` names the theorem or algorithm (`opnorm explain METHOD`).
    `failure_probability` is zero unless `evidence` is `PROBABLE`.
    """

    side: Side
    value: float
    evidence: Evidence
    method: str
    failure_probability: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value >= 0):
            raise UsageError(f"a bound on a norm is finite and at least 0, not {self.value!r}")
        if self.side not in ("lower", "upper"):
            raise UsageError(f"side {self.side!r} is not known; choose 'lower' or 'upper'")
        probable = self.evidence is Evidence.PROBABLE
        if not (0 < self.failure_probability < 1 if probable else self.failure_probability == 0):
            raise UsageError(
                f"a bound of evidence {self.evidence.label} cannot have "
                f"failure_probability={self.failure_probability!r}: it lies in (0, 1) for 'probable', else it is 0"
            )

    def __str__(self) -> str:
        sign = "≥" if self.side == "lower" else "≤"
        odds = f", fails with probability ≤ {self.failure_probability:.0e}" if self.failure_probability else ""
        return f"σ₁ {sign} {self.value:.9g} ({self.evidence.label}{odds}; {self.method})"


@dataclass(frozen=True, slots=True)
class Bracket:
    """A lower and an upper bound at one level of evidence; either may be absent.

    There is no product of brackets: ‖AB‖ ≤ ‖A‖‖B‖ composes upper bounds only.
    """

    lower_bound: Bound | None
    upper_bound: Bound | None

    @property
    def lower(self) -> float | None:
        """The lower end, or None where no bound of this evidence exists."""
        return None if self.lower_bound is None else self.lower_bound.value

    @property
    def upper(self) -> float | None:
        """The upper end, or None where no bound of this evidence exists."""
        return None if self.upper_bound is None else self.upper_bound.value

    @property
    def evidence(self) -> Evidence | None:
        """The weaker evidence of the two ends; None while an end is absent."""
        if self.lower_bound is None or self.upper_bound is None:
            return None
        return min(self.lower_bound.evidence, self.upper_bound.evidence)

    @property
    def failure_probability(self) -> float:
        """An upper bound on the probability that either end is wrong (0 where proved or estimated)."""
        ends = (self.lower_bound, self.upper_bound)
        return math.fsum(b.failure_probability for b in ends if b is not None)

    @property
    def width(self) -> float | None:
        """Relative width (upper − lower)/lower; 0 for [0, 0]; None where an end is absent or lower is 0."""
        if self.lower is None or self.upper is None:
            return None
        if self.upper == self.lower:
            return 0.0
        return (self.upper - self.lower) / self.lower if self.lower > 0 else None

    def at_most(self, ceiling: float) -> bool | None:
        """Is the norm at most `ceiling`? True, False, or None where this bracket cannot tell."""
        if self.upper is not None and self.upper <= ceiling:
            return True
        if self.lower is not None and self.lower > ceiling:
            return False
        return None

    def __str__(self) -> str:
        lower = "?" if self.lower is None else f"{self.lower:.9g}"
        upper = "?" if self.upper is None else f"{self.upper:.9g}"
        return f"[{lower}, {upper}]"


def tightest(bounds: Iterable[Bound], level: Evidence) -> Bracket:
    """The tightest of `bounds` with at least the evidence `level`, as a bracket.

    Where two bounds are equally tight the better evidence is kept; an estimate that crosses a better
    bound is dropped.
    """
    known = [b for b in bounds if b.evidence >= level]
    lower = max((b for b in known if b.side == "lower"), key=lambda b: (b.value, b.evidence), default=None)
    upper = min((b for b in known if b.side == "upper"), key=lambda b: (b.value, -b.evidence), default=None)
    crossed = lower is not None and upper is not None and lower.value > upper.value
    if crossed and level < Evidence.PROBABLE:
        return tightest(known, Evidence(level + 1))
    return Bracket(lower, upper)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Every bound found for one operator, and what finding them cost.

    `passes`: how often all entries of the operator were read. `seed`: the entropy of the random start
    block. `note`: what was not reached and what would reach it, else empty. Raises `Contradiction` if a
    proved or probable lower bound exceeds a proved or probable upper bound.
    """

    bounds: tuple[Bound, ...]
    shape: tuple[int, int]
    method: str
    passes: int = 0
    seconds: float = field(default=0.0, compare=False)
    seed: int | None = None
    frobenius: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        bracket = self.bracket(Evidence.PROBABLE)
        if bracket.lower is not None and bracket.upper is not None and bracket.lower > bracket.upper:
            raise Contradiction(
                f"{bracket.lower_bound} contradicts {bracket.upper_bound}. One of them is wrong: "
                "please report this matrix and this version of opnorm; trust neither number."
            )

    def bracket(self, least: Evidence | str = Evidence.PROBABLE) -> Bracket:
        """The tightest bounds with at least the evidence `least`. Computes nothing: see `tightest`."""
        return tightest(self.bounds, Evidence.parse(least))

    def __str__(self) -> str:
        best = self.best()
        bracket = self.bracket(best)
        odds = f" (fails with probability ≤ {p:.0e})" if (p := bracket.failure_probability) else ""
        width = "" if bracket.width is None else f", width {bracket.width:.1e}"
        return f"{bracket.lower} ≤ σ₁ ≤ {bracket.upper}, {best.label}{odds}{width}, by {self.method}"

    def best(self, width: float = 0.0) -> Evidence:
        """The strongest evidence whose bracket is as narrow as `width`, else that of the narrowest."""
        levels = (Evidence.PROVED, Evidence.PROBABLE, Evidence.ESTIMATE)
        widths = {e: w for e in levels if (w := self.bracket(e).width) is not None}
        good = [e for e, w in widths.items() if w <= width]
        return good[0] if good else min(widths, key=lambda e: (widths[e], -e), default=Evidence.ESTIMATE)

    def __repr__(self) -> str:
        return f"<Measurement of {self.shape[0]}×{self.shape[1]}: {self}>"
