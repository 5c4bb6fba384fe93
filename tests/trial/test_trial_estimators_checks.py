"""scikit-learn's own checks of an estimator, all of them."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from opnorm.integrations.estimators import SpectralClassifier, SpectralRegressor

pytestmark = pytest.mark.usefixtures("one_thread")


# fewer epochs than by default, for time; the defaults pass too (`test_defaults`). With dropout one check cannot hold:
# repeated examples get masks of their own, one example of a larger weight gets one
QUICK = {"hidden_layer_sizes": (32,), "max_epochs": 8, "learning_rate": 2e-2}


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
        SpectralClassifier(cap=4.0, lo=0.01, every=1, max_epochs=40),
    ]
)
def test_defaults(estimator, check):
    check(estimator)
