"""Probabilities of better, same and worse under the correlated Bayesian t posterior.

Corani and Benavoli (2015, Machine Learning 100): with flat priors, the true mean difference follows Student's t on
n − 1 degrees of freedom about the mean seen, its scale the standard error corrected for overlapping splits. The R and
Python package baycomp computes the same for cross-validation (tests). It says how likely, the tests how surprising.
"""

from __future__ import annotations

from scipy import stats

from opnorm.experiment.statistics.sample import Sample


def probabilities(sample: Sample, margin: float) -> tuple[float, float, float]:
    """(better, same, worse) of one comparison; a mean on the very edge of the margin counts as same."""
    mean, error = float(sample.mean), float(sample.error)
    if error == 0:
        gap = abs(mean) - margin
        beyond = 1.0 if gap > sample.resolution else 0.0
        return beyond * (mean > 0), 1 - beyond, beyond * (mean < 0)
    freedom = sample.size - 1
    better = float(stats.t.sf((margin - mean) / error, freedom))
    worse = float(stats.t.cdf((-margin - mean) / error, freedom))
    return better, max(0.0, 1 - better - worse), worse
