"""Holm's procedure against the closure principle, answers, the planner and the number of seeds needed."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from trial_noise import judged

from opnorm.errors import UsageError
from opnorm.experiment.document import Answer, Pair
from opnorm.experiment.statistics import (
    Paired,
    compare,
    decide,
    interval_of,
    least_p,
    least_seeds,
    require_decidable,
    seeds_needed,
    weights_of,
)
from opnorm.experiment.statistics.holm import levels

P = st.sampled_from([0.0, 0.001, 0.0125, 0.013, 0.0167, 0.02, 0.025, 0.03, 0.05, 0.051, 0.2, 1.0])


def closed(p_values, level, weights):
    """Rejected where every set of comparisons that holds it is, by Bonferroni: what Holm's procedure abbreviates."""
    indices = range(len(p_values))
    sets = [s for size in indices for s in itertools.combinations(indices, size + 1)]
    passed = {s: any(p_values[i] <= level * weights[i] / sum(weights[j] for j in s) for i in s) for s in sets}
    return [all(passed[s] for s in sets if index in s) for index in indices]


@settings(max_examples=300)
@given(st.lists(P, max_size=6), st.sampled_from([0.05, 0.01]))
def test_holm_is_the_closure_of_bonferroni(p_values, level):
    held = levels(p_values, level)
    assert [p <= one for p, one in zip(p_values, held, strict=True)] == closed(p_values, level, [1] * len(p_values))


@settings(max_examples=300)
@given(st.lists(st.tuples(P, st.sampled_from([1, 2, 3, 7])), max_size=6), st.sampled_from([0.05, 0.011]))
def test_with_weights_too(given_, level):
    p_values, weights = [p for p, _ in given_], [w for _, w in given_]
    held = levels(p_values, level, weights)
    assert [p <= one for p, one in zip(p_values, held, strict=True)] == closed(p_values, level, weights)


def test_the_leading_measure_has_half_of_the_level():
    weights = weights_of([True, True, False, False, False, False])
    assert weights == [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]
    one_rejected = [0.02, 0.08 / 3, *[0.04 / 3] * 4]
    assert levels([0.02, 0.9, 0.9, 0.9, 0.9, 0.9], 0.08, weights) == pytest.approx(one_rejected)
    assert weights_of([True] * 3) == weights_of([False] * 3) == [1.0] * 3
    assert weights_of([]) == []


def test_the_levels_by_hand():
    assert levels([0.04, 0.001, 0.02, 0.03], 0.06) == [0.06, 0.015, 0.02, 0.03]
    assert levels([0.04, 0.001, 0.021, 0.03], 0.06) == [0.02, 0.015, 0.02, 0.02]
    assert levels([0.001, 0.05, 0.024], 0.06) == [0.02, 0.06, 0.03]
    assert levels([0.5, 0.04], 0.05) == [0.025, 0.025]
    assert levels([], 0.05) == []


def made(difference, differs, same, margin=0.1):
    return Paired((), margin, 0.0, 0.95, difference=difference, p_differs=differs, p_same=same)


def test_answers():
    found = decide([made(0.3, 0.001, 1.0), made(-0.3, 0.002, 1.0), made(0.01, 1.0, 0.01), made(0.2, 0.2, 1.0)], 0.05)
    assert [answer for answer, _ in found] == [Answer.HELPS, Answer.HURTS, Answer.SAME, Answer.OPEN]
    assert [level for _, level in found] == [0.05 / 4, 0.05 / 3, 0.05 / 4, 0.05 / 2]


def test_the_families_are_apart():
    """Two arms: alone each family would allow 0.05 to the second of its rejections only."""
    found = decide([made(0.3, 0.03, 1.0), made(0.0, 1.0, 0.03)], 0.05)
    assert [answer for answer, _ in found] == [Answer.OPEN, Answer.OPEN]
    found = decide([made(0.3, 0.025, 1.0), made(0.0, 1.0, 0.025)], 0.05)
    assert [answer for answer, _ in found] == [Answer.HELPS, Answer.SAME]


def test_what_could_not_be_tested_still_counts():
    untested = made(None, None, None)
    assert decide([made(0.3, 0.03, 1.0), untested], 0.05)[0] == (Answer.OPEN, 0.025)
    assert decide([untested], 0.05) == [(Answer.OPEN, 0.05)]
    assert decide([], 0.05) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(6, 10), st.integers(1, 4), st.integers(0, 10**6))
def test_the_interval_at_the_corrected_level_shows_the_verdict(size, arms, seed):
    """Beyond the margin exactly where 'helps' or 'hurts', within exactly where 'same'."""
    rng = np.random.default_rng(seed)
    values = rng.choice([-2, 0, 0, 2], arms)[:, None] + rng.normal(size=(arms, size)) * rng.choice([0.2, 0.8])
    found = [compare([Pair(i, 0.0, v) for i, v in enumerate(row)], 1.0, 0.0) for row in values]
    for one, (answer, level) in zip(found, decide(found, 0.05), strict=True):
        ends = interval_of(one, 1 - level)
        if ends is None:
            assert answer is Answer.OPEN
        elif answer in (Answer.HELPS, Answer.HURTS):
            assert ends[0] > 1.0 if answer is Answer.HELPS else ends[1] < -1.0
        elif answer is Answer.SAME:
            assert -1.0 < ends[0] <= ends[1] < 1.0
        else:
            assert ends[0] <= 1.0
            assert ends[1] >= -1.0


@pytest.mark.parametrize("level", [0.0, 1.0, 5.0, -0.1])
def test_a_level_is_a_probability(level):
    for call in (lambda: decide([], level), lambda: least_seeds(1, level), lambda: require_decidable(9, 1, level)):
        with pytest.raises(UsageError, match=f"level {level!r}"):
            call()


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (2, 7), (3, 7), (4, 8), (16, 10), (25, 10), (26, 11)])
def test_the_planner_is_right(comparisons, seeds):
    """With so many unanimous seeds the first of the comparisons is decided, with one fewer it is not."""
    assert least_seeds(comparisons, 0.05) == seeds
    require_decidable(seeds, comparisons, 0.05)
    for count, answer in ((seeds, Answer.HELPS), (seeds - 1, Answer.OPEN)):
        found = compare([Pair(i, 0.0, 1.0) for i in range(count)], 0.1, 0.0)
        assert found.p_differs == least_p(count)
        others = [made(0.0, 1.0, 1.0)] * (comparisons - 1)
        assert decide([found, *others], 0.05)[0][0] is answer


@pytest.mark.parametrize(("leading", "others", "seeds"), [(4, 12, 9), (1, 1, 7), (6, 18, 9), (7, 1, 10)])
def test_the_planner_knows_the_leading_measures_share(leading, others, seeds):
    assert least_seeds(leading, 0.05, others) == seeds
    weights = weights_of([True] * leading + [False] * others)
    for count, answer in ((seeds, Answer.HELPS), (seeds - 1, Answer.OPEN)):
        found = compare([Pair(i, 0.0, 1.0) for i in range(count)], 0.1, 0.0)
        rest = [made(0.0, 1.0, 1.0)] * (leading + others - 1)
        assert decide([found, *rest], 0.05, weights)[0][0] is answer


def test_the_planner_refuses_in_words():
    with pytest.raises(UsageError) as caught:
        require_decidable(6, 4, 0.05)
    assert str(caught.value) == (
        "6 seeds cannot decide: the least p-value that 6 can give is 0.0312, above the 0.0125 that level 0.05 leaves "
        "for 4 comparisons; use at least 8 seeds, or ask at most 1 comparison (fewer arms)"
    )
    with pytest.raises(UsageError, match=r"use at least 6 seeds$"):
        require_decidable(3, 1, 0.05)
    with pytest.raises(
        UsageError, match=r"^no number of seeds decides 5000 comparisons at level 0\.05: ask at most 1638"
    ):
        require_decidable(100, 5000, 0.05)
    with pytest.raises(UsageError, match=r"0\.00625 that the leading measure's share of level 0\.05 leaves .* least 9"):
        require_decidable(8, 4, 0.05, 12)
    with pytest.raises(UsageError, match="0 comparisons"):
        least_seeds(0, 0.05)


def test_drawn_subsets_reach_the_least_p_that_is_planned_with():
    found = compare([Pair(i, 0.0, 1.0) for i in range(20)], 0.1, 0.0)
    assert found.p_differs == least_p(20)


@pytest.mark.parametrize(("delta", "margin"), [(1.5, 0.5), (-1.3, 0.5), (0.0, 1.0), (0.2, 1.2)])
def test_seeds_needed_decide_four_times_in_five(delta, margin):
    needed = seeds_needed(delta, 1.0, margin, 0.0, 0.05)
    noise = np.random.default_rng(0).standard_normal((800, needed))
    power = max(judged(noise, [(margin, delta)])[0].rates())
    assert 0.72 <= power <= 0.88


def test_seeds_needed_where_there_are_none():
    assert seeds_needed(0.5, 1.0, 0.5, 0.0, 0.05) is None
    assert seeds_needed(0.5, 0.0, 0.5, 0.0, 0.05) is None
    assert seeds_needed(0.50001, 1.0, 0.5, 0.0, 0.05) is None
    assert seeds_needed(1.0, 1.0, 0.5, 0.25, 0.05) is None, "the error has a floor at √0.25 of the spread"
    assert seeds_needed(1.0, 1.0, 0.5, 0.0, 0.05) in range(30, 60)
    assert seeds_needed(1.0, 0.0, 0.5, 0.25, 0.05) == 6
    assert seeds_needed(1.0, 1e-9, 0.5, 0.25, 0.05 / 4) == 8


def test_the_power_is_that_of_the_t_test():
    """Fewest n at which the noncentral t reaches 0.85, counted upwards."""
    for n in range(6, 200):
        if stats.nct.sf(stats.t.isf(0.025, n - 1), n - 1, 0.6 * np.sqrt(n)) >= 0.85:
            break
    assert seeds_needed(0.9, 1.0, 0.3, 0.0, 0.05) == n


def test_statistics_load_no_framework():
    code = "import sys, opnorm.experiment.statistics; print({'torch', 'sklearn', 'pandas', 'jax'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
