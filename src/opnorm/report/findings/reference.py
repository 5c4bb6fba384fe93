"""What a matrix of independent entries would show: the reference distribution that layers are judged against.

For G, m×n with iid entries of mean 0 and standard deviation s, the singular values fill [s|√m − √n|, s(√m + √n)] by
the law of Marchenko and Pastur (1967), and σ₁ tends to its edge (Bai and Yin, 1993). Hence, all s cancelled:
stable rank mn/(√m + √n)², and effective rank exp(−Σpᵢlog pᵢ), pᵢ = σᵢ/Σσ (Roy and Vetterli, 2007), as an integral over
the law: with p = min(m, n), c = p/max(m, n) and x = σ/(s√max(m, n)), p·E[x]·exp(−E[x log x]/E[x]).
Substituting x² = 1 + c + 2√c·cosθ gives E[f] = (2/π)∫₀^π f·sin²θ/x² dθ, which the midpoint rule finds to 1e-4.

A convolution with iid taps has the same law at each frequency, so its shares are those of its channels.
Guarantee: none, these are limits of large matrices. From 16×16 on the effective rank is within 3 % of the mean of
random ones, the stable rank within 20 % (σ₁ lies below the edge), within 12 % from 30×300 and 64×64 on.
"""

from __future__ import annotations

import math
from functools import lru_cache

_POINTS = 512


def stable_rank(rows: int, columns: int) -> float:
    """‖G‖_F²/σ₁² of an iid matrix, in the limit."""
    return rows * columns / (math.sqrt(rows) + math.sqrt(columns)) ** 2


@lru_cache(maxsize=1024)
def effective_rank(rows: int, columns: int) -> float:
    """exp of the entropy of σ/Σσ of an iid matrix, in the limit."""
    short = min(rows, columns)
    c = short / max(rows, columns)
    mean = entropy = 0.0
    for i in range(_POINTS):
        theta = (i + 0.5) * math.pi / _POINTS
        square = 1 + c + 2 * math.sqrt(c) * math.cos(theta)
        weight = 2 / _POINTS * math.sin(theta) ** 2 / square
        x = math.sqrt(square)
        mean += weight * x
        entropy += weight * x * math.log(x)
    return short * mean * math.exp(-entropy / mean)


def initial_edge(outputs: int, inputs: int) -> float:
    """The Marchenko–Pastur edge of a layer at He's initialization (2015), variance 2/inputs: √2(1 + √(outputs/inputs)).

    For a convolution, with its channels: its taps cancel, as the symbol sums what the variance divides by.
    """
    return math.sqrt(2) * (1 + math.sqrt(outputs / inputs))
