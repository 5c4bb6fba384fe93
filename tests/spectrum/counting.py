"""Truth by interval arithmetic: how many singular values lie above τ, from the signs of exact pivots (Sylvester)."""

from __future__ import annotations

import numpy as np
from flint import arb, ctx

from oracle import PRECISIONS, Oracle, _ball


class Counter(Oracle):
    """Counts singular values of one matrix above as many τ as asked."""

    def above(self, tau: float) -> int:
        """#{σ > τ}, for τ = 0 #{σ > 10⁻⁵⁰⁰}, below all floats; fails where 4096 bits do not decide a pivot."""
        for precision in PRECISIONS:
            ctx.prec = precision
            count = self._negative_pivots(self._gram(precision), _ball(tau) if tau > 0 else arb(10) ** -500)
            if count is not None:
                return count
        raise AssertionError(f"undecided at {tau!r}")

    def _negative_pivots(self, gram: list[list[arb]], tau: arb) -> int | None:
        size, negative = len(gram), 0
        work = [[-x for x in row] for row in gram]
        for i in range(size):
            work[i][i] = tau * tau + work[i][i]
        for k in range(size):
            pivot = work[k][k]
            if not (pivot < 0 or pivot > 0):
                return None
            negative += bool(pivot < 0)
            for i in range(k + 1, size):
                ratio = work[i][k] / pivot
                for j in range(k + 1, i + 1):
                    work[i][j] -= ratio * work[j][k]
        return negative

    def brackets(self, lower: np.ndarray, upper: np.ndarray) -> bool:
        """Whether lower_i ≤ σ_i ≤ upper_i for all i, descending."""
        for rank, (low, high) in enumerate(zip(lower, upper, strict=True), start=1):
            if low > 0 and self.above(np.nextafter(low, 0.0)) < rank:
                return False
            if self.above(high) > rank - 1:
                return False
        return True
