"""`make bench`: opnorm beside its peers, from one run: time as a ratio to one pass, error, evidence.

One pass is `A.T @ (A @ X)` with 8 columns in float32 on the same threads. Medians; the slow ones run once.
Options: --small leaves out 4096×11008, --tiny leaves out all but 1024².
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable

import numpy as np
from matrices import SHAPES, SPECTRA, truth
from models import bench_minilm
from peers import METHODS


def median(action: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        gc.collect()
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def one_pass(matrix: np.ndarray) -> float:
    block = np.random.default_rng(0).standard_normal((matrix.shape[1], 8)).astype(np.float32)
    return median(lambda: matrix.T @ (matrix @ block), 9)


def gram_product(matrix: np.ndarray) -> float:
    """The float64 product AAᵀ alone, conversion not counted."""
    wide = matrix.astype(np.float64) if matrix.shape[0] <= matrix.shape[1] else matrix.T.astype(np.float64)
    return median(lambda: wide @ wide.T, 3)


def bench(name: str, matrix: np.ndarray) -> None:
    exact, unit = truth(matrix), one_pass(matrix)
    size = "×".join(map(str, matrix.shape))
    print(f"\n{name} {size}: one pass {unit * 1e3:.1f} ms, float64 Gram product {gram_product(matrix) * 1e3:.0f} ms")
    print(f"  {'method':24} {'time':>10} {'passes':>8}  {'low error':>10} {'high error':>10}  evidence")
    for method in METHODS:
        began = time.perf_counter()
        low, high = method.call(matrix)
        seconds = time.perf_counter() - began
        if method.repeats > 1:
            seconds = median(lambda m=method: m.call(matrix), method.repeats)
        print(
            f"  {method.name:24} {seconds * 1e3:8.1f}ms {seconds / unit:8.1f}  {low / exact - 1:10.1e} "
            f"{high / exact - 1:10.1e}  {method.evidence}",
            flush=True,
        )


def main() -> None:
    shapes = SHAPES[:1] if "--tiny" in sys.argv else SHAPES[:2] if "--small" in sys.argv else SHAPES
    for shape in shapes:
        for name, make in SPECTRA.items():
            bench(name, make(*shape, np.random.default_rng(0)))
    bench_minilm(median)


if __name__ == "__main__":
    main()
