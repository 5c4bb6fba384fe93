"""The estimators among scikit-learn's own tools: pipelines, searches, copies, other processes, sparse data."""

import importlib
import subprocess
import sys

import joblib
import numpy as np
import pandas
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_blobs, make_friedman1
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import opnorm
from opnorm.integrations.estimators import SpectralClassifier, SpectralRegressor

pytestmark = pytest.mark.usefixtures("one_thread")


X, Y = make_blobs(120, n_features=4, centers=3, cluster_std=2.0, random_state=0)
QUICK = {"hidden_layer_sizes": (16,), "max_epochs": 10, "learning_rate": 1e-2, "random_state": 0}


def test_a_grid_search_finds_the_cap_that_is_needed():
    """The target needs a slope that the small cap cannot reach; the search sees it, in a pipeline."""
    inputs, targets = make_friedman1(200, random_state=0)
    pipeline = make_pipeline(StandardScaler(), SpectralRegressor(**{**QUICK, "max_epochs": 20}))
    search = GridSearchCV(pipeline, {"spectralregressor__cap": [0.01, 3.0]}, cv=2).fit(inputs, targets)
    assert search.best_params_ == {"spectralregressor__cap": 3.0}
    low, high = search.cv_results_["mean_test_score"]
    assert low < 0.1
    assert high > 0.6
    assert max(norm.upper for norm in search.best_estimator_[-1].norms_) <= 3.0


@pytest.mark.filterwarnings("ignore:(.|\n)*loss is (nan|inf) after epoch:sklearn.exceptions.FitFailedWarning")
def test_a_setting_that_diverges_is_scored_as_failed_and_the_search_goes_on():
    rates = {"learning_rate": [1e-2, 1e30]}
    estimator = SpectralClassifier(**{**QUICK, "cap": None})
    search = GridSearchCV(estimator, rates, cv=2, error_score=0.0).fit(X.astype(np.float32), Y)
    assert search.best_params_ == {"learning_rate": 1e-2}
    assert search.cv_results_["mean_test_score"][1] == 0


def test_scores_do_not_depend_on_who_computes_them():
    estimator = SpectralClassifier(**QUICK, dropout=0.2)
    alone = cross_val_score(estimator, X, Y, cv=3, n_jobs=1)
    with joblib.parallel_config("threading", n_jobs=3):
        assert (cross_val_score(estimator, X, Y, cv=3) == alone).all()
    assert alone.mean() > 0.7


def test_clones_start_again_from_the_same_seed():
    fitted = SpectralClassifier(**QUICK).fit(X, Y)
    copied = clone(fitted)
    assert not hasattr(copied, "coefs_")
    assert (copied.fit(X, Y).coefs_[0] == fitted.coefs_[0]).all()
    assert repr(copied) == repr(fitted)


READ = """
import sys, joblib
fitted, inputs, expected = joblib.load(sys.argv[1])
assert (fitted.predict_proba(inputs) == expected).all()
assert fitted.certificate_.verify(fitted.to_torch())
print(fitted.lipschitz_bound_)
"""


def test_another_process_reads_it_and_predicts_the_same(tmp_path):
    fitted = SpectralClassifier(**QUICK).fit(X, Y)
    path = tmp_path / "fitted.joblib"
    joblib.dump((fitted, X, fitted.predict_proba(X)), path)
    ran = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(fitted.lipschitz_bound_)
    mapped, _, _ = joblib.load(path, mmap_mode="r")
    assert (mapped.predict(X) == fitted.predict(X)).all()
    assert fitted.certificate_.verify(mapped.to_torch())


def test_mixed_columns_by_name():
    frame = pandas.DataFrame({"size": X[:, 0], "weight": X[:, 1], "kind": np.array(["a", "b", "c"])[Y]})
    encoded = make_column_transformer(
        (StandardScaler(), ["size", "weight"]), (OneHotEncoder(), ["kind"]), sparse_threshold=1.0
    )
    pipeline = make_pipeline(encoded, SpectralClassifier(**QUICK)).fit(frame, Y)
    assert pipeline.score(frame, Y) == 1
    direct = SpectralClassifier(**QUICK).fit(frame[["size", "weight"]], Y)
    assert list(direct.feature_names_in_) == ["size", "weight"]
    with pytest.raises(ValueError, match="feature names"):
        direct.predict(frame[["weight", "size"]])


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_sparse_inputs_train_the_same_network(kind):
    inputs = np.where(np.abs(X) > 2, X, 0.0)
    dense, scattered = (SpectralClassifier(**QUICK).fit(given, Y) for given in (inputs, kind(inputs)))
    for a, b in zip(dense.coefs_, scattered.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(scattered.predict_proba(kind(inputs)), dense.predict_proba(inputs), rtol=1e-12)


def test_missing_values_are_refused():
    inputs = X.copy()
    inputs[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        SpectralClassifier(**QUICK).fit(inputs, Y)
    fitted = SpectralClassifier(**QUICK).fit(X, Y)
    with pytest.raises(ValueError, match="NaN"):
        fitted.predict(inputs)


def test_an_ensemble_of_them_passes_weights():
    bagged = BaggingClassifier(SpectralClassifier(**QUICK), n_estimators=3, random_state=0).fit(X, Y)
    assert bagged.score(X, Y) > 0.8


def test_before_fit_nothing_is_known():
    estimator = SpectralRegressor()
    for name in ("norms_", "lipschitz_bound_", "coefs_", "n_iter_"):
        assert not hasattr(estimator, name)
    with pytest.raises(ValueError, match="not fitted"):
        estimator.to_torch()


@pytest.mark.parametrize("missing", ["sklearn.base", "torch"])
def test_without_a_package_the_extra_is_named(missing, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("opnorm.integrations.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(opnorm.MissingExtra, match=r'pip install "opnorm\[trial\]"'):
        importlib.import_module("opnorm.integrations.estimators")
