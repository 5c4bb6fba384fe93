"""That the estimators learn: planted truths, scikit-learn's own network, and what each parameter does."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, make_blobs, make_friedman1
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from opnorm import UsageError
from opnorm.integrations.estimators import SpectralClassifier, SpectralRegressor

pytestmark = pytest.mark.usefixtures("one_thread")


BLOBS = make_blobs(200, n_features=4, centers=3, cluster_std=2.5, random_state=1)


def halves(X, y):
    X = StandardScaler().fit_transform(X)
    return train_test_split(X, y, test_size=0.4, random_state=0)


def test_separable_classes_are_separated():
    X = np.random.default_rng(0).normal(size=(300, 6))
    y = np.where(X @ [1, -2, 0, 1, 0, 0.5] > 0, "above", "below")
    margin = np.abs(X @ [1, -2, 0, 1, 0, 0.5]) > 0.3
    fitted = SpectralClassifier(cap=2.0, max_epochs=80, random_state=0).fit(X[margin], y[margin])
    assert fitted.score(X[margin], y[margin]) == 1
    assert list(fitted.classes_) == ["above", "below"]
    assert ((fitted.decision_function(X) > 0) == (fitted.predict(X) == "below")).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_as_good_as_scikit_learns_network_where_the_cap_is_loose():
    X, X_test, y, y_test = halves(*load_breast_cancer(return_X_y=True))
    own = SpectralClassifier(cap=10.0, max_epochs=40, random_state=0).fit(X, y).score(X_test, y_test)
    peer = MLPClassifier(hidden_layer_sizes=(64, 64), max_iter=150, random_state=0).fit(X, y).score(X_test, y_test)
    assert own > 0.94
    assert abs(own - peer) < 0.03
    X, X_test, y, y_test = halves(*make_friedman1(500, noise=0.5, random_state=0))
    own = SpectralRegressor(cap=10.0, max_epochs=40, learning_rate=2e-3, random_state=0).fit(X, y).score(X_test, y_test)
    peer = MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=150, random_state=0).fit(X, y).score(X_test, y_test)
    assert own > 0.85
    assert own > peer - 0.05


def test_labels_that_mean_nothing_are_not_predicted():
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(600, 5)), generator.integers(0, 3, 600)
    score = SpectralClassifier(max_epochs=20, random_state=0).fit(X[:300], y[:300]).score(X[300:], y[300:])
    assert abs(score - 1 / 3) < 0.1


def test_several_targets_of_unlike_scales():
    X = np.random.default_rng(0).normal(size=(300, 4))
    Y = X @ np.random.default_rng(1).normal(size=(4, 3)) * [1e-4, 1, 1e4] + [0, 5, -1e5]
    fitted = SpectralRegressor((), cap=None, max_epochs=150, learning_rate=1e-2, random_state=0).fit(X, Y)
    assert fitted.predict(X).shape == (300, 3)
    assert fitted.score(X, Y) > 0.999


def test_probabilities_are_the_softmax_of_logits():
    X, y = BLOBS
    fitted = SpectralClassifier(max_epochs=5, random_state=0).fit(X, y)
    odds = np.exp(fitted.decision_function(X))
    np.testing.assert_allclose(fitted.predict_proba(X), odds / odds.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), fitted.predict_proba(X), rtol=1e-12)
    with torch.no_grad():
        np.testing.assert_allclose(fitted.to_torch()(torch.from_numpy(X)).numpy(), np.log(odds), rtol=1e-10, atol=1e-12)


def test_balanced_weights_find_the_rare_class():
    generator = np.random.default_rng(0)
    X = np.concatenate([generator.normal(0, 1, (570, 2)), generator.normal(1.2, 1, (30, 2))])
    y = np.repeat([0, 1], [570, 30])
    plain, balanced = (
        SpectralClassifier((), class_weight=w, max_epochs=30, random_state=0).fit(X, y).predict(X)[570:].mean()
        for w in (None, "balanced")
    )
    assert plain < 0.4
    assert balanced > 0.7
    given = SpectralClassifier((), class_weight={0: 1.0, 1: 19.0}, max_epochs=30, random_state=0).fit(X, y)
    assert given.predict(X)[570:].mean() > 0.7


@pytest.mark.parametrize("kind", [SpectralClassifier, SpectralRegressor])
def test_examples_of_weight_zero_might_as_well_be_away(kind):
    X, y = BLOBS
    used = np.arange(len(y)) % 3 > 0
    weighted = kind(max_epochs=3, random_state=0).fit(X, y, sample_weight=5.0 * used)
    removed = kind(max_epochs=3, random_state=0).fit(X[used], y[used])
    for a, b in zip(weighted.coefs_, removed.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_stopping_early_goes_back_to_the_best():
    X, y = make_blobs(120, n_features=20, centers=4, cluster_std=9.0, random_state=0)
    parameters = {"cap": None, "early_stopping": True, "patience": 4, "learning_rate": 1e-2, "random_state": 3}
    stopped = SpectralClassifier(max_epochs=200, **parameters).fit(X, y)
    best = int(np.argmin(stopped.validation_curve_)) + 1
    assert stopped.n_iter_ == best + 4 < 200
    there = SpectralClassifier(max_epochs=best, **parameters).fit(X, y)
    for a, b in zip(stopped.coefs_, there.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    patient = SpectralClassifier(max_epochs=200, **{**parameters, "early_stopping": False}).fit(X, y)
    assert patient.n_iter_ == 200
    assert patient.validation_curve_ == []


def test_what_regularizers_do():
    X, y = BLOBS

    def sizes(**parameters):
        fitted = SpectralClassifier(cap=None, max_epochs=40, learning_rate=1e-2, random_state=0, **parameters).fit(X, y)
        return sum(float((w**2).sum()) for w in fitted.coefs_), fitted.loss_curve_[-1]

    size, loss = sizes()
    decayed, _ = sizes(weight_decay=1.0)
    assert decayed < 0.8 * size
    _, dropped = sizes(dropout=0.5)
    assert dropped > 1.2 * loss


def test_the_same_seed_gives_the_same_bits_and_global_states_stay():
    X, y = BLOBS
    np.random.seed(4)
    torch.manual_seed(4)
    before = np.random.get_state()[1].copy(), torch.get_rng_state(), torch.get_num_threads()
    made = [SpectralClassifier(dropout=0.3, early_stopping=True, max_epochs=4, random_state=s) for s in (7, 7, 8, None)]
    first, again, other, fresh = (m.fit(X, y).coefs_[0].tobytes() for m in made)
    assert first == again != other
    assert fresh != SpectralClassifier(dropout=0.3, early_stopping=True, max_epochs=4).fit(X, y).coefs_[0].tobytes()
    assert (np.random.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.get_num_threads() == before[2]


BAD = {
    "cap": [0, -1.0, float("nan"), "2", True],
    "lo": [-0.1, 3.0, float("inf"), None],
    "every": [0, 1.5, True],
    "hidden_layer_sizes": [0, (4, 0), (4.5,), "64", None],
    "activation": ["gelu", None],
    "dropout": [1.0, -0.1, None],
    "weight_decay": [-1.0, float("nan")],
    "learning_rate": [0.0, float("inf")],
    "max_epochs": [0, 2.5],
    "batch_size": [0, "auto"],
    "early_stopping": ["yes", 2],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD.items() for v in values])
def test_parameters_that_cannot_be_meant(name, value):
    X, y = BLOBS
    with pytest.raises(UsageError, match=name):
        SpectralClassifier(**{name: value}).fit(X, y)


@pytest.mark.parametrize(("name", "value"), [("patience", 0), ("validation_fraction", 1.0)])
def test_parameters_of_early_stopping(name, value):
    with pytest.raises(UsageError, match=name):
        SpectralRegressor(early_stopping=True, **{name: value}).fit(*BLOBS)


def test_bad_data():
    X, y = BLOBS
    with pytest.raises(UsageError, match="1 class"):
        SpectralClassifier().fit(X, np.zeros(len(X)))
    with pytest.raises(UsageError, match="negative"):
        SpectralRegressor().fit(X, y, sample_weight=-np.ones(len(X)))
    with pytest.raises(UsageError, match="zero for every example"):
        SpectralRegressor().fit(X, y, sample_weight=np.zeros(len(X)))
    with pytest.raises(UsageError, match=r"loss is (nan|inf) after epoch .* lower learning_rate=1e\+30"):
        SpectralRegressor(cap=None, learning_rate=1e30).fit(X.astype(np.float32), y)
