"""From a checkpoint to a report: read each layer's tensors once, measure its operators, account for every byte."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from opnorm.errors import FileAccessError, OpnormError, UsageError
from opnorm.layers.plan import Entry, Layer
from opnorm.linalg.request import Request
from opnorm.readers.checkpoint import Checkpoint, Tensor, open_regular
from opnorm.report.coverage import Coverage
from opnorm.report.document import Finding, Input, Report, Row, Settings
from opnorm.report.findings import DEFAULT, Thresholds, findings_of
from opnorm.report.prefetch import Contents, prefetched
from opnorm.report.rows import Outcome, joined, outcome_of

if TYPE_CHECKING:
    from opnorm.report.insight import Insight
    from opnorm.spectrum.interaction.document import Interaction

Progress = Callable[[str, int, int], None]
"""Called before each layer with its path, its number and how many there are."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows: any of `only` (all if empty) and none of `skip`; `*` crosses dots."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def __call__(self, *names: str) -> bool:
        """Whether one of the names of a row, or a module path above it, is selected."""
        if not (self.only or self.skip):
            return True
        paths = [p for name in names for p in (name, *_parents(name))]
        wanted = not self.only or any(fnmatch.fnmatchcase(p, g) for p in paths for g in self.only)
        return wanted and not any(fnmatch.fnmatchcase(p, g) for p in paths for g in self.skip)


@dataclass(slots=True)
class Survey:
    """Rows, findings and coverage, gathered over one or more checkpoints."""

    request: Request
    selection: Selection = field(default_factory=Selection)
    jobs: int = 1
    insight: Insight | None = None
    thresholds: Thresholds = DEFAULT
    inputs: list[Input] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
    interrupted: bool = False
    interactions: list[Interaction] = field(default_factory=list)
    _seen: dict[tuple[bytes, str, tuple[int, ...]], str] = field(default_factory=dict)
    _coverage: Coverage = field(default_factory=Coverage)

    def add(self, checkpoint: Checkpoint, progress: Progress = lambda *_: None) -> None:
        """Measure every selected layer of `checkpoint`; rows appear in file order."""
        base = len(self.inputs)
        for problem in checkpoint.problems:
            self.refuse(problem)
        self.findings += [Finding("config-refused", str(note)) for note in checkpoint.notes]
        with ThreadPoolExecutor(1) as hasher:
            digests = [hasher.submit(_file_digest, file.path, file.format) for file in checkpoint.files]
            self.inputs += [Input(f.path, f.format, f.bytes, "") for f in checkpoint.files]
            try:
                self._run(checkpoint, base, progress)
                self._look_between(checkpoint, base)
            except KeyboardInterrupt:
                self.complete, self.interrupted = False, True
                return
            for index, digest in enumerate(digests):
                self.inputs[base + index] = replace(self.inputs[base + index], sha256=digest.result())

    def _look_between(self, checkpoint: Checkpoint, base: int) -> None:
        if self.insight is not None:
            rows = [row for row in self.rows if row.input >= base]
            self.interactions.append(self.insight.of_model(checkpoint, rows, self.selection))

    def refuse(self, problem: OpnormError) -> None:
        """Note a file that could not be read; the report is then incomplete."""
        self.complete = False
        self.findings.append(Finding("file-refused", str(problem)))

    def report(self, version: str) -> Report:
        """What was gathered so far, as a frozen report."""
        request = self.request
        settings = Settings(request.evidence.label, request.width, request.failure_probability, request.seed)
        findings = [*self.findings, *_optimizer_finding(self._coverage["optimizer"])]
        report = Report(
            version,
            self.complete,
            tuple(self.inputs),
            settings,
            tuple(self.rows),
            self._coverage.to_dict(),
            tuple(findings),
            _one(self.interactions),
        )
        return with_findings(report, self.thresholds)

    def _run(self, checkpoint: Checkpoint, base: int, progress: Progress) -> None:
        tensors = {t.name: t for t in checkpoint.tensors}
        insight = None if self.insight is None else self.insight.placed(checkpoint)
        layers = [self._selected(layer, tensors) for layer in checkpoint.plan]
        wanted = [layer for layer in layers if layer.entries]
        with ThreadPoolExecutor(self.jobs) as pool, _abandoned_on_interrupt(pool):
            window: list[Future[_Done]] = []
            for number, (layer, contents) in enumerate(prefetched(checkpoint, wanted, tensors, self.jobs)):
                progress(layer.path, number, len(wanted))
                task = _Task(layer, contents, tensors, base, self.request, insight)
                if self.jobs == 1:  # in this thread, so that an interrupt stops it
                    self._keep(task())
                    continue
                window.append(pool.submit(task))
                if len(window) > self.jobs:
                    self._keep(window.pop(0).result())
            for future in window:
                self._keep(future.result())

    def _selected(self, layer: Layer, tensors: Mapping[str, Tensor]) -> Layer:
        """The entries that are wanted; tensors none of whose rows are wanted are counted as unselected."""
        wanted = tuple(e for e in layer.entries if self.selection(e.name, *(() if e.derived else e.tensors)))
        kept = {t for e in wanted if not e.derived for t in e.tensors}
        for name in dict.fromkeys(t for e in layer.entries if not e.derived for t in e.tensors):
            if name not in kept:
                self._coverage.add(tensors[name].nbytes, ["unselected"])
        return replace(layer, entries=wanted)

    def _keep(self, done: _Done) -> None:
        statuses: dict[str, list[str]] = {}
        for entry, outcome in done.outcomes:
            row = self._tied(entry, outcome)
            if not entry.derived:
                for name in entry.tensors:
                    statuses.setdefault(name, []).append(row.status)
            if outcome.finding is not None:
                self.findings.append(outcome.finding)
            if row.status != "optimizer":
                self.rows.append(row)
        for name, found in statuses.items():
            self._coverage.add(done.tensors[name].nbytes, found)

    def _tied(self, entry: Entry, outcome: Outcome) -> Row:
        """The row, or where its tensor is another's too, that one's numbers and a word about it."""
        row = outcome.row
        if entry.same_as:
            first = next((r for r in self.rows if r.name == entry.same_as and r.input == row.input), row)
            reason = f"tied: the same tensor as {entry.same_as}, counted once"
            return replace(first, name=row.name, tensors=row.tensors, kind=row.kind, derived=True, reason=reason)
        if row.status == "measured" and outcome.key:
            key = (outcome.key, row.dtype, row.shape)
            if key in self._seen:
                row = replace(row, reason=joined(row.reason, f"the same bytes as {self._seen[key]}"))
            self._seen.setdefault(key, row.name)
        return row


@dataclass(frozen=True, slots=True)
class _Done:
    """A layer's outcomes."""

    outcomes: list[tuple[Entry, Outcome]]
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class _Task:
    """Measure a layer: what one thread does."""

    layer: Layer
    contents: Contents
    tensors: Mapping[str, Tensor]
    base: int
    request: Request
    insight: Insight | None

    def __call__(self) -> _Done:
        outcomes = [
            (e, outcome_of(e, self.contents, self._file(e), self.request, self.insight)) for e in self.layer.entries
        ]
        return _Done(outcomes, self.tensors)

    def _file(self, entry: Entry) -> int:
        return self.base + (self.tensors[entry.tensors[0]].file if entry.tensors else 0)


@contextmanager
def _abandoned_on_interrupt(pool: ThreadPoolExecutor) -> Iterator[None]:
    """What runs is finished, what waits is not begun."""
    try:
        yield
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def with_findings(report: Report, thresholds: Thresholds = DEFAULT) -> Report:
    """The report with what its own numbers say."""
    return replace(report, findings=(*report.findings, *findings_of(report, thresholds)))


def _one(parts: list[Interaction]) -> Interaction | None:
    if not parts:
        return None
    from opnorm.report.insight import joined as together

    return together(parts)


def _file_digest(path: str, kind: str) -> str:
    if kind == "memory":
        return ""
    try:
        with os.fdopen(open_regular(Path(path)), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileAccessError(f"{path}: cannot be read: {error.strerror}") from error


def _optimizer_finding(size: int) -> Iterable[Finding]:
    if size:
        yield Finding("optimizer-state", f"{size} bytes of optimizer state are no weights and have no rows")


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def require_jobs(jobs: int) -> int:
    """`jobs`, if it is at least 1."""
    if jobs < 1:
        raise UsageError(f"jobs {jobs} is not possible: give a whole number of at least 1")
    return jobs
