"""The band {W : lo ≤ σ_i(W) ≤ hi, i ≤ min(m, n)}: what a cap, a band and an orthogonal weight have in common.

Plain numbers, checked once; the singular values of the short side are meant. Cap = [0, c], orthogonal = [s, s].
The cap's set is convex; with lo > 0 it is not, and the projection onto it (`opnorm.constraint.projection`) is
unique only where no singular value is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, TypeAlias

from opnorm.errors import UsageError

Kind: TypeAlias = Literal["free", "cap", "floor", "band", "orthogonal"]


@dataclass(frozen=True, slots=True)
class Band:
    """Floor and ceiling of the singular values: 0 ≤ lo ≤ hi, lo finite, 0 < hi ≤ ∞ (∞: no ceiling)."""

    lo: float = 0.0
    hi: float = math.inf

    def __post_init__(self) -> None:
        for name in ("lo", "hi"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if not 0 <= self.lo < math.inf:
            raise UsageError(f"lo={self.lo!r} is no floor of singular values: give a finite number of at least 0")
        if not self.hi > 0:
            raise UsageError(f"hi={self.hi!r} is no ceiling of singular values: give a number above 0, or inf for none")
        if self.lo > self.hi:
            raise UsageError(f"lo={self.lo!r} lies above hi={self.hi!r}: give lo ≤ hi, equal for an orthogonal weight")

    @property
    def kind(self) -> Kind:
        """'free' [0, ∞], 'cap' [0, c], 'floor' [s, ∞], 'orthogonal' [s, s], else 'band'."""
        if self.lo == self.hi:
            return "orthogonal"
        if self.lo == 0:
            return "free" if self.hi == math.inf else "cap"
        return "floor" if self.hi == math.inf else "band"

    def clip(self, sigma: Any) -> Any:
        """The nearest numbers in the band; `sigma` an array of any framework."""
        return sigma.clip(self.lo, self.hi)

    def __str__(self) -> str:
        return f"[{self.lo:.6g}, {self.hi:.6g}]"


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        raise UsageError(f"{name}={value!r} is not a number: give a real number, such as {name}=1.0")
    return float(value)
