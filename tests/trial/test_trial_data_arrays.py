"""Arrays, built-in sets and what a subject says of itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opnorm.errors import MissingExtra, UsageError
from opnorm.experiment.data import builtin, extra, from_arrays
from opnorm.experiment.data.sets import SETS
from opnorm.experiment.metrics import score
from opnorm.experiment.subject import Subject

PACKAGED = [name for name in SETS if name != "fashion-mnist"]
DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(90, 4)), np.arange(90) % 3


@pytest.mark.parametrize("name", PACKAGED)
def test_every_packaged_set_runs_from_split_to_score(name: str) -> None:
    subject: Subject = builtin(name, None, None)
    split = subject.split(0, "full")
    parts = (split.train, split.validation, split.test)
    assert len(parts[2]) / sum(map(len, parts)) == pytest.approx(0.1, abs=0.01)
    for condition in subject.conditions():
        model = subject.model(0, condition, split)
        with torch.no_grad():
            outputs = model(torch.from_numpy(split.test.inputs[:50])).numpy()
        assert np.isfinite(score(subject.metric, split.test.targets[:50], outputs))
    assert subject.fit(model, split, None, 0) is None  # type: ignore[arg-type]
    assert all(isinstance(v, str | int | float) for v in subject.describe().values())


def test_shapes_and_tasks_of_the_packaged_sets() -> None:
    expected = {
        "digits": ((1, 8, 8), 10, None, "accuracy"), "breast_cancer": ((30,), 2, 30, "accuracy"),
        "wine": ((13,), 3, 13, "accuracy"), "diabetes": ((10,), 1, 9, "r2"), "moons": ((2,), 2, 2, "accuracy"),
    }  # fmt: skip
    for name, (shape, classes, movable, metric) in expected.items():
        subject = builtin(name, None, None)
        split = subject.split(0, "full")
        assert split.train.inputs.shape[1:] == shape
        assert (subject.classes, subject.metric) == (classes, metric)
        assert split.movable == (None if movable is None else tuple(range(movable)))


def test_a_text_is_cut_into_windows_that_follow_each_other() -> None:
    subject = builtin("python-source", None, None)
    inputs, targets = subject.examples.inputs, subject.examples.targets.values
    assert inputs.shape == (2000, 64)
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
    assert np.array_equal(inputs[1:, 0], targets[:-1, -1])
    assert subject.split(0, "full").movable == ()
    assert "linear" not in subject.conditions()
    assert "deep" in subject.conditions()


def test_a_linear_model_has_no_deeper_one() -> None:
    assert set(from_arrays(X, Y, model="linear").conditions()) == {"full", "small", "noise", "looser"}


def test_series_images_and_torch_tensors() -> None:
    series = from_arrays(torch.from_numpy(DRAW.normal(size=(90, 2, 30))), torch.from_numpy(Y))
    assert series.architecture == "conv1d"
    assert series.model(0, "full", series.split(0, "full"))(torch.zeros(3, 2, 30)).shape == (3, 3)
    images = from_arrays(DRAW.integers(0, 255, (90, 3, 9, 9)).astype(np.uint8), Y, model="mlp")
    assert images.model(0, "deep", images.split(0, "full"))(torch.zeros(3, 3, 9, 9)).shape == (3, 3)
    numbers = from_arrays(X, X[:, 0] + DRAW.normal(size=90), names=list("abcd"))
    assert numbers.model(0, "full", numbers.split(0, "full"))(torch.zeros(5, 4)).shape == (5,)
    assert numbers.examples.columns is not None
    assert numbers.examples.columns.numbers == tuple("abcd")


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "said"),
    [
        (X, Y[:-1], {}, "90 examples and 89 values of target"),
        (X, Y, {"groups": [1]}, "90 examples and 1 values of groups"),
        (X, Y, {"names": list("aaaa")}, "more than one column is named 'a'"),
        (X, Y, {"model": "cnn"}, "model cnn does not take table inputs: choose one of linear, mlp"),
        (X, Y, {"model": "mpl"}, "no model 'mpl'.*Did you mean 'mlp'.*build_model"),
        (X, Y, {"metric": "r2"}, "metric r2 does not suit multiclass"),
        (X, Y, {"metric": "acuracy"}, "no metric 'acuracy'.*Did you mean 'accuracy'"),
        (X, Y, {"metric": "neg_bits_per_char"}, "is of token sequences: choose neg_log_loss"),
        (X[:, :, None], Y[:-1], {}, "90 examples and 89 targets"),
        (X[:, :, None, None, None], Y, {}, "an array of shape"),
        (X[:, :, None] * np.nan, Y, {}, "360 values of the inputs NaN or infinite"),
        (X[:, :, None], np.where(Y == 1, np.nan, Y), {}, "30 targets missing"),
        (X[:, :, None], np.zeros(90), {}, "'0' in every row"),
        (X[:30, :, None], Y[:30], {}, "30 examples with a target"),
        (X[:, :, None], Y, {"times": Y}, "times order the rows of tables"),
        (X[:, :, None], Y, {"test": (X[:9, :, None], Y[:9] % 2)}, "'2' has 0 examples in the test part"),
        (X, np.repeat(Y[:, None], 4, 1), {}, "both must be whole numbers"),
        (np.repeat(Y[:, None], 4, 1) - 1, np.repeat(Y[:, None], 4, 1), {}, "there is a negative one"),
        (np.ones((90, 4), int), np.ones((90, 4), int), {}, "2 different tokens"),
        (np.repeat(Y[:, None], 4, 1), np.repeat(Y[:, None], 4, 1), {"task": "regression"}, "is multiclass, not regr"),
    ],
)
def test_arrays_that_cannot_be_tried(
    inputs: np.ndarray, targets: object, options: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        from_arrays(inputs, targets, **options)


def test_frames_of_polars_and_tensors_with_gradients_are_taken() -> None:
    polars = pytest.importorskip("polars")
    frame = pd.DataFrame(X, columns=list("abcd"))
    noisy = X[:, 0] + DRAW.normal(size=90)
    expected = from_arrays(frame, noisy).source
    assert from_arrays(polars.from_pandas(frame), polars.Series(noisy)).source == expected
    assert from_arrays(torch.tensor(X, requires_grad=True), torch.from_numpy(noisy), names="abcd").source == expected
    with pytest.raises(UsageError, match="has other columns than the rest"):
        from_arrays(frame, noisy, test=(frame[list("dcba")], noisy))


def test_columns_named_by_numbers_or_nothing_are_taken() -> None:
    frame = pd.DataFrame(X, columns=[0, "", "target", "groups"])
    subject = from_arrays(frame, Y, groups=np.arange(90) // 4)
    assert subject.examples.columns is not None
    assert subject.examples.columns.numbers == ("0", "", "target", "groups")


ODD = [None, 0, 1, 2.5, -3e30, 1e39, np.inf, "", "a", "1", "?", True, "2024-01-01", b"z", [1]]


@settings(max_examples=50, deadline=None)
@given(
    kinds=st.lists(st.lists(st.sampled_from(ODD), min_size=1, max_size=4), min_size=1, max_size=4),
    targets=st.sampled_from([Y[:60] % 2, np.arange(60) * 0.5]),
    seed=st.integers(0, 99),
)
def test_whatever_stands_in_columns_a_split_is_finite_or_an_error_says_why(
    kinds: list[list[object]], targets: np.ndarray, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    columns = {
        str(i): pd.Series([k[j] for j in draw.integers(0, len(k), 60)], dtype=object) for i, k in enumerate(kinds)
    }
    try:
        split = from_arrays(pd.DataFrame(columns), targets).split(seed, "full")
    except UsageError:
        return
    assert all(np.isfinite(p.inputs).all() for p in (split.train, split.validation, split.test))
    assert split.train.inputs.shape[1] == split.test.inputs.shape[1] > 0


def test_a_built_in_set_has_its_own_target() -> None:
    with pytest.raises(UsageError, match="has its own target"):
        builtin("wine", "y", None)
    with pytest.raises(UsageError, match="no columns to drop: 'x'"):
        builtin("digits", None, None, drop=["x"])
    assert "left out on request" in builtin("wine", None, None, drop=["hue"]).describe()


def test_description_names_what_is_left_out_and_is_harmless() -> None:
    hostile = "\x1b[2J<script>\u202e" + "z" * 500
    frame = pd.DataFrame(X, columns=[*"abc", hostile]).assign(
        id=np.arange(90), when=["2024-01-01"] * 45 + ["2024-02-02"] * 45
    )
    frame[hostile] = 1
    said = from_arrays(frame, np.array(["\x1b[0m", "b", "c"])[Y]).describe()
    text = "\n".join(map(str, said.values()))
    assert "'id': it counts the rows; 'when': a date" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(map(len, text.splitlines())) < 400
    assert said["rarest class"] == "'\\x1b[0m', 33.3%"


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "NEEDED", ("torch", "no_such_package"))
    with pytest.raises(MissingExtra, match=r'lacks no_such_package.*pip install "opnorm\[trial\]"'):
        extra.require_trial()
