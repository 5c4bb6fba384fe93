"""Sign flips, p-values and intervals against scipy, whole-number arithmetic and brute force."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from opnorm.errors import UsageError
from opnorm.experiment.document import Answer, Pair
from opnorm.experiment.statistics import compare, decide, interval_of, subsets
from opnorm.experiment.statistics.sample import Sample
from opnorm.experiment.statistics.sides import interval, p_at_least, p_at_most


def pairs(differences, baseline=0.0):
    return [Pair(seed, baseline, baseline + float(d)) for seed, d in enumerate(differences)]


def flipped(values, at):
    """The share of sign patterns whose sum is no less than the one seen, in whole numbers."""
    moved = [value - at for value in values]
    sums = [
        sum(s * m for s, m in zip(signs, moved, strict=True)) for signs in itertools.product((1, -1), repeat=len(moved))
    ]
    return sum(one >= sum(moved) for one in sums) / len(sums)


@pytest.mark.parametrize("size", [2, 5, 9, 12])
def test_p_values_are_those_of_scipy(size):
    values = np.random.default_rng(size).standard_normal(size)
    means = subsets.subset_means(Sample(values))
    for at in (-0.7, 0.0, 0.1, 1.3):
        found = stats.permutation_test(
            (values - at,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="greater"
        )
        assert subsets.p_at_most(means, at, 0.0) == pytest.approx(found.pvalue, abs=1e-12)
        assert subsets.p_at_least(-means, -at, 0.0) == pytest.approx(found.pvalue, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=9), st.integers(-3, 3))
def test_ties_of_decimal_steps_are_seen(counts, at):
    """Accuracies in steps of 1/40, which float64 has not exactly: the p-value is that of the whole numbers."""
    values = np.array([arm / 40 - base / 40 for arm, base in counts])
    means = subsets.subset_means(Sample(values))
    exact = flipped([arm - base for arm, base in counts], at)
    assert subsets.p_at_most(means, at / 40, 2.0**-40) == exact


def test_drawn_subsets_agree_with_all_of_them():
    """18 values, where subsets are drawn: within five standard errors of the exact p-value over 2¹⁸ subsets."""
    values = np.random.default_rng(0).standard_normal(18) + 0.4
    totals = np.zeros(1)
    for value in values:
        totals = np.concatenate([totals, totals + value])
    for at in (-0.2, 0.0, 0.2, 0.5):
        exact = _share(values, at)
        found = subsets.p_at_most(subsets.subset_means(Sample(values)), at, 0.0)
        assert abs(found - exact) <= 5 * math.sqrt(exact * (1 - exact) / subsets.DRAWN) + 1 / subsets.DRAWN


def _share(values, at):
    sums = np.zeros(1)
    for value in values - at:
        sums = np.concatenate([sums, sums + value])
    return (sums <= 0).mean()


@settings(max_examples=80, deadline=None)
@given(
    st.integers(6, 11),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.25]),
    st.sampled_from([0.95, 0.9, 0.99]),
    st.booleans(),
)
def test_the_interval_is_what_the_tests_do_not_reject(size, seed, overlap, confidence, ticks):
    rng = np.random.default_rng(seed)
    values = rng.integers(-4, 9, size) / 40 if ticks else rng.exponential(size=size) - 0.7
    sample = Sample(values, overlap, 1e-12)
    means = subsets.subset_means(sample)
    tail, found = (1 - confidence) / 2, interval(sample, means, confidence, 0.0)
    assert (found is None) == (2.0**-size > tail)
    if found is None or sample.flat:
        return
    low, high = found
    width = high - low
    for step in (1e-6, 0.1, 0.7):
        assert p_at_most(sample, means, low - step * width) <= tail
        assert p_at_least(sample, means, high + step * width) <= tail
    for inside in (low + 1e-6 * width, high - 1e-6 * width, sample.mean):
        assert p_at_most(sample, means, inside) > tail
        assert p_at_least(sample, means, inside) > tail


@settings(max_examples=100, deadline=None)
@given(st.integers(6, 10), st.integers(0, 10**6), st.sampled_from([0.0, 0.25]), st.booleans())
def test_one_interval_shows_both_decisions(size, seed, overlap, ticks):
    """Beyond ±margin exactly where p_differs ≤ 5 %, within exactly where p_same ≤ 5 %."""
    rng = np.random.default_rng(seed)
    centre = rng.choice([-3, 0, 1, 3])
    values = (
        rng.integers(centre - 1, centre + 2, size) / 40 if ticks else 0.025 * (centre + 0.7 * rng.normal(size=size))
    )
    found = compare(pairs(values, 0.9), 0.05 if ticks else 0.03, overlap)
    low, high = found.interval
    assert (found.p_differs <= 0.05) == (low > found.margin or high < -found.margin)
    assert (found.p_same <= 0.05) == (-found.margin < low <= high < found.margin)
    assert low <= found.difference <= high


def test_unanimous_seeds_give_the_least_p():
    found = compare(pairs([0.03] * 6), 0.01, 0.0)
    assert found.p_differs == 2 / 2**6
    assert found.interval == (0.03, 0.03)
    assert (found.better, found.same, found.worse) == (1.0, 0.0, 0.0)
    assert found.bootstrap == (0.03, 0.03)
    assert "one value" in found.note


def test_nothing_changed_is_the_same_however_splits_overlap():
    for overlap in (0.0, 0.25):
        found = compare([Pair(seed, 0.1 * seed, 0.1 * seed) for seed in range(10)], 0.01, overlap)
        assert (found.p_differs, found.p_same) == (1.0, 2 / 2**10)
        assert decide([found], 0.05) == [(Answer.SAME, 0.05)]


def test_a_mean_on_the_edge_is_neither():
    """0.9 + 0.1·k in float64: the mean is the margin but for rounding, and nothing may follow from the rounding."""
    for shift in (0.1, 0.3, 0.7):
        found = compare([Pair(seed, shift * seed, shift * seed + 0.1) for seed in range(8)], 0.1, 0.0)
        assert (found.p_differs, found.p_same) == (1.0, 1.0)
        assert found.same == 1.0


def test_no_margin():
    rng = np.random.default_rng(0)
    found = compare(pairs(rng.normal(1, 0.3, 8)), 0.0, 0.0)
    assert found.p_differs == 2 / 2**8
    assert found.p_same == 1.0
    assert compare(pairs([0.0] * 8), 0.0, 0.0).p_same == 1.0


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_to_test(count):
    found = compare(pairs([0.5] * count), 0.1, 0.0)
    assert found.difference == (0.5 if count else None)
    assert found.p_differs is found.p_same is found.interval is found.better is found.bootstrap is found.needed is None
    assert "nothing is tested" in found.note
    assert interval_of(found, 0.9) is None
    assert decide([found], 0.05)[0][0] is Answer.OPEN


def test_five_seeds_have_p_values_but_no_interval():
    found = compare(pairs([0.5, 0.6, 0.7, 0.5, 0.6]), 0.1, 0.0)
    assert found.p_differs == 2 / 2**5
    assert found.interval is None
    assert "5 seeds are too few for an interval at 0.95" in found.note
    assert interval_of(found, 0.9) is not None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named(value):
    found = compare([*pairs([0.1] * 6), Pair(17, 0.2, value), Pair(19, value, value)], 0.1, 0.0)
    assert found.difference is found.p_differs is found.p_same is None
    assert found.note == "no finite difference under seeds 17, 19: nothing is tested"


@pytest.mark.parametrize("factor", [2.0**-1060, 2.0**-500, 1.0, 2.0**500, 2.0**1010])
def test_any_size_of_values(factor):
    """Moved by a power of two, everything moves with it or stays, even where squares overflow or vanish."""
    values = [0.5, 0.75, 0.375, 1.0, 0.25, 0.625, 0.5]
    plain, moved = compare(pairs(values), 0.125, 0.25), compare(pairs(np.array(values) * factor), 0.125 * factor, 0.25)
    assert moved.p_differs == plain.p_differs
    assert moved.better == plain.better
    assert moved.needed == plain.needed
    assert moved.difference == pytest.approx(plain.difference * factor, rel=1e-3)
    assert moved.interval == pytest.approx(np.array(plain.interval) * factor, rel=1e-2)


def test_the_largest_floats():
    found = compare([Pair(seed, -1e308, 1e308 * (seed % 2)) for seed in range(8)], 0.0, 0.0)
    assert "no finite difference" in found.note
    found = compare([Pair(seed, 0.0, 1.7e308) for seed in range(8)], 1e308, 0.0)
    assert found.p_differs == 2 / 2**8


def test_order_does_not_matter():
    rng = np.random.default_rng(2)
    for size in (9, 18):
        made = pairs(rng.normal(0.02, 0.03, size), 0.8)
        shuffled = [made[i] for i in rng.permutation(size)]
        assert compare(made, 0.01, 0.1) == compare(shuffled, 0.01, 0.1)


def test_mirrored_arms_mirror_everything():
    rng = np.random.default_rng(3)
    values = rng.exponential(size=9) - 0.3
    one, other = compare(pairs(values), 0.1, 0.25), compare(pairs(-values), 0.1, 0.25)
    assert (one.p_differs, one.p_same) == pytest.approx((other.p_differs, other.p_same), abs=1e-12)
    assert one.interval == pytest.approx(tuple(-x for x in reversed(other.interval)), abs=1e-12)
    assert (one.better, one.worse) == pytest.approx((other.worse, other.better), abs=1e-12)


def test_the_global_generator_is_left_alone():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    compare(pairs(np.arange(18.0)), 0.1, 0.0)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"margin": -0.1}, "margin -0.1"),
        ({"margin": math.nan}, "margin nan"),
        ({"margin": math.inf}, "margin inf"),
        ({"overlap": -1.0}, "overlap -1.0"),
        ({"overlap": math.nan}, "overlap nan"),
        ({"confidence": 1.0}, "confidence 1.0"),
        ({"confidence": 95}, "confidence 95"),
        ({"pairs": [Pair(1, 0.0, 0.1), Pair(1, 0.0, 0.2)]}, r"seeds \[1, 1\] repeat"),
    ],
)
def test_refused(options, words):
    with pytest.raises(UsageError, match=words):
        compare(**({"pairs": pairs([0.1, 0.2]), "margin": 0.1, "overlap": 0.0} | options))


def test_exact_fractions_of_a_small_case():
    """Three differences 1, 2, 6 at δ = 2: of the seven subsets, {1}, {2}, {1,2} have means up to 2."""
    means = subsets.subset_means(Sample(np.array([1.0, 2.0, 6.0])))
    assert Fraction(float(subsets.p_at_most(means, 2.0, 0.0))) == Fraction(4, 8)
    assert sorted(means) == [1.0, 1.5, 2.0, 3.0, 3.5, 4.0, 6.0]
