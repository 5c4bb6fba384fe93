"""Splits: disjoint, stratified, the same in any process, prepared by the training part alone, conditions exact."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opnorm.errors import UsageError
from opnorm.experiment.data import builtin, from_arrays
from opnorm.experiment.data.conditions import FEW, SHARE, apply_condition
from opnorm.experiment.data.parts import draw
from opnorm.experiment.document import CONDITIONS
from opnorm.experiment.subject import Part, Split, Task


def mixed(n: int = 400, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    draws = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": draws.normal(5, 3, n), "b": draws.exponential(2, n), "flag": draws.integers(0, 2, n),
            "city": draws.choice([*"abcde", None], n), "rare": [f"r{i}" for i in draws.geometric(0.05, n)],
        }
    )  # fmt: skip
    frame.loc[draws.random(n) < 0.2, "b"] = np.nan
    return frame, (frame["a"] + draws.normal(0, 3, n) > 7).to_numpy()


def flat(split: Split) -> list[np.ndarray]:
    return [a for p in (split.train, split.validation, split.test) for a in (p.inputs, p.targets)]


def digest(split: Split) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in flat(split))).hexdigest()


def test_every_row_is_in_one_part_and_every_part_has_its_share_of_each_class() -> None:
    x, y = mixed()
    examples = from_arrays(x, y).examples
    tests = []
    for seed in range(8):
        rows = draw(examples, seed)
        assert sorted(np.concatenate([rows.train, rows.validation, rows.test])) == list(range(400))
        assert (len(rows.train), len(rows.validation), len(rows.test)) == (280, 80, 40)
        for part in (rows.train, rows.validation, rows.test):
            assert abs(y[part].sum() - y.mean() * len(part)) < 1.01
        tests.append(tuple(rows.test))
    assert len(set(tests)) == 8


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(10, 60), min_size=2, max_size=7), seed=st.integers(0, 10**6))
def test_rare_classes_are_in_all_parts(counts: list[int], seed: int) -> None:
    y = np.repeat(np.arange(len(counts)), counts)
    y = np.concatenate([y, np.zeros(max(0, 50 - len(y)), int)])
    examples = from_arrays(np.random.default_rng(0).normal(size=(len(y), 2)), y).examples
    rows = draw(examples, seed)
    for part in (rows.train, rows.validation, rows.test):
        assert set(y[part]) == set(y)


def test_an_extreme_test_value_changes_nothing_else() -> None:
    """Preparation sees the training rows alone: whatever stands in other rows, all other rows come out the same."""
    x, y = mixed()
    before = from_arrays(x, y)
    for seed in range(3):
        rows = draw(before.examples, seed)
        wild = x.copy()
        chosen = np.r_[rows.test[:20], rows.validation[:20]]
        wild.loc[chosen, "a"] = 1e30
        wild.loc[chosen, "city"] = "never seen in training"
        wild.loc[chosen[::2], "b"] = np.nan
        a, b = before.split(seed, "full"), from_arrays(wild, y).split(seed, "full")
        assert np.array_equal(a.train.inputs, b.train.inputs)
        assert np.array_equal(a.test.inputs[20:], b.test.inputs[20:])
        assert np.array_equal(a.validation.inputs[20:], b.validation.inputs[20:])
        assert np.isfinite(b.test.inputs).all()
        assert np.abs(b.test.inputs).max() == 10.0


def test_images_and_numbers_to_predict_are_scaled_by_the_training_part_alone() -> None:
    draws = np.random.default_rng(0)
    images, y = draws.normal(3, 2, (200, 2, 4, 4)), draws.normal(100, 20, 200)
    before = from_arrays(images, y, model="cnn")
    rows = draw(before.examples, 0)
    images, y = images.copy(), y.copy()
    images[rows.test[0]], y[rows.test[0]] = 1e6, 1e6
    a, b = before.split(0, "full"), from_arrays(images, y).split(0, "full")
    for one, other in zip(flat(a)[:4], flat(b)[:4], strict=True):
        assert np.array_equal(one, other)
    assert a.train.inputs.mean(axis=(0, 2, 3)) == pytest.approx([0, 0], abs=1e-6)
    assert (a.train.targets.mean(), a.train.targets.std()) == pytest.approx((0, 1), abs=1e-6)


def test_a_prepared_table_by_hand() -> None:
    x, y = mixed()
    subject = from_arrays(x, y)
    rows, split = draw(subject.examples, 0), subject.split(0, "full")
    train = x.iloc[rows.train]
    b = train["b"].fillna(train["b"].median())
    expected = (x.iloc[rows.test]["b"].fillna(train["b"].median()) - b.mean()) / b.std(ddof=0)
    assert split.test.inputs[:, 1] == pytest.approx(expected.clip(-10, 10).to_numpy(), abs=1e-5)
    assert split.movable == (0, 1)
    assert set(split.test.inputs[:, 2]) == set(split.train.inputs[:, 2])
    gap = split.test.inputs[:, 3]
    assert np.array_equal(gap, x.iloc[rows.test]["b"].isna())
    cities = train["city"].nunique() + 1
    assert np.array_equal(split.test.inputs[:, 4 : 4 + cities].sum(axis=1), np.ones(40))
    assert split.train.inputs.shape[1] == 4 + cities + 32
    assert split.train.inputs.dtype == np.float32


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_never_changes_validation_or_test(condition: str) -> None:
    for subject in (from_arrays(*mixed()), builtin("diabetes", None, None)):
        full, other = subject.split(3, "full"), subject.split(3, condition)
        for a, b in zip(flat(full)[2:], flat(other)[2:], strict=True):
            assert np.array_equal(a, b)
        assert full.movable == other.movable
        if condition not in ("small", "noise"):
            assert digest(full) == digest(other)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(10, 300), classes=st.integers(2, 6), seed=st.integers(0, 10**6))
def test_noise_replaces_exactly_a_fifth_by_another_class(n: int, classes: int, seed: int) -> None:
    y = np.random.default_rng(seed).integers(0, classes, n)
    part = Part(np.arange(n, dtype=np.float32)[:, None], y.copy())
    noisy = apply_condition(part, Task.MULTICLASS, "noise", seed, classes)
    assert (noisy.targets != y).sum() == round(SHARE * n)
    assert set(noisy.targets) <= set(range(classes))
    assert np.array_equal(noisy.inputs, part.inputs)
    assert np.array_equal(part.targets, y)


def test_wrong_labels_are_spread_evenly_over_the_other_classes() -> None:
    part = Part(np.zeros((6000, 1), np.float32), np.full(6000, 2))
    wrong = apply_condition(part, Task.MULTICLASS, "noise", 0, 4).targets
    counts = np.bincount(wrong, minlength=4)
    assert counts[2] == 4800
    assert np.abs(counts[[0, 1, 3]] - 400).max() < 4 * np.sqrt(400)


def test_noise_of_numbers_moves_them_among_a_fifth() -> None:
    y = np.random.default_rng(0).normal(size=200).astype(np.float32)
    noisy = apply_condition(Part(np.zeros((200, 1), np.float32), y), Task.REGRESSION, "noise", 5).targets
    assert (noisy != y).sum() == 40
    assert np.array_equal(np.sort(noisy), np.sort(y))


def test_noise_of_a_text_is_a_fifth_of_its_characters() -> None:
    split, noisy = (builtin("python-source", None, None).split(0, c) for c in ("full", "noise"))
    assert (split.train.targets != noisy.train.targets).sum() == round(SHARE * split.train.targets.size)


def test_small_keeps_a_fifth_of_each_class_and_a_few_of_rare_ones() -> None:
    y = np.repeat([0, 1, 2], [200, 90, 6])
    part = Part(np.arange(296, dtype=np.float32)[:, None], y)
    small = apply_condition(part, Task.MULTICLASS, "small", 1)
    assert np.bincount(small.targets).tolist() == [40, 18, FEW]
    assert np.array_equal(y[small.inputs[:, 0].astype(int)], small.targets)
    assert not np.array_equal(small.inputs, apply_condition(part, Task.MULTICLASS, "small", 2).inputs)
    numbers = Part(part.inputs, y.astype(np.float32))
    assert len(apply_condition(numbers, Task.REGRESSION, "small", 1)) == 59


def test_the_same_in_another_process_after_pickling_and_whatever_numpy_was_seeded_with() -> None:
    code = (
        "import pickle, sys, hashlib, numpy as np; np.random.seed(5); s = pickle.load(sys.stdin.buffer);"
        "s.split(1, 'noise');"
        "p = s.split(2, 'noise'); m = s.model(2, 'full', p);"
        "a = [x for q in (p.train, p.validation, p.test) for x in (q.inputs, q.targets)]"
        "+ [w.detach().numpy() for w in m.parameters()];"
        "print(hashlib.sha256(b''.join(x.tobytes() for x in a)).hexdigest(), s.source)"
    )
    subject = from_arrays(*mixed())
    run = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(subject), capture_output=True, check=True)
    split = subject.split(2, "noise")
    weights = [w.detach().numpy() for w in subject.model(2, "full", split).parameters()]
    here = hashlib.sha256(b"".join(a.tobytes() for a in [*flat(split), *weights])).hexdigest()
    assert run.stdout.decode().split() == [here, subject.source]
    assert from_arrays(*mixed()).source == subject.source


def test_the_source_tells_data_labels_columns_model_and_metric_apart() -> None:
    x, y = mixed()
    moved = x.copy()
    moved.loc[17, "a"] += 1e-9
    renamed = x.rename(columns={"a": "A"})
    sources = {
        from_arrays(x, y).source,
        from_arrays(moved, y).source,
        from_arrays(renamed, y).source,
        from_arrays(x, ~y).source,
        from_arrays(x, np.where(y, "p", "n")).source,
        from_arrays(x, y, model="linear").source,
        from_arrays(x, y, metric="roc_auc").source,
        from_arrays(x, y, rows=300).source,
        from_arrays(x, y, groups=np.arange(400) // 5).source,
        from_arrays(x, y, times=np.arange(400)).source,
        from_arrays(x[:300], y[:300], test=(x[300:], y[300:])).source,
    }
    assert len(sources) == 11


def test_rows_in_the_order_of_time_are_cut_between_times() -> None:
    x, y = mixed()
    days = np.random.default_rng(1).integers(0, 40, 400)
    stamps = pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D")
    for times in (days, stamps.to_series().reset_index(drop=True), stamps.strftime("%Y-%m-%d").to_numpy()):
        examples = from_arrays(x, y, times=times).examples
        rows = draw(examples, 0)
        order = np.sort(days)
        assert order[rows.train].max() < order[rows.validation].min()
        assert order[rows.validation].max() < order[rows.test].min()
        assert len(rows.train) == pytest.approx(280, abs=12)
        assert len(rows.validation) == pytest.approx(80, abs=12)
        assert np.array_equal(draw(examples, 9).test, rows.test)
    late = np.r_[np.arange(396), np.full(4, 1000)] // 4
    late[280:396] = 80 + np.arange(116) // 58
    with pytest.raises(UsageError, match="only 4 examples would be left to test"):
        draw(from_arrays(x, y, times=late).examples, 0)
    with pytest.raises(UsageError, match="only 2 different times"):
        draw(from_arrays(x, y, times=days > 20).examples, 0)
    with pytest.raises(UsageError, match="by time, the validation part of seed 0 has no example of class 'False'"):
        draw(from_arrays(x, y, times=y.astype(int) * 1000 + days).examples, 0)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_groups_stay_together(task: str) -> None:
    x, y = mixed()
    groups = np.random.default_rng(1).integers(0, 60, 400)
    values = y if task == "classification" else x["a"] + 0.1 * np.arange(400)
    examples = from_arrays(x.assign(a=0.5 * x["flag"] + x["a"]), values, groups=groups).examples
    tests = set()
    for seed in range(5):
        rows = draw(examples, seed)
        parts = [set(groups[p]) for p in (rows.train, rows.validation, rows.test)]
        assert sum(map(len, parts)) == len(set(groups)) == len(set.union(*parts))
        assert len(rows.test) == pytest.approx(40, abs=20)
        assert len(rows.validation) == pytest.approx(80, abs=25)
        tests.add(tuple(rows.test))
    assert len(tests) == 5


def test_an_official_test_part_is_kept_and_never_fitted_on() -> None:
    x, y = mixed()
    subject = from_arrays(x[:300], y[:300], test=(x[300:], y[300:]))
    for seed in (0, 1):
        rows = draw(subject.examples, seed)
        assert rows.test.tolist() == list(range(300, 400))
        assert (len(rows.train), len(rows.validation)) == (233, 67)


def test_a_sample_keeps_the_shares() -> None:
    x, y = mixed()
    subject = from_arrays(x, y, rows=100)
    assert len(subject.examples) == 100
    assert subject.examples.targets.values.mean() == pytest.approx(y.mean(), abs=0.006)
    assert subject.describe()["sample"] == "100 rows of 400, drawn once"
    with pytest.raises(UsageError, match="--rows 49: a trial needs at least 50"):
        from_arrays(x, y, rows=49)
    with pytest.raises(UsageError, match="'True' has 9; each class needs 10"):
        from_arrays(x[:200], np.arange(200) % 20 == 0, rows=180)


def test_columns_empty_or_constant_in_training_give_no_warning() -> None:
    x, y = mixed()
    subject = from_arrays(x, y)
    rows = draw(subject.examples, 0)
    x = x.copy()
    x["late"], x["flat"] = np.nan, 1.0
    x.loc[rows.test, ["late", "flat"]] = np.random.default_rng(0).normal(size=(40, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = from_arrays(x, y).split(0, "full")
    assert all(np.isfinite(a).all() for a in flat(split))


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="seed -1 is negative"):
        from_arrays(*mixed()).split(-1, "full")
