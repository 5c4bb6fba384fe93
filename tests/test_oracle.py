"""Ten thousand proved brackets against interval arithmetic; the certifying predicate at its edge."""

import sys

import numpy as np
import pytest
from flint import arb, ctx

import opnorm
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.gram import gram_matrix, prove_upper
from oracle import Oracle
from zoo import draw


def test_the_oracle_itself():
    """Against closed forms in Arb: the second-difference matrix has σ₁ = 2 + 2cos(π/(n+1))."""
    n = 12
    matrix = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    ctx.prec = 200
    truth = 2 + 2 * (arb.pi() / (n + 1)).cos()
    above, below = float(truth.upper()) * (1 + 1e-15), float(truth.lower()) * (1 - 1e-15)
    oracle = Oracle(matrix)
    assert oracle.compare(above) == -1
    assert oracle.compare(below) == 1
    assert Oracle(np.diag([1.0, 3.0])).compare(3.0) == 0


@pytest.mark.parametrize(("low", "high", "count"), [(1, 8, 4000), (8, 24, 4000), (24, 33, 2000)])
def test_proved_brackets_hold(low, high, count, capsys):
    rng = np.random.default_rng(low)
    widths, missed = [], 0
    for number in range(count):
        matrix = draw(rng, low, high)
        width = float(rng.choice([1e-2, 1e-6, 1e-9]))
        bracket = opnorm.spectral_norm(matrix, evidence="proved", width=width, seed=number).bracket("proved")
        assert Oracle(matrix).holds(bracket.lower, bracket.upper), (number, bracket)
        widths.append(bracket.width / width if bracket.width is not None else np.inf)
        missed += widths[-1] > 1
    with capsys.disabled():
        median = np.median(widths)
        sys.stdout.write(
            f"\n{count} brackets, short side {low} to {high - 1}: median width {median:.3f} of that asked\n"
        )
    assert missed <= count * 0.01


def test_the_predicate_just_below_the_norm():
    """prove_upper may accept a shift a few ulps too small; what it then returns must still be a bound."""
    rng = np.random.default_rng(5)
    accepted = 0
    for _ in range(300):
        matrix = draw(rng, 3, 20)
        operator = aslinearoperator(matrix).wide().centered()
        gram = gram_matrix(operator)
        if not gram.trace > 0:
            continue
        oracle = Oracle(np.ldexp(np.asarray(matrix, dtype=np.float64), operator.exponent))
        sigma = np.linalg.norm(oracle.wide, 2)
        for ulps in range(-40, 41, 4):
            bound = prove_upper(gram, sigma**2 * (1 + ulps * 2.0**-53))
            if bound is not None:
                accepted += 1
                assert oracle.compare(np.sqrt(bound) * (1 + 2.0**-51)) <= 0
    assert accepted > 1000  # the edge was reached from the accepting side often enough to mean something


def test_a_failed_factorization_leaves_the_gram_matrix_as_it_was():
    """Above the in-place size the factor overwrites the matrix; a failure puts it back, and the next try proves."""
    matrix = np.random.default_rng(0).standard_normal((1100, 1150))
    gram = gram_matrix(aslinearoperator(matrix))
    before, truth = gram.matrix.copy(), np.linalg.norm(matrix, 2)
    np.testing.assert_allclose(before, matrix @ matrix.T, rtol=1e-12, atol=1e-10)
    assert prove_upper(gram, 0.9 * truth**2) is None
    np.testing.assert_array_equal(gram.matrix, before)
    proved = prove_upper(gram, truth**2 * (1 + 1e-8))
    assert truth**2 <= proved <= truth**2 * (1 + 2e-8)


def test_probable_brackets_hold_against_the_oracle():
    """The Lanczos path on small matrices, by a request that skips the Gram path."""
    from opnorm.linalg.by_lanczos import by_lanczos
    from opnorm.linalg.plan import Plan
    from opnorm.linalg.request import Request

    rng = np.random.default_rng(11)
    for number in range(400):
        matrix = draw(rng, 4, 33)
        wide = aslinearoperator(matrix).wide().centered()
        sums = wide.entrywise()
        if sums.one == 0:
            continue
        plan = Plan("lanczos", min(8, wide.shape[0]), 12, bool(number % 2))
        request = Request(width=float(rng.choice([1e-2, 1e-6])), seed=number)
        found = by_lanczos(wide, sums.bounds(), plan, request, None)
        lower = max(b.value for b in found.bounds if b.side == "lower")
        upper = min(b.value for b in found.bounds if b.side == "upper")
        scaled = np.ldexp(np.asarray(matrix, dtype=np.float64), wide.exponent)
        assert Oracle(scaled).holds(lower, upper), number
