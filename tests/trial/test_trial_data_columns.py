"""Kinds of columns and targets by the written rule."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from opnorm.errors import UsageError
from opnorm.experiment.data.columns import clean
from opnorm.experiment.data.targets import encode
from opnorm.experiment.subject import Task

N = 200


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"x": np.random.default_rng(0).normal(size=N), **columns})


def test_each_kind_is_found() -> None:
    draw = np.random.default_rng(1)
    frame, columns = clean(
        table(
            whole=draw.integers(0, 9, N), flag=draw.integers(0, 2, N) == 1, zero_one=draw.integers(0, 2, N),
            name=draw.choice(["a", "b", None], N), ordered=pd.Categorical(draw.choice(["lo", "hi"], N)),
            nullable=pd.array([None, *range(5)] * 33 + [None, 1], dtype="Int64"),
            words=[str(v) for v in draw.normal(size=N)],
        )
    )  # fmt: skip
    assert columns.numbers == ("x", "whole", "nullable", "words")
    assert columns.flags == ("flag", "zero_one")
    assert columns.categories == ("name", "ordered")
    assert columns.dropped == ()
    assert frame["nullable"].isna().sum() == 34
    assert set(frame["name"]) == {"a", "b", ""}


def left_out(**columns: object) -> dict[str, str]:
    return dict(clean(table(**columns))[1].dropped)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([3] * N, "the same value everywhere"),
        (["k"] * N, "the same value everywhere"),
        ([None] * N, "no value"),
        ([np.nan] * N, "no value"),
        (np.random.default_rng(0).permutation(N) + 17, "it counts the rows"),
        ([f"note {i}" for i in range(N)], "free text or an identifier"),
        (pd.date_range("2024-01-01", periods=N), "a date"),
        ([f"2024-01-{1 + i % 28:02d}" for i in range(N)], "a date"),
        ([f"{1 + i % 28}/1/2024 12:00" for i in range(N)], "a date"),
        (np.full(N, 1j) * np.arange(N), "complex"),
    ],
)
def test_what_no_model_can_use_is_left_out_with_its_reason(values: object, reason: str) -> None:
    assert reason in left_out(c=values)["c"]


def test_identifiers_by_name_must_be_different_whole_numbers() -> None:
    draw = np.random.default_rng(0)
    apart = draw.choice(10**6, N, replace=False)
    assert set(left_out(user_id=apart)) == {"user_id"}
    assert set(left_out(customerID=apart)) == {"customerID"}
    assert left_out(paid=apart) == {}
    assert left_out(user_id=draw.integers(0, 9, N)) == {}


def test_copies_are_left_out_up_to_renaming_of_categories() -> None:
    names = np.random.default_rng(0).choice(["a", "b", "c"], N)
    frame = table(name=names, again=pd.Series(names).map({"a": "1x", "b": "2x", "c": "3x"}))
    frame["x2"] = frame["x"]
    assert dict(clean(frame)[1].dropped) == {"again": "a copy of 'name'", "x2": "a copy of 'x'"}


def test_words_among_numbers_are_missing_and_counted() -> None:
    values = [str(v) for v in np.random.default_rng(0).normal(size=N)]
    values[3] = values[9] = "?"
    frame, columns = clean(table(c=values))
    assert frame["c"].isna().sum() == 2
    assert columns.notes == ("'c': 2 values such as '?' taken as missing",)


def test_infinite_values_and_those_beyond_float32_are_refused() -> None:
    for bad in (np.inf, -np.inf, 1e39):
        values = np.arange(N) * 0.5
        values[5] = bad
        with pytest.raises(UsageError, match="'c' has 1 value infinite or beyond"):
            clean(table(c=values))


def test_without_any_usable_column_all_reasons_are_given() -> None:
    with pytest.raises(UsageError, match=r"no column is left.*'c' \(the same value everywhere\)"):
        clean(pd.DataFrame({"c": [1] * N}))


@pytest.mark.parametrize(
    ("values", "task", "labels"),
    [
        (["no", "yes"] * 50, Task.BINARY, ("no", "yes")),
        ([True, False] * 50, Task.BINARY, ("False", "True")),
        ([0.25, 0.75] * 50, Task.BINARY, ("0.25", "0.75")),
        (list(range(10)) * 10, Task.MULTICLASS, tuple("0123456789")),
        ([10, 9, 2] * 30, Task.MULTICLASS, ("2", "9", "10")),
        (list(range(11)) * 10, Task.REGRESSION, ()),
        ([0.5, 1.5, 2.5] * 30, Task.REGRESSION, ()),
        ([f"{i / 2}" for i in range(60)], Task.REGRESSION, ()),
        (pd.Categorical(["a", "b", "c"] * 30), Task.MULTICLASS, ("a", "b", "c")),
        (pd.array([1, 2, 3] * 30, dtype="Int64"), Task.MULTICLASS, ("1", "2", "3")),
    ],
)
def test_the_task_follows_from_the_target(values: object, task: Task, labels: tuple[str, ...]) -> None:
    targets = encode(pd.Series(values, name="y"))
    assert (targets.task, targets.labels) == (task, labels)
    assert targets.values.dtype == (np.int64 if task.classifies else np.float64)


def test_the_task_can_be_chosen() -> None:
    rating = pd.Series([1, 2, 3] * 30, name="y")
    assert encode(rating, "regression").values.tolist() == [1.0, 2.0, 3.0] * 30
    assert encode(pd.Series(range(50), name="y"), "classification").classes == 50
    for column, task, said in (
        (rating, "binary", "has 3 classes, and binary needs two"),
        (rating, "ranking", "no task 'ranking': choose one of classification, regression, binary, multiclass"),
        (pd.Series(["a", "b"] * 9, name="y"), "regression", "holds words such as 'a', 'b': regression needs numbers"),
        (pd.Series([f"w{i}" for i in range(101)], name="y"), None, "101 different values, too many for classes"),
        (pd.Series([*map(str, range(200)), "n/k"], name="y"), None, "201 different values.*words such as 'n/k'"),
        (pd.Series([*map(str, range(200)), "n/k"], name="y"), "regression", "holds words such as 'n/k'"),
        (pd.Series([0.5, np.inf, 2.0], name="y"), None, "1 infinite value"),
    ):
        with pytest.raises(UsageError, match=said):
            encode(column, task)
