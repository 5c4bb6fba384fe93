"""An arm as a scikit-learn pipeline: preparation of mixed columns, and an estimator with its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pprint import pformat
from typing import TYPE_CHECKING, TypeAlias

from opnorm.experiment.subject import Task

if TYPE_CHECKING:
    from opnorm.experiment.data.examples import Columns

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
from sklearn.compose import {selector}make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
prepare = make_column_transformer(
{columns})
estimator = {kind}(
    {hidden!r}, {technique},
    {training},
)
model = make_pipeline(prepare, estimator)
model.fit(table, target)  # a pandas frame of features, and what is to be predicted
"""


_WIDTH = 100
"""Of lists of columns."""


def pipeline(
    parts: Sequence[str],
    setting: Mapping[str, float],
    task: Task,
    hidden: tuple[int, ...],
    training: Options,
    columns: Columns | None = None,
) -> str:
    """The lines for techniques in `OPTIONS`; training: further parameters of the estimator.

    columns: those that the trial used, so that ids and dates stay out; None: all of a table, by their types.
    """
    technique: dict[str, object] = {"cap": None}
    for part in parts:
        technique |= OPTIONS[part](setting)
    kind = "SpectralClassifier" if task.classifies else "SpectralRegressor"
    return _TEXT.format(
        kind=kind, selector="" if columns else "make_column_selector, ", columns=_columns(columns), hidden=hidden,
        technique=_given(technique), training=_given(training),
    )  # fmt: skip


def _columns(columns: Columns | None) -> str:
    """A transformer a line, of those that have columns."""
    if columns is None:
        numbers, others = (f'make_column_selector(dtype_{kind}="number")' for kind in ("include", "exclude"))
    else:
        numbers, others = _names((*columns.numbers, *columns.flags)), _names(columns.categories)
    pairs = (("numbers", numbers), ('OneHotEncoder(handle_unknown="ignore")', others))
    return "".join(f"    ({made}, {names}),\n" for made, names in pairs if names)


def _names(names: Sequence[str]) -> str:
    """As a list over several lines: a table may have hundreds."""
    return pformat(list(names), width=_WIDTH, compact=True).replace("\n", "\n        ") if names else ""


def _given(options: Options) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())
