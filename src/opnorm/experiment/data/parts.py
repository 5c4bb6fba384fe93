"""Rows of the training, validation and test parts under one seed: 70, 20 and 10 of a hundred.

Plain rows are drawn anew for each seed, class by class (scikit-learn's stratified draws). Rows of one group stay in one
part. Rows with a time keep their order: the oldest train, the newest test, no time is in two parts, and all seeds have
the same parts. An official test part is the test part of every seed; training and validation share the rest 7 to 2.

The test part is small because it is drawn anew: what two seeds' test parts and training parts have in common puts a
floor under the error of their mean, √(n_test/n_rest) of a seed's spread, that more seeds do not lower (`statistics`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opnorm.errors import UsageError
from opnorm.experiment.data.examples import Examples
from opnorm.experiment.data.seeds import whole_seed
from opnorm.experiment.data.words import counted, shown

TENTHS, HELD = 10, 2
"""One tenth is the test part, two are the validation part."""

LEAST_TESTED = 5
"""Examples in the test part of rows in the order of time."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Indices, in the order of the data."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def draw(examples: Examples, seed: int) -> Rows:
    """The parts of a seed; no row is in two of them, every row in one."""
    if examples.times is not None:
        return _classes_present(examples, _blocks(examples.times), seed)
    if examples.groups is not None:
        return _classes_present(examples, _by_group(examples, seed), seed)
    rows = np.arange(len(examples))
    if examples.official:
        rows, test = np.split(rows, [-examples.official])
    else:
        rows, test = halved(examples, rows, round(len(rows) / TENTHS), whole_seed("test", seed))
    held = round(len(rows) * HELD / (TENTHS - 1))
    train, validation = halved(examples, rows, held, whole_seed("validation", seed))
    return Rows(train, validation, test)


def halved(examples: Examples, rows: np.ndarray, second: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of `rows`, the second of `second` of them, each with its share of every class."""
    from sklearn.model_selection import train_test_split

    targets = examples.targets
    classes = targets.values[rows] if targets.task.classifies and targets.values.ndim == 1 else None
    first, other = train_test_split(rows, test_size=second, random_state=seed, stratify=classes)
    return np.sort(first), np.sort(other)


def _by_group(examples: Examples, seed: int) -> Rows:
    from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

    every, groups, targets = np.arange(len(examples)), examples.groups, examples.targets
    if targets.task.classifies and targets.values.ndim == 1:
        folds = StratifiedGroupKFold(TENTHS, shuffle=True, random_state=whole_seed("groups", seed))
        test, *others = (fold for _, fold in folds.split(every, targets.values, groups))
        train, validation = others[HELD:], others[:HELD]
        return Rows(np.sort(np.concatenate(train)), np.sort(np.concatenate(validation)), test)
    assert groups is not None
    outer = GroupShuffleSplit(1, test_size=1 / TENTHS, random_state=whole_seed("test", seed))
    rows, test = next(outer.split(every, groups=groups))
    inner = GroupShuffleSplit(1, test_size=HELD / (TENTHS - 1), random_state=whole_seed("validation", seed))
    train, validation = next(inner.split(rows, groups=groups[rows]))
    return Rows(np.sort(rows[train]), np.sort(rows[validation]), np.sort(test))


def _blocks(times: np.ndarray) -> Rows:
    """Cut where the time changes, at or after seven and nine tenths of the rows."""
    changes = np.flatnonzero(np.diff(times)) + 1
    ends = [changes[changes >= len(times) * k / TENTHS][:1] for k in (TENTHS - 1 - HELD, TENTHS - 1)]
    if not all(len(e) for e in ends) or ends[0][0] == ends[1][0]:
        raise UsageError(
            f"there are only {counted(len(changes) + 1, 'different time')}, unevenly filled, and no time may be in two "
            "of the three parts: give a finer time, or none"
        )
    rows = Rows(*np.split(np.arange(len(times)), [int(e[0]) for e in ends]))
    if len(rows.test) < LEAST_TESTED:
        raise UsageError(
            f"in the order of time, only {counted(len(rows.test), 'example')} would be left to test, as no time may be "
            "in two of the three parts: give a finer time, or none"
        )
    return rows


def _classes_present(examples: Examples, rows: Rows, seed: int) -> Rows:
    targets = examples.targets
    if not targets.task.classifies or targets.values.ndim > 1:
        return rows
    for part, chosen in (("training", rows.train), ("validation", rows.validation), ("test", rows.test)):
        lacking = np.setdiff1d(np.arange(targets.classes), targets.values[chosen])
        if len(lacking):
            tie = "time" if examples.times is not None else "group"
            raise UsageError(
                f"with rows kept together by {tie}, the {part} part of seed {seed} has no example of class "
                f"{shown(targets.labels[int(lacking[0])])}: merge rare classes, or leave the {tie} out"
            )
    return rows
