"""The t tests, the posterior and the bootstrap against scipy, baycomp and their definitions."""

import baycomp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from opnorm.experiment.document import Pair
from opnorm.experiment.statistics import compare, student
from opnorm.experiment.statistics.posterior import probabilities
from opnorm.experiment.statistics.sample import Sample


def test_without_skewness_it_is_the_t_test():
    """Differences symmetric about their mean have skewness 0: both t tests are one, and scipy's."""
    values = np.array([-3.0, -1.0, 0.0, 1.0, 3.0]) + 0.8
    assert Sample(values).skewness == pytest.approx(0, abs=1e-12)
    for at in (-1.0, 0.0, 2.0):
        expected = stats.ttest_1samp(values, at, alternative="greater").pvalue
        assert student.p_at_most(Sample(values), at) == pytest.approx(expected, rel=1e-9)
        expected = stats.ttest_1samp(values, at, alternative="less").pvalue
        assert student.p_at_least(Sample(values), at) == pytest.approx(expected, rel=1e-9)


def test_the_larger_of_two():
    values = np.random.default_rng(0).exponential(size=9)
    plain = stats.ttest_1samp(values, 0.5, alternative="greater").pvalue
    ratio = (values.mean() - 0.5) / (values.std(ddof=1) / 3)
    skew = stats.skew(values, bias=False) * 8 / 7
    hall = stats.t.sf(ratio + skew * ratio**2 / 9 + skew**2 * ratio**3 / 243 + skew / 18, 8)
    assert hall < plain
    assert student.p_at_most(Sample(values), 0.5) == pytest.approx(plain, rel=1e-12)
    assert student.p_at_least(Sample(-values), -0.5) == pytest.approx(plain, rel=1e-12)
    assert student.p_at_most(Sample(-values), -1.5) == pytest.approx(stats.t.sf(*_hall(-values, -1.5)), rel=1e-12)


def _hall(values, at):
    ratio, skew = (values.mean() - at) / (values.std(ddof=1) / 3), stats.skew(values, bias=False) * 8 / 7
    assert ratio > 0 > skew
    return ratio + skew * ratio**2 / 9 + skew**2 * ratio**3 / 243 + skew / 18, 8


def test_the_correction_of_nadeau_and_bengio():
    """s²(1/n + n_test/n_train), here 1/10 + 1/4, in place of s²/n."""
    values = np.random.default_rng(1).standard_normal(10)
    assert Sample(values, 0.25).error == pytest.approx(values.std(ddof=1) * np.sqrt(0.35), rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.floats(-3, 3), st.floats(-8, 8))
def test_halls_transformation_is_inverted(a, ratio):
    value = student._transformed(np.array(ratio), np.array(a))
    assert student._inverse(float(value), np.array(a)) == pytest.approx(ratio, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 20), st.integers(0, 10**6), st.sampled_from([0.0, 0.3]), st.sampled_from([0.025, 0.1]))
def test_ends_are_where_the_p_value_is_the_tail(size, seed, overlap, tail):
    sample = Sample(np.random.default_rng(seed).exponential(size=size), overlap)
    low, high = student.ends(sample, tail)
    assert student.p_at_most(sample, low) == pytest.approx(tail, rel=1e-6)
    assert student.p_at_least(sample, high) == pytest.approx(tail, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 20), st.integers(0, 10**6), st.sampled_from([0.01, 0.3, 2.0]))
def test_the_posterior_is_that_of_baycomp(size, seed, margin):
    """baycomp corrects for n-fold cross-validation: n_test/n_train = 1/(n − 1)."""
    rng = np.random.default_rng(seed)
    base, arm = rng.standard_normal((2, size))
    found = compare([Pair(i, *row) for i, row in enumerate(zip(base, arm, strict=True))], margin, 1 / (size - 1))
    worse, same, better = baycomp.two_on_single(base, arm, rope=margin)
    assert (found.worse, found.same, found.better) == pytest.approx((worse, same, better), abs=1e-9)


def test_the_posterior_without_spread():
    for value, expected in ((0.2, (1, 0, 0)), (0.1, (0, 1, 0)), (-0.2, (0, 0, 1)), (0.0, (0, 1, 0))):
        assert probabilities(Sample(np.full(6, value), 0.25), 0.1) == expected


@pytest.mark.parametrize("size", [2, 3, 7, 15])
def test_the_bootstrap_is_that_of_scipy(size):
    values = np.random.default_rng(size).exponential(size=size)
    found = compare([Pair(i, 0.0, v) for i, v in enumerate(values)], 0.1, 0.0).bootstrap
    expected = stats.bootstrap((values,), np.mean, rng=np.random.default_rng(99)).confidence_interval
    width = np.ptp(values)
    assert found == pytest.approx((expected.low, expected.high), abs=0.05 * width)
    assert found == compare([Pair(i, 0.0, v) for i, v in enumerate(values)], 0.1, 0.0).bootstrap
    assert values.min() <= found[0] <= found[1] <= values.max()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=2, max_size=12))
def test_never_a_warning_from_the_coarsest_differences(bits):
    """Warnings are errors here. Failures counted as 0 and 1 are such differences."""
    found = compare([Pair(i, 0.0, float(bit)) for i, bit in enumerate(bits)], 0.5, 0.25)
    numbers = [found.p_differs, found.p_same, found.better, found.same, found.worse, *found.bootstrap]
    assert np.isfinite(numbers).all()
    assert found.better + found.same + found.worse == pytest.approx(1)
