"""Evidence, bounds and brackets: the algebra of how true a number is."""

import pytest

from opnorm import Bound, Bracket, Contradiction, Evidence, Measurement, UsageError


def bound(side, value, evidence=Evidence.PROVED, odds=0.0):
    return Bound(side, value, evidence, "test", odds)


def measurement(*bounds):
    return Measurement(bounds, (3, 4), "test")


def test_evidence_is_ordered():
    assert Evidence.ASSUMED < Evidence.ESTIMATE < Evidence.PROBABLE < Evidence.PROVED


@pytest.mark.parametrize("word", ["proved", "PROVED", Evidence.PROVED])
def test_evidence_parses_words(word):
    assert Evidence.parse(word) is Evidence.PROVED


def test_unknown_evidence_names_the_choices():
    with pytest.raises(UsageError, match="assumed, estimate, probable, proved"):
        Evidence.parse("certain")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_bound_is_finite_and_not_negative(value):
    with pytest.raises(UsageError):
        bound("upper", value)


def test_a_probable_bound_states_its_odds_and_only_it():
    with pytest.raises(UsageError):
        bound("upper", 1.0, Evidence.PROBABLE, 0.0)
    with pytest.raises(UsageError):
        bound("upper", 1.0, Evidence.PROVED, 1e-12)


@pytest.mark.parametrize(("ceiling", "answer"), [(3.0, True), (2.0, True), (1.5, None), (1.0, None), (0.5, False)])
def test_at_most_has_three_values(ceiling, answer):
    assert Bracket(bound("lower", 1.0), bound("upper", 2.0)).at_most(ceiling) is answer


def test_at_most_with_one_end():
    assert Bracket(None, bound("upper", 2.0)).at_most(1.0) is None
    assert Bracket(bound("lower", 1.0), None).at_most(5.0) is None
    assert Bracket(bound("lower", 1.0), None).at_most(0.5) is False


def test_the_weaker_end_is_the_evidence():
    bracket = Bracket(bound("lower", 1.0), bound("upper", 2.0, Evidence.PROBABLE, 1e-12))
    assert bracket.evidence is Evidence.PROBABLE
    assert bracket.failure_probability == 1e-12
    assert bracket.width == 1.0


def test_a_view_takes_the_tightest_bounds_of_its_level():
    seen = measurement(
        bound("lower", 1.0),
        bound("upper", 9.0),
        bound("upper", 2.0, Evidence.PROBABLE, 1e-12),
        bound("lower", 1.5, Evidence.ESTIMATE),
    )
    assert (seen.bracket("proved").lower, seen.bracket("proved").upper) == (1.0, 9.0)
    assert (seen.bracket("probable").lower, seen.bracket("probable").upper) == (1.0, 2.0)
    assert (seen.bracket("estimate").lower, seen.bracket("estimate").upper) == (1.5, 2.0)


def test_an_estimate_that_crosses_a_proof_is_dropped():
    seen = measurement(bound("lower", 1.0), bound("upper", 2.0), bound("lower", 5.0, Evidence.ESTIMATE))
    assert seen.bracket("estimate").lower == 1.0


@pytest.mark.parametrize("evidence", [Evidence.PROVED, Evidence.PROBABLE])
def test_crossing_bounds_are_a_contradiction(evidence):
    odds = 1e-12 if evidence is Evidence.PROBABLE else 0.0
    with pytest.raises(Contradiction, match="contradicts"):
        measurement(bound("lower", 2.0), bound("upper", 1.0, evidence, odds))


def test_brackets_do_not_multiply():
    bracket = Bracket(bound("lower", 1.0), bound("upper", 2.0))
    with pytest.raises(TypeError):
        bracket * bracket


def test_repr_says_how_true():
    seen = measurement(bound("lower", 1.0), bound("upper", 2.0, Evidence.PROBABLE, 1e-12))
    assert "3×4" in repr(seen)
    assert "probable" in repr(seen)
    assert "1e-12" in repr(seen)
