"""What `opnorm.trial` returns: the report of a trial, with its renderings."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, fields
from typing import Self

from opnorm.experiment.document import TrialReport
from opnorm.report.machine import write_whole
from opnorm.report.trial.html import page
from opnorm.report.trial.machine import to_json, verdict_json
from opnorm.report.trial.text import show


@dataclass(frozen=True, slots=True)
class TrialResult(TrialReport):
    """A `TrialReport` that prints, and writes itself; the same data otherwise."""

    @classmethod
    def of(cls, report: TrialReport) -> Self:
        """The same report, to be shown."""
        return cls(**{field.name: getattr(report, field.name) for field in fields(report)})

    def to_json(self) -> str:
        """Everything, as JSON (schema 'opnorm.trial/1')."""
        return to_json(self)

    def verdict_json(self) -> str:
        """Design, verdicts, controls and winner, in canonical bytes: no clock, machine or command is in it."""
        return verdict_json(self)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one page that needs nothing else; whole, or not at all. Raises `FileAccessError`."""
        write_whole(os.fspath(path), page(self))

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        show(self, Console(file=text, width=120, highlight=False, markup=False, emoji=False, no_color=True))
        return text.getvalue()
