"""What the data are, in words and numbers, for the report; names out of the data are shown harmless."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from opnorm.experiment.data.examples import Columns, Examples
from opnorm.experiment.data.words import counted, listed, shown
from opnorm.experiment.subject import Task

_SHARES = "70% training, 20% validation, 10% test"
_REST = "78% training, 22% validation"

Said = tuple[str, str | int | float]


def described(examples: Examples, model: str, metric: str) -> dict[str, str | int | float]:
    """By name, in the order to be shown."""
    return dict(_said(examples, model, metric))


def _said(examples: Examples, model: str, metric: str) -> Iterator[Said]:
    yield "data", shown(examples.name)[1:-1]
    yield "examples", len(examples)
    yield from _inputs(examples)
    yield "task", str(examples.targets.task)
    yield "task because", examples.targets.because
    yield from _targets(examples)
    yield "metric", metric
    yield from _looked_for(examples, metric)
    yield "model", model
    yield "split", _split(examples)
    yield from examples.notes.items()


def _inputs(examples: Examples) -> Iterator[Said]:
    if examples.columns is None:
        yield "inputs", f"{examples.kind} of shape {'×'.join(map(str, np.shape(examples.inputs)[1:]))}"
        return
    columns = examples.columns
    kinds = ((columns.numbers, "numeric"), (columns.flags, "of two values"), (columns.categories, "of categories"))
    yield (
        "inputs",
        f"table of {counted(len(columns.used), 'column')}: {', '.join(f'{len(c)} {kind}' for c, kind in kinds if c)}",
    )
    yield from _reservations(columns)


def _reservations(columns: Columns) -> Iterator[Said]:
    if columns.dropped:
        yield "columns not used", "; ".join(f"{shown(name)}: {why}" for name, why in columns.dropped)
    if columns.notes:
        yield "columns read", "; ".join(columns.notes)


def _targets(examples: Examples) -> Iterator[Said]:
    targets = examples.targets
    if not targets.task.classifies:
        yield "target", "scaled to unit deviation of the training part"
        return
    yield "classes", targets.classes
    if targets.values.ndim == 1:
        counts = np.bincount(targets.values, minlength=targets.classes)
        yield "class names", listed(targets.labels, 10)
        yield "rarest class", f"{shown(targets.labels[int(counts.argmin())])}, {counts.min() / counts.sum():.1%}"


def _looked_for(examples: Examples, metric: str) -> Iterator[Said]:
    """What a precision is of: with other classes it would be another number."""
    targets = examples.targets
    if metric == "average_precision" and targets.task is Task.BINARY:
        yield "class looked for", f"{shown(targets.labels[1])}, the second by name"


def _split(examples: Examples) -> str:
    if examples.times is not None:
        return f"{_SHARES} in the order of time, the same for every seed"
    if examples.official:
        return f"official test part of {examples.official:,}; the rest {_REST}, drawn anew for each seed"
    tied = ", rows of a group together" if examples.groups is not None else ""
    stratified = ", class by class" if examples.targets.task.classifies and examples.targets.values.ndim == 1 else ""
    return f"{_SHARES}, drawn anew for each seed{stratified}{tied}"
