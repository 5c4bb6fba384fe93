"""The files that a check writes: each looked at before measuring, and written whole or not at all after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opnorm.errors import FileAccessError, OpnormError, UsageError
from opnorm.report.budget import card, github, junit
from opnorm.report.budget.baseline import Baseline, baseline_of, read_baseline
from opnorm.report.budget.markdown import to_markdown
from opnorm.report.budget.verdict import Judgement
from opnorm.report.document import Report
from opnorm.report.machine import write_whole


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where to write; None for what is not asked for. metrics: that a baseline keeps beside σ₁."""

    junit: str | None = None
    markdown: str | None = None
    model_card: str | None = None
    baseline: str | None = None
    github: bool = False
    metrics: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All files to be written."""
        return tuple(f for f in (self.junit, self.markdown, self.model_card, self.baseline) if f is not None)

    def prepare(self, sources: Iterable[str], others: Iterable[str] = ()) -> None:
        """Refuse, before hours of measuring, what could not be written after it, or would overwrite what is read.

        sources: files that are read. others: outputs of other options.
        """
        if self.junit is not None:
            junit.library()
        for file in self.files:
            if file == "-":
                raise UsageError("- is no file: only --json and --csv write to standard output; give a name")
            _require_place(file)
        real = [os.path.realpath(file) for file in (*self.files, *others) if file != "-"]
        twice = next((file for file in real if real.count(file) > 1), None)
        if twice is not None:
            raise UsageError(f"{twice}: is the name of two outputs; give each its own")
        self._require_apart(sources)
        if self.model_card is not None:
            card.read_card(self.model_card)
        if self.baseline is not None and Path(self.baseline).exists():
            read_baseline(self.baseline)

    def require_fit(self, report: Report) -> None:
        """Refuse, before anything is written, to write over a file that was read or another model's baseline."""
        self._require_apart(i.path for i in report.inputs)
        if self.baseline is not None and report.complete:
            self._baseline(report)

    def write(self, judgement: Judgement, report: Report) -> Iterator[OpnormError | str]:
        """Write all; one that fails does not stop the others. Yields what went wrong, or should be known."""
        for task in self._tasks(judgement, report):
            try:
                task()
            except OpnormError as error:
                yield error
        if self.model_card is not None and not judgement.complete:
            yield f"{self.model_card}: not written, as not everything given was measured"
        if self.baseline is not None and not judgement.passed:
            yield f"{self.baseline}: not written, as the check failed"
        if self.github and not github.summary_file():
            yield f"--github: {github.VARIABLE} is not set, so there is no step summary to write to"

    def _tasks(self, judgement: Judgement, report: Report) -> Iterator[Callable[[], None]]:
        for file, make in self._texts(judgement, report):
            yield partial(_write, file, make)
        if self.github and (summary := github.summary_file()):
            yield partial(github.append_summary, judgement, report, summary)

    def _texts(self, judgement: Judgement, report: Report) -> Iterator[tuple[str, Callable[[], str]]]:
        if self.junit is not None:
            yield self.junit, lambda: junit.to_junit(judgement, report)
        if self.markdown is not None:
            yield self.markdown, lambda: to_markdown(judgement, report)
        if self.model_card is not None and judgement.complete:
            path = os.path.realpath(self.model_card)
            yield path, lambda: card.with_section(card.read_card(path), card.section(judgement, report), path)
        if self.baseline is not None and judgement.passed:
            yield os.path.realpath(self.baseline), lambda: self._baseline(report).to_json()

    def _baseline(self, report: Report) -> Baseline:
        assert self.baseline is not None
        new = baseline_of(report, self.metrics)
        if Path(self.baseline).exists():
            old = read_baseline(self.baseline)
            if old.lines and not set(old.lines) & set(new.lines):
                raise UsageError(
                    f"{self.baseline}: is the baseline of another model: none of its rows is in this one; it was not "
                    "overwritten; delete it, or give another name"
                )
        return new

    def _require_apart(self, sources: Iterable[str]) -> None:
        read = {os.path.realpath(source) for source in sources}
        for file in self.files:
            if os.path.realpath(file) in read:
                raise UsageError(f"{file}: is read by this check; give the output another name")


def _write(file: str, make: Callable[[], str]) -> None:
    write_whole(file, make())


def _require_place(file: str) -> None:
    parent = Path(file).parent
    if not parent.is_dir() or Path(file).is_dir() or not os.access(parent, os.W_OK):
        raise FileAccessError(f"{file}: cannot be written; give a file in an existing, writable folder")
