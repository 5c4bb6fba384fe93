"""Inputs and targets as a model takes them, everything estimated on the training rows alone.

Tables (scikit-learn's ColumnTransformer): numbers and flags get the training median where they are missing, and are
centered and scaled to unit deviation, and held within ±`FARTHEST` deviations, so that one wild test value cannot
overflow a model; each column with missing training values gets an indicator; categories become one column a value, rare
ones beyond `CATEGORIES` and those never seen in training together in one (or none, where training had no rare ones).
Images and series are centered and scaled channel by channel, numbers to predict likewise. Cost: one pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from opnorm.experiment.data.examples import Columns, Examples
from opnorm.experiment.data.parts import Rows
from opnorm.experiment.models.model import Inputs
from opnorm.experiment.subject import Part, Split, Task

if TYPE_CHECKING:
    import pandas

CATEGORIES = 32
FARTHEST = 10.0


def prepared(examples: Examples, rows: Rows) -> Split:
    """The three parts of `examples`."""
    inputs, movable = _inputs(examples, rows)
    targets = _targets(examples, rows)
    train, validation, test = (Part(x, y) for x, y in zip(inputs, targets, strict=True))
    return Split(train, validation, test, movable)


def _inputs(examples: Examples, rows: Rows) -> tuple[list[np.ndarray], tuple[int, ...] | None]:
    parts = (rows.train, rows.validation, rows.test)
    if isinstance(examples.inputs, np.ndarray):
        if examples.kind is Inputs.TOKENS:
            return [examples.inputs[p] for p in parts], ()
        return _scaled(examples.inputs, parts), None
    assert examples.columns is not None
    return _table(examples.inputs, examples.columns, parts), tuple(range(len(examples.columns.numbers)))


def _table(frame: pandas.DataFrame, columns: Columns, parts: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Fitted on the first part; what is fitted then takes each row by itself."""
    gaps = bool(frame.isna().to_numpy().any())
    transformer = _transformer(columns, gaps).fit(frame.iloc[parts[0]])
    every = np.asarray(transformer.transform(frame), dtype=np.float32)
    return [every[p] for p in parts]


def _transformer(columns: Columns, gaps: bool) -> Any:
    """Numbers come first, so that they are the movable ones. gaps: whether any value is missing."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    numeric = [*columns.numbers, *columns.flags]
    scaled = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), FunctionTransformer(_held)
    )
    named = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=CATEGORIES, sparse_output=False)
    steps = [
        ("numbers", scaled, numeric),
        ("missing", MissingIndicator(error_on_new=False), numeric if gaps else []),
        ("categories", named, list(columns.categories)),
    ]
    return ColumnTransformer([s for s in steps if s[2]], sparse_threshold=0.0)


def _held(values: np.ndarray) -> np.ndarray:
    return values.clip(-FARTHEST, FARTHEST)


def _scaled(inputs: np.ndarray, parts: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    train = inputs[parts[0]]
    axes = (0, *range(2, inputs.ndim))
    center = train.mean(axis=axes, keepdims=True, dtype=np.float64)
    spread = train.std(axis=axes, keepdims=True, dtype=np.float64)
    spread[spread == 0] = 1.0
    return [_held((inputs[p] - center) / spread).astype(np.float32) for p in parts]


def _targets(examples: Examples, rows: Rows) -> list[np.ndarray]:
    values = examples.targets.values
    parts = [values[p] for p in (rows.train, rows.validation, rows.test)]
    if examples.targets.task is not Task.REGRESSION:
        return parts
    center, spread = parts[0].mean(), parts[0].std() or 1.0
    return [((p - center) / spread).astype(np.float32) for p in parts]
