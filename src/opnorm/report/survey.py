"""From a checkpoint to a report: read each tensor once, identify it, measure it, account for every byte."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from opnorm.bound import Evidence, Measurement
from opnorm.errors import (
    CheckpointError,
    Contradiction,
    FileAccessError,
    OpnormError,
    UndefinedNorm,
    UsageError,
)
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from opnorm.linalg.rounding import down, up
from opnorm.readers import naming
from opnorm.readers.checkpoint import Checkpoint, Tensor
from opnorm.report.document import Finding, Input, Report, Row, Settings

Progress = Callable[[str, int, int], None]
"""Called before each tensor with its name, its number and how many there are."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tensors: any of `only` (all if empty) and none of `skip`; `*` crosses dots."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def __call__(self, name: str) -> bool:
        """Whether the name, or a module path above it, is selected."""
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
            wanted = self._identify(checkpoint)
            self._run(checkpoint, wanted, base, progress)
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

    def _identify(self, checkpoint: Checkpoint) -> list[tuple[Tensor, naming.Identity]]:
        """Account for what has no row, and list the rest."""
        wanted = []
        for tensor in checkpoint.tensors:
            identity = naming.identify(tensor.name, tensor.dtype, tensor.shape)
            self._bytes["bytes"] += tensor.nbytes
            if not self.selection(tensor.name):
                self._bytes["unselected"] += tensor.nbytes
            elif identity.status == "optimizer":
                self._bytes["optimizer"] += tensor.nbytes
            else:
                wanted.append((tensor, identity))
        return wanted

    def _run(
        self,
        checkpoint: Checkpoint,
        wanted: list[tuple[Tensor, naming.Identity]],
        base: int,
        progress: Progress,
    ) -> None:
        seen: dict[tuple[bytes, str, tuple[int, ...]], Row] = {}
        loaded = _prefetched(checkpoint, wanted, self.jobs)
        with ThreadPoolExecutor(self.jobs) as pool:
            window: list[tuple[Tensor, Future[_Outcome]]] = []
            for number, (tensor, identity, content) in enumerate(loaded):
                progress(tensor.name, number, len(wanted))
                window.append((tensor, pool.submit(_outcome, tensor, identity, content, base, self.request)))
                if len(window) >= self.jobs:
                    self._keep(*window.pop(0), seen)
            for tensor, future in window:
                self._keep(tensor, future, seen)

    def _keep(
        self, tensor: Tensor, future: Future[_Outcome], seen: dict[tuple[bytes, str, tuple[int, ...]], Row]
    ) -> None:
        outcome = future.result()
        row, key = outcome.row, (outcome.key, tensor.dtype, tensor.shape)
        if row.status == "measured" and outcome.key:
            if key in seen:
                row = replace(row, reason=_join(row.reason, f"the same bytes as {seen[key].name}"))
            seen.setdefault(key, row)
        self.rows.append(row)
        self._bytes[row.status] += tensor.nbytes
        if outcome.finding is not None:
            self.findings.append(outcome.finding)


@dataclass(frozen=True, slots=True)
class _Content:
    """A tensor's entries and the SHA-256 of its bytes, or why they could not be read."""

    array: Any = None
    key: bytes = b""
    error: OpnormError | None = None


@dataclass(frozen=True, slots=True)
class _Outcome:
    row: Row
    finding: Finding | None = None
    key: bytes = b""


def _prefetched(
    checkpoint: Checkpoint, wanted: list[tuple[Tensor, naming.Identity]], ahead: int
) -> Iterator[tuple[Tensor, naming.Identity, _Content]]:
    """Each tensor with its content, read and hashed while the ones before it are measured."""
    with ThreadPoolExecutor(1) as reader:
        queue: list[Future[_Content]] = []
        for position, (tensor, identity) in enumerate(wanted):
            while len(queue) < ahead + 1 and position + len(queue) < len(wanted):
                queue.append(reader.submit(_load, checkpoint, *wanted[position + len(queue)]))
            yield tensor, identity, queue.pop(0).result()


def _load(checkpoint: Checkpoint, tensor: Tensor, identity: naming.Identity) -> _Content:
    if identity.status != "weight":
        return _Content()
    try:
        array = checkpoint.read(tensor)
    except OpnormError as error:
        return _Content(error=error)
    return _Content(array, content_key(array))


def content_key(array: Any) -> bytes:
    """SHA-256 of an array's bytes in row-major order; empty for arrays of other frameworks than NumPy."""
    if not isinstance(array, np.ndarray):
        return b""
    flat = np.ascontiguousarray(array)
    return hashlib.sha256(flat.view(np.uint8).data if flat.size else b"").digest()


def _outcome(tensor: Tensor, identity: naming.Identity, content: _Content, base: int, request: Request) -> _Outcome:
    row = _blank(tensor, identity, base)
    if identity.status != "weight":
        return _Outcome(row)
    try:
        if content.error is not None:
            raise content.error
        operator = aslinearoperator(content.array)
        measurement = measure_operator(operator, replace(request, key=content.key))
    except UndefinedNorm as error:
        return _Outcome(replace(row, status="undefined", reason=f"{_counts(error)} among its entries"))
    except Contradiction as error:
        return _Outcome(
            replace(row, status="refused", reason=str(error)), Finding("contradiction", str(error), row.name)
        )
    except (CheckpointError, FileAccessError) as error:
        return _Outcome(
            replace(row, status="refused", reason=str(error)), Finding("file-refused", str(error), row.name)
        )
    except OpnormError as error:
        return _Outcome(replace(row, status="refused", reason=str(error)))
    return _Outcome(_filled(row, measurement, request), key=content.key)


def _blank(tensor: Tensor, identity: naming.Identity, base: int) -> Row:
    size = "x".join(map(str, tensor.shape))
    operator = f"dense {size}" if identity.status == "weight" else ""
    status = "measured" if identity.status == "weight" else identity.status
    return Row(
        base + tensor.file,
        tensor.name,
        (tensor.name,),
        False,
        identity.kind,
        operator,
        tensor.shape,
        tensor.dtype,
        status,
        identity.reason,
    )


def _filled(row: Row, measurement: Measurement, request: Request) -> Row:
    level = max(request.evidence, measurement.best(request.width))
    bracket = measurement.bracket(level)
    if bracket.evidence is None:
        bracket = measurement.bracket(Evidence.ESTIMATE)
    found = bracket.evidence or Evidence.ESTIMATE
    return replace(
        row,
        lower=bracket.lower,
        upper=bracket.upper,
        evidence=found.label,
        failure_probability=bracket.failure_probability,
        method=measurement.method,
        passes=measurement.passes,
        seconds=round(measurement.seconds, 6),
        frobenius=measurement.frobenius,
        stable_rank=_stable_rank(measurement.frobenius, bracket.lower, bracket.upper),
        reason=measurement.note,
    )


def _stable_rank(frobenius: float | None, lower: float | None, upper: float | None) -> tuple[float, float] | None:
    """‖A‖_F²/σ₁² as an interval; at least 1 whatever the width."""
    if not frobenius or not lower or not upper:
        return None
    return max(1.0, down((frobenius / upper) ** 2, 64)), max(1.0, up((frobenius / lower) ** 2, 64))


def _counts(error: UndefinedNorm) -> str:
    return " and ".join(f"{n} {name}" for n, name in ((error.nan, "NaN"), (error.inf, "Inf")) if n)


def _file_digest(path: str, kind: str) -> str:
    if kind == "memory":
        return ""
    try:
        with Path(path).open("rb") as file:
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
