"""From a checkpoint to a report: read each tensor once, identify it, measure it, account for every byte."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from opnorm.errors import FileAccessError, OpnormError, UsageError
from opnorm.linalg.request import Request
from opnorm.readers.checkpoint import Checkpoint, Tensor, open_regular
from opnorm.readers.naming import Identity, identify
from opnorm.report.document import Finding, Input, Report, Row, Settings
from opnorm.report.prefetch import prefetched
from opnorm.report.rows import Outcome, outcome_of

Progress = Callable[[str, int, int], None]
"""Called before each tensor with its name, its number and how many there are."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tensors: any of `only` (all if empty) and none of `skip`; `*` crosses dots."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def __call__(self, name: str) -> bool:
        """Whether the name, or a module path above it, is selected."""
        if not (self.only or self.skip):
            return True
        paths = [name, *_parents(name)]
        wanted = not self.only or any(fnmatch.fnmatchcase(p, g) for p in paths for g in self.only)
        return wanted and not any(fnmatch.fnmatchcase(p, g) for p in paths for g in self.skip)


@dataclass(slots=True)
class Survey:
    """Rows, findings and coverage, gathered over one or more checkpoints."""

    request: Request
    selection: Selection = field(default_factory=Selection)
    jobs: int = 1
    inputs: list[Input] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
    interrupted: bool = False
    _seen: dict[tuple[bytes, str, tuple[int, ...]], str] = field(default_factory=dict)
    _bytes: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("bytes", "measured", "not_a_map", "undefined", "refused", "optimizer", "unselected"), 0
        )
    )

    def add(self, checkpoint: Checkpoint, progress: Progress = lambda *_: None) -> None:
        """Measure every selected tensor of `checkpoint`; rows appear in file order."""
        base = len(self.inputs)
        for problem in checkpoint.problems:
            self.refuse(problem)
        with ThreadPoolExecutor(1) as hasher:
            digests = [hasher.submit(_file_digest, file.path, file.format) for file in checkpoint.files]
            self.inputs += [Input(f.path, f.format, f.bytes, "") for f in checkpoint.files]
            try:
                self._run(checkpoint, self._identify(checkpoint), base, progress)
            except KeyboardInterrupt:
                self.complete, self.interrupted = False, True
                return
            for index, digest in enumerate(digests):
                self.inputs[base + index] = replace(self.inputs[base + index], sha256=digest.result())

    def refuse(self, problem: OpnormError) -> None:
        """Note a file that could not be read; the report is then incomplete."""
        self.complete = False
        self.findings.append(Finding("file-refused", str(problem)))

    def report(self, version: str) -> Report:
        """What was gathered so far, as a frozen report."""
        request = self.request
        settings = Settings(request.evidence.label, request.width, request.failure_probability, request.seed)
        findings = [*self.findings, *_optimizer_finding(self._bytes["optimizer"])]
        return Report(
            version,
            self.complete,
            tuple(self.inputs),
            settings,
            tuple(self.rows),
            dict(self._bytes),
            tuple(findings),
        )

    def _identify(self, checkpoint: Checkpoint) -> list[tuple[Tensor, Identity]]:
        """Account for what has no row, and list the rest."""
        wanted = []
        for tensor in checkpoint.tensors:
            identity = identify(tensor.name, tensor.dtype, tensor.shape)
            self._bytes["bytes"] += tensor.nbytes
            if not self.selection(tensor.name):
                self._bytes["unselected"] += tensor.nbytes
            elif identity.status == "optimizer":
                self._bytes["optimizer"] += tensor.nbytes
            else:
                wanted.append((tensor, identity))
        return wanted

    def _run(
        self, checkpoint: Checkpoint, wanted: list[tuple[Tensor, Identity]], base: int, progress: Progress
    ) -> None:
        with ThreadPoolExecutor(self.jobs) as pool:
            window: list[tuple[Tensor, Future[Outcome]]] = []
            for number, (tensor, identity, content) in enumerate(prefetched(checkpoint, wanted, self.jobs)):
                progress(tensor.name, number, len(wanted))
                task = (tensor, identity, content, base, self.request)
                if self.jobs == 1:  # in this thread, so that an interrupt stops it
                    self._keep(tensor, outcome_of(*task))
                    continue
                window.append((tensor, pool.submit(outcome_of, *task)))
                if len(window) > self.jobs:
                    first, future = window.pop(0)
                    self._keep(first, future.result())
            for tensor, future in window:
                self._keep(tensor, future.result())

    def _keep(self, tensor: Tensor, outcome: Outcome) -> None:
        row, key = outcome.row, (outcome.key, tensor.dtype, tensor.shape)
        if row.status == "measured" and outcome.key:
            if key in self._seen:
                row = replace(row, reason=_join(row.reason, f"the same bytes as {self._seen[key]}"))
            self._seen.setdefault(key, row.name)
        self.rows.append(row)
        self._bytes[row.status] += tensor.nbytes
        if outcome.finding is not None:
            self.findings.append(outcome.finding)


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


def _join(*parts: str) -> str:
    return "; ".join(p for p in parts if p)


def require_jobs(jobs: int) -> int:
    """`jobs`, if it is at least 1."""
    if jobs < 1:
        raise UsageError(f"jobs {jobs} is not possible: give a whole number of at least 1")
    return jobs
