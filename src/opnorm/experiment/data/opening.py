"""A built-in subject by path, by name or from arrays: reads, checks, chooses model and metric where none is given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from opnorm.errors import UsageError
from opnorm.experiment.data.arrays import array_examples, as_frame, is_table, joined, plain, tied
from opnorm.experiment.data.checks import LEAST_ROWS, require_targets
from opnorm.experiment.data.examples import Examples
from opnorm.experiment.data.frames import frame_examples, require_groups
from opnorm.experiment.data.idx import fashion_mnist, is_idx_folder
from opnorm.experiment.data.parts import halved
from opnorm.experiment.data.seeds import generator, whole_seed
from opnorm.experiment.data.sets import SETS, Loaded
from opnorm.experiment.data.subject import BuiltInSubject
from opnorm.experiment.data.tables import read_table
from opnorm.experiment.data.words import counted, listed, nearest, shown
from opnorm.experiment.metrics import metric_for, require_metric
from opnorm.experiment.models import require_model
from opnorm.experiment.models.model import Inputs


def builtin(
    data: str,
    target: str | None,
    model: str | None,
    *,
    metric: str | None = None,
    rows: int | None = None,
    task: str | None = None,
    drop: Sequence[str] = (),
    time: str | None = None,
    group: str | None = None,
) -> BuiltInSubject:
    """The subject of a table (a CSV, TSV or Parquet file and its target column) or of a set in `SETS`.

    model: a name in `MODELS`. metric: a name in `METRICS`; what fits the target, if None. rows: a sample of at most so
    many, the same whatever the seed. task: overrides what the target looks like. drop: columns not to use. time, group:
    columns that rows are kept in order by, or together.
    """
    if data in SETS or is_idx_folder(Path(data)):
        examples = _named(data, target, task, drop, time, group)
    else:
        examples = frame_examples(
            Path(data).name, read_table(_table_path(data)), target, task=task, drop=drop, time=time, group=group
        )
    return _subject(examples, model, metric, rows)


def from_arrays(
    inputs: Any,
    targets: Any,
    *,
    name: str = "arrays",
    model: str | None = None,
    metric: str | None = None,
    rows: int | None = None,
    task: str | None = None,
    test: tuple[Any, Any] | None = None,
    groups: Any = None,
    times: Any = None,
    names: Sequence[str] | None = None,
) -> BuiltInSubject:
    """The subject of arrays or a data frame, one row an example; see `data.arrays` for what shapes mean.

    test: inputs and targets of an official test part. groups, times: one value an example.
    names: of an array's columns.
    """
    inputs, targets, groups, times = map(plain, (inputs, targets, groups, times))
    official = 0
    if test is not None:
        official = len(test[1])
        inputs, targets = joined(inputs, plain(test[0])), joined(targets, plain(test[1]))
    if is_table(inputs) and np.asarray(targets).ndim == 1:
        examples = _frame(name, inputs, targets, task, official, {"groups": groups, "times": times}, names)
    else:
        if times is not None:
            raise UsageError("times order the rows of tables; put series and images in order and give groups or test")
        examples = array_examples(name, inputs, targets, task, official, None if groups is None else tied(groups))
    return _subject(examples, model, metric, rows)


def _table_path(data: str) -> Path:
    path = Path(data)
    if os.path.isdir(path):
        raise UsageError(f"{shown(data)} is a folder: give a file, or a folder with the four files of Fashion-MNIST")
    if not os.path.isfile(path):  # which takes names that no file can have
        raise UsageError(
            f"there is no file {shown(data)} and no built-in set of that name; sets are {', '.join(SETS)}."
            + nearest(data, list(SETS))
        )
    return path


def _named(
    data: str, target: str | None, task: str | None, drop: Sequence[str], time: str | None, group: str | None
) -> Examples:
    if target is not None or time is not None or group is not None:
        raise UsageError(
            f"the built-in set {shown(data)} has its own target and split: leave --target, time and group out"
        )
    loaded = SETS[data]() if data in SETS else Loaded(*fashion_mnist(Path(data)))
    if is_table(loaded.inputs) and np.asarray(loaded.targets).ndim == 1:
        return _frame(data, loaded.inputs, loaded.targets, task, loaded.official, {}, None, drop)
    if drop:
        raise UsageError(f"{shown(data)} has no columns to drop: {listed(drop)}")
    return array_examples(data, loaded.inputs, loaded.targets, task, loaded.official, loaded.groups)


def _frame(
    name: str,
    inputs: Any,
    targets: Any,
    task: str | None,
    official: int,
    ties: Mapping[str, Any],
    names: Sequence[str] | None,
    drop: Sequence[str] = (),
) -> Examples:
    """A table whose target, groups and times are given apart from it."""
    frame = as_frame(inputs, names)
    given = {k: v for k, v in (("target", targets), *ties.items()) if v is not None}
    own = {}
    for role, values in given.items():
        if len(values) != len(frame):
            raise UsageError(f"{len(frame):,} examples and {len(values):,} values of {role}: give one an example")
        own[role] = _free(role, frame)
        frame[own[role]] = pandas.Series(values).array if not isinstance(values, pandas.Series) else values.array
    return frame_examples(
        name, frame, own["target"], task=task, drop=drop, time=own.get("times"), group=own.get("groups"),
        official=official,
    )  # fmt: skip


def _free(name: str, frame: pandas.DataFrame) -> str:
    while name in frame.columns:
        name += "_"
    return name


def _subject(examples: Examples, model: str | None, metric: str | None, rows: int | None) -> BuiltInSubject:
    chosen = require_model(model, examples.kind)
    if rows is not None:
        examples = _sampled(examples, rows)
    if examples.groups is not None:
        require_groups(examples.groups)
    metric = metric or metric_for(examples.targets.task, examples.targets.values)
    require_metric(metric, examples.targets.task)
    test = examples.targets.values[len(examples) - examples.official :]
    if metric == "r2" and examples.official and len(np.unique(test)) < 2:
        raise UsageError("the targets of the official test part do not differ, so R² says nothing: choose neg_mae")
    if metric == "neg_bits_per_char" and examples.kind is not Inputs.TOKENS:
        raise UsageError("neg_bits_per_char is of token sequences: choose neg_log_loss")
    return BuiltInSubject.of(examples, chosen.name, metric)


def _sampled(examples: Examples, rows: int) -> Examples:
    """At most so many rows, with the classes' shares and the official part's share kept."""
    if rows < LEAST_ROWS:
        raise UsageError(f"--rows {rows}: a trial needs at least {LEAST_ROWS}")
    every = len(examples)
    if rows >= every:
        return examples
    pool, test = np.split(np.arange(every), [every - examples.official])
    official = round(rows * len(test) / every)
    kept = [_some(examples, part, count) for part, count in ((pool, rows - official), (test, official)) if count]
    smaller = examples.taken(np.concatenate(kept), official)
    smaller.notes["sample"] = f"{counted(rows, 'row')} of {every:,}, drawn once"
    require_targets("target", smaller.targets)
    return smaller


def _some(examples: Examples, part: np.ndarray, count: int) -> np.ndarray:
    """Class by class, where there is room for each class among those taken and those left."""
    several = (
        np.bincount(examples.targets.values[part].reshape(-1)) if examples.targets.task.classifies else np.array([])
    )
    if min(count, len(part) - count) < len(several) or 1 in several:
        return np.sort(generator("rows", 0).permutation(part)[:count])
    return halved(examples, part, count, whole_seed("rows", 0))[1]
