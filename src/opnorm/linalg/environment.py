"""Does this process keep the arithmetic that every proof supposes? Asked before each measurement.

Gradual underflow: a mode of the processor, per thread, that some frameworks switch off. Conventional sums:
matrix products whose every entry is a sum of products in some order, so that errors are bounded entry by entry;
a Strassen product or a product in reduced precision is caught on rows that differ by hundreds of powers of two.
"""

from __future__ import annotations

import functools

import numpy as np

from opnorm.errors import UnsupportedInput
from opnorm.linalg.rounding import Float64

_PROBE_SIZES = (32, 300)


def require_ieee() -> None:
    """`UnsupportedInput` where no bound could be proved, with what to do. Costs a microsecond after the first time."""
    if not _subnormals_survive():
        raise UnsupportedInput(
            "this thread flushes subnormal numbers to zero, so that even reading weights changes them; "
            "switch that off first, for instance by torch.set_flush_denormal(False)"
        )
    if not _sums_are_conventional():
        raise UnsupportedInput(
            "the BLAS behind NumPy does not sum conventionally in its own precision (a fast or emulated product?), "
            "so that no bound on its errors is known; use NumPy's own wheels"
        )


def _subnormals_survive() -> bool:
    small = np.array([1e-40], dtype=np.float32)
    tiny = np.array([2.0**-1070])
    return bool(small.astype(np.float64)[0] != 0.0) and bool((tiny * 1.5)[0] != 0.0)


@functools.cache
def _sums_are_conventional() -> bool:
    return all(_products_are_exact(size) for size in _PROBE_SIZES)


def _products_are_exact(size: int) -> bool:
    """Products of graded integers, exact in every conventional order, in float64 and float32."""
    rng = np.random.default_rng(size)
    dense = rng.integers(-(2**20), 2**20, (2, size, size)).astype(np.float64)
    few = rng.integers(-(2**7), 2**7, (2, size, size)).astype(np.float64)
    # Wider integers betray products that keep fewer bits of the factors; few a row, that sums stay exact.
    wide = rng.integers(-(2**11), 2**11, (2, size, size)) * (rng.random((2, size, size)) * size < 1)
    wide[:, :, 2:] *= np.cumsum(wide != 0, axis=2)[:, :, 2:] <= 3
    cases = ((dense, np.float64, 200), (few, np.float32, 20), (wide.astype(np.float64), np.float32, 20))
    return all(_exact(whole[0], whole[1], dtype, span, rng) for whole, dtype, span in cases)


def _exact(a: Float64, b: Float64, dtype: type, span: int, rng: np.random.Generator) -> bool:
    """ABᵀ, AB and AAᵀ, rows scaled by powers of two within 2^±span, against the products of the integers."""
    rows, columns = rng.integers(-span, span, (2, len(a)))
    left = np.ldexp(a, rows[:, None]).astype(dtype)
    right = np.ldexp(b, columns[:, None]).astype(dtype)
    products = (
        (left @ right.T, a @ b.T, rows[:, None] + columns),
        (left @ np.ascontiguousarray(right.T), a @ b.T, rows[:, None] + columns),
        (left @ left.T, a @ a.T, rows[:, None] + rows),
    )
    return all(np.array_equal(product, np.ldexp(whole, scale)) for product, whole, scale in products)
