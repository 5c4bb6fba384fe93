"""Functions of all singular values, with the ends that brackets of each value imply, rounded outward.

A function that grows in every σᵢ takes its ends from the ends of all; quotients take the better end of each part;
entropies are bounded term by term. Sums are added exactly and rounded once (`math.fsum`).

Guarantee: the ends are PROVED where those of the values are. Cost: a few sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from opnorm.linalg.rounding import Float64, down, up
from opnorm.spectrum.document import Quantity
from opnorm.spectrum.values import Values

_LOG_SLACK = 1e-12
"""Relative: covers logarithms, exponentials and products with room (each is good to a few 10⁻¹⁶)."""


def increasing(values: Values, function: Callable[[Float64], float], roundings: int = 8) -> Quantity:
    """f(σ) for an f that no σᵢ decreases and that makes at most so many roundings."""
    value = function(values.sigma)
    if values.lower is None or values.upper is None:
        return estimate(value)
    return between(value, down(function(values.lower), roundings), up(function(values.upper), roundings))


def estimate(value: float, note: str = "", error: float | None = None) -> Quantity:
    """An estimate; absent where it is not finite."""
    if not math.isfinite(value):
        return Quantity(None, note=note or "beyond the range of floating-point numbers")
    return Quantity(value, error=error, note=note)


def between(value: float, lower: float, upper: float, evidence: str = "proved", note: str = "") -> Quantity:
    """A value with its ends; the value is moved between them, an infinite end is absent."""
    if not math.isfinite(value):
        return Quantity(None, note=note or "beyond the range of floating-point numbers")
    inside = min(max(value, lower), upper)
    return Quantity(inside, lower, upper if math.isfinite(upper) else None, evidence, note=note)


def absent(why: str, lower: float | None = None, evidence: str = "estimate") -> Quantity:
    """No value, and why."""
    return Quantity(None, lower=lower, evidence=evidence, note=why)


def total(power: int) -> Callable[[Float64], float]:
    """(Σσᵢ^power)^(1/power), scaled so that no power leaves the range."""

    def norm(sigma: Float64) -> float:
        largest = float(sigma.max(initial=0.0))
        if largest == 0:
            return 0.0
        shift = math.frexp(largest)[1]
        with np.errstate(over="ignore"):
            return float(np.ldexp(_sum(np.ldexp(sigma, -shift) ** power) ** (1 / power), shift))

    return norm


def median(sigma: Float64) -> float:
    """Of sorted values; halfway between the middle two without their sum, which could leave the range."""
    one, other = float(sigma[(len(sigma) - 1) // 2]), float(sigma[len(sigma) // 2])
    return other + (one - other) / 2


def participation_ratio(values: Values) -> Quantity:
    """(Σσ²)²/Σσ⁴."""
    value = _participation(values.sigma, values.sigma)
    if values.lower is None or values.upper is None or not values.lower.any():
        return estimate(value)
    count = float(len(values.sigma))
    lower = down(_participation(values.lower, values.upper), 24)
    upper = up(_participation(values.upper, values.lower), 24)
    return between(value, max(1.0, lower), min(count, upper))


def _participation(above: Float64, below: Float64) -> float:
    """(Σa²)²/Σb⁴."""
    shift = math.frexp(float(max(above.max(), below.max())))[1]
    above, below = np.ldexp(above, -shift), np.ldexp(below, -shift)
    fourth = _sum(below**4)
    return _sum(above**2) ** 2 / fourth if fourth > 0 else math.inf


def effective_rank(values: Values) -> Quantity:
    """exp(−Σp ln p), p = σ/Σσ."""
    values = values.times(-math.frexp(float(values.sigma[0]))[1])  # sums then stay in range
    value = math.exp(_entropy(values.sigma / _sum(values.sigma)))
    if values.lower is None or values.upper is None or not values.lower.any():
        return estimate(value)
    least = values.lower / up(_sum(values.upper))
    most = np.minimum(values.upper / down(_sum(values.lower)), 1.0)
    terms = (_terms(least), _terms(most))
    top = np.where((least < 1 / math.e) & (most > 1 / math.e), 1 / math.e, np.maximum(*terms))
    lower = math.exp(_sum(np.minimum(*terms)) * (1 - _LOG_SLACK)) * (1 - _LOG_SLACK)
    upper = math.exp(_sum(top) * (1 + _LOG_SLACK)) * (1 + _LOG_SLACK)
    return between(value, max(1.0, lower), min(float(len(values.sigma)), upper))


def _entropy(shares: Float64) -> float:
    return _sum(_terms(shares))


def _terms(shares: Float64) -> Float64:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(shares > 0, -shares * np.log(shares), 0.0))


def count_above(values: Values, threshold: float, note: str) -> Quantity:
    """How many values exceed a threshold."""
    value = float(np.count_nonzero(values.sigma > threshold))
    if values.lower is None or values.upper is None:
        return Quantity(value, note=note)
    lower, upper = (float(np.count_nonzero(ends > threshold)) for ends in (values.lower, values.upper))
    return between(value, lower, upper, note=note)


def log_sum(values: Values) -> Quantity:
    """Σ ln σ of values above 0."""
    value = _sum(np.log(values.sigma))
    if values.lower is None or values.upper is None or not values.lower.all():
        return estimate(value)
    ends = (np.log(values.lower), np.log(values.upper))
    slack = _LOG_SLACK * max(_sum(np.abs(end)) for end in ends)
    return between(value, _sum(ends[0]) - slack, _sum(ends[1]) + slack)


def _sum(terms: Float64) -> float:
    return math.fsum(terms.tolist())
