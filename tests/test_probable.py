"""The probable upper bound: its law, its theorem, its traps, and attacks with a known start."""

import math

import numpy as np
import pytest
from scipy import stats

from gallery import haar
from opnorm.linalg import probable
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.operator import Rounding
from opnorm.linalg.sketch import sketch
from opnorm.linalg.start import start_block

ETA = 1e-12


def explore(square, start, steps, warm=None):
    lanczos = BlockLanczos(lambda x: square @ x, start, warm)
    for _ in range(steps):
        if not lanczos.exhausted:
            lanczos.step()
    return lanczos


def seen(square, lanczos, eta=ETA, images=None, error=None):
    images = square @ lanczos.basis if images is None else images
    error = 1e-13 * np.linalg.norm(square, 2) if error is None else error
    return probable.verify(lanczos.basis, images, error, lanczos.start, lanczos.start_factor, eta)


def ceiling(square):
    return float(np.trace(square)) * 1.01


def hamiltonian_bound(projection, residual, delta, width):
    """The largest t with κ(t) ≥ δ², from a nonsymmetric eigenproblem: an independent way to theorem A."""
    size = len(projection)
    theta = np.linalg.eigvalsh(projection)[-1]
    scale = 2.0 ** np.round(np.log2(delta * np.sqrt(np.linalg.norm(residual, 2))))
    j = -np.eye(size)
    j[:width, :width] += np.eye(width) / delta**2
    values = np.linalg.eigvals(np.block([[projection, residual / scale], [j * scale, projection]]))
    real = values[np.abs(values.imag) < 1e-7 * theta].real
    return max(theta, real.max(initial=theta))


def kappa(projection, residual, width, t):
    """κ(t) of theorem A, as defined."""
    inverse = np.linalg.inv(t * np.eye(len(projection)) - projection)
    h = inverse @ residual @ inverse
    return np.linalg.eigvalsh((h @ np.linalg.inv(np.eye(len(h)) + h))[:width, :width])[-1]


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("eta", [1e-12, 1e-6, 0.02, 0.2])
def test_the_distance_against_the_exact_law(width, eta):
    d = probable.start_distance(width, eta)
    exact = stats.chi2.cdf(d**2, width)
    assert exact <= eta
    if eta == 1e-12:
        assert exact >= 0.3 * eta  # tight where it is used, down to a per cent of d


def test_coverage_is_what_is_claimed():
    """At η = 0.2 the bound fails in at most 20 % of starts (and does fail: the constants are not vacuous)."""
    spectrum = np.linspace(0, 1, 24) ** 2
    square, failures, trials = np.diag(spectrum), 0, 600
    for seed in range(trials):
        lanczos = explore(square, start_block(24, 2, seed), 2)
        upper = probable.upper_eigenvalue(seen(square, lanczos, eta=0.2), ceiling(square))
        failures += upper < 1.0
    assert failures <= 0.2 * trials + 4 * math.sqrt(0.16 * trials)


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
@pytest.mark.parametrize("width", [4, 8, 16])
def test_multipliers_reach_the_theorem(width, steps):
    """The walk ends within three per cent of the exact bound of theorem A, and never below it."""
    rng = np.random.default_rng(width)
    square = np.cov(rng.standard_normal((200, 300)))
    lanczos = explore(square, start_block(200, width, 3), steps)
    view = seen(square, lanczos)
    exact = hamiltonian_bound(view.projection, view.residual, view.delta, width)
    upper = probable.upper_eigenvalue(view, ceiling(square) * 1e4)
    assert upper >= exact * (1 - 1e-9)
    assert upper <= max(exact * 1.03, view.lower * 1.0001)


def test_the_trap_of_bisection_on_kappa():
    """κ is not monotone for blocks of two and more: bisection would stop at a crossing that is not the last."""
    found = None
    for seed in range(400):
        rng = np.random.default_rng(seed)
        projection = np.diag(np.sort(rng.uniform(0, 10, 4)))
        turn = haar(4, 4, rng)
        projection = turn @ projection @ turn.T
        factor = rng.standard_normal((2, 4)) * np.array([0.0, 0.0, 1, 1]) * 10 ** rng.uniform(-1, 1)
        residual = factor.T @ factor + 1e-12 * np.eye(4)
        theta = np.linalg.eigvalsh(projection)[-1]
        grid = theta + np.geomspace(1e-3, 300, 4000)
        values = np.array([kappa(projection, residual, 2, t) for t in grid[::10]])
        rising = np.flatnonzero(np.diff(values) > 1e-6 * values[:-1])
        if len(rising):
            crest = rising[-1] + 1
            found = (projection, residual, grid[::10], values, rising[0], crest)
            break
    assert found is not None, "no example of the trap was found"
    projection, residual, grid, values, valley, crest = found
    level = math.sqrt(0.5 * (values[valley] + values[crest]))
    view = probable.Projection(projection, residual, level, 2, float(np.linalg.eigvalsh(projection)[-1]))
    upper = probable.upper_eigenvalue(view, 1e4)
    last = grid[np.flatnonzero(values >= level**2)[-1]]
    assert values[valley] < level**2  # bisection could stop before the crest
    assert upper >= last
    assert upper >= hamiltonian_bound(projection, residual, level, 2) * (1 - 1e-9)


def plant(start, distance, rng, top=1.0, bulk=0.5):
    """B whose top eigenvector u has ‖Xᵀu‖ = `distance`, against a start block X that the attacker knows."""
    rows, width = start.shape
    q, r = np.linalg.qr(start)
    direction = rng.standard_normal(width)
    inside = np.linalg.solve(r.T, direction / np.linalg.norm(direction) * distance)
    outside = rng.standard_normal(rows)
    outside -= q @ (q.T @ outside)
    outside *= math.sqrt(1 - inside @ inside) / np.linalg.norm(outside)
    u = q @ inside + outside
    basis = np.linalg.qr(np.column_stack([u, rng.standard_normal((rows, rows - 1))]))[0]
    values = np.concatenate([[top], bulk * rng.random(rows - 1)])
    square = (basis * values) @ basis.T
    return (square + square.T) / 2, u


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("width", [8, 16])
def test_a_matrix_built_against_the_start_is_still_bracketed(width, steps):
    """‖Xᵀu‖ just above d is the worst start that the law allows: the bound must hold, whatever the stop."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        start = start_block(80, width, seed)
        square, u = plant(start, 1.001 * probable.start_distance(width, ETA), rng)
        assert np.linalg.norm(start.T @ u) > probable.start_distance(width, ETA)
        lanczos = explore(square, start, steps)
        view = seen(square, lanczos)
        upper = probable.upper_eigenvalue(view, ceiling(square))
        assert upper >= np.linalg.eigvalsh(square)[-1] * (1 - 1e-14)
        assert view.lower <= 1.0 + 1e-14


def test_the_start_that_the_law_excludes_does_fool_it():
    """The converse: with ‖Xᵀu‖ far below d the top vector stays hidden. The test above can fail."""
    rng = np.random.default_rng(0)
    start = start_block(80, 8, 0)
    square, _ = plant(start, 1e-9 * probable.start_distance(8, ETA), rng)
    upper = probable.upper_eigenvalue(seen(square, explore(square, start, 5)), ceiling(square))
    assert upper < 0.99


def test_warm_vectors_speed_and_do_not_weaken():
    rng = np.random.default_rng(2)
    square, u = plant(start_block(120, 8, 4), 5.0, rng, bulk=0.95)
    start = start_block(120, 8, 4)
    cold = probable.upper_eigenvalue(seen(square, explore(square, start, 2)), ceiling(square))
    warm_vectors = u[:, None] + 1e-3 * rng.standard_normal((120, 1))
    warm = probable.upper_eigenvalue(seen(square, explore(square, start, 2, warm_vectors)), ceiling(square))
    assert 1 - 1e-13 <= warm < cold
    misleading = rng.standard_normal((120, 3)) * 1e-3
    assert probable.upper_eigenvalue(seen(square, explore(square, start, 3, misleading)), ceiling(square)) >= 1 - 1e-13


@pytest.mark.parametrize("noise", [1e-7, 1e-4, 1e-2, 1.0])
def test_wrong_images_are_found_out_by_the_sketch(noise):
    """Images off by `noise` (float32, TF32, a bug): the sketch bounds the error, and the bound still holds."""
    rng = np.random.default_rng(8)
    square = np.cov(rng.standard_normal((150, 200)))
    square /= np.linalg.norm(square, 2)
    matrix = np.linalg.cholesky(square + 1e-13 * np.eye(150))
    for seed in range(10):
        start = start_block(150, 8, seed)
        lanczos = explore(square, start, 5)
        wrong = square @ lanczos.basis + noise * rng.standard_normal(lanczos.basis.shape) / math.sqrt(150)
        truth = np.linalg.norm(wrong - square @ lanczos.basis, 2)
        operator = _Dense(matrix)
        probe = start_block(lanczos.basis.shape[1], 16, seed, b"sketch")
        rounding = Rounding(2.0, 1e-13, 1e-13)
        result = sketch(operator, rounding, lanczos.basis, wrong, lanczos.top()[1], probe, ETA / 2)
        assert truth <= result.error <= 60 * truth + 1e-10
        view = seen(square, lanczos, images=wrong, error=result.error)
        assert probable.upper_eigenvalue(view, 10.0) >= 1 - 1e-12
        assert result.lower <= 1 + 1e-12


class _Dense:
    def __init__(self, matrix):
        self.matrix = matrix

    def gram64(self, block):
        return self.matrix @ (self.matrix.T @ block)


def test_an_arbitrary_basis_proves_nothing_false():
    """Theorem B assumes nothing of Q beyond what it measures: perturbed, skewed and garbage bases."""
    rng = np.random.default_rng(9)
    square = np.cov(rng.standard_normal((90, 120)))
    largest = np.linalg.eigvalsh(square)[-1]
    start = start_block(90, 8, 1)
    q = np.linalg.qr(start)
    for noise in (0.0, 1e-8, 1e-4, 1e-2, 0.05, 1.0):
        basis = np.column_stack([q[0], np.linalg.qr(rng.standard_normal((90, 16)))[0]])
        basis += noise * rng.standard_normal(basis.shape) / 10
        error = 1e-13 * largest
        view = probable.verify(basis, square @ basis, error, start, q[1], ETA)
        if view is not None:
            assert probable.upper_eigenvalue(view, ceiling(square)) >= largest * (1 - 1e-13)
            assert view.lower <= largest * (1 + 1e-13)


def test_seeds_are_keyed_by_content():
    assert not np.array_equal(start_block(9, 4, 0, b"a" * 32), start_block(9, 4, 0, b"b" * 32))
    assert np.array_equal(start_block(9, 4, 7, b"a" * 32), start_block(9, 4, 7, b"a" * 32))
