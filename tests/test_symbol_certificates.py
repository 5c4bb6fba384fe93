"""Certificates at the edge: the symbol's rounding and the complex factorization against ball arithmetic."""

import numpy as np
import pytest
from flint import acb, arb, ctx, fmpq

from opnorm.linalg import hermitian
from opnorm.linalg.convolution.geometry import geometry
from opnorm.linalg.convolution.symbol import PHASE_ERROR, gram_symbol, taps
from opnorm.linalg.hermitian import certified, factors_conventionally, rayleigh
from oracle import _ball
from symbol_cases import random_kernel


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 300
    yield
    ctx.prec = before


def exact_gram(kernel, settings, numerators, denominator):
    """F F* of the polyphase symbol at 2πj/N from its definition, in balls; rows are output channels."""
    outputs, inputs = kernel.shape[:2]
    columns = {}
    for place in np.ndindex(*kernel.shape[2:]):
        offset = [a * d for a, d in zip(place, settings.dilation, strict=True)]
        phase = tuple(o % s for o, s in zip(offset, settings.stride, strict=True))
        turn = sum(o // s * int(j) for o, s, j in zip(offset, settings.stride, numerators, strict=True))
        unit = acb(fmpq(2 * (turn % denominator), denominator)).exp_pi_i()
        for o, i in np.ndindex(outputs, inputs):
            column = columns.setdefault((phase, i), [acb(0)] * outputs)
            column[o] = column[o] + acb(_ball(kernel[(o, i, *place)])) * unit
    columns = list(columns.values())
    return [[sum((c[i] * c[j].conjugate() for c in columns), acb(0)) for j in range(outputs)] for i in range(outputs)]


def exceeds(gram, square):
    """Whether λ_max(G) > square for sure: a negative pivot of square·I − G after positive ones."""
    size = len(gram)
    work = [[-gram[i][j] for j in range(size)] for i in range(size)]
    for i in range(size):
        work[i][i] = acb(square) + work[i][i]
    for k in range(size):
        pivot = work[k][k].real
        if pivot < 0:
            return True
        if not pivot > 0:
            return False
        for i in range(k + 1, size):
            for j in range(k + 1, size):
                work[i][j] -= work[i][k] * work[k][j] / pivot
    return False


def edge_cases(count, seed, most=4):
    """(kernel, settings, symbol, its frequency, numerators, denominator); rows are output channels."""
    rng = np.random.default_rng(seed)
    while count:
        axes, outputs = int(rng.integers(1, 3)), int(rng.integers(1, most))
        shape = (outputs, int(rng.integers(outputs, 5)), *rng.integers(1, 4, axes))
        kernel = random_kernel(rng, shape)
        stride, dilation = (tuple(int(x) for x in rng.integers(1, 3, axes)) for _ in range(2))
        settings = geometry(shape, None, stride=stride, dilation=dilation)
        known = taps(kernel, settings)
        if known.flipped:
            continue
        denominator = int(rng.choice([7, 12, 64, 1001]))
        numerators = rng.integers(0, denominator, axes)
        count -= 1
        scaled = np.ldexp(kernel.astype(np.float64), -known.exponent)
        # The symbol's orders are divided by their common factor, its frequencies are not.
        at = (numerators * np.array(known.steps))[None]
        yield scaled, settings, gram_symbol(known), at, numerators, denominator


def count_violations(count, seed, most=4):
    """How many τ below the true λ_max are certified, of ulps near the edge; and lower bounds above it."""
    violations = accepted = 0
    for kernel, settings, symbol, at, numerators, denominator in edge_cases(count, seed, most):
        matrix = symbol.evaluate(0, at, denominator)[0]
        values, vectors = np.linalg.eigh(matrix)
        top = float(values[-1])
        if top < 1e-6:
            continue
        exact = exact_gram(kernel, settings, numerators, denominator)
        lower = rayleigh(symbol, 0, at[0], denominator, vectors[:, -1])
        violations += lower > top * (1 - 1e-9) and not _reached(exact, lower)
        for ulps in (-400, -60, -20, -8, -4, -2, -1, 0, 1, 4, 2**12, 2**24):
            tau = top * (1 + ulps * 2.0**-53)
            if certified(symbol, np.array([0]), at, denominator, np.array([tau]))[0]:
                accepted += 1
                violations += exceeds(exact, _ball(tau))
    return violations, accepted


def _reached(exact, lower):
    """λ_max ≥ lower: exceeded, or an exact tie within 2⁻²⁰⁰."""
    return exceeds(exact, _ball(lower) * (1 - arb(2) ** -200))


def test_certificates_hold_at_the_edge():
    violations, accepted = count_violations(150, 0)
    assert violations == 0
    assert accepted >= 140  # the last of each series


def test_dropping_the_symbols_rounding_is_caught(monkeypatch):
    monkeypatch.setattr("opnorm.linalg.convolution.symbol._error", lambda values, lags: 0.0)
    violations, _ = count_violations(150, 0, most=2)
    assert violations > 0


def test_the_factorization_at_the_edge():
    """`_below` on stored Hermitian matrices: a yes at τ just below λ_max would be wrong."""
    rng = np.random.default_rng(1)
    accepted = 0
    for _ in range(40):
        size = int(rng.integers(2, 6))
        factor = rng.standard_normal((size, size)) + 1j * rng.standard_normal((size, size))
        matrix = factor @ factor.conj().T
        matrix = (matrix + matrix.conj().T) / 2
        exact = [[acb(_ball(z.real), _ball(z.imag)) for z in row] for row in matrix]
        top = float(np.linalg.eigvalsh(matrix)[-1])
        for ulps in (-200, -50, -20, -5, -2, -1, 0, 1, 2**14):
            tau = top * (1 + ulps * 2.0**-53)
            if hermitian._below(matrix[None].copy(), np.array([tau]))[0]:
                accepted += 1
                assert not exceeds(exact, _ball(tau))
    assert accepted >= 40


def test_the_residual_form_agrees(monkeypatch):
    """A machine whose factors fail the probe proves by residuals: still sound, hardly wider."""
    monkeypatch.setattr(hermitian, "factors_conventionally", lambda: False)
    rng = np.random.default_rng(2)
    for size in (2, 5, 40):
        factor = rng.standard_normal((size, size)) + 1j * rng.standard_normal((size, size))
        matrix = factor @ factor.conj().T
        matrix = (matrix + matrix.conj().T) / 2
        top = float(np.linalg.eigvalsh(matrix)[-1])
        answers = hermitian._below(np.stack([matrix] * 2), np.array([top * (1 + 1e-9), top * (1 - 1e-12)]))
        assert answers.tolist() == [True, False]


def test_the_probe_catches_inverted_blocks(monkeypatch):
    """A factor that is only backward stable in norm, not entry by entry, must not pass."""

    def careless(matrix):
        factor = np.linalg.cholesky(matrix)
        return factor + 1e-13 * np.abs(factor).max() * np.tril(np.ones(matrix.shape))

    assert factors_conventionally()
    factors_conventionally.cache_clear()
    monkeypatch.setattr(hermitian, "_factor", careless)
    assert not factors_conventionally()
    factors_conventionally.cache_clear()


def test_a_stack_with_one_failure_keeps_the_others():
    matrices = np.stack([np.diag([1.0, v]) for v in (0.5, 2.0, 0.1, 3.0, 0.9)]).astype(complex)
    assert hermitian._below(matrices, np.full(5, 1.5)).tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_is_proved_of_undefined_matrices(bad):
    for size in (1, 3, 40):
        matrix = np.eye(size, dtype=complex)
        matrix[-1, 0] = matrix[0, -1] = bad
        assert not hermitian._below(matrix[None], np.array([100.0]))[0]


def test_phases_are_as_exact_as_stated():
    rng = np.random.default_rng(3)
    settings = geometry((1, 1, 4, 4), None)
    symbol = gram_symbol(taps(np.ones((1, 1, 4, 4)), settings))
    worst = 0.0
    for denominator in (3, 64, 1000, 2**40, 10**12 + 39):
        at = rng.integers(0, denominator, (20, 2))
        cosines, sines = symbol.turns(at, denominator)
        for row, j in enumerate(at):
            for column, lag in enumerate(symbol.lags):
                unit = acb(fmpq(2 * (int(j @ lag) % denominator), denominator)).exp_pi_i()
                worst = max(worst, float(abs(unit.real - _ball(cosines[row, column]))))
                worst = max(worst, float(abs(unit.imag - _ball(sines[row, column]))))
    assert 0 < worst < PHASE_ERROR / 2
