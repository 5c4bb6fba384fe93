"""The bias-corrected and accelerated bootstrap interval of the mean (Efron 1987), by scipy: shown for comparison.

It knows nothing of overlapping splits and is too narrow at few seeds: measured in `benchmarks/trial_statistics.py`.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from opnorm.experiment.statistics.sample import Sample

RESAMPLES = 9999


def bca(sample: Sample, confidence: float) -> tuple[float, float]:
    """The interval; where all differences are one value, that value twice, since BCa does not exist there."""
    if bool(sample.flat):
        return float(sample.mean), float(sample.mean)
    found = stats.bootstrap(
        (sample.differences,),
        np.mean,
        confidence_level=confidence,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(sample.size),
    ).confidence_interval
    return float(found.low), float(found.high)
