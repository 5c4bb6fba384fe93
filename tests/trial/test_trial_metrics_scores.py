"""Scores against closed forms and scikit-learn, and the choice of a metric."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from opnorm.errors import UsageError
from opnorm.experiment.metrics import METRICS, metric_for, score
from opnorm.experiment.subject import Task


@settings(max_examples=60, deadline=None)
@given(n=st.integers(20, 80), classes=st.integers(2, 5), seed=st.integers(0, 10**6))
def test_scores_agree_with_scikit_learn(n: int, classes: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    y = draw.permutation(np.arange(n) % classes)
    logits = draw.normal(size=(n, classes)).astype(np.float32)
    p = softmax(logits.astype(np.float64), axis=1)
    several = {"multi_class": "ovr"} if classes > 2 else {}
    ranking = p if classes > 2 else p[:, 1]
    expected = {
        "accuracy": reference.accuracy_score(y, p.argmax(1)),
        "roc_auc": reference.roc_auc_score(y, ranking, **several),
        "average_precision": reference.average_precision_score(y, ranking),
        "neg_log_loss": -reference.log_loss(y, p),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected["balanced_accuracy"] = reference.balanced_accuracy_score(y, p.argmax(1))
    for name, value in expected.items():
        assert score(name, y, logits) == pytest.approx(value, abs=1e-9), name


def test_numbers() -> None:
    y, guess = np.array([1.0, 2.0, 6.0], np.float32), np.array([1.0, 3.0, 5.0], np.float32)
    assert score("r2", y, guess) == pytest.approx(1 - 2 / 14)
    assert score("neg_mae", y, guess) == pytest.approx(-2 / 3)


def test_characters() -> None:
    tokens = np.arange(12).reshape(3, 4) % 5
    assert score("neg_bits_per_char", tokens, np.zeros((3, 4, 8), np.float32)) == pytest.approx(-3.0)
    assert score("accuracy", tokens, np.eye(5, dtype=np.float32)[tokens]) == 1.0


def test_a_sure_and_wrong_model_pays_in_full() -> None:
    logits = np.array([[0.0, 1000.0], [1000.0, 0.0]], np.float32)
    assert score("neg_log_loss", np.array([0, 0]), logits) == -500.0


def test_a_class_that_a_part_lacks_is_left_out_without_a_warning() -> None:
    y, logits = np.array([0, 0, 2, 2]), np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    assert score("balanced_accuracy", y, logits) == pytest.approx(0.75)
    assert 0.5 < score("roc_auc", y, logits) <= 1
    with pytest.raises(UsageError, match="of one class"):
        score("roc_auc", np.zeros(4, int), logits)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_model_has_no_score(bad: float) -> None:
    for metric in METRICS.values():
        y = np.zeros(3, np.int64) if Task.REGRESSION not in metric.tasks else np.zeros(3, np.float32)
        outputs = np.zeros((3, 2) if y.dtype == np.int64 else 3, np.float32)
        outputs[1] = bad
        assert math.isnan(score(metric.name, y, outputs))


@pytest.mark.parametrize(
    ("metric", "y", "shape", "said"),
    [
        ("accuracy", np.array([0, 1, 1]), (3,), "one output a class"),
        ("accuracy", np.array([0, 1, 1]), (3, 1), "also for two classes"),
        ("accuracy", np.array([0, 1, 2]), (3, 2), r"outputs of shape \(3, 2\)"),
        ("accuracy", np.zeros((3, 4), int), (3, 5), "classes"),
        ("r2", np.zeros(3, np.float32), (3, 1), "a flat vector"),
    ],
)
def test_outputs_of_another_shape_are_refused(metric: str, y: np.ndarray, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        score(metric, y, np.zeros(shape, np.float32))


def test_the_metric_follows_from_the_target() -> None:
    assert metric_for(Task.REGRESSION, np.zeros(9)) == "r2"
    assert metric_for(Task.MULTICLASS, np.zeros((9, 4), int)) == "neg_bits_per_char"
    assert metric_for(Task.BINARY, np.repeat([0, 1], [75, 25])) == "accuracy"
    assert metric_for(Task.BINARY, np.repeat([0, 1], [76, 24])) == "roc_auc"
    assert metric_for(Task.MULTICLASS, np.repeat([0, 1, 2, 3], [40, 40, 40, 17])) == "balanced_accuracy"
    assert metric_for(Task.MULTICLASS, np.repeat([0, 1, 2, 3], [40, 40, 40, 18])) == "accuracy"


def test_one_percent_of_the_probability_is_the_margin_of_losses() -> None:
    assert METRICS["neg_bits_per_char"].margin * math.log(2) == pytest.approx(METRICS["neg_log_loss"].margin, rel=0.01)
    assert all(m.margin > 0 and m.why and m.unit and m.title for m in METRICS.values())
