"""The two questions everything is made of: may the true mean be at most x, may it be at least x?

Each p-value is the largest of the sign-flip test's, the corrected t test's and the skewness-adjusted t test's: at least
as large as each of them, so valid wherever one of them is.
"""

from __future__ import annotations

import numpy as np

from opnorm.experiment.statistics import student, subsets
from opnorm.experiment.statistics.sample import Floats, Sample


def p_at_most(sample: Sample, means: Floats, at: float) -> Floats:
    """p-value of "the true mean is at most `at`"; means: as `subsets.subset_means` gives them."""
    return np.maximum(subsets.p_at_most(means, at, sample.resolution), student.p_at_most(sample, at))


def p_at_least(sample: Sample, means: Floats, at: float) -> Floats:
    """p-value of "the true mean is at least `at`"."""
    return np.maximum(subsets.p_at_least(means, at, sample.resolution), student.p_at_least(sample, at))


def p_values(sample: Sample, means: Floats, margin: float) -> tuple[Floats, Floats]:
    """(p_differs, p_same): of "the true mean lies within ±margin" and of "it lies outside or on its edge"."""
    differs = np.minimum(p_at_most(sample, means, margin), p_at_least(sample, means, -margin))
    same = np.maximum(p_at_most(sample, means, -margin), p_at_least(sample, means, margin))
    return np.minimum(1.0, 2 * differs), np.minimum(1.0, 2 * same)


def interval(sample: Sample, means: Floats, confidence: float, margin: float) -> tuple[Floats, Floats] | None:
    """All values that neither side rejects at (1 − confidence)/2; None where so few seeds reject nothing.

    An end that is ±margin but for rounding is given as ±margin, as the tests take it.
    """
    tail = (1 - confidence) / 2
    typical = subsets.typical(means, tail)
    if typical is None:
        return None
    low, high = student.ends(sample, tail)
    return _snap(np.minimum(typical[0], low), margin, sample), _snap(np.maximum(typical[1], high), margin, sample)


def _snap(ends: Floats, margin: float, sample: Sample) -> Floats:
    for edge in (-margin, margin):
        ends = np.where(np.abs(ends - edge) <= sample.resolution, edge, ends)
    return ends
