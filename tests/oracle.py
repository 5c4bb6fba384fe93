"""Truth by interval arithmetic: is σ₁ above or below τ, decided in Arb balls, independent of opnorm.

Stored floats are exact dyadic rationals. σ₁ < τ iff every pivot of LDLᵀ of τ²I − AAᵀ is positive; one
provably negative pivot after decided ones proves σ₁ > τ (Sylvester's law of inertia).
"""

from __future__ import annotations

import numpy as np
from flint import arb, arb_mat, ctx, fmpz

PRECISIONS = (128, 512, 4096)


def _ball(value: float) -> arb:
    """A float64 as an exact ball: mantissa times a power of two."""
    mantissa, exponent = np.frexp(float(value))
    return arb(fmpz(int(mantissa * 2.0**53))) * arb(2) ** (int(exponent) - 53)


class Oracle:
    """Decides σ₁ of one matrix (any dtype that embeds into float64) against as many τ as asked."""

    def __init__(self, matrix: np.ndarray) -> None:
        wide = np.asarray(matrix, dtype=np.float64)
        self.wide = wide if wide.shape[0] <= wide.shape[1] else wide.T
        self._grams: dict[int, list[list[arb]]] = {}

    def _gram(self, precision: int) -> list[list[arb]]:
        if precision not in self._grams:
            balls = arb_mat([[_ball(x) for x in row] for row in self.wide])
            self._grams[precision] = (balls * balls.transpose()).tolist()
        return self._grams[precision]

    def compare(self, tau: float) -> int:
        """−1 if σ₁ < τ, +1 if σ₁ > τ, 0 if undecided at 4096 bits (then they are equal, or as good as)."""
        for precision in PRECISIONS:
            ctx.prec = precision
            answer = self._inertia(self._gram(precision), _ball(tau))
            if answer:
                return answer
        return 0

    def _inertia(self, gram: list[list[arb]], tau: arb) -> int:
        size = len(gram)
        work = [[-x for x in row] for row in gram]
        for i in range(size):
            work[i][i] = tau * tau + work[i][i]
        for k in range(size):
            pivot = work[k][k]
            if pivot < 0:
                return 1
            if not pivot > 0:
                return 0
            for i in range(k + 1, size):
                ratio = work[i][k] / pivot
                for j in range(k + 1, i + 1):
                    work[i][j] -= ratio * work[j][k]
        return -1

    def holds(self, lower: float | None, upper: float | None) -> bool:
        """Whether lower ≤ σ₁ ≤ upper; an undecidable tie counts as holding."""
        below = lower is None or lower == 0 or self.compare(lower) >= 0
        above = upper is None or self.compare(upper) <= 0
        return below and above
