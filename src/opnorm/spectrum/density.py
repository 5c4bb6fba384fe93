"""How singular values spread over their magnitudes: a histogram of log₁₀ σ, exact or by quadrature.

Bins are equally wide from the value that 99.5 % of the nonzero ones exceed to the largest; their number follows Rice's
rule 2m^⅓, between 8 and 48. Shares, those below the first edge included, sum up to 1.

Guarantee: exact shares of the computed values (`errors` 0), or ESTIMATEs with a standard error each, from
`opnorm.spectrum.quadrature`. Cost: one sort.
"""

from __future__ import annotations

import math

import numpy as np

from opnorm.linalg.rounding import Float64
from opnorm.spectrum.document import Density
from opnorm.spectrum.quadrature import NEGLIGIBLE, Quadrature
from opnorm.spectrum.values import Values

LEAST_BINS, MOST_BINS = 8, 48

_LEFT_OUT = 0.005
"""Of the nonzero values, this share may lie below the first edge, so that a few tiny ones do not widen every bin."""

_NARROW = 1e-3
"""In log₁₀: all values are alike if they spread less than this; the bins then are this wide."""


def exact(values: Values) -> Density | None:
    """Of all values; None where none is above 0."""
    positive = values.positive()
    if len(positive) == 0:
        return None
    least = float(np.sort(positive)[int(_LEFT_OUT * len(positive))])
    edges = _edges(least, float(positive[0]), len(values.sigma))
    # The ends are moved outward by rounding's width, so that the largest value has a bin.
    counts = np.histogram(np.log10(positive), bins=edges)[0]
    shares = counts / len(values.sigma)
    zero = 1.0 - math.fsum(shares)
    return Density(_floats(edges), _floats(shares), (0.0,) * len(shares), max(0.0, zero), "exact")


def sampled(rule: Quadrature) -> Density | None:
    """From a quadrature; None where it saw nothing above 0."""
    largest = float(rule.sigma.max(initial=0.0))
    if largest == 0:
        return None
    least = max(float(np.median(rule.quantile(_LEFT_OUT))), NEGLIGIBLE * largest)
    edges = _edges(least, largest, rule.count)
    below = rule.below(10.0**edges)
    shares = np.diff(below, axis=1)
    errors = shares.std(axis=0, ddof=1) / math.sqrt(len(shares))
    return Density(
        _floats(edges), _floats(shares.mean(axis=0)), _floats(errors), float(below[:, 0].mean()), "quadrature"
    )


def _edges(least: float, most: float, count: int) -> Float64:
    low, high = math.log10(least) - 1e-9, math.log10(most) + 1e-9
    if high - low < _NARROW:
        low, high = (low + high) / 2 - _NARROW, (low + high) / 2 + _NARROW
        return np.linspace(low, high, 3)
    return np.linspace(low, high, min(MOST_BINS, max(LEAST_BINS, math.ceil(2 * count ** (1 / 3)))) + 1)


def _floats(values: Float64) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
