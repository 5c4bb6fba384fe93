"""scikit-learn's own checks of an estimator, all of them."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from opnorm.integrations.estimators import SpectralClassifier, SpectralRegressor

# fewer epochs than by default, for time; the defaults pass too (`test_defaults`)
QUICK = {"max_epochs": 20, "learning_rate": 3e-3}


@parametrize_with_checks([SpectralClassifier(**QUICK), SpectralRegressor(**QUICK)])
def test_quick(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        SpectralClassifier(),
        SpectralRegressor(),
        SpectralClassifier(cap=None, weight_decay=1e-2),
        SpectralRegressor(hidden_layer_sizes=(), lo=0.1, activation="tanh"),
        SpectralClassifier(dropout=0.1, cap=4.0, lo=0.01, every=1),
    ]
)
def test_defaults(estimator, check):
    check(estimator)
