"""Scores of a model's outputs, each the higher the better, with the margin below which a difference does not matter.

targets, outputs → `score`. Outputs are what a model gives, as arrays: logits (n, classes), or (n, places, classes)
where an example has several targets; values (n,) for numbers. Rankings and R² are scikit-learn's; losses are in float64
from the logits themselves (`scipy.special.log_softmax`), so that a sure and wrong model is not saved by clipping.
Cost: accuracies take microseconds, as they are asked for after every epoch; scikit-learn's functions milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from opnorm.errors import UsageError
from opnorm.experiment.data.words import nearest, shown
from opnorm.experiment.subject import Task

Function = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """unit: of a difference of two scores. margin: of practical equivalence unless the user declares another one, in
    units of the score; why says where it comes from. tasks: those it makes sense for.
    """  # fmt: skip

    name: str
    title: str
    unit: str
    margin: float
    why: str
    tasks: frozenset[Task]
    function: Function


_CLASSES = frozenset({Task.BINARY, Task.MULTICLASS})
_NUMBERS = frozenset({Task.REGRESSION})
_POINT = "one point in a hundred: one more example right among a hundred, where accuracy is asked for"
_PERCENT = "the probability given to the truth changes by one percent"


def _accuracy(targets: np.ndarray, logits: np.ndarray) -> float:
    return float((logits.argmax(-1) == targets).mean())


def _balanced_accuracy(targets: np.ndarray, logits: np.ndarray) -> float:
    counts = np.bincount(targets)
    found = np.bincount(targets[logits.argmax(-1) == targets], minlength=len(counts))
    return float((found[counts > 0] / counts[counts > 0]).mean())


def _one_against_rest(function: Function, targets: np.ndarray, logits: np.ndarray) -> float:
    """Mean over the classes that the part has; of two classes, the second is the one to be found."""
    if logits.shape[1] == 2:
        logits = logits[:, [1, 0]] - logits[:, [0, 1]]
        present = [0] if len(np.unique(targets)) == 2 else []
        targets = 1 - targets
    else:
        logits = np.exp(log_softmax(logits, axis=1))
        present = [int(c) for c in np.unique(targets)] if len(np.unique(targets)) > 1 else []
    if not present:
        raise UsageError("all targets of a part are of one class, so ranking scores do not exist: choose accuracy")
    return float(np.mean([function(targets == c, logits[:, c]) for c in present]))


def _roc_auc(targets: np.ndarray, logits: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return _one_against_rest(roc_auc_score, targets, logits)


def _average_precision(targets: np.ndarray, logits: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return _one_against_rest(average_precision_score, targets, logits)


def _neg_log_loss(targets: np.ndarray, logits: np.ndarray) -> float:
    return float(np.take_along_axis(log_softmax(logits, axis=1), targets[:, None], axis=1).mean())


def _neg_bits(targets: np.ndarray, logits: np.ndarray) -> float:
    return _neg_log_loss(targets, logits) / math.log(2)


def _r2(targets: np.ndarray, values: np.ndarray) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(targets, values))


def _neg_mae(targets: np.ndarray, values: np.ndarray) -> float:
    return -float(np.abs(targets - values).mean())


METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("accuracy", "accuracy", "accuracy", 0.01, _POINT, _CLASSES, _accuracy),
        Metric(
            "balanced_accuracy", "balanced accuracy (mean recall of the classes)", "balanced accuracy", 0.01, _POINT,
            _CLASSES, _balanced_accuracy,
        ),
        Metric("roc_auc", "area under the ROC curve", "area", 0.01, _POINT, _CLASSES, _roc_auc),
        Metric("average_precision", "average precision", "precision", 0.01, _POINT, _CLASSES, _average_precision),
        Metric("neg_log_loss", "log loss, negated", "nats an example", 0.01, _PERCENT, _CLASSES, _neg_log_loss),
        Metric("r2", "R², the share of variance explained", "R²", 0.01, "one percent of the variance", _NUMBERS, _r2),
        Metric(
            "neg_mae", "mean absolute error, negated", "standard deviations of the target", 0.01,
            "a hundredth of the target's spread", _NUMBERS, _neg_mae,
        ),
        Metric(
            "neg_bits_per_char", "bits a character, negated", "bits a character", math.log2(1.01), _PERCENT,
            frozenset({Task.MULTICLASS}), _neg_bits,
        ),
    )
}  # fmt: skip
"""By name. A new metric is one line here."""

IMBALANCED = 0.5
"""Classes count as imbalanced where the rarest has less than this part of an even share."""


def metric_for(task: Task, targets: np.ndarray) -> str:
    """The metric that fits: R² for numbers, bits a character for several targets an example, accuracy for classes.

    Where the rarest class has less than half of an even share: of two classes the area under the ROC curve, since at
    the threshold ½ of an unweighted loss a rare class is hardly ever chosen; of several the balanced accuracy.
    """
    if task is Task.REGRESSION:
        return "r2"
    if targets.ndim > 1:
        return "neg_bits_per_char"
    _, counts = np.unique(targets, return_counts=True)
    if counts.min() >= IMBALANCED * len(targets) / len(counts):
        return "accuracy"
    return "roc_auc" if task is Task.BINARY else "balanced_accuracy"


def require_metric(name: str, task: Task) -> Metric:
    """The metric of that name, if it makes sense for the task."""
    allowed = [m.name for m in METRICS.values() if task in m.tasks]
    if name not in METRICS:
        raise UsageError(f"there is no metric {shown(name)}; for {task} there are {', '.join(allowed)}."
                         + nearest(name, list(METRICS)))  # fmt: skip
    if name not in allowed:
        raise UsageError(f"the metric {name} does not suit {task}: choose one of {', '.join(allowed)}")
    return METRICS[name]


def score(metric: str, targets: np.ndarray, outputs: np.ndarray) -> float:
    """The score of a model's outputs; nan where an output is not finite: that model diverged.

    `UsageError` where the outputs do not have the shape that the targets ask for.
    """
    chosen = METRICS[metric]
    _require_shapes(chosen, targets, outputs)
    if not np.isfinite(outputs).all():
        return math.nan
    if Task.REGRESSION not in chosen.tasks:
        targets, outputs = targets.reshape(-1), outputs.reshape(-1, outputs.shape[-1])
    return chosen.function(targets, outputs.astype(np.float64))


def _require_shapes(metric: Metric, targets: np.ndarray, outputs: np.ndarray) -> None:
    classifies = Task.REGRESSION not in metric.tasks
    got = outputs.shape[:-1] if classifies else outputs.shape
    if got != targets.shape or (classifies and outputs.shape[-1] <= max(1, int(targets.max(initial=0)))):
        wanted = f"{(*targets.shape, 'classes')}, also for two classes" if classifies else f"{targets.shape}"
        raise UsageError(
            f"for targets of shape {targets.shape} the model gave outputs of shape {outputs.shape}: {metric.name} "
            f"needs {wanted}; let the model give {'one output a class' if classifies else 'a flat vector'}"
        )
