"""How many singular values lie above τ: proved by the signs of a factorization and its residual, without eigenvalues.

Let M be stored and symmetric, L unit triangular up to a permutation of its rows, D symmetric with blocks of side 1 and
2, ρ ≥ ‖M − LDLᵀ‖. L is nonsingular, so LDLᵀ has as many negative eigenvalues as D (Sylvester), and (Weyl)

    M = fl(sI − Ĝ):            #{σᵢ² > s + ρ′} ≤ neg D ≤ #{σᵢ² > s − ρ′},   ρ′ = ρ + u·max|mᵢᵢ| + ‖Ĝ − AAᵀ‖,
    M = [[τI, Â], [Âᵀ, τI]]:   #{σᵢ > τ + ρ′} ≤ neg D ≤ #{σᵢ > τ − ρ′},     ρ′ = ρ + ‖Â − A‖.

So N(τ) = #{σᵢ > τ} lies between two such counts, at s on either side of τ² by a margin that the residual must turn
out to keep within; nothing is asked of the factors, which Bunch and Kaufman's pivoting does not bound. The second
form does not square: its margin acts on σ, for thresholds far below σ₁. Signs of 2×2 blocks are decided in rational
arithmetic.

Guarantee: PROVED, both ends. Cost: two factorizations of m³/3 multiplications and their residuals of 2m³ (m + n in
place of m in the second form). Proof: `docs/proofs.md`, section 18.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.gram import Gram
from opnorm.linalg.rounding import TINY, UNIT, Float64, frobenius_up, gamma, up

SIDE = 4096
"""Beyond this the factors are not computed: 400 MB, and a minute."""

AUGMENTED_SIDE = 1536
"""The same of m + n."""

_MARGIN = 2.0
"""The residual's bound is about this times what its rounding alone is known to be."""

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Count:
    """lower ≤ #{σᵢ > τ} ≤ upper."""

    lower: int
    upper: int

    @property
    def exact(self) -> bool:
        """Whether the count is known."""
        return self.lower == self.upper


def count_above(gram: Gram, tau: float) -> Count:
    """#{σᵢ(A) > τ} from the Gram matrix Ĝ of A; τ > 0."""
    size, square = len(gram.matrix), tau * tau
    known = up(gram.error + UNIT * (6 * square + gram.trace))
    guess = known + _MARGIN * gamma(size + 6) * (square * math.sqrt(size) + 3 * gram.trace)
    return _bracketed(lambda shift: _factors(_shifted(gram.matrix, shift)), square, known, guess, size)


def count_above_augmented(matrix: Float64, perturbation: float, tau: float) -> Count:
    """#{σᵢ(A) > τ} from stored entries Â with ‖Â − A‖ ≤ `perturbation`; τ > 0."""
    size = sum(matrix.shape)
    known = up(perturbation + 6 * UNIT * tau)
    guess = known + _MARGIN * gamma(size + 6) * (tau * math.sqrt(size) + 4 * frobenius_up(matrix))
    return _bracketed(lambda shift: _factors(_augmented(matrix, shift)), tau, known, guess, min(matrix.shape))


def _bracketed(
    factored: Callable[[float], _Factors | None], at: float, known: float, margin: float, most: int
) -> Count:
    """Counts at `at` ± margin, where the residuals keep within the margin; else a wider one, `_TRIES` in all.

    `known`: what M itself may be wrong by, roundings of `at` and of sums with it included up to 8u·margin.
    """
    lower, upper = 0, most
    for _ in range(_TRIES):
        needed = 0.0
        for side in (1, -1):
            found = factored(at + side * margin)
            error = math.inf if found is None else up(found.residual + known)
            if found is not None and error <= margin * (1 - 16 * UNIT):
                lower = max(lower, found.negative) if side > 0 else lower
                upper = min(upper, found.negative) if side < 0 else upper
            needed = max(needed, error)
        if needed <= margin * (1 - 16 * UNIT):
            break
        margin = 1.1 * needed if math.isfinite(needed) else 4 * margin
    return Count(lower, upper)


def _shifted(matrix: Float64, shift: float) -> Float64:
    """fl(sI − Ĝ)."""
    moved = -matrix
    np.fill_diagonal(moved, shift - np.diagonal(matrix))
    return np.asarray(moved)


def _augmented(matrix: Float64, tau: float) -> Float64:
    rows, columns = matrix.shape
    whole = np.zeros((rows + columns, rows + columns))
    np.fill_diagonal(whole, tau)
    whole[:rows, rows:] = matrix
    whole[rows:, :rows] = matrix.T
    return whole


@dataclass(frozen=True, slots=True)
class _Factors:
    """neg D, and ρ ≥ ‖M − LDLᵀ‖."""

    negative: int
    residual: float


def _factors(matrix: Float64) -> _Factors | None:
    """The negative eigenvalues of D for M ≈ LDLᵀ; None where the factors are not of the form that the proof needs."""
    lower, middle, order = _decomposed(matrix)
    triangle = lower[order]
    if not (np.isfinite(lower).all() and np.isfinite(middle).all()) or not _is_unit_triangular(triangle):
        return None
    negative = negative_eigenvalues(middle)
    return None if negative is None else _Factors(negative, _residual(matrix, lower, middle))


def _decomposed(matrix: Float64) -> tuple[Float64, Float64, NDArray[np.int64]]:
    """L, D and the order in which the rows of L are triangular."""
    from scipy.linalg import ldl

    lower, middle, order = ldl(matrix, lower=True)
    return np.asarray(lower, dtype=np.float64), np.asarray(middle, dtype=np.float64), np.asarray(order)


def _is_unit_triangular(triangle: Float64) -> bool:
    return not np.triu(triangle, 1).any() and bool((np.diagonal(triangle) == 1).all())


def negative_eigenvalues(middle: Float64) -> int | None:
    """Of a symmetric matrix with diagonal blocks of side 1 and 2, exactly; None for any other matrix."""
    diagonal, beside = np.diagonal(middle), np.diagonal(middle, -1)
    joined = beside != 0
    shape_holds = np.count_nonzero(middle) == np.count_nonzero(diagonal) + 2 * np.count_nonzero(joined)
    if not shape_holds or not np.array_equal(beside, np.diagonal(middle, 1)) or (joined[1:] & joined[:-1]).any():
        return None
    paired = np.concatenate([joined, [False]]) | np.concatenate([[False], joined])
    alone = int(np.count_nonzero(diagonal[~paired] < 0))
    return alone + sum(_of_block(diagonal[i], beside[i], diagonal[i + 1]) for i in np.flatnonzero(joined))


def _of_block(a: float, b: float, c: float) -> int:
    """Negative eigenvalues of [[a, b], [b, c]]."""
    first, beside, last = Fraction(float(a)), Fraction(float(b)), Fraction(float(c))
    determinant = first * last - beside * beside
    if determinant < 0:
        return 1
    return 2 * (first < 0) if determinant > 0 else int(first + last < 0)


def _residual(matrix: Float64, lower: Float64, middle: Float64) -> float:
    """An upper bound on ‖M − LDLᵀ‖: as computed, and γ_{m+6}(|M| + |L||D||Lᵀ|) for how it was computed."""
    size = len(matrix)
    image = lower * np.diagonal(middle)
    beside = np.diagonal(middle, -1)
    at = np.flatnonzero(beside)
    image[:, at] += lower[:, at + 1] * beside[at]
    image[:, at + 1] += lower[:, at] * beside[at]
    residual = matrix - image @ lower.T
    magnitude = np.abs(lower)
    sums = magnitude @ (np.abs(middle) @ magnitude.sum(axis=0))  # |L||D||Lᵀ|1: its largest entry bounds the norm
    products = float((sums + np.abs(matrix).sum(axis=1)).max(initial=0.0)) * (1 + gamma(4 * size + 8))
    norm = min(frobenius_up(residual), _row_sum(residual))
    return up(norm * (1 + 2 * UNIT) + gamma(size + 6) * products + 4 * size**2 * TINY, 8)


def _row_sum(matrix: Float64) -> float:
    """An upper bound on ‖M‖₂ of a nearly symmetric M: √(‖M‖₁‖M‖_∞)."""
    magnitude = np.abs(matrix)
    largest = max(float(magnitude.sum(axis=axis).max(initial=0.0)) for axis in (0, 1))
    return up(largest * (1 + gamma(len(matrix))))
