"""How far a trial is, shown on standard error where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Told after every cell: trainings done, of how many (None: not known yet), and what was last."""

    def __call__(self, done: int, total: int | None, what: str) -> None:
        """Of one cell."""


def quiet(done: int, total: int | None, what: str) -> None:
    """No progress."""


@contextmanager
def shown(wanted: bool = True) -> Iterator[Progress]:
    """A bar with the time left."""
    if not wanted or not sys.stderr.isatty():
        yield quiet
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("trainings"), TimeElapsedColumn(), TextColumn("· left"),
        TimeRemainingColumn(), TextColumn("{task.description}", markup=False),
    )  # fmt: skip
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def told(done: int, total: int | None, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield told
