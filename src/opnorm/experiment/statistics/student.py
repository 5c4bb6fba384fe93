"""Student's t of a mean, corrected for overlapping splits, plain and after Hall's transformation; with intervals.

T = (mean − δ)/(s·√(1/n + overlap)) on n − 1 degrees of freedom. The variance is that of Nadeau and Bengio (2003,
Machine Learning 52): where the n differences correlate by ρ = n_test/(n_test + n_train), s² expects σ²(1 − ρ), the
mean varies by σ²(1/n + ρ(n − 1)/n) = σ²(1 − ρ)(1/n + n_test/n_train), and normal differences make T exactly Student's.

Hall (1992, JRSS B 54): with a = skewness/√n, g(T) = T + aT²/3 + a²T³/27 + a/6 is increasing and removes the first
order of skewness from a one-sided test. With a = 0 it is T itself.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from opnorm.experiment.statistics.sample import Floats, Sample


def p_at_most(sample: Sample, at: float) -> Floats:
    """The larger p-value, of both t tests, of "the true mean is at most `at`"."""
    return _worst(sample, at, 1.0)


def p_at_least(sample: Sample, at: float) -> Floats:
    """The larger p-value, of both t tests, of "the true mean is at least `at`"."""
    return _worst(sample, at, -1.0)


def ends(sample: Sample, tail: float) -> tuple[Floats, Floats]:
    """The values that not both tests reject at `tail`, on either side."""
    quantile = float(stats.t.isf(tail, sample.size - 1))
    a = sample.skewness / np.sqrt(sample.size)
    far = np.maximum(quantile, _inverse(quantile, a))
    near = np.minimum(-quantile, _inverse(-quantile, a))
    return sample.mean - far * sample.error, sample.mean - near * sample.error


def _worst(sample: Sample, at: float, side: float) -> Floats:
    gap = side * (sample.mean - at)
    gap = np.where(np.abs(gap) <= sample.resolution, 0.0, gap)
    error = sample.error
    ratio = np.divide(gap, error, out=np.zeros_like(gap), where=error > 0)
    a = side * sample.skewness / np.sqrt(sample.size)
    worst = stats.t.sf(np.minimum(ratio, _transformed(ratio, a)), sample.size - 1)
    return np.where(error > 0, worst, np.where(gap > 0, 0.0, 1.0))


def _transformed(ratio: Floats, a: Floats) -> Floats:
    return np.asarray(ratio + a / 3 * ratio**2 + a**2 / 27 * ratio**3 + a / 6)


def _inverse(value: float, a: Floats) -> Floats:
    """T of g(T) = value; written so that a = 0 is no special case."""
    moved = value - a / 6
    root = np.cbrt(1 + a * moved)
    return np.asarray(3 * moved / (root**2 + root + 1))
