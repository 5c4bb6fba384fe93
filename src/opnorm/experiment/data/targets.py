"""The target column: what is to be predicted, numbers or classes, and its values as a model is trained on them.

The rule, which `task` overrides: words, flags and categories are classes; so are numbers of only two different values
and whole numbers of at most `FEW` different ones; all other numbers are numbers. Classes are counted in the order of
their names (numbers by size): of two, the second is the one that ranking scores look for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from opnorm.errors import UsageError
from opnorm.experiment.data.examples import Targets
from opnorm.experiment.data.words import counted, listed, shown
from opnorm.experiment.subject import Task

if TYPE_CHECKING:
    import pandas

FEW = 10
MOST_CLASSES = 100
LEAST_SPREAD = 1e-100
TASKS = ("classification", *Task)


def encode(column: pandas.Series, task: str | None = None) -> Targets:
    """The targets of a column without missing values."""
    if task is not None and task not in TASKS:
        raise UsageError(f"there is no task {shown(task)}: choose one of {', '.join(TASKS)}")
    name, numbers = shown(column.name), _numbers(column)
    if numbers is not None and not np.isfinite(numbers).all():
        raise UsageError(
            f"the target {name} has {counted(int((~np.isfinite(numbers)).sum()), 'infinite value')}: remove these rows"
        )
    regression, because = _is_regression(numbers) if task is None else (task == Task.REGRESSION, "as asked for")
    if not regression:
        return _classes(column, numbers, task, because)
    if numbers is None:
        raise UsageError(f"the target {name} holds words such as {_words(column)}: regression needs numbers")
    _require_scale(name, numbers)
    return Targets(Task.REGRESSION, numbers, (), because)


def _require_scale(name: str, numbers: np.ndarray) -> None:
    """Squares of differences must be numbers: targets are put into standard deviations."""
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(np.ptp(numbers))
    if spread and not LEAST_SPREAD <= spread <= 1 / LEAST_SPREAD:
        raise UsageError(
            f"the target {name} spreads over {spread:.3g}, which double precision cannot square: give it in other units"
        )


def _numbers(column: pandas.Series) -> np.ndarray | None:
    import pandas
    from pandas.api import types

    if types.is_bool_dtype(column) or types.is_complex_dtype(column):
        return None
    if types.is_numeric_dtype(column):
        return np.asarray(column, dtype=np.float64)
    numbers = _read(column)
    return None if isinstance(column.dtype, pandas.CategoricalDtype) or np.isnan(numbers).any() else numbers


def _read(column: pandas.Series) -> np.ndarray:
    """Text as numbers, NaN where it is none."""
    import pandas

    return np.asarray(pandas.to_numeric(column.astype(object).map(str), errors="coerce"), dtype=np.float64)


def _words(column: pandas.Series) -> str:
    return listed(column[np.isnan(_read(column))].unique()[:3])


def _is_regression(numbers: np.ndarray | None) -> tuple[bool, str]:
    if numbers is None:
        return False, "the target holds words"
    distinct = np.unique(numbers)
    if len(distinct) == 2:
        return False, "the target has two different values"
    if len(distinct) <= FEW and (distinct == np.round(distinct)).all():
        return False, f"the target has {len(distinct)} different whole numbers"
    return True, f"the target has {len(distinct):,} different numbers"


def _classes(column: pandas.Series, numbers: np.ndarray | None, task: str | None, because: str) -> Targets:
    values = column.astype(object).map(str).to_numpy(dtype=object) if numbers is None else numbers
    distinct, places = np.unique(values, return_inverse=True)
    name = shown(column.name)
    if len(distinct) > MOST_CLASSES:
        raise UsageError(
            f"the target {name} has {len(distinct):,} different values, too many for classes (at most {MOST_CLASSES}): "
            "choose another column, or --task regression where they are numbers"
            + ("" if numbers is not None else f"; it holds words such as {_words(column)}")
        )
    if task == Task.BINARY and len(distinct) != 2:
        raise UsageError(f"the target {name} has {counted(len(distinct), 'class', 'classes')}, and binary needs two")
    labels = tuple(_label(v) for v in distinct)
    if len(set(labels)) < len(labels):
        labels = tuple(repr(v) for v in distinct.tolist())
    return Targets(Task.BINARY if len(distinct) == 2 else Task.MULTICLASS, places.astype(np.int64), labels, because)


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
