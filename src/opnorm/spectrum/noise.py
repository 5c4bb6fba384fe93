"""The Marchenko–Pastur edge: the largest singular value that noise of a layer's own scale would show.

The singular values of an m×n matrix of independent entries with mean 0 and standard deviation s fill s(√n ± √m) as m
and n grow together (V. A. Marchenko and L. A. Pastur, 1967); a value above s(√m + √n) is not noise. Only s is
unknown. It is taken from the median, which few large values cannot move: with μ_β the median of the law of ratio β =
m/n ≤ 1,

    s = median σ / √(n μ_β)          (M. Gavish and D. L. Donoho, *IEEE Trans. Inform. Theory* 60 (2014) 5040).

Half of all values being signal breaks it; a share r of large ones makes it the quantile ½/(1 − r) of the noise, so
that s comes out too large (by 1, 6 and 12 % for r = 0.01, 0.05 and 0.1 of a square matrix) and the count of outliers
too small, never the other way. Dividing the spread of the values by a Gaussian's quartiles and leaving out √n, as a
popular tool does, is not this edge at all.

Guarantee: the scale, and so the edge, is an ESTIMATE; the number of values above the edge as given is PROVED
(`opnorm.spectrum.outliers`). Cost: a median.
"""

from __future__ import annotations

import math

from opnorm.linalg.rounding import Float64
from opnorm.spectrum import intervals

METHOD = "median of the Marchenko-Pastur law (Gavish and Donoho 2014)"

LEAST_SIDE = 16
"""Short sides below this have no bulk to speak of."""


def law(theta: float, beta: float) -> float:
    """The share of the law of ratio β below 1 + β − 2√β cos θ, θ from 0 to π, for unit variance.

    (2/π)∫₀^θ sin²t/(p − q cos t) dt, p = 1 + β, q = 2√β, by its antiderivative
    sin t/q + pt/q² − (2(1 − β)/q²)·atan(√((p+q)/(p−q))·tan(t/2)).
    """
    p, q = 1 + beta, 2 * math.sqrt(beta)
    turn = 0.0 if beta == 1 else math.atan((1 + math.sqrt(beta)) / (1 - math.sqrt(beta)) * math.tan(theta / 2))
    return 2 / math.pi * (math.sin(theta) / q + p * theta / q**2 - 2 * (1 - beta) / q**2 * turn)


def law_quantile(share: float, beta: float) -> float:
    """λ/(n s²) below which a share of the eigenvalues of noise lies, by bisection of `law`."""
    low, high = 0.0, math.pi
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if law(middle, beta) < share else (low, middle)
    return 1 + beta - 2 * math.sqrt(beta) * math.cos(low)


def scale(median: float, rows: int, columns: int) -> float:
    """s of an entry, from the median singular value of a rows×columns matrix."""
    short, long = sorted((rows, columns))
    return median / math.sqrt(long * law_quantile(0.5, short / long))


def edge(size: float, rows: int, columns: int) -> float:
    """s(√m + √n)."""
    return size * (math.sqrt(rows) + math.sqrt(columns))


def median_scale(sigma: Float64, rows: int, columns: int) -> float:
    """s from all singular values."""
    return scale(intervals.median(sigma), rows, columns)
