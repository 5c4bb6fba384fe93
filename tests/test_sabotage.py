"""A certifier that is broken must be caught: each mutant below violates a truth that the battery checks.

The battery is a fixed set of small experiments with known answers. Unbroken code passes it; every mutant,
each a mistake found in some tool of this field or one that we might make, must fail it.
"""

import math

import numpy as np
import pytest

from opnorm.bound import Bound, Evidence, Measurement
from opnorm.errors import OpnormError
from opnorm.frameworks import aslinearoperator
from opnorm.linalg import by_gram, by_lanczos, gram, measure, probable, sketch, stored
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.plan import Plan
from opnorm.linalg.request import Request
from opnorm.linalg.start import start_block
from oracle import Oracle
from test_probable import ETA, ceiling, explore, plant, seen


def brackets(rng):
    """(matrix, proved bracket) at widths from coarse to the limit of float64."""
    for number in range(60):
        rows, columns = int(rng.integers(2, 14)), int(rng.integers(2, 14))
        matrix = rng.standard_normal((rows, columns)) * 2.0 ** int(rng.choice([0, -200, 200]))
        if number % 3 == 0:
            matrix = np.round(4 * matrix / np.abs(matrix).max()) * 2.0 ** int(rng.choice([0, 300]))
        yield matrix, proved_bracket(matrix, float(rng.choice([1e-2, 1e-6, 1e-14])), number)
    for matrix in DRIFTING:
        yield matrix, proved_bracket(matrix, 1e-14, 0)
    for matrix in COARSE:
        yield matrix, proved_bracket(matrix, 5e-3, 0)


def proved_bracket(matrix, width, seed):
    request = Request(Evidence.PROVED, width, seed)
    return measure.measure_operator(aslinearoperator(matrix), request).bracket(Evidence.PROVED)


DRIFTING = [np.outer([1.0, 1e-4, 1e-5], np.full(n, c)) for n in (4000, 20000) for c in (0.3, 0.7, 1.1, 1.7)]
"""Long sums of equal terms: every rounding goes the same way, tens of ulps up or down."""

COARSE = [
    np.array([np.full(3000, c), 0.9 * c * (-1.0) ** np.arange(3000)], dtype=np.float32) for c in (0.3, 0.7, 1.1, 1.7)
]
"""The same in float32, with a second singular value near, so that entrywise bounds do not settle it."""


def survives_proofs():
    """Proved brackets against the oracle."""
    for matrix, bracket in brackets(np.random.default_rng(0)):
        if not Oracle(matrix).holds(bracket.lower, bracket.upper):
            return False
        if bracket.width is None and np.any(matrix):
            return False
    return True


def survives_edge():
    """The Cholesky predicate a few ulps below the norm, against the oracle."""
    rng = np.random.default_rng(3)
    for matrix in [*(rng.standard_normal((8, 11)) for _ in range(12)), *DRIFTING]:
        found, oracle = gram.gram_matrix(aslinearoperator(matrix)), Oracle(matrix)
        sigma = np.linalg.norm(matrix, 2)
        for ulps in (-(2**50), *range(-60, 20, 4)):
            bound = gram.prove_upper(found, sigma**2 * (1 + ulps * 2.0**-53))
            if bound is not None and oracle.compare(math.sqrt(bound) * (1 + 2.0**-52)) > 0:
                return False
    return True


def survives_planting():
    """Starts at the edge of the law: the top vector is as hidden as it may be."""
    for seed in range(8):
        for steps in (1, 2, 4):
            rng = np.random.default_rng(seed)
            start = start_block(60, 8, seed)
            square, _ = plant(start, 1.001 * probable.start_distance(8, ETA) * TRUE_DISTANCE, rng)
            upper = probable.upper_eigenvalue(seen(square, explore(square, start, steps)), ceiling(square))
            if upper < np.linalg.eigvalsh(square)[-1] * (1 - 1e-13):
                return False
    return True


TRUE_DISTANCE = 1.0
"""Set by the mutant that falsifies `start_distance`, so that the battery keeps the true law."""


def survives_lanczos():
    """The whole Lanczos method on matrices of known norm, stopped early and late."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        matrix = rng.standard_normal((80, 90))
        truth = np.linalg.norm(matrix, 2)
        wide = aslinearoperator(matrix.astype(np.float32)).wide()
        truth = np.linalg.norm(matrix.astype(np.float32).astype(float), 2)
        for passes in (1, 3, 12):
            plan = Plan("lanczos", 8, passes, precise=bool(seed % 2))
            found = by_lanczos.by_lanczos(wide, wide.entrywise().bounds(), plan, Request(width=0.005, seed=seed), None)
            try:
                bracket = Measurement(found.bounds, (80, 90), "lanczos").bracket()
            except OpnormError:
                return False
            if not bracket.lower <= truth * (1 + 1e-13) or not truth * (1 - 1e-13) <= bracket.upper:
                return False
    return True


def survives_bad_images():
    """Images of a basis computed wrongly: the sketch must notice before the bound is drawn."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        start = start_block(60, 8, seed)
        square, u = plant(start, 4.0, rng, bulk=0.6)
        matrix = np.linalg.cholesky(square + 1e-14 * np.eye(60))
        lanczos = explore(square - 0.9 * np.outer(u, u), start, 6)  # a device that loses the top direction
        operator = aslinearoperator(matrix)
        probe = start_block(lanczos.basis.shape[1], 16, seed, b"sketch")
        found = sketch.sketch(
            operator, operator.rounding, lanczos.basis, lanczos.images, lanczos.top()[1], probe, ETA / 2
        )
        view = seen(square, lanczos, images=lanczos.images, error=found.error)
        if probable.upper_eigenvalue(view, 10.0) < 1 - 1e-12 or found.lower > 1 + 1e-12:
            return False
    return True


def survives_undefined():
    """NaN gives no number."""
    matrix = np.eye(5)
    matrix[2, 2] = np.nan
    try:
        measure.measure_operator(aslinearoperator(matrix), Request(Evidence.PROVED))
    except OpnormError:
        return True
    return False


BATTERY = (
    survives_proofs,
    survives_edge,
    survives_planting,
    survives_lanczos,
    survives_bad_images,
    survives_undefined,
)


def caught():
    """Whether any experiment of the battery fails; a crash counts as caught."""
    for experiment in BATTERY:
        try:
            if not experiment():
                return True
        except (OpnormError, ArithmeticError, ValueError, TypeError):
            return True
    return False


def test_unbroken_code_survives():
    assert [experiment.__name__ for experiment in BATTERY if not experiment()] == []


def _no_slack(patch):
    """Cholesky without its rounding slack: the shift is returned as the bound."""

    def naive(found, shift):
        matrix = shift * np.eye(len(found.matrix)) - found.matrix
        return shift if gram.cholesky(matrix) is not None else None

    patch.setattr(gram, "prove_upper", naive)
    patch.setattr(by_gram, "prove_upper", naive)


def _raw_rayleigh(patch):
    """A Rayleigh quotient with nothing subtracted, sold as a lower bound."""

    def raw(self, vector):
        return float(vector @ (self.matrix @ vector)) / float(vector @ vector)

    patch.setattr(gram.Gram, "rayleigh", raw)


def _breakdown_ignored(patch):
    """A factorization that broke down counts as a proof."""
    patch.setattr(gram, "cholesky", lambda matrix: np.eye(len(matrix)))


def _lower_as_upper(patch):
    """The Ritz value (what power iteration gives) plus a tolerance, sold as an upper bound."""
    patch.setattr(probable, "upper_eigenvalue", lambda view, *_: view.lower * (1 + 1e-4))


def _swapped_sides(patch):
    """Lower and upper exchanged on the way out."""
    proved = by_gram.proved
    patch.setattr(by_gram, "proved", lambda side, *rest: proved("upper" if side == "lower" else "lower", *rest))


def _odds_ignored(patch):
    """The failure probability plays no part: a start is taken to be a typical one."""
    global TRUE_DISTANCE
    true = probable.start_distance(8, ETA)
    patch.setattr(probable, "start_distance", lambda width, _: math.sqrt(width) * 0.8)
    patch.setattr(sketch, "start_distance", probable.start_distance)
    patch.setitem(globals(), "TRUE_DISTANCE", true / probable.start_distance(8, ETA))


def _residual_dropped(patch):
    """The basis is taken for invariant: what leaves it is forgotten."""
    verify = probable.verify

    def forgetful(*args):
        view = verify(*args)
        return probable.Projection(view.projection, 1e-14 * np.eye(len(view.projection)), *_rest(view))

    patch.setattr(probable, "verify", forgetful)


def _rest(view):
    return view.delta, view.width, view.lower


def _cells_too_wide(patch):
    """Each excluded interval taken ten times as wide as the multiplier proves."""
    radius = probable._Cells.radius

    def wide(self, center):
        found = radius(self, center)
        return None if found is None else 10 * found

    patch.setattr(probable._Cells, "radius", wide)


def _sketch_trusted_less(patch):
    """The measured error of the images divided by a million."""
    original = sketch.sketch

    def optimistic(*args):
        found = original(*args)
        return sketch.Sketch(found.error * 1e-6, found.lower)

    patch.setattr(sketch, "sketch", optimistic)


def _scale_forgotten(patch):
    """The power of two by which the matrix was centered is not given back."""
    patch.setattr(measure, "scaled_back", lambda bound, _: bound)


def _frobenius_averaged(patch):
    """‖A‖_F/√2 sold as an upper bound, a constant that holds for most matrices."""
    from opnorm.linalg.entrywise import Entrywise

    patch.setattr(
        Entrywise,
        "bounds",
        lambda self: (
            Bound("upper", self.frobenius / 2**0.5, Evidence.PROVED, "x"),
            Bound("lower", self.frobenius / 20, Evidence.PROVED, "x"),
        ),
    )


def _squared(patch):
    """σ² reported as the spectral norm."""
    patch.setattr(by_gram, "up", lambda value, *_: value**2)


def _float32_proof(patch):
    """The Gram matrix accumulated in float32, its float64 slack unchanged."""
    original = gram.gram_matrix

    def rough(operator):
        found = original(operator)
        return gram.Gram(found.matrix.astype(np.float32).astype(np.float64), found.error, found.trace, found.columns)

    patch.setattr(by_gram, "gram_matrix", rough)
    patch.setattr(gram, "gram_matrix", rough)


def _coarse_slack_forgotten(patch):
    """The float32 Gram matrix with the slack of a float64 one."""

    def optimistic(operator):
        found = gram_matrix32(operator)
        return None if found is None else gram.Gram(found.matrix, 1e-13 * found.trace, found.trace, found.columns)

    gram_matrix32 = gram.gram_matrix32
    patch.setattr(by_gram, "gram_matrix32", optimistic)
    patch.setattr(by_gram, "_SHARE", 1e-9)


def _nan_cleaned(patch):
    """NaN replaced by zero on reading."""
    original = stored.StoredMatrix.blocks64
    patch.setattr(
        stored.StoredMatrix, "blocks64", lambda self, width=0: (np.nan_to_num(b) for b in original(self, width))
    )


def _stale_basis(patch):
    """The start block replaced by a fixed one: randomness gone, odds kept."""
    original = BlockLanczos.__init__

    def fixed(self, product, start, warm=None):
        original(self, product, np.ones_like(start) + np.eye(*start.shape), warm)
        self.start = start

    patch.setattr(BlockLanczos, "__init__", fixed)
    patch.setattr(probable, "frobenius_up", lambda m: 0.0 if m.shape[1] == 8 else float(np.linalg.norm(m)))


MUTANTS = [
    _no_slack,
    _raw_rayleigh,
    _breakdown_ignored,
    _lower_as_upper,
    _swapped_sides,
    _odds_ignored,
    _residual_dropped,
    _cells_too_wide,
    _sketch_trusted_less,
    _scale_forgotten,
    _frobenius_averaged,
    _squared,
    _float32_proof,
    _coarse_slack_forgotten,
    _nan_cleaned,
    _stale_basis,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__.strip("_"))
def test_mutants_are_caught(mutant, monkeypatch):
    mutant(monkeypatch)
    assert caught(), mutant.__doc__
