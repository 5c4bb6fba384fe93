"""The sign-flip permutation test of a mean and its interval, from one list: the means of all non-empty subsets.

Flipping the signs of d_i − δ over a subset S raises the mean to the observed one or above exactly where the mean of d
over S is at most δ. So the one-sided p-value of "the mean is at most δ" is (1 + #{S: mean_S ≤ δ})/2ⁿ, at any δ at once,
and the set of δ not rejected lies between two order statistics of the list: Hartigan's typical values (1969, JASA 64).
Exact for every distribution symmetric about its mean. Up to `EXACT` values all subsets are taken; beyond, `DRAWN` are
drawn from a generator with a fixed seed, and the p-value keeps the 1 for the data themselves (Phipson and Smyth 2010).

scipy.stats.permutation_test gives the same p-values (tests) but no interval, and it looks for ties within a tolerance
relative to the observed mean: decimal steps that cancel to almost nothing are missed.
"""

from __future__ import annotations

import numpy as np

from opnorm.experiment.statistics.sample import Floats, Sample

EXACT = 16
DRAWN = 2**EXACT - 1


def subset_means(sample: Sample) -> Floats:
    """(…, n) → (…, number of subsets), in no order of size."""
    if sample.size > EXACT:
        return _drawn_means(sample.differences)
    totals, sizes = np.zeros((*sample.differences.shape[:-1], 1)), np.zeros(1)
    for index in range(sample.size):
        totals = np.concatenate([totals, totals + sample.differences[..., index, None]], axis=-1)
        sizes = np.concatenate([sizes, sizes + 1])
    return np.asarray(totals[..., 1:] / sizes[1:])


def p_at_most(means: Floats, at: float, resolution: float) -> Floats:
    """The one-sided p-value of "the true mean is at most `at`"."""
    return np.asarray((1 + (means <= at + resolution).sum(axis=-1)) / (means.shape[-1] + 1))


def p_at_least(means: Floats, at: float, resolution: float) -> Floats:
    """The one-sided p-value of "the true mean is at least `at`"."""
    return np.asarray((1 + (means >= at - resolution).sum(axis=-1)) / (means.shape[-1] + 1))


def typical(means: Floats, tail: float) -> tuple[Floats, Floats] | None:
    """The values that neither side rejects at `tail`; None where there are too few subsets to reject anything."""
    rank = int(np.floor(tail * (means.shape[-1] + 1))) - 1
    if rank < 0:
        return None
    last = means.shape[-1] - 1 - rank
    ordered = np.partition(means, (rank, last), axis=-1)
    return ordered[..., rank], ordered[..., last]


def _drawn_means(differences: Floats) -> Floats:
    size = differences.shape[-1]
    members = np.random.default_rng(size).random((DRAWN, size)) < 0.5
    members[~members.any(axis=-1)] = True
    return np.asarray((differences @ members.T.astype(np.float64)) / members.sum(axis=-1))
