"""Examples from arrays and frames: what an array is follows from its dimensions.

(n, columns) of numbers or a data frame: a table. (n, channels, length): series. (n, channels, height, width): images.
(n, places) of whole numbers with targets of the same shape: token sequences, whose targets are the next tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from opnorm.errors import UsageError
from opnorm.experiment.data.checks import LEAST_OF_CLASS, require_rows, require_targets
from opnorm.experiment.data.examples import Examples, Targets
from opnorm.experiment.data.targets import encode
from opnorm.experiment.data.words import counted
from opnorm.experiment.models.model import Inputs
from opnorm.experiment.subject import Task

if TYPE_CHECKING:
    import pandas

MOST_TOKENS = 1_000_000
_KINDS = {3: Inputs.SERIES, 4: Inputs.IMAGE}


def plain(values: Any) -> Any:
    """A tensor as an array, a masked array with NaN in its gaps, a data frame or column of another library as pandas'
    own, all else as it is.
    """  # fmt: skip
    import torch

    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.float64), np.nan) if np.ma.is_masked(values) else values.data
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy()
    convert = getattr(values, "to_pandas", None)
    return values if convert is None else convert()


def joined(values: Any, more: Any) -> Any:
    """Rows of `values`, then of `more`: arrays or frames of the same columns."""
    import pandas

    if not isinstance(values, pandas.DataFrame):
        first, last = np.asarray(values), np.asarray(more)
        if first.shape[1:] != last.shape[1:] or first.ndim != last.ndim:
            raise UsageError(
                f"the official test part has shape {last.shape} and the rest {first.shape}: give both examples of one "
                "shape, test as a pair (inputs, targets)"
            )
        return np.concatenate([first, last])
    if not isinstance(more, pandas.DataFrame) or list(values.columns) != list(more.columns):
        raise UsageError("the official test part has other columns than the rest: give both the same, in one order")
    return pandas.concat([values, more], ignore_index=True)


def is_table(inputs: Any) -> bool:
    """Whether `inputs` are a frame or a two-dimensional array."""
    import pandas

    return isinstance(inputs, pandas.DataFrame) or np.asarray(inputs).ndim == 2


def as_frame(inputs: Any, names: Sequence[str] | None = None) -> pandas.DataFrame:
    """A table of any sort as a frame with text for column names and rows counted from 0."""
    import pandas

    frame = inputs.copy() if isinstance(inputs, pandas.DataFrame) else pandas.DataFrame(np.asarray(inputs))
    if not isinstance(inputs, pandas.DataFrame):
        frame.columns = pandas.Index([f"x{i}" for i in range(frame.shape[1])])
    if names is not None and len(names) != frame.shape[1]:
        raise UsageError(f"{len(names)} names for {frame.shape[1]} columns: give each column one")
    frame.columns = pandas.Index([str(c) for c in (frame.columns if names is None else names)])
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise UsageError(f"more than one column is named {str(twice)[:60]!r}: give each column its own name")
    return frame.reset_index(drop=True)


def as_targets(values: Any, task: str | None, name: str = "y") -> Targets:
    """Encoded targets of one place an example, none of them missing."""
    import pandas

    column = pandas.Series(values if isinstance(values, pandas.Series) else np.asarray(values), name=name)
    if column.isna().any():
        raise UsageError(f"{counted(int(column.isna().sum()), 'target')} missing: leave these examples out")
    return encode(column, task)


def array_examples(
    name: str, inputs: Any, values: Any, task: str | None, official: int, groups: np.ndarray | None
) -> Examples:
    """Series, images or tokens."""
    array, wanted = np.asarray(inputs), np.asarray(values)
    if not (array.ndim and wanted.ndim):
        raise UsageError(
            f"inputs are {type(inputs).__name__} and targets {type(values).__name__}: give arrays, tensors or a data "
            "frame, a sparse matrix as its toarray()"
        )
    _require_tied(groups, official, len(array))
    if len(array) != len(wanted):
        raise UsageError(f"{len(array):,} examples and {len(wanted):,} targets: give one target an example")
    require_rows(len(array))
    if array.ndim == 2:
        return Examples(name, Inputs.TOKENS, *_tokens(array, wanted, task), official=official, groups=groups)
    kind = _KINDS.get(array.ndim)
    if kind is None or array.dtype.kind not in "fiub" or array.size == 0:
        raise UsageError(
            f"an array of shape {array.shape} and type {array.dtype}: tables are (n, columns), series (n, channels, "
            "length), images (n, channels, height, width), all of numbers; tokens (n, places) of whole numbers"
        )
    strange = int((~(np.abs(array.astype(np.float64)) <= np.finfo(np.float32).max)).sum())
    if strange:
        raise UsageError(
            f"{counted(strange, 'value')} of the inputs NaN or infinite, or beyond float32: mend or leave out these "
            "examples"
        )
    targets = as_targets(wanted, task)
    require_targets("y", targets)
    require_rest(targets, official)
    return Examples(name, kind, array, targets, official=official, groups=groups)


def _require_tied(groups: np.ndarray | None, official: int, count: int) -> None:
    if groups is not None and official:
        raise UsageError("examples are split by group or by an official test part: choose one")
    if groups is not None and len(groups) != count:
        raise UsageError(f"{count:,} examples and {len(groups):,} values of groups: give one an example")


def tied(groups: Any) -> np.ndarray:
    """Groups counted from 0, none of them missing."""
    import pandas

    codes = np.asarray(pandas.factorize(np.asarray(groups))[0], dtype=np.int64)
    if (codes < 0).any():
        raise UsageError(
            f"{counted(int((codes < 0).sum()), 'value')} of groups missing: give each example its group, one of its "
            "own where nothing is known"
        )
    return codes


def require_rest(targets: Targets, official: int) -> None:
    """Beside an official test part, each class needs examples to train on."""
    if official and targets.task.classifies:
        rest, test = np.split(targets.values, [-official])
        for part, least, where in ((rest, LEAST_OF_CLASS, "to train and validate on"), (test, 1, "in the test part")):
            counts = np.bincount(part, minlength=targets.classes)
            if counts.min() < least:
                label = targets.labels[int(counts.argmin())]
                raise UsageError(f"class {label!r} has {counts.min()} examples {where}: it needs at least {least}")


def _tokens(inputs: np.ndarray, following: np.ndarray, task: str | None) -> tuple[np.ndarray, Targets]:
    if inputs.shape != following.shape or not all(a.dtype.kind in "iu" for a in (inputs, following)):
        raise UsageError(
            f"token inputs of shape {inputs.shape} ({inputs.dtype}) and targets of shape {following.shape} "
            f"({following.dtype}): both must be whole numbers (n, places), each target the token after"
        )
    if task not in (None, "classification", Task.MULTICLASS):
        raise UsageError(f"the task of token sequences is multiclass, not {task}")
    if min(inputs.min(), following.min()) < 0:
        raise UsageError("tokens are counted from 0, and there is a negative one")
    several = int(max(inputs.max(), following.max())) + 1
    if several > MOST_TOKENS:
        raise UsageError(f"tokens up to {several - 1:,}: at most {MOST_TOKENS:,} different ones; count them from 0")
    if several < 3:
        raise UsageError(f"{counted(several, 'different token')}: there is nothing to predict")
    labels = tuple(str(i) for i in range(several))
    return inputs.astype(np.int64), Targets(
        Task.MULTICLASS, following.astype(np.int64), labels, "each target is the next token"
    )
