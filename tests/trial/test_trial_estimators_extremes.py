"""Weights and targets at the ends of what numbers can hold: fitted as meant, or refused."""

import numpy as np
import pytest

from opnorm import SpectralClassifier, SpectralRegressor
from opnorm.errors import UsageError

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)
FEW = {"hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("weight", [1e-300, 1e308])
def test_equal_weights_of_any_size_are_no_weights(weight):
    plain = SpectralClassifier(**FEW).fit(X, Y)
    weighted = SpectralClassifier(**FEW).fit(X, Y, sample_weight=np.full(60, weight))
    assert np.allclose(plain.coefs_[0], weighted.coefs_[0], rtol=1e-9)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_class_weights_that_are_none_are_refused(weight):
    with pytest.raises(UsageError, match="must be finite and not negative"):
        SpectralClassifier(class_weight={0: weight, 1: 1.0}, **FEW).fit(X, Y)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("factor", [1e140, 1e-200])
def test_targets_of_any_size_are_standardized(factor):
    plain = SpectralRegressor(**FEW).fit(X, X[:, 0])
    scaled = SpectralRegressor(**FEW).fit(X, X[:, 0] * factor)
    assert np.allclose(scaled.predict(X) / factor, plain.predict(X), rtol=1e-6)


@pytest.mark.filterwarnings("error")
def test_targets_beyond_reach_are_refused():
    with pytest.raises(UsageError, match="give it in other units"):
        SpectralRegressor(**FEW).fit(X, X[:, 0] * 1e300)
