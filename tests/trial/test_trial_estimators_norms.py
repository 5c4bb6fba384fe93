"""What is proved of fitted estimators, against decompositions, closed forms and sampled slopes."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_blobs, make_friedman1

from opnorm import UsageError
from opnorm.bound import Bound, Bracket, Evidence
from opnorm.constraint.finalize.matrix import TOLERANCE
from opnorm.integrations.estimators import SpectralClassifier, SpectralRegressor
from opnorm.integrations.estimators.lipschitz import network_bound

pytestmark = pytest.mark.usefixtures("one_thread")


BLOBS = make_blobs(150, n_features=5, centers=4, cluster_std=2.0, random_state=0)
FRIEDMAN = make_friedman1(150, random_state=0)
CASES = {
    "cap": {"cap": 0.7},
    "cap at every step": {"cap": 0.7, "every": 1},
    "tight": {"cap": 1e-3},
    "band": {"cap": 1.1, "lo": 0.6},
    "orthogonal": {"cap": 0.9, "lo": 0.9},
    "one layer": {"cap": 0.5, "hidden_layer_sizes": ()},
    "one unit": {"cap": 0.5, "hidden_layer_sizes": 1},
    "deep": {"cap": 0.8, "hidden_layer_sizes": [9, 3, 17]},
    "stopped early": {"cap": 0.7, "early_stopping": True, "patience": 2},
    "dropout": {"cap": 0.7, "dropout": 0.5},
    "decay": {"cap": 0.7, "weight_decay": 0.1},
}


def singular_values(estimator):
    return [np.linalg.svd(w.astype(np.float64), compute_uv=False) for w in estimator.coefs_]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("kind", "dtype"), [(SpectralClassifier, np.float32), (SpectralRegressor, np.float64)])
def test_every_layer_lies_in_its_band(kind, case, dtype):
    parameters = {"hidden_layer_sizes": (16,), "max_epochs": 5, "learning_rate": 4e-2, **CASES[case]}
    X, y = BLOBS if kind is SpectralClassifier else FRIEDMAN
    fitted = kind(random_state=0, **parameters).fit(X.astype(dtype), y)
    assert fitted.certificate_.holds
    lo, cap = parameters.get("lo", 0.0), parameters["cap"]
    tolerance = TOLERANCE[np.dtype(dtype).name] if lo else 0.0
    for values, norm, weight in zip(singular_values(fitted), fitted.norms_, fitted.coefs_, strict=True):
        assert weight.dtype == dtype
        assert norm.evidence is Evidence.PROVED
        assert norm.upper <= cap * (1 + tolerance)
        assert values[0] <= cap * (1 + tolerance) * (1 + 1e-13)
        assert norm.lower * (1 - 1e-13) <= values[0] <= norm.upper * (1 + 1e-13)
        assert values[-1] >= lo * (1 - tolerance) * (1 - 1e-13)


def test_the_caps_above_bind():
    X, y = BLOBS
    free = SpectralClassifier((16,), cap=None, max_epochs=5, learning_rate=4e-2, random_state=0).fit(X, y)
    assert min(values[0] for values in singular_values(free)) > 1.1


def test_without_a_ceiling_norms_are_measured_and_proved():
    X, y = FRIEDMAN
    free = SpectralRegressor((16,), cap=None, max_epochs=5, random_state=0).fit(X, y)
    for values, norm in zip(singular_values(free), free.norms_, strict=True):
        assert norm.evidence is Evidence.PROVED
        assert norm.lower <= values[0] * (1 + 1e-13)
        assert values[0] <= norm.upper * (1 + 1e-13)
        assert norm.width < 0.01


def test_the_certificate_is_of_these_weights():
    X, y = BLOBS
    fitted = SpectralClassifier((8,), max_epochs=3, dropout=0.2, random_state=0).fit(X, y)
    model = fitted.to_torch()
    assert fitted.certificate_.verify(model)
    fitted.coefs_[1][0, 0] = np.nextafter(fitted.coefs_[1][0, 0], 9)
    assert fitted.certificate_.differing(fitted.to_torch()) == ("layer1.weight",)
    assert fitted.certificate_.verify(model)


def slope(f, x, y):
    return np.linalg.norm(f(y) - f(x), axis=1) / np.linalg.norm(y - x, axis=1)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("cap", [0.8, 3.0, None])
def test_no_sampled_slope_exceeds_the_bound(activation, cap):
    generator = np.random.default_rng(1)
    X, y = FRIEDMAN
    Y = np.stack([100 * y, y**2], axis=1)
    fitted = SpectralRegressor(
        (16, 16), activation=activation, cap=cap, max_epochs=8, learning_rate=2e-2, random_state=0
    ).fit(X, Y)
    here = generator.normal(0.5, 1, (2000, X.shape[1]))
    for length in (1e-4, 1e-2, 1.0, 100.0):
        there = here + length * generator.normal(size=here.shape)
        assert slope(fitted.predict, here, there).max() <= fitted.lipschitz_bound_.value
    labels, classes = BLOBS
    logits = SpectralClassifier((16,), activation=activation, cap=cap, max_epochs=8, learning_rate=1e-2, random_state=0)
    logits.fit(labels, classes)
    here = generator.normal(0, 5, (2000, 5))
    there = here + generator.normal(size=here.shape)
    assert slope(logits.decision_function, here, there).max() <= logits.lipschitz_bound_.value


def test_the_bound_of_one_layer_is_attained():
    X, y = FRIEDMAN
    Y = np.stack([100 * y, 100 * np.roll(y, 1)], axis=1)
    fitted = SpectralRegressor((), cap=None, max_epochs=20, learning_rate=1e-2, random_state=0).fit(X, Y)
    scaled = fitted.coefs_[0] * fitted.target_scale_
    direction = np.linalg.svd(scaled)[0][:, :1].T
    attained = slope(fitted.predict, 0 * direction, direction)[0]
    assert attained == pytest.approx(np.linalg.norm(scaled, 2), rel=1e-9)
    assert attained <= fitted.lipschitz_bound_.value
    spread = fitted.target_scale_.max() / fitted.target_scale_.min()
    assert fitted.lipschitz_bound_.value <= 1.01 * spread * attained


def product(factors, scale):
    brackets = [Bracket(None, Bound("upper", f, Evidence.PROVED, "exact")) for f in factors]
    exact = Fraction(scale)
    for factor in factors:
        exact *= Fraction(factor)
    return exact, Fraction(network_bound(brackets, scale).value)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1e30), min_size=1, max_size=6), st.floats(1e-300, 1e30))
def test_the_product_is_rounded_up(factors, scale):
    exact, value = product(factors, scale)
    assert value >= exact


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=6), st.floats(1e-3, 1e30))
def test_the_product_is_tight(factors, scale):
    exact, value = product(factors, scale)
    assert exact < value <= exact * (1 + Fraction(1, 2**48))


@pytest.mark.parametrize("bound", [None, Bound("upper", 1.0, Evidence.ESTIMATE, "lanczos")])
def test_nothing_unproved_enters_the_product(bound):
    with pytest.raises(UsageError, match="not proved"):
        network_bound([Bracket(None, bound)])


@pytest.mark.parametrize("cap", [0.25, 0.5])
def test_a_capped_line_has_the_slope_of_the_cap(cap):
    """Least squares on standardized x and y wants slope 1; under a cap c its constrained minimum is c itself."""
    x = np.random.default_rng(0).normal(size=(400, 1))
    x = (x - x.mean()) / x.std()
    fitted = SpectralRegressor((), cap=cap, learning_rate=1e-2, max_epochs=60, random_state=0).fit(x, 7 * x[:, 0] - 3)
    assert abs(fitted.coefs_[0][0, 0]) == pytest.approx(cap, rel=1e-6)
    assert fitted.predict([[1.0]])[0] - fitted.predict([[0.0]])[0] == pytest.approx(7 * cap, rel=1e-6)
    assert fitted.lipschitz_bound_.value == pytest.approx(7 * cap, rel=1e-6)


def test_a_floor_holds_a_weight_that_data_would_remove():
    x = np.array([[-1.0], [1.0]] * 50)
    y = np.array([1.0, 1.0, -1.0, -1.0] * 25)  # uncorrelated with x
    fitted = SpectralRegressor((), cap=2.0, lo=0.3, learning_rate=1e-2, max_epochs=60, random_state=0).fit(x, y)
    assert abs(fitted.coefs_[0][0, 0]) == pytest.approx(0.3, rel=1e-5)
