"""Bad targets, planted leaks and honest columns that only look like them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from opnorm.errors import UsageError
from opnorm.experiment.data.frames import frame_examples

N = 300


def honest(task: str = "binary", n: int = N) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    x = draw.normal(size=n)
    noisy = x + draw.normal(size=n)
    y = {"binary": np.where(noisy > 0, "yes", "no"), "regression": noisy, "three": np.digitize(noisy, [-1, 1])}[task]
    frame = pd.DataFrame({"x": x, "city": draw.choice(["a", "b", "c"], n), "y": y})
    frame.loc[draw.random(n) < 0.1, "x"] = np.nan
    return frame


@pytest.mark.parametrize("task", ["binary", "regression", "three"])
def test_honest_columns_pass(task: str) -> None:
    examples = frame_examples("t", honest(task), "y")
    assert len(examples) == N


@pytest.mark.parametrize("task", ["binary", "regression", "three"])
@pytest.mark.parametrize("noise", [0.02, 0.5])
def test_a_nearly_perfect_column_is_no_leak(task: str, noise: float) -> None:
    frame = honest(task)
    codes = pd.factorize(frame["y"])[0] if task != "regression" else frame["y"].to_numpy()
    frame["near"] = codes + noise * np.random.default_rng(1).normal(size=N)
    frame.loc[0, "near"] = frame.loc[frame["y"] != frame.loc[0, "y"], "near"].iloc[0]
    frame_examples("t", frame, "y")


def leak(frame: pd.DataFrame, values: object) -> str:
    with pytest.raises(UsageError) as error:
        frame_examples("t", frame.assign(told=values), "y")
    assert "--drop 'told'" in str(error.value)
    assert len(frame_examples("t", frame.assign(told=values), "y", drop=["told"])) == len(frame)
    return str(error.value)


def test_planted_leaks_of_classes() -> None:
    for task in ("binary", "three"):
        frame = honest(task)
        codes, names = pd.factorize(frame["y"], sort=True)
        draw = np.random.default_rng(2)
        assert "under other names" in leak(frame, np.array(["p", "q", "r"])[codes])
        assert "under other names" in leak(frame, 7.0 - 2.0 * codes)
        assert "tells the target in every row" in leak(frame, 2 * codes + draw.integers(0, 2, N))
        assert "thresholds" in leak(frame, codes + 0.9 * draw.random(N))
        assert len(names) == (2 if task == "binary" else 3)
    frame = honest()
    blank = np.where(frame["y"] == "yes", np.random.default_rng(0).normal(size=N), np.nan)
    assert "is missing just where" in leak(frame, blank)


def test_planted_leaks_of_numbers() -> None:
    frame = honest("regression")
    y = frame["y"].to_numpy()
    holes = np.where(np.arange(N) % 5 == 0, np.nan, 3.0 - 0.5 * y)
    assert "in other units" in leak(frame, 1e6 * y + 4)
    assert "in other units" in leak(frame, holes)
    assert "rises or falls" in leak(frame, np.exp(-y))


def test_many_columns_at_random_are_no_leaks() -> None:
    draw = np.random.default_rng(3)
    for n, classes in ((50, 2), (60, 3), (2000, 2)):
        y = np.arange(n) % classes
        wide = {f"c{i}": draw.integers(0, 2 + i % 40, n) for i in range(150)}
        frame_examples("t", pd.DataFrame({**wide, "x": draw.normal(size=n), "y": y}), "y")


@pytest.mark.parametrize(
    ("change", "target", "options", "said"),
    [
        (lambda f: f, "Y2", {}, r"no column 'Y2' for the target.*Did you mean 'y'"),
        (lambda f: f, None, {}, r"name the target with --target.*'x', 'city', 'y'"),
        (lambda f: f.assign(y="yes"), "y", {}, "'y' is 'yes' in every row: there is nothing to predict"),
        (lambda f: f.assign(y=2.5), "y", {}, "'y' is '2.5' in every row"),
        (lambda f: f.assign(y=np.nan), "y", {}, "0 examples with a target"),
        (lambda f: f.head(49), "y", {}, "49 examples with a target: a trial needs at least 50"),
        (lambda f: f.assign(y=[*["rare"] * 9, *f["y"][9:]]), "y", {}, "'rare' has 9; each class needs 10"),
        (lambda f: f, "y", {"drop": ["citty"]}, "no column 'citty' for the columns to drop.*Did you mean 'city'"),
        (lambda f: f, "y", {"drop": ["y"]}, "'y' is the target: it cannot be dropped"),
        (lambda f: f, "y", {"time": "city"}, r"time 'city' has 300 values such as '[abc]' that are neither"),
        (lambda f: f, "y", {"time": "x"}, "time 'x' has .* values such as 'nan'"),
        (lambda f: f, "y", {"group": "city"}, "3 groups: at least 10 are needed"),
        (lambda f: f, "y", {"group": "city", "time": "x"}, "choose one"),
        (lambda f: f[["y"]], "y", {}, "there is only the target"),
    ],
)
def test_bad_input_is_named_early(change: object, target: str | None, options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        frame_examples("t", change(honest()), target, **options)


def test_rows_without_a_target_are_left_out_and_counted() -> None:
    frame = honest()
    frame.loc[:6, "y"] = None
    examples = frame_examples("t", frame, "y")
    assert len(examples) == N - 7
    assert examples.notes["without target"] == "7 rows left out"


def test_equal_rows_are_counted() -> None:
    own = honest().dropna()
    frame = pd.concat([own, own.head(5)], ignore_index=True)
    assert "5 rows equal to an earlier one" in str(frame_examples("t", frame, "y").notes["copies"])
