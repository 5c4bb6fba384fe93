"""σ₁ ≤ c decided, and σ_min bounded: against interval arithmetic, closed forms, and a solver on the edge."""

import numpy as np
import pytest
from flint import arb, ctx

import opnorm.linalg.at_most as at_most_module
import opnorm.linalg.smallest as smallest_module
from gallery import with_spectrum
from opnorm.errors import UndefinedNorm, UnsupportedInput
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.at_most import at_most, slack_of
from opnorm.linalg.gram import gram_matrix
from opnorm.linalg.smallest import prove_lower, smallest
from oracle import PRECISIONS, Oracle, _ball
from zoo import draw


def decided(matrix, ceiling):
    return at_most(aslinearoperator(matrix), ceiling).bracket("proved")


def smallest_of(matrix):
    return smallest(aslinearoperator(matrix))


class LowOracle(Oracle):
    """Decides σ_min of the short side against τ: σ_min > τ iff every pivot of LDLᵀ of AAᵀ − τ²I is positive."""

    def compare(self, tau):
        for precision in PRECISIONS:
            ctx.prec = precision
            answer = self._low(self._gram(precision), _ball(tau))
            if answer:
                return answer
        return 0

    @staticmethod
    def _low(gram, tau):
        work = [list(row) for row in gram]
        for i in range(len(work)):
            work[i][i] = work[i][i] - tau * tau
        for k in range(len(work)):
            pivot = work[k][k]
            if pivot < 0:
                return -1
            if not pivot > 0:
                return 0
            for i in range(k + 1, len(work)):
                ratio = work[i][k] / pivot
                for j in range(k + 1, len(work)):
                    work[i][j] -= ratio * work[k][j]
        return 1


@pytest.mark.parametrize("gap", [1e-2, 1e-8, 1e-13, 1e-16, 0.0])
def test_what_is_called_at_most_is_at_most(gap):
    rng, proved = np.random.default_rng(int(-np.log10(gap + 1e-20))), 0
    for _ in range(120):
        matrix = draw(rng, 1, 16)
        oracle = Oracle(matrix)
        sigma = float(np.linalg.norm(oracle.wide, 2))
        for side in (1, -1):
            ceiling = sigma * (1 + side * gap)
            if not (np.isfinite(ceiling) and ceiling > 1e-290):
                continue
            bracket = decided(matrix, ceiling)
            assert bracket.lower is None or oracle.compare(bracket.lower) >= 0
            if bracket.upper is not None and bracket.upper <= ceiling:
                assert oracle.compare(ceiling) <= 0
                proved += 1
    assert proved > 60 or gap < 1e-12


@pytest.mark.parametrize("shape", [(5, 5), (20, 60), (60, 20), (200, 200), (100, 1500)])
def test_the_slack_told_is_enough(shape):
    rng = np.random.default_rng(3)
    for values in (np.ones(min(shape)), np.linspace(1, 0, min(shape)), np.r_[1.0, np.full(min(shape) - 1, 1e-3)]):
        matrix = with_spectrum(values, min(shape), max(shape), rng)
        matrix = matrix if matrix.shape == shape else matrix.T
        rank = float((values**2).sum())
        ceiling = np.linalg.norm(matrix, 2) * (1 + 2 * slack_of(shape, rank))
        bracket = decided(matrix, ceiling)
        assert bracket.upper <= ceiling
        assert bracket.lower >= 1 - 1e-9


def test_no_proof_where_it_does_not_hold():
    matrix = with_spectrum(np.linspace(1, 0.5, 30), 30, 40, np.random.default_rng(0))
    bracket = decided(matrix, 0.9)
    assert bracket.upper > 1
    assert bracket.lower == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("scale", [2.0**-1000, 1e-30, 1.0, 1e30, 2.0**900])
def test_scales(scale):
    matrix = with_spectrum(np.r_[1.0, 0.5, 0.25], 3, 7, np.random.default_rng(1)) * scale
    assert decided(matrix, scale * (1 + 1e-12)).upper <= scale * (1 + 1e-12)
    assert not decided(matrix, scale * (1 - 1e-12)).upper <= scale * (1 - 1e-12)
    low = smallest_of(matrix)
    assert 0.25 * scale * (1 - 1e-12) <= low.lower <= low.upper <= 0.25 * scale * (1 + 1e-12)


def test_corners():
    assert decided(np.zeros((3, 4)), 1e-300).upper == 0
    assert decided(np.zeros((0, 4)), 1.0).upper == 0
    assert smallest_of(np.zeros((3, 4))).upper == 0
    assert smallest_of(np.ones((3, 4))).lower == 0
    assert decided(np.full((1, 4), 0.5), 1.0 + 1e-14).upper <= 1.0 + 1e-14
    for broken in (np.nan, np.inf):
        with pytest.raises(UndefinedNorm):
            decided(np.array([[1.0, broken]]), 1.0)
        with pytest.raises(UndefinedNorm):
            smallest_of(np.array([[1.0, broken]]))


def test_beyond_the_gram_matrix_only_the_entries_speak(monkeypatch):
    monkeypatch.setattr(at_most_module, "GRAM_SIDE_MOST", 8)
    monkeypatch.setattr(smallest_module, "GRAM_SIDE_MOST", 8)
    matrix = np.eye(9) + 0.01
    found = at_most(aslinearoperator(matrix), 1.05)
    assert found.bracket("proved").upper > 1.05
    assert "8" in found.note or "short side" in found.note
    assert decided(matrix, 1.2).upper <= 1.2
    with pytest.raises(UnsupportedInput, match="short side"):
        smallest_of(matrix)


@pytest.mark.parametrize(("low", "high", "count"), [(1, 6, 250), (6, 14, 60)])
def test_smallest_against_interval_arithmetic(low, high, count):
    rng, tight = np.random.default_rng(low), 0
    for _ in range(count):
        matrix = draw(rng, low, high)
        bracket, oracle = smallest_of(matrix), LowOracle(matrix)
        assert bracket.lower == 0 or oracle.compare(bracket.lower) >= 0
        assert bracket.upper is None or oracle.compare(bracket.upper) <= 0
        tight += bracket.upper is not None and bracket.upper - bracket.lower <= 1e-3 * bracket.upper
    assert tight >= 0.5 * count


def test_the_certificate_just_above_the_smallest():
    """prove_lower may accept a shift a few ulps too large; what it then returns must still be a bound."""
    rng, accepted = np.random.default_rng(7), 0
    for _ in range(60):
        matrix = draw(rng, 3, 12)
        operator = aslinearoperator(matrix).wide().centered()
        gram = gram_matrix(operator)
        if not gram.trace > 0:
            continue
        oracle = LowOracle(np.ldexp(np.asarray(matrix, dtype=np.float64), operator.exponent))
        square = float(np.linalg.svd(oracle.wide, compute_uv=False)[-1]) ** 2
        for ulps in (-4, -1, 0.05, 0.1, 0.2, 0.5, 1, 2):
            bound = prove_lower(gram, square + ulps * 2.0**-53 * gram.trace)
            if bound is not None:
                accepted += ulps > 0
            if bound:
                assert oracle.compare(np.sqrt(bound)) >= 0 or oracle.compare(np.nextafter(np.sqrt(bound), 0)) >= 0
    assert accepted > 10


def test_without_its_slack_the_certificate_would_lie(monkeypatch):
    """Sabotage: with the rounding terms gone, some bound exceeds the truth, and this test's oracle sees it."""
    monkeypatch.setattr(smallest_module, "cholesky_slack", lambda *_: 0.0)
    monkeypatch.setattr(smallest_module, "UNIT", 0.0)
    rng, caught = np.random.default_rng(11), 0
    for size in (4, 6, 8, 10) * 10:
        matrix = with_spectrum(np.geomspace(1, 1e-7, size), size, size + 2, rng)
        operator = aslinearoperator(matrix).wide().centered()
        gram = gram_matrix(operator)
        gram = type(gram)(gram.matrix, 0.0, gram.trace, gram.columns)
        wide = np.hstack([np.array(b) for b in operator.blocks64()])
        oracle = LowOracle(wide)
        square = float(np.linalg.svd(wide, compute_uv=False)[-1]) ** 2
        for ulps in (0.05, 0.1, 0.2, 0.5, 1, 2):
            bound = prove_lower(gram, square + ulps * 2.0**-53 * gram.trace)
            caught += bool(bound) and oracle.compare(np.sqrt(bound) * (1 - 2.0**-51)) < 0
    assert caught


def test_inertia_of_the_oracle_itself():
    ctx.prec = 128
    assert arb(1) > 0
    assert LowOracle(np.diag([1.0, 3.0])).compare(0.999) == 1
    assert LowOracle(np.diag([1.0, 3.0])).compare(1.001) == -1
    assert LowOracle(np.diag([1.0, 3.0])).compare(1.0) == 0
