"""Cholesky factors, and whether this machine computes them as theorem C supposes.

Conventional summation with IEEE rounding implies componentwise error bounds. A factorization that inverts
diagonal blocks, or works in reduced precision, breaks them and is caught on graded matrices, once a process.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.rounding import Float64, gamma

IN_PLACE_SIDE = 1024
"""From here LAPACK is called through SciPy, in place: NumPy's wrapper copies twice. Below it NumPy's is
used: going back and forth between the thread pools of two BLAS copies costs more than a small factor."""

_PROBE_SIZES = (32, 150)


def cholesky(matrix: Float64) -> Float64 | None:
    """L with LLᵀ ≈ `matrix` (symmetric), or None where it breaks down or is not finite.

    L is the lower triangle of what is returned. From `IN_PLACE_SIDE` that is `matrix` itself, overwritten.
    """
    factor = _in_place(matrix) if len(matrix) >= IN_PLACE_SIDE else _by_numpy(matrix)
    if factor is None:
        return None
    pivots = np.diagonal(factor)
    good = bool((pivots > 0).all()) and bool(np.isfinite(pivots).all())
    # NaN or Inf below the diagonal reaches the pivots of its row: squares are subtracted there.
    return factor if good else None


def _by_numpy(matrix: Float64) -> Float64 | None:
    try:
        return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None


def _in_place(matrix: Float64) -> Float64 | None:
    from scipy.linalg.lapack import dpotrf

    columns_first = matrix if matrix.flags.f_contiguous else matrix.T  # symmetric: no copy either way
    factor, info = dpotrf(columns_first, lower=1, clean=0, overwrite_a=1)
    return np.asarray(factor) if info == 0 else None


@functools.cache
def cholesky_is_conventional(side: int) -> bool:
    """Whether factors meet their componentwise bounds here, in the library used at `side`."""
    return _probed(side >= IN_PLACE_SIDE)


@functools.cache
def _probed(in_place: bool) -> bool:
    factorize = _in_place if in_place else _by_numpy
    for size in _PROBE_SIZES:
        matrix = _graded(size)
        factor = factorize(matrix.copy())
        if factor is None or not _factor_holds(matrix, factor):
            return False
    return True


def _graded(size: int) -> Float64:
    """RᵀR for Kahan's triangle with graded columns: the inverses of its blocks dwarf its solves."""
    sine, cosine = np.sin(0.9), np.cos(0.9)
    kahan = sine ** np.arange(size)[:, None] * (np.eye(size) - cosine * np.triu(np.ones((size, size)), 1))
    triangle = kahan * np.exp2(np.random.default_rng(size).integers(-30, 30, size))
    matrix = triangle.T @ triangle
    np.fill_diagonal(matrix, np.diagonal(matrix) * (1 + 2.0**-40))
    return np.asarray(matrix)


def _factor_holds(matrix: Float64, factor: Float64) -> bool:
    """|M − LLᵀ| ≤ γ|L||Lᵀ| componentwise, the residual in extended precision where there is one."""
    factor = np.tril(factor)
    lower: NDArray[np.longdouble] = factor.astype(np.longdouble)
    residual = np.abs(matrix.astype(np.longdouble) - lower @ lower.T)
    return bool((residual <= gamma(len(matrix) + 4) * (np.abs(factor) @ np.abs(factor).T)).all())
