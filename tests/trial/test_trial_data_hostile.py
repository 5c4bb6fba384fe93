"""Data that broke or bent a trial: refused with one message, or read as they are meant."""

import numpy as np
import pandas as pd
import pytest

import opnorm
from opnorm.errors import UsageError
from opnorm.experiment.data import builtin, from_arrays

N = 120
DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(N, 4)), np.arange(N) % 2
IMAGES = DRAW.normal(size=(N, 1, 6, 6))
MANY = np.array([f"c{i}" for i in range(8)])[np.arange(N) % 8]


def table(folder, separator=",", **columns):
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": Y} | columns).to_csv(folder / "t.csv", index=False, sep=separator)
    return str(folder / "t.csv")


@pytest.mark.parametrize("rows", [N - 1, N - 2, N])
@pytest.mark.parametrize("targets", [Y, MANY])
def test_samples_of_nearly_all_rows_are_drawn(rows, targets):
    subject = from_arrays(X, targets, rows=rows)
    split = subject.split(0, "full")
    assert sum(map(len, (split.train, split.validation, split.test))) == rows
    assert from_arrays(X, targets, rows=rows).source == subject.source


def test_samples_with_too_few_of_a_class_are_refused_by_name():
    targets = np.array([f"c{i % 55}" for i in range(600)])
    with pytest.raises(UsageError, match="each class needs 10"):
        from_arrays(DRAW.normal(size=(600, 2)), targets, rows=50)
    test = (X[:20] + 1, np.array([0] + 19 * [1]))
    assert len(from_arrays(X, Y, test=test, rows=70).examples) == 70


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("factor", [1e300, 1e-310])
def test_targets_whose_squares_are_no_numbers_are_refused(factor):
    with pytest.raises(UsageError, match="double precision cannot square"):
        from_arrays(X, X[:, 0] * factor)


def test_missing_groups_are_no_group(tmp_path):
    path = table(tmp_path, g=np.where(np.arange(N) < 30, np.nan, np.arange(N) % 20))
    with pytest.raises(UsageError, match="the group 'g' is missing in 30 rows"):
        builtin(path, "y", None, group="g")
    for groups in ([None] * 60 + ["a"] * 60, np.r_[np.full(60, np.nan), np.arange(60) % 15]):
        with pytest.raises(UsageError, match="60 values of groups missing"):
            from_arrays(IMAGES, Y, groups=groups)


def test_decimal_commas_between_semicolons_are_numbers(tmp_path):
    commas = [f"{v:.2f}".replace(".", ",") for v in X[:, 2]]
    thousands = ["1,234", "22,222", "999"] * (N // 3)
    words = ["1,5", "x", "x"] * (N // 3)
    path = table(tmp_path, ";", c=[*commas[:-1], ""], d=thousands, e=words)
    columns = builtin(path, "y", None).examples.columns
    assert columns.numbers == ("a", "b", "c")
    assert columns.categories == ("d", "e")
    read = builtin(path, "y", None).examples.inputs["c"].to_numpy()
    assert np.allclose(read[:-1], X[:-1, 2].round(2))
    assert np.isnan(read[-1])


def test_a_long_word_among_short_ones_costs_no_memory():
    """As one array of equal widths these categories would take 48 GB."""
    count = 30_000
    words = np.array([f"k{i % 7}" for i in range(count)], dtype=object)
    words[0] = "z" * 400_000
    frame = pd.DataFrame({"word": words, "x": DRAW.normal(size=count)})
    assert from_arrays(frame, np.arange(count) % 2).examples.columns.categories == ("word",)


def test_names_that_no_file_can_have():
    with pytest.raises(UsageError, match="there is no file"):
        builtin("a" * 5000 + ".csv", "y", None)


def test_gaps_of_masked_arrays_are_missing():
    masked = np.ma.masked_array(X, mask=X > 1)
    assert int(from_arrays(masked, Y).examples.inputs.isna().to_numpy().sum()) == int((X > 1).sum())
    with pytest.raises(UsageError, match="beyond float32"):
        from_arrays(np.ma.masked_array(IMAGES, mask=IMAGES > 1), Y)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("inputs", "targets", "options", "words"),
    [
        (IMAGES, Y, {"groups": np.arange(50)}, "120 examples and 50 values of groups"),
        (IMAGES, Y, {"groups": np.arange(140) % 20, "test": (IMAGES[:20], Y[:20])}, "choose one"),
        (X, Y, {"test": (X[:20] + 1, np.full(20, 2))}, "class '2' has 0 examples to train and validate on"),
        (X, Y, {"test": (X[:, :3], Y)}, r"shape \(120, 3\) and the rest \(120, 4\)"),
        (X, Y, {"test": X}, "test as a pair"),
        (X, X[:, 0] + X[:, 1], {"test": (X[:1], [0.3])}, "R² says nothing"),
        (X, None, {}, "targets NoneType"),
        ("abc", Y, {}, "inputs are str"),
        (X, Y, {"names": ["a"]}, "1 names for 4 columns"),
        (IMAGES * 1e300, Y, {}, "beyond float32"),
        (np.full((N, 5), 10**9), np.full((N, 5), 1), {}, "tokens up to 1,000,000,000"),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(inputs, targets, options, words):
    with pytest.raises(UsageError, match=words):
        from_arrays(inputs, targets, **options)


def test_classes_have_names_of_their_own():
    assert from_arrays(X, np.where(Y, 1.0000001, 1.0000002)).examples.targets.labels == ("1.0000001", "1.0000002")


@pytest.mark.parametrize("data", [pd.DataFrame(X), (X, Y), 3])
def test_data_that_are_no_subject(data):
    with pytest.raises(UsageError, match="from_arrays"):
        opnorm.trial(data=data)
