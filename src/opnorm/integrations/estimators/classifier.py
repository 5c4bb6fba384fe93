"""The classifier: one logit a class, trained by cross-entropy."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from opnorm.errors import UsageError
from opnorm.integrations.estimators.base import FLOATS, SpectralNetwork, weights_given


class SpectralClassifier(ClassifierMixin, SpectralNetwork):
    """A multi-layer perceptron whose layers all have lo ≤ σ_i and σ₁ ≤ cap, proved when it is fitted.

    Inputs should be of about unit scale, as after `StandardScaler`: the band bounds how fast outputs can change.

    hidden_layer_sizes: units of each hidden layer, () for a linear model. activation: 'relu' or 'tanh'.
    cap: ceiling of every layer's spectral norm, the last one's included; None for no ceiling, the norms then measured.
    lo: floor of every singular value of a layer's short side, 0 for none; with lo == cap layers are orthogonal up to
    scale. every: optimizer steps between moves; whatever it is, the last projection is exact.
    weight_decay: decoupled, of AdamW. dropout: share of hidden units left out at each step. learning_rate: of AdamW.
    max_epochs, batch_size: of training, which goes through all epochs unless stopped early.
    early_stopping: stop after `patience` epochs without a smaller loss on a share `validation_fraction` of the
    examples, and go back to the best.
    class_weight: None, 'balanced', or a weight for each class.
    random_state: a number or RandomState, from which weights, order, dropout and split follow; None: fresh each time.
    The global random states are not used.

    Fitted: norms_ (a PROVED `Bracket` of σ₁ a layer), certificate_ (what was proved, tied to the weights' bytes),
    lipschitz_bound_, coefs_ and intercepts_ (a layer each), loss_curve_ and validation_curve_ (an entry an epoch),
    n_iter_ (epochs), classes_, n_features_in_, feature_names_in_.

    Raises `opnorm.UsageError` (a ValueError) for parameters that cannot be meant, and where training diverges.
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (64, 64),
        *,
        activation: str = "relu",
        cap: float | None = 2.0,
        lo: float = 0.0,
        every: int = 4,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        learning_rate: float = 1e-3,
        max_epochs: int = 100,
        batch_size: int = 64,
        early_stopping: bool = False,
        patience: int = 10,
        validation_fraction: float = 0.1,
        class_weight: Any = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes, activation=activation, cap=cap, lo=lo, every=every, weight_decay=weight_decay,
            dropout=dropout, learning_rate=learning_rate, max_epochs=max_epochs, batch_size=batch_size,
            early_stopping=early_stopping, patience=patience, validation_fraction=validation_fraction,
            random_state=random_state,
        )  # fmt: skip
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to X (examples, features), y (examples,); returns the estimator."""
        inputs, labels = validate_data(self, X, y, accept_sparse="csr", dtype=FLOATS)
        check_classification_targets(labels)
        weights = weights_given(sample_weight, inputs) * compute_sample_weight(self.class_weight, labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise UsageError(f"y has 1 class, {self.classes_[0]!r}: a classifier needs examples of two")
        return self._fit(inputs, codes.astype(np.int64), weights, len(self.classes_), _cross_entropy, codes)

    def decision_function(self, X: Any) -> Any:
        """Logits (examples, classes); of two classes, the second one's minus the first one's (examples,)."""
        logits = self._outputs(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict(self, X: Any) -> Any:
        """The class of the largest logit for each example."""
        logits = self._outputs(X)
        return self.classes_[logits.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Any:
        """Probabilities (examples, classes), the softmax of the logits; not calibrated by anything but training."""
        return softmax(self._outputs(X), axis=1)

    def predict_log_proba(self, X: Any) -> Any:
        """Their logarithms, exact where the probabilities underflow."""
        return log_softmax(self._outputs(X), axis=1)


def _cross_entropy(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, classes, reduction="none")
