"""Random small matrices for the oracle: shapes, spectra, scales and dtypes that break careless bounds."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from gallery import profiles, with_spectrum

LOW_PRECISION = (np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, np.float32)


def draw(rng: np.random.Generator, low: int, high: int) -> np.ndarray:
    """One matrix with its short side in [low, high)."""
    m, n = int(rng.integers(low, high)), 0
    n = m + int(rng.integers(0, 12))
    kind = KINDS[int(rng.integers(len(KINDS)))]
    matrix = kind(m, n, rng)
    return matrix.T if rng.random() < 0.5 else matrix


def _gaussian(m, n, rng):
    return rng.standard_normal((m, n))


def _integers(m, n, rng):
    return rng.integers(-3, 4, (m, n)).astype(np.float64)


def _spectrum(m, n, rng):
    choices = list(profiles(m).values())
    return with_spectrum(choices[int(rng.integers(len(choices)))], m, n, rng)


def _graded_rows(m, n, rng):
    return rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-150, 0, (m, 1))


def _extreme_scale(m, n, rng):
    return np.ldexp(rng.standard_normal((m, n)), int(rng.choice([-1010, -600, -150, 150, 600, 1010])))


def _low_precision(m, n, rng):
    dtype = LOW_PRECISION[int(rng.integers(len(LOW_PRECISION)))]
    return rng.standard_normal((m, n)).astype(dtype)


def _sparse(m, n, rng):
    return rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.2)


def _repeated(m, n, rng):
    return np.tile(rng.standard_normal((1, n)), (m, 1)) + 1e-9 * rng.standard_normal((m, n))


def _permutation(m, n, rng):
    return np.eye(m, n)[rng.permutation(m)] * rng.choice([1.0, 1 - 2.0**-53], (m, 1))


KINDS = (
    _gaussian,
    _integers,
    _spectrum,
    _spectrum,
    _graded_rows,
    _extreme_scale,
    _low_precision,
    _sparse,
    _repeated,
    _permutation,
)
