"""The regressor: one output a target, trained by squared error on standardized targets."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from opnorm.errors import UsageError
from opnorm.integrations.estimators.base import FLOATS, SpectralNetwork, weights_given

LARGEST = 1e150
"""Of targets, so that sums of squares of predictions are numbers."""


class SpectralRegressor(RegressorMixin, SpectralNetwork):
    """A multi-layer perceptron whose layers all have lo ≤ σ_i and σ₁ ≤ cap, proved when it is fitted.

    Parameters and fitted attributes as in `SpectralClassifier`, without classes. Targets (examples,) or (examples,
    targets) are standardized inside: `target_mean_` and `target_scale_`, as a band on layers would else limit what
    range of targets can be reached; `lipschitz_bound_` is of the predictions, the largest scale included.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to X (examples, features), y (examples,) or (examples, targets); returns the estimator."""
        inputs, given = validate_data(
            self, X, y, accept_sparse="csr", dtype=FLOATS, multi_output=True, y_numeric=True
        )  # fmt: skip
        weights = weights_given(sample_weight, inputs)
        targets = np.asarray(given, dtype=np.float64)
        self._flat = targets.ndim == 1
        targets = targets.reshape(len(targets), -1)
        shares = weights if weights.any() else None  # refused by `_fit`
        _require_room(targets)
        self.target_mean_ = np.average(targets, axis=0, weights=shares)
        self.target_scale_ = _spread(targets - self.target_mean_, shares)
        scaled = ((targets - self.target_mean_) / self.target_scale_).astype(inputs.dtype)
        return self._fit(inputs, scaled, weights, targets.shape[1], _squared_error, None)

    def predict(self, X: Any) -> Any:
        """Values, of the shape of the targets given to `fit`."""
        outputs = self._outputs(X)
        values = self.target_mean_ + self.target_scale_ * outputs
        return values[:, 0] if self._flat else values

    def _output_scale(self) -> float:
        return float(self.target_scale_.max())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _require_room(targets: Any) -> None:
    largest = float(np.abs(targets).max(initial=0.0))
    if largest > LARGEST:
        raise UsageError(f"y reaches {largest:.3g}: give it in other units, at most {LARGEST:g}")


def _spread(apart: Any, shares: Any) -> Any:
    """Standard deviations of columns, 1 where nothing differs; taken in units of the largest, as squares underflow."""
    peak = np.abs(apart).max(axis=0)
    unit = np.where(peak > 0, peak, 1.0)
    spread = unit * np.sqrt(np.average((apart / unit) ** 2, axis=0, weights=shares))
    return np.where(spread > 0, spread, 1.0)


def _squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs - targets).square().mean(dim=1)
