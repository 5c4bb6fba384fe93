"""Certificates λ_max(G) ≤ τ at many frequencies, by complex Cholesky factorizations of sI − Ĝ.

Theorem C for complex matrices (`docs/proofs.md`, section 10): real and imaginary parts are real sums of twice as many
products, so a factorization that completes proves λ_min(M) ≥ −g/(1−g)·tr M with g = √2·γ_{2(m+2)}. s is τ less that
slack, so the answer is yes or no. Whether the host's complex factorization sums conventionally is probed once a
process; where it does not, the residual ‖M − LL*‖ is bounded instead, which assumes nothing of it.
Guarantee: a yes is PROVED; a no proves nothing. Cost: 4m³/3 real multiplications each.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.convolution.symbol import Complex128, GramSymbol, Integers
from opnorm.linalg.rounding import UNIT, Float64, down, frobenius_up, gamma, up

Flags = NDArray[np.bool_]

SMALL_SIDE = 32
"""Up to this side matrices are handled in stacks."""

_PROBE_SIZES = (24, 150)


def certified(symbol: GramSymbol, groups: Integers, numerators: Integers, denominator: int, ceilings: Float64) -> Flags:
    """For each (group, frequency 2πj/N) whether λ_max(F F*) ≤ its ceiling is proved."""
    answers = np.zeros(len(groups), dtype=np.bool_)
    for part, matrices in symbol.evaluated(groups, numerators, denominator):
        tops = ceilings[part] * (1 - 4 * UNIT) - symbol.error[groups[part]] * (1 + 4 * UNIT)
        answers[part] = _below(matrices, tops)
    return answers


def _below(matrices: Complex128, tops: Float64) -> Flags:
    """Whether λ_max of each stored Hermitian matrix is proved to be at most `tops`. Overwrites the matrices."""
    count, side, _ = matrices.shape
    if side == 1:
        return np.asarray(matrices[:, 0, 0].real <= tops)
    conventional = factors_conventionally()
    shifts = tops * (1 - (1 if conventional else 8) * slack(side) - 8 * UNIT)
    diagonal = np.einsum("fii->fi", matrices)
    originals = diagonal.real.copy()
    np.negative(matrices, out=matrices)
    diagonal[:] = shifts[:, None] - originals
    # The trace that the slack allows for, and pivots that may be positive at all.
    fit = (originals.min(axis=1) >= -(2.0**-42) * tops) & (diagonal.real > 0).all(axis=1) & (tops > 2.0**-500)
    answers = np.zeros(count, dtype=np.bool_)
    chosen = np.flatnonzero(fit)
    if not conventional:
        for index in chosen:
            answers[index] = _residual_below(matrices[index], float(shifts[index]), float(tops[index]))
    elif side <= SMALL_SIDE:
        _stacked(matrices, chosen, answers)
    else:
        for index in chosen:
            answers[index] = _completes(matrices[index])
    return answers


def slack(side: int) -> float:
    """Of τ: theorem C's g/(1−g)·tr M with tr M ≤ m·τ(1+2⁻⁴¹), and ω for each diagonal entry's rounding."""
    g = math.sqrt(2) * gamma(2 * (side + 2))
    return up((g / (1 - g)) * side * (1 + 2.0**-40) + 2 * UNIT, 16)


def _stacked(matrices: Complex128, chosen: Integers, answers: Flags) -> None:
    """Factorize a stack at once; where one of it fails, its halves."""
    if len(chosen) == 0:
        return
    try:
        factors = np.linalg.cholesky(matrices[chosen])
        pivots = np.einsum("fii->fi", factors).real
        answers[chosen] = (pivots > 0).all(axis=1) & np.isfinite(pivots).all(axis=1)
    except np.linalg.LinAlgError:
        if len(chosen) > 1:
            middle = len(chosen) // 2
            _stacked(matrices, chosen[:middle], answers)
            _stacked(matrices, chosen[middle:], answers)


def _completes(matrix: Complex128) -> bool:
    factor = _factor(matrix)
    if factor is None:
        return False
    pivots = np.diagonal(factor).real
    return bool((pivots > 0).all()) and bool(np.isfinite(pivots).all())


def _factor(matrix: Complex128) -> Complex128 | None:
    try:
        return np.asarray(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError:
        return None


def _residual_below(matrix: Complex128, shift: float, top: float) -> bool:
    """LL* ⪰ 0 for any L, so λ_max(Ĝ) ≤ shift + ‖M − LL*‖ + rounding of the diagonal."""
    factor = _factor(matrix)
    if factor is None or not np.isfinite(np.tril(factor)).all():
        return False
    factor = np.tril(factor)
    residual = matrix - factor @ factor.conj().T
    size = frobenius_up(_reals(matrix)) + frobenius_up(_reals(factor)) ** 2
    norm = frobenius_up(_reals(residual)) + 2 * gamma(2 * len(matrix) + 8) * size
    return up(shift + norm + UNIT * float(np.abs(np.diagonal(matrix)).max()), 16) <= top


def _reals(matrix: Complex128) -> Float64:
    return np.stack([matrix.real, matrix.imag])


def rayleigh(symbol: GramSymbol, group: int, numerators: Integers, denominator: int, vector: Complex128) -> float:
    """A PROVED lower bound on λ_max(F_gF_g*) at the frequency 2πj/N, hence on its supremum over all frequencies."""
    matrix = symbol.evaluate(group, numerators[None], denominator)[0]
    square = float(np.vdot(vector, vector).real)
    quotient = float(np.vdot(vector, matrix @ vector).real) / square
    error = float(symbol.error[group]) + 8 * gamma(4 * len(vector) + 16) * frobenius_up(_reals(matrix))
    return down(max(quotient - up(error, 8), 0.0), 8)


@functools.cache
def factors_conventionally() -> bool:
    """Whether complex factors of graded Kahan matrices meet their bound entry by entry, in NumPy's library."""
    for size in _PROBE_SIZES:
        matrix = _graded(size)
        factor = _factor(matrix)
        if factor is None or not _factor_holds(matrix, np.tril(factor)):
            return False
    return True


def _graded(size: int) -> Complex128:
    rng = np.random.default_rng(size)
    sine, cosine = np.sin(0.9), np.cos(0.9)
    turns = np.exp(2j * np.pi * rng.random((size, size)))
    kahan = sine ** np.arange(size)[:, None] * (np.eye(size) - cosine * np.triu(turns, 1))
    triangle = kahan * np.exp2(rng.integers(-30, 30, size))
    matrix = triangle.conj().T @ triangle
    matrix = (matrix + matrix.conj().T) / 2
    np.fill_diagonal(matrix, np.diagonal(matrix).real * (1 + 2.0**-40))
    return np.asarray(matrix)


def _factor_holds(matrix: Complex128, factor: Complex128) -> bool:
    """|M − LL*| ≤ √2γ_{2(m+2)}|L||L|ᵀ entry by entry, the residual in extended precision where there is one."""
    wide = factor.astype(np.clongdouble)
    residual = np.abs(matrix.astype(np.clongdouble) - wide @ wide.conj().T)
    size = np.abs(factor) @ np.abs(factor).T
    return bool((residual <= math.sqrt(2) * gamma(2 * (len(matrix) + 2)) * size).all())
