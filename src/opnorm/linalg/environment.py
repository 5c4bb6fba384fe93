"""Does this process keep the arithmetic that every proof supposes? Asked before each measurement.

Gradual underflow: a mode of the processor, per thread, that some frameworks switch off. Conventional sums:
matrix products whose every entry is a sum of products in some order, so that errors are bounded entry by entry;
a Strassen product or a product in reduced precision is caught on rows that differ by hundreds of powers of two.
"""

from __future__ import annotations

import functools

import numpy as np

from opnorm.errors import UnsupportedInput

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
            "the BLAS behind NumPy does not sum conventionally in float64 (a fast or emulated product?), "
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
    """Products of graded integers, exact in every conventional order: AB, ABᵀ and AAᵀ."""
    rng = np.random.default_rng(size)
    whole = rng.integers(-(2**20), 2**20, (2, size, size)).astype(np.float64)
    grade = rng.integers(-200, 200, (2, size))
    a, b = np.ldexp(whole[0], grade[0][:, None]), np.ldexp(whole[1], grade[1][:, None])
    pairs = (
        (a @ b.T, whole[0] @ whole[1].T, grade[0][:, None] + grade[1]),
        (a @ np.ascontiguousarray(b.T), whole[0] @ whole[1].T, grade[0][:, None] + grade[1]),
        (a @ a.T, whole[0] @ whole[0].T, grade[0][:, None] + grade[0]),
    )
    return all(np.array_equal(product, np.ldexp(exact, scale)) for product, exact, scale in pairs)
