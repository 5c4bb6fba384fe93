"""A user's own experiment: a Python file, or callables, made a `Subject` after its first seed was tried out.

    build_model(seed)                    → torch.nn.Module
    load_data(seed)                      → (train, validation, test), each a pair (X, y) of arrays or tensors
    fit(model, train, validation, arm)   → the trained model; optional, for a loop of one's own
    task, metric, batch, epochs          optional, as in `opnorm trial --help`

The file is run: it is the user's own code. What it prints goes to standard error. Its functions are called with the
random states of torch, NumPy and Python set from the seed and restored afterwards, on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from opnorm.experiment.subject import Task
from opnorm.experiment.user.source import Callables, Script, script_of
from opnorm.experiment.user.subject import UserSubject, guarded
from opnorm.experiment.user.trying import tried_out

__all__ = ["Callables", "Script", "UserSubject", "from_callables", "guarded", "subject_of"]


def subject_of(
    path: str | Path, *, task: Task | str | None = None, metric: str | None = None, seed: int = 0
) -> UserSubject:
    """The experiment in a Python file. task, metric: go before what the file says. seed: tried out at once.

    Raises `UsageError` that says what is missing or wrong, before anything is trained.
    """
    return tried_out(script_of(path), task, metric, seed)


def from_callables(
    build_model: Callable[[int], Any],
    load_data: Callable[[int], Any],
    fit: Callable[..., Any] | None = None,
    *,
    task: Task | str | None = None,
    metric: str | None = None,
    seed: int = 0,
) -> UserSubject:
    """The same from functions; see `subject_of`."""
    return tried_out(Callables(build_model, load_data, fit), task, metric, seed)
