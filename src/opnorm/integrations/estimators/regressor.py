"""The regressor: one output a target, trained by squared error on standardized targets."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from opnorm.integrations.estimators.base import FLOATS, SpectralNetwork, weights_given


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
        self.target_mean_ = np.average(targets, axis=0, weights=shares)
        spread = np.sqrt(np.average((targets - self.target_mean_) ** 2, axis=0, weights=shares))
        self.target_scale_ = np.where(spread > 0, spread, 1.0)
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


def _squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs - targets).square().mean(dim=1)
