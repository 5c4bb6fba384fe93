"""An arm as a scikit-learn pipeline: preparation of mixed columns, and an estimator with its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from opnorm.experiment.subject import Task

Options: TypeAlias = Mapping[str, object]


def _of_stopping(setting: Mapping[str, float]) -> Options:
    return {"early_stopping": True, "patience": max(1, round(setting["patience"]))}


OPTIONS: Mapping[str, Callable[[Mapping[str, float]], Options]] = {
    "none": lambda _: {},
    "l2": lambda s: {"weight_decay": s["decay"]},
    "same_norm": lambda s: {"weight_decay": s["decay"]},
    "dropout": lambda s: {"dropout": s["dropout"]},
    "early_stopping": _of_stopping,
    "cap": lambda s: {"cap": s["cap"]},
    "band": lambda s: {"lo": s["low"], "cap": s["high"]},
    "orthogonal": lambda s: {"lo": s["scale"], "cap": s["scale"]},
}
"""Parameters of the estimators for a setting, of the arms whose techniques they have."""

_TEXT = """\
from opnorm import {kind}
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
prepare = make_column_transformer(
    (numbers, make_column_selector(dtype_include="number")),
    (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
)
estimator = {kind}(
    {hidden!r}, {technique},
    {training},
)
model = make_pipeline(prepare, estimator)
model.fit(table, target)  # a pandas frame of features, and what is to be predicted
"""


def pipeline(
    parts: Sequence[str], setting: Mapping[str, float], task: Task, hidden: tuple[int, ...], training: Options
) -> str:
    """The lines for techniques in `OPTIONS`; training: further parameters of the estimator."""
    technique: dict[str, object] = {"cap": None}
    for part in parts:
        technique |= OPTIONS[part](setting)
    kind = "SpectralClassifier" if task.classifies else "SpectralRegressor"
    return _TEXT.format(kind=kind, hidden=hidden, technique=_given(technique), training=_given(training))


def _given(options: Options) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())
