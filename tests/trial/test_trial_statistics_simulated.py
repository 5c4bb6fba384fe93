"""The verdict rules on thousands of made trials: false verdicts, power, coverage; broken rules, which must be caught.

Each limit is the promised rate plus four standard errors of the simulation; seeds are fixed. The large version, with
more trials, shapes and seeds, is `benchmarks/trial_statistics.py`.
"""

import math

import numpy as np
import pytest
from trial_noise import (
    SKEWED,
    SYMMETRIC,
    arms,
    correlated,
    family,
    judged,
    resampled,
    standard,
    ticks,
)

from opnorm.experiment.statistics import student, subsets
from opnorm.experiment.statistics.sides import p_values

TRIALS = 2000
MARGIN = 0.5
CASES = [(MARGIN, delta) for delta in (-2 * MARGIN, -MARGIN, 0.0, MARGIN / 2, MARGIN, 2 * MARGIN)]
WIDE = [(1.5, delta) for delta in (-1.5, 0.0, 1.5, 3.0)]


def limit(rate, trials=TRIALS):
    return rate + 4 * math.sqrt(rate * (1 - rate) / trials)


@pytest.mark.parametrize("seeds", [6, 8, 10])
@pytest.mark.parametrize("shape", SYMMETRIC)
def test_symmetric_noise_on_a_fixed_split(shape, seeds):
    """Each false verdict at most 2.5 %, which is proved: half the level on each side. Coverage at least 95 %."""
    noise = standard(np.random.default_rng(seeds), shape, (TRIALS, seeds))
    found = judged(noise, CASES + WIDE, ends=True)
    for one in found:
        assert max(one.false()) <= limit(0.025), (one.margin, one.delta)
        assert one.covers() >= 1 - limit(0.05), (one.margin, one.delta)


@pytest.mark.parametrize("seeds", [6, 8, 10])
@pytest.mark.parametrize("shape", SKEWED)
def test_skewed_noise_on_a_fixed_split(shape, seeds):
    """Each false verdict at most 5 %, which is measured: skewness up to 2."""
    noise = standard(np.random.default_rng(seeds), shape, (TRIALS, seeds))
    for one in judged(noise, CASES + WIDE):
        assert max(one.false()) <= limit(0.05), (one.margin, one.delta)


@pytest.mark.parametrize("shape", ["ticks", "ceiling"])
def test_accuracies_in_steps(shape):
    rng = np.random.default_rng(4)
    for case in CASES:
        (found,) = judged(ticks(rng, shape, case[1], (TRIALS, 8)) - case[1], [case])
        assert max(found.false()) <= limit(0.025), case


def test_twenty_seeds():
    noise = standard(np.random.default_rng(5), "normal", (300, 20))
    for one in judged(noise, [(MARGIN, MARGIN), (MARGIN, -MARGIN), (1.5, 1.5)]):
        assert max(one.false()) <= limit(0.025, 300)


def test_there_is_power():
    """It would be easy never to be wrong: ten seeds find 1½ spreads beyond the margin, and sameness within 1½."""
    noise = standard(np.random.default_rng(6), "normal", (TRIALS, 10))
    helps, hurts, same = judged(noise, [(0.5, 2.0), (0.5, -2.0), (1.5, 0.0)])
    assert helps.rates()[0] > 0.9
    assert hurts.rates()[1] > 0.9
    assert same.rates()[2] > 0.8


@pytest.mark.parametrize("deltas", [[0.5] * 4, [0.5, 0.5, 1.5, 1.5], [0.0] * 4])
def test_any_false_verdict_of_four_arms(deltas):
    noise = arms(np.random.default_rng(7), "normal", 4, (1000, 10))
    helps, _, same = family([judged(n, [(MARGIN, d)])[0] for n, d in zip(noise, deltas, strict=True)])
    null, edge = np.array(deltas) <= MARGIN, np.array(deltas) >= MARGIN
    assert (helps & null).any(axis=1).mean() <= limit(0.025, 1000)
    assert (same & edge).any(axis=1).mean() <= limit(0.025, 1000)


@pytest.mark.parametrize("overlap", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("seeds", [6, 10])
def test_redrawn_splits(seeds, overlap):
    """Normal, any two correlated by n_test/(n_test + n_train): at most 2.5 %, which is proved."""
    noise = correlated(np.random.default_rng(8), "normal", (TRIALS, seeds), overlap)
    for one in judged(noise, CASES + WIDE, overlap, ends=True):
        assert max(one.false()) <= limit(0.025), (one.margin, one.delta)
        assert one.covers() >= 1 - limit(0.05)


@pytest.mark.parametrize("kind", ["halves", "classes", "tuned"])
def test_splits_truly_redrawn(kind):
    """Models of two halves of the features: alike over data sets, unlike on each. Any 'helps' or 'hurts' is false."""
    noise, overlap = resampled(np.random.default_rng(9), kind, 1000, 8)
    (found,) = judged(noise, [(0.0, 0.0)], overlap)
    assert sum(found.false()[:2]) <= limit(0.05, 1000)


def fails(found, allowed, trials=TRIALS):
    return found > limit(allowed, trials)


def test_without_holm_it_is_caught():
    noise = arms(np.random.default_rng(10), "normal", 6, (1000, 10))
    found = [judged(one, [(MARGIN, MARGIN)])[0] for one in noise]
    assert not fails(family(found)[0].any(axis=1).mean(), 0.025, 1000)
    broken = family(found, correction=lambda p_values, level: [level] * len(p_values))
    assert fails(broken[0].any(axis=1).mean(), 0.025, 1000)


def test_without_the_overlap_it_is_caught():
    noise = correlated(np.random.default_rng(11), "normal", (TRIALS, 10), 0.25)
    assert fails(judged(noise, [(MARGIN, MARGIN)], 0.0)[0].false()[0], 0.025)
    noise, _ = resampled(np.random.default_rng(9), "halves", 1000, 8)
    assert fails(sum(judged(noise, [(0.0, 0.0)], 0.0)[0].false()[:2]), 0.05, 1000)


def by_flips_alone(sample, means, margin):
    differs = np.minimum(subsets.p_at_most(means, margin, 1e-12), subsets.p_at_least(means, -margin, 1e-12))
    same = np.maximum(subsets.p_at_most(means, -margin, 1e-12), subsets.p_at_least(means, margin, 1e-12))
    return np.minimum(1, 2 * differs), np.minimum(1, 2 * same)


def test_without_the_skewness_it_is_caught():
    noise = standard(np.random.default_rng(12), "-exponential", (4000, 10))
    assert not fails(judged(noise, [(MARGIN, MARGIN)])[0].false()[0], 0.05, 4000)
    assert fails(judged(noise, [(MARGIN, MARGIN)], rule=by_flips_alone)[0].false()[0], 0.05, 4000)


def undoubled(sample, means, margin):
    differs, same = p_values(sample, means, margin)
    return differs / 2, same / 2


def test_one_sided_at_the_whole_level_is_caught():
    noise = standard(np.random.default_rng(13), "exponential", (8000, 8))
    assert not fails(judged(noise, [(1.5, 1.5)])[0].false()[2], 0.05, 8000)
    assert fails(judged(noise, [(1.5, 1.5)], rule=undoubled)[0].false()[2], 0.05, 8000)
    noise = standard(np.random.default_rng(14), "normal", (4000, 10))
    assert fails(judged(noise, [(MARGIN, MARGIN)], rule=undoubled)[0].false()[0], 0.025, 4000)


def without_the_margin(sample, means, margin):
    return p_values(sample, means, 0.0)[0], p_values(sample, means, margin)[1]


def test_a_test_of_zero_alone_is_caught():
    """The common mistake: 'differs from 0' and 'mean beyond the margin', taken for 'differs by more than it'."""
    noise = standard(np.random.default_rng(15), "normal", (TRIALS, 10))
    assert fails(judged(noise, [(MARGIN, MARGIN)], rule=without_the_margin)[0].false()[0], 0.025)


def not_significant_is_same(sample, means, margin):
    differs, _ = p_values(sample, means, margin)
    return differs, np.where(differs > 0.05, 0.0, 1.0)


def test_absence_of_evidence_is_caught():
    noise = standard(np.random.default_rng(16), "normal", (TRIALS, 6))
    assert fails(judged(noise, [(MARGIN, 2 * MARGIN)], rule=not_significant_is_same)[0].false()[2], 0.025)


def by_t_alone(sample, means, margin):
    differs = np.minimum(student.p_at_most(sample, margin), student.p_at_least(sample, -margin))
    return np.minimum(1, 2 * differs), p_values(sample, means, margin)[1]


def test_few_seeds_by_t_alone_are_caught():
    """Failures counted as 0 and 1, one in three: three seeds alike have no spread, and t alone calls that certain."""
    noise = (np.random.default_rng(17).random((TRIALS, 3)) < 1 / 3) - 1 / 3
    assert not fails(judged(noise, [(0.1, 0.0)])[0].false()[1], 0.025)
    assert fails(judged(noise, [(0.1, 0.0)], rule=by_t_alone)[0].false()[1], 0.025)
