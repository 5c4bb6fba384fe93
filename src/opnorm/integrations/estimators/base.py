"""What both estimators share: parameters, their checks, the way to `training` and back to arrays.

Data: X (an array or CSR matrix of float32 or float64, which is then the network's own precision; anything else numeric
becomes float64), targets, weights → `training.train` → fitted attributes, NumPy only. Examples of weight 0 are left out
before anything is drawn; the others' weights are scaled to mean 1.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from opnorm.bound import Bound, Bracket, Evidence
from opnorm.errors import UsageError
from opnorm.integrations.estimators.lipschitz import network_bound
from opnorm.integrations.estimators.network import ACTIVATIONS, arrays, rebuilt
from opnorm.integrations.estimators.training import Examples, Loss, Settings, Trained, train

FLOATS = (np.float64, np.float32)


class SpectralNetwork(BaseEstimator):
    """Parameters: see `SpectralClassifier`."""

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
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.cap = cap
        self.lo = lo
        self.every = every
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _settings(self) -> Settings:
        """The parameters, checked; the seed drawn from `random_state`, fresh where it is None."""
        _require_choice("activation", self.activation, tuple(ACTIVATIONS))
        _require_choice("early_stopping", self.early_stopping, (False, True))
        lo = _number("lo", self.lo, 0.0)
        ceiling = None if self.cap is None else _number("cap", self.cap, 0.0, above=True)
        if ceiling is not None and lo > ceiling:
            raise UsageError(f"lo={lo:g} lies above cap={ceiling:g}: exchange them")
        return Settings(
            hidden=_sizes(self.hidden_layer_sizes),
            activation=self.activation,
            dropout=_number("dropout", self.dropout, 0.0, below=1.0),
            lo=lo,
            hi=ceiling,
            every=_whole("every", self.every),
            weight_decay=_number("weight_decay", self.weight_decay, 0.0),
            learning_rate=_number("learning_rate", self.learning_rate, 0.0, above=True),
            epochs=_whole("max_epochs", self.max_epochs),
            batch=_whole("batch_size", self.batch_size),
            patience=_whole("patience", self.patience) if self.early_stopping else None,
            seed=_seed(self.random_state),
        )

    def _fit(self, inputs: Any, targets: Any, weights: Any, outputs: int, loss: Loss, strata: Any) -> Self:
        """Train on validated arrays and keep what came out. strata: classes to keep in proportion, or None."""
        settings = self._settings()
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise UsageError("the weights of examples, class_weight included, must be finite and not negative")
        used = weights > 0
        if not used.any():
            raise UsageError("sample_weight is zero for every example: nothing is left to fit")
        weights = weights / weights.max()  # so that their sum is finite
        weights = weights / weights[used].mean()
        whole = Examples(inputs[used], targets[used], weights[used].astype(inputs.dtype))
        kept, held_out = whole, None
        if self.early_stopping:
            kept, held_out = self._divided(whole, settings.seed, None if strata is None else strata[used])
        self._keep(train(settings, outputs, kept, held_out, loss))
        return self

    def _divided(self, whole: Examples, seed: int, strata: Any) -> tuple[Examples, Examples]:
        _number("validation_fraction", self.validation_fraction, 0.0, above=True, below=1.0)
        parts = train_test_split(
            whole.inputs, whole.targets, whole.weights, test_size=self.validation_fraction, random_state=seed,
            stratify=strata,
        )  # fmt: skip
        return Examples(*parts[0::2]), Examples(*parts[1::2])

    def _keep(self, trained: Trained) -> None:
        self.coefs_, self.intercepts_ = arrays(trained.model)
        self.certificate_ = trained.certificate
        self.norms_ = tuple(_bracket(row) for row in trained.certificate.rows)
        self.loss_curve_ = list(trained.losses)
        self.validation_curve_ = list(trained.validation)
        self.n_iter_ = len(trained.losses)

    @property
    def lipschitz_bound_(self) -> Bound:
        """PROVED: the network's outputs move by at most this many times as far as its inputs, in ℓ₂; see `lipschitz`.

        Of the function that the stored numbers define in exact arithmetic. Inputs are those of `predict`, after
        whatever a pipeline does before. Outputs are a regressor's predictions, and a classifier's logits, one a class:
        the difference of two logits, such as a binary `decision_function`, moves by at most √2 times as much.
        """
        check_is_fitted(self)
        return network_bound(self.norms_, self._output_scale())

    def _output_scale(self) -> float:
        """The largest factor that an output of the last layer is multiplied by."""
        return 1.0

    def to_torch(self) -> torch.nn.Sequential:
        """The fitted network as a plain torch module, in eval mode, as `certificate_` knows it."""
        check_is_fitted(self)
        return rebuilt(self.coefs_, self.intercepts_, self.activation)

    def _outputs(self, X: Any) -> Any:
        """Of the last layer, one row an example."""
        check_is_fitted(self)
        values = validate_data(self, X, accept_sparse="csr", dtype=FLOATS, reset=False)
        for place, (weight, bias) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            if place:
                values = np.maximum(values, 0) if self.activation == "relu" else np.tanh(values)
            values = values @ weight + bias
        return values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def weights_given(sample_weight: Any, inputs: Any) -> Any:
    """One weight an example, in float64; ones where none are given."""
    if sample_weight is None:
        return np.ones(inputs.shape[0])
    weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.ndim != 1:
        raise UsageError(f"sample_weight has shape {weights.shape}: sample weights must be 1D, one for each example")
    check_consistent_length(inputs, weights)
    if (weights < 0).any():
        raise UsageError(f"sample_weight has {int((weights < 0).sum())} negative entries: give numbers from 0")
    return weights


def _bracket(row: Any) -> Bracket:
    lower = None if row.lower is None else Bound("lower", row.lower, Evidence.PROVED, row.method)
    return Bracket(lower, Bound("upper", row.upper, Evidence.PROVED, row.method))


def _sizes(given: Any) -> tuple[int, ...]:
    sizes = tuple(given) if isinstance(given, list | tuple | np.ndarray) else (given,)
    return tuple(_whole("hidden_layer_sizes", size) for size in sizes)


def _seed(random_state: Any) -> int:
    if random_state is None:
        return int(np.random.default_rng().integers(2**31 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise UsageError(f"{name}={value!r} is not possible: give whole numbers from 1")
    return int(value)


def _number(name: str, value: Any, least: float, *, above: bool = False, below: float = math.inf) -> float:
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not (least <= value < below) or (above and value == least):
        ends = f"{'above' if above else 'from'} {least:g}" + (f" and below {below:g}" if below < math.inf else "")
        raise UsageError(f"{name}={value!r} is not possible: give a number {ends}")
    return float(value)


def _require_choice(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name}={value!r} is not known: choose one of {', '.join(map(repr, allowed))}")
