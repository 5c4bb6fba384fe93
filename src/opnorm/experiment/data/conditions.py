"""What the conditions of a trial do to a training part; validation and test are never touched.

'small' keeps a fifth, class by class, at least `FEW` of each; 'noise' replaces the labels of exactly a fifth: a class
by one of the others, each as likely, a number by that of another example among the same fifth. Draws are keyed by the
seed, so every arm meets the same examples and the same wrong labels. Rolnick et al. 2017 and Zhang et al. 2017 use
such labels to see what a model memorizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from opnorm.experiment.data.seeds import generator
from opnorm.experiment.subject import Part, Task

SHARE = 0.2
"""Of examples kept by 'small', and of labels replaced by 'noise'."""

FEW = 3
"""'small' keeps at least so many of each class."""


def apply_condition(part: Part, task: Task, condition: str, seed: int, classes: int | None = None) -> Part:
    """The training part under a condition; itself where the condition is not about examples.

    classes: how many there are, where the part may lack one.
    """
    change = _CHANGES.get(condition)
    return part if change is None else change(part, task, seed, classes)


def _fewer(part: Part, task: Task, seed: int, _classes: int | None) -> Part:
    draw = generator("small", seed)
    stratified = task.classifies and part.targets.ndim == 1
    groups = [np.flatnonzero(part.targets == c) for c in np.unique(part.targets)] if stratified else None
    kept = [_some(rows, draw) for rows in (groups or [np.arange(len(part))])]
    rows = np.sort(np.concatenate(kept))
    return Part(part.inputs[rows], part.targets[rows])


def _some(rows: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    count = max(round(SHARE * len(rows)), min(FEW, len(rows)))
    return draw.permutation(rows)[:count]


def _relabelled(part: Part, task: Task, seed: int, classes: int | None) -> Part:
    draw = generator("noise", seed)
    targets = part.targets.copy()
    labels = targets.reshape(-1) if task.classifies else targets
    places = draw.permutation(len(labels))[: round(SHARE * len(labels))]
    if task.classifies:
        several = classes or int(labels.max()) + 1
        labels[places] = (labels[places] + draw.integers(1, several, len(places))) % several
    else:
        labels[places] = labels[np.roll(places, 1)]
    return Part(part.inputs, targets)


_CHANGES: Mapping[str, Callable[[Part, Task, int, int | None], Part]] = {"small": _fewer, "noise": _relabelled}
