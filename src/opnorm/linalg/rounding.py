"""IEEE binary64 error constants, rounded so that every bound stays a bound.

The model: round to nearest, fused multiply-add and any order of summation allowed, u = 2⁻⁵³
(Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., chapters 3 and 10).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

UNIT = 2.0**-53
"""Unit roundoff u of binary64."""

TINY = 2.0**-1022
"""Smallest normal binary64: bounds one underflow, flush-to-zero included."""

TINY32 = 2.0**-126
"""Smallest normal binary32."""

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]


def gamma(terms: int) -> float:
    """γ_k = ku/(1−ku), rounded up: relative error of a sum of `terms` rounded products in any order."""
    ku = terms * UNIT
    return ku / (1 - ku) * (1 + 4 * UNIT)


def gamma32(terms: int) -> float:
    """γ_k of binary32, u = 2⁻²⁴, rounded up."""
    ku = terms * 2.0**-24
    return ku / (1 - ku) * (1 + 4 * UNIT)


def up(value: float, roundings: int = 4) -> float:
    """An upper bound on a non-negative quantity whose computation made at most `roundings` roundings."""
    return math.nextafter(value * (1 + (roundings + 2) * UNIT), math.inf) if value > 0 else value


def down(value: float, roundings: int = 4) -> float:
    """A lower bound on a non-negative quantity whose computation made at most `roundings` roundings."""
    return math.nextafter(value * (1 - (roundings + 2) * UNIT), 0.0) if value > 0 else 0.0


def frobenius_up(matrix: Float64) -> float:
    """An upper bound on ‖M‖_F of a stored float64 array, underflow included."""
    square = float(np.vdot(matrix, matrix)) * (1 + gamma(matrix.size + 2)) + matrix.size * TINY
    return up(math.sqrt(up(square)))


def psd_norm_up(matrix: Float64) -> float:
    """An upper bound on λ_max of a symmetric positive semidefinite b×b array, close to attained.

    With computed eigenvectors U, any vector is x = Uy, so λ_max ≤ ‖UᵀMU‖_∞/(1−‖UᵀU−I‖_∞); nothing is
    assumed of U. The smaller of this and ‖M‖_F is returned.
    """
    size = len(matrix)
    frobenius = frobenius_up(matrix)
    if not math.isfinite(frobenius) or size == 1:
        return frobenius
    _, u = np.linalg.eigh(matrix)
    slack = gamma(3 * size + 6) * size * frobenius_up(u) ** 2
    rotated = float(np.abs(u.T @ matrix @ u).sum(axis=1).max()) + slack * frobenius
    defect = float(np.abs(u.T @ u - np.eye(size)).sum(axis=1).max()) + slack
    return min(frobenius, up(rotated / (1 - defect), 16)) if defect < 0.5 else frobenius


def psd_norm_quick(matrix: Float64) -> float:
    """An upper bound on λ_max of a symmetric array M, at most size^(1/4) too large: ‖M²‖_F ≥ λ_max²."""
    frobenius = frobenius_up(matrix)
    rounding = gamma(len(matrix) + 2) * frobenius**2
    return min(frobenius, up(math.sqrt(up(frobenius_up(matrix @ matrix) + rounding))))


def ldexp_up(value: float, exponent: int) -> float:
    """value·2^exponent rounded up; only subnormal results round at all. Overflow gives infinity."""
    try:
        scaled = math.ldexp(value, exponent)
    except OverflowError:
        return math.inf
    return math.nextafter(scaled, math.inf) if math.ldexp(scaled, -exponent) < value else scaled


def ldexp_down(value: float, exponent: int) -> float:
    """value·2^exponent rounded down; overflow gives the largest finite number."""
    try:
        scaled = math.ldexp(value, exponent)
    except OverflowError:
        return float(np.finfo(np.float64).max)
    return math.nextafter(scaled, 0.0) if math.ldexp(scaled, -exponent) > value else scaled
