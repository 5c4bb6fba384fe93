"""What is tried: a user's file or functions, a table, a built-in set, or a subject that was made already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opnorm.errors import UsageError
from opnorm.experiment.run.declare import Wishes

if TYPE_CHECKING:
    from opnorm.experiment.subject import Subject


def subject_from(
    build_model: Callable[[int], Any] | str | Path | None = None,
    load_data: Callable[[int], Any] | None = None,
    *,
    fit: Callable[..., Any] | None = None,
    data: str | Path | Subject | None = None,
    target: str | None = None,
    model: str | None = None,
    metric: str | None = None,
    task: str | None = None,
    drop: Sequence[str] = (),
    rows: int | None = None,
    time: str | None = None,
    group: str | None = None,
) -> Subject:
    """What is tried. Raises `UsageError` where nothing, or two things at once, are given, or it cannot be used."""
    from opnorm.experiment.data.extra import require_trial

    require_trial()
    if (build_model is None) == (data is None):
        raise UsageError(
            "give either a Python file, or build_model and load_data, or data (a table or the name of a built-in set), "
            "such as: opnorm trial --data credit.csv --target default"
        )
    of_data = {"target": target, "model": model, "drop": drop, "rows": rows, "time": time, "group": group}
    if data is None:
        _require_without(of_data, "an experiment of your own decides that in load_data and build_model")
        return _own(build_model, load_data, fit, metric, task)
    if fit is not None or load_data is not None:
        raise UsageError("data come with the built-in models and loop; for fit or load_data give build_model as well")
    if not isinstance(data, str | Path):
        if not callable(getattr(data, "split", None)) or not isinstance(getattr(data, "metric", None), str):
            raise UsageError(
                f"data is {type(data).__name__}: give a path, the name of a built-in set, or for arrays and data "
                "frames opnorm.experiment.data.from_arrays(X, y)"
            )
        _require_without({**of_data, "metric": metric, "task": task}, "a subject has its own")
        return data
    from opnorm.experiment.data import builtin

    subject: Subject = builtin(
        str(data), target, model, metric=metric, rows=rows, task=task, drop=drop, time=time, group=group
    )
    return subject


def _require_without(given: dict[str, Any], why: str) -> None:
    named = [name for name, value in given.items() if value not in (None, ())]
    if named:
        raise UsageError(f"{', '.join(named)}: not with this: {why}")


def _own(
    build_model: Callable[[int], Any] | str | Path | None,
    load_data: Callable[[int], Any] | None,
    fit: Callable[..., Any] | None,
    metric: str | None,
    task: str | None,
) -> Subject:
    from opnorm.experiment.user import from_callables, subject_of

    if isinstance(build_model, str | Path):
        if load_data is not None or fit is not None:
            raise UsageError("a Python file brings its own load_data and fit; give the file alone, or functions alone")
        return subject_of(build_model, task=task, metric=metric)
    if build_model is None or load_data is None:
        raise UsageError("build_model(seed) needs load_data(seed) beside it, which returns (train, validation, test)")
    return from_callables(build_model, load_data, fit, task=task, metric=metric)


def with_settings(wishes: Wishes, subject: Subject) -> Wishes:
    """Where nothing was said, what a user's file says."""
    from opnorm.experiment.user import UserSubject

    if not isinstance(subject, UserSubject):
        return wishes
    own = subject.settings
    epochs = own.get("epochs") if wishes.epochs is None else wishes.epochs
    return replace(wishes, epochs=epochs, batch=own.get("batch") if wishes.batch is None else wishes.batch)
