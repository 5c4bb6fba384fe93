"""A second look adds bounds to a row, never takes any, and says loudly where the two exclude each other."""

from made import bounds, report, row

from opnorm.report.budget.closer import straddling, with_bounds
from opnorm.report.budget.verdict import Verdict


def test_the_undecided_by_their_limits():
    given = [("a", 2.0), ("b", None), ("c", 2.0), ("a", 3.0)]
    verdicts = [Verdict("r", name, "spectral_norm", None, "", straddled=limit) for name, limit in given]
    assert straddling(verdicts) == {2.0: ["a", "c"], 3.0: ["a"]}


def test_bounds_are_joined():
    first = report(row("w", lower=1.0, upper=3.0, passes=2, method="lanczos"), row("v", lower=1.0, upper=1.0))
    found = with_bounds(first, report(row("w", lower=0.5, upper=2.0, passes=3)))
    assert [(r.lower, r.upper, r.passes, r.method) for r in found.rows] == [(1.0, 2.0, 5, "lanczos"), (1.0, 1.0, 0, "")]
    assert found.rows[0].bounds == (*bounds(1.0, 3.0), *bounds(0.5, 2.0))
    assert found.rows[1] is first.rows[1]


def test_a_row_keeps_its_evidence():
    """A proved row takes no end from a probable bound, though it keeps the bound."""
    first = report(row("w", lower=1.0, upper=3.0))
    found = with_bounds(first, report(row("w", lower=1.5, upper=2.0, evidence="probable"))).rows[0]
    assert (found.lower, found.upper, found.evidence, found.failure_probability) == (1.0, 3.0, "proved", 0.0)
    assert found.bracket("probable").upper == 2.0
    other = with_bounds(report(row("w", lower=1.5, upper=2.0, evidence="probable")), first).rows[0]
    assert (other.lower, other.upper, other.evidence) == (1.5, 2.0, "probable")
    assert 0 < other.failure_probability <= 2e-12


def test_another_file_adds_nothing():
    first = report(row("w", lower=1.0, upper=3.0))
    for other in (report(row("w", lower=1.0, upper=2.0), sha256="b" * 64), report(row("w", upper=2.0), path="other")):
        assert with_bounds(first, other) == first
    assert with_bounds(first, report(row("w", status="refused"))) == first


def test_a_contradiction_is_loud():
    first = report(row("w", lower=2.0, upper=3.0))
    found = with_bounds(first, report(row("w", lower=0.5, upper=1.0)))
    assert found.rows == first.rows
    assert [(f.code, f.row) for f in found.findings] == [("contradiction", "w")]
