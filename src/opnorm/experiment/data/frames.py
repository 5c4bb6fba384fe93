"""Examples from a data frame with a target column: checked, cleaned, ordered by time where asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from opnorm.errors import UsageError
from opnorm.experiment.data.arrays import as_frame, require_rest
from opnorm.experiment.data.checks import require_column, require_no_leak, require_rows, require_targets
from opnorm.experiment.data.columns import clean
from opnorm.experiment.data.examples import Examples
from opnorm.experiment.data.targets import encode
from opnorm.experiment.data.words import counted, shown
from opnorm.experiment.models.model import Inputs

if TYPE_CHECKING:
    import pandas

LEAST_GROUPS = 10


def frame_examples(
    name: str,
    frame: pandas.DataFrame,
    target: str | None,
    *,
    task: str | None = None,
    drop: Sequence[str] = (),
    time: str | None = None,
    group: str | None = None,
    official: int = 0,
) -> Examples:
    """The examples of a table; `UsageError` for each way in which it cannot be tried (`checks`)."""
    frame = as_frame(frame)
    names = list(frame.columns)
    target = require_column(target, names, "target", "--target COLUMN")
    aside = [*drop, *(c for c in (time, group) if c is not None)]
    for column, role in [(time, "time"), (group, "group"), *((d, "columns to drop") for d in drop)]:
        if column is not None:
            require_column(column, names, role, "")
    _require_apart(target, aside, official, time, group)
    notes: dict[str, str | int] = {}
    frame = _known(frame, target, official, notes)
    require_rows(len(frame))
    if time is not None:
        frame = frame.iloc[np.argsort(_times(frame[time]), kind="stable")].reset_index(drop=True)
    targets = encode(frame[target], task)
    require_targets(target, targets)
    require_rest(targets, official)
    inputs, columns = clean(frame.drop(columns=[target, *aside]))
    require_no_leak(inputs, columns, targets, target)
    _note_copies(inputs, targets.values, notes)
    if drop:
        notes["left out on request"] = ", ".join(shown(d) for d in drop)
    times = None if time is None else np.sort(_times(frame[time]))
    groups = None if group is None else _groups(frame[group])
    return Examples(name, Inputs.TABLE, inputs, targets, columns, official, groups, times, notes)


def _require_apart(target: str, aside: Sequence[str], official: int, time: str | None, group: str | None) -> None:
    if target in aside:
        raise UsageError(f"{shown(target)} is the target: it cannot be dropped, nor order or group the rows")
    if (time is not None) + (group is not None) + bool(official) > 1:
        raise UsageError("rows are split by time, by group or by an official test part: choose one")


def _known(frame: pandas.DataFrame, target: str, official: int, notes: dict[str, str | int]) -> pandas.DataFrame:
    """Without the rows that have no target."""
    unknown = frame[target].isna()
    if not unknown.any():
        return frame
    if official:
        raise UsageError(f"{counted(int(unknown.sum()), 'target')} missing: leave these examples out")
    notes["without target"] = f"{counted(int(unknown.sum()), 'row')} left out"
    return frame[~unknown].reset_index(drop=True)


def _note_copies(inputs: pandas.DataFrame, targets: np.ndarray, notes: dict[str, str | int]) -> None:
    rows = inputs.copy()
    rows[0] = targets  # columns are named by text, so none is lost
    copies = int(rows.duplicated().sum())
    if copies:
        notes["copies"] = f"{counted(copies, 'row')} equal to an earlier one, which may lie in another part"


def _times(column: pandas.Series) -> np.ndarray:
    """Numbers in the order of time."""
    import pandas
    from pandas.api import types

    if types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        stamps = pandas.to_datetime(column, errors="coerce", format="ISO8601", utc=True)
        values = np.where(stamps.isna(), np.nan, stamps.to_numpy(dtype="datetime64[ns]").astype(np.float64))
    strange = column[~np.isfinite(values)]
    if len(strange):
        raise UsageError(
            f"the time {shown(column.name)} has {counted(len(strange), 'value')} such as {shown(strange.iloc[0])} that "
            "are neither numbers nor dates like 2024-01-31 or 2024-01-31T12:00"
        )
    return np.asarray(values)


def _groups(column: pandas.Series) -> np.ndarray:
    import pandas

    unknown = int(column.isna().sum())
    if unknown:
        raise UsageError(
            f"the group {shown(column.name)} is missing in {counted(unknown, 'row')}, which would count as one group: "
            "fill in what is known, give each of the others a group of its own, or leave these rows out"
        )
    codes = np.asarray(pandas.factorize(column.astype(object).map(str))[0], dtype=np.int64)
    require_groups(codes)
    return codes


def require_groups(groups: np.ndarray) -> None:
    """That there are enough to be shared out."""
    several = len(np.unique(groups))
    if several < LEAST_GROUPS:
        raise UsageError(f"{counted(several, 'group')}: at least {LEAST_GROUPS} are needed for three parts")
