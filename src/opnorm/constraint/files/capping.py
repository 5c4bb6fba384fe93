"""A ceiling on the weights of a checkpoint file: `cap_file`.

The way: the file is read as data, row by row as `opnorm.measure` would → what cannot be written (codes with scales,
folded or computed weights) must lie under the ceiling already, or nothing is written → a copy is made beside the
target, and the bytes of tensors that move are replaced in it → the copy is opened by its own reader, every chosen row
PROVED from what is on disk and hashed → it takes the target's place. Torch is needed by convolutions only, and then
only to descend rather than scale.

Guarantee: every chosen row of the written file has σ₁ ≤ max, PROVED. All that was not moved is bit-identical, file
header and metadata included. Equal tensors stay equal where both are chosen. Memory: one layer, and what its
decomposition needs. Cost: a look at each row, a clip for those above, a proof of each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import opnorm
from opnorm.bound import Evidence
from opnorm.constraint.files.rows import Arrays, moved, place, prove, seen, stays, upper_of
from opnorm.constraint.files.writers import WRITERS, Writer
from opnorm.constraint.files.writers.choosing import chosen
from opnorm.constraint.files.writers.staging import check_target, require_writable, staged
from opnorm.constraint.finalize.certificate import Certificate, CertifiedRow, sha256
from opnorm.errors import CheckpointError, NotFinite, OpnormError, UsageError
from opnorm.layers.plan import ConvolutionPart, Entry, Layer
from opnorm.readers import open_checkpoint
from opnorm.readers.checkpoint import Checkpoint, SourceFile, Tensor

Progress = Callable[[str, int, int], None]
"""Called before each layer with what is done to it, its number and how many there are; twice for each layer."""

_SHOWN = 6


def cap_file(
    source: str | Path,
    target: str | Path,
    *,
    max: float,  # noqa: A002  (as on the command line)
    only: str | Sequence[str] = (),
    skip: str | Sequence[str] = (),
    input_shape: tuple[int, ...] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = lambda *_: None,
) -> Certificate:
    """Write a copy of a checkpoint whose chosen weights have σ₁ ≤ max, PROVED on what is written.

    source: safetensors, npz or npy, or a folder of safetensors, which gives a folder. only, skip: patterns of names or
    module paths; `*` crosses dots. input_shape: of the model's input, without batch, for convolutions at their own
    sizes, else any. overwrite: allow a target that exists, the source itself included.

    Singular values above `max` are clipped to it, the others stay; what lies under the ceiling stays bit for bit.
    Rows made of others (circuits, folded norms, a stack of gates) are not capped. Raises `UsageError`,
    `CheckpointError` (what cannot be read, written or capped, by name), `FileAccessError` or `BoundMissed`; the target
    is then as it was.
    """
    source, target = Path(source), Path(target)
    if isinstance(max, bool) or not isinstance(max, int | float) or not 0 < max < math.inf:
        raise UsageError(f"max={max!r} is not possible: give a finite number above 0")
    require_writable(source)
    check_target(source, target, overwrite=overwrite)
    with open_checkpoint(source, input_shape) as checkpoint:
        for problem in checkpoint.problems:
            raise problem
        _require_formats(checkpoint, source)
        layers = chosen(checkpoint.plan, _patterns(only), _patterns(skip))
        with staged(source, target, checkpoint, overwrite=overwrite) as paths:
            job = _Job(checkpoint, layers, paths, float(max), seed, progress)
            job.judge_unwritable(source)
            job.move(source)
            rows = job.certified(target)
            return Certificate(rows, opnorm.__version__, str(target), job.notes())


class _Job:
    """One run: what is read, where it is written, and what was seen before."""

    def __init__(
        self, checkpoint: Checkpoint, layers: list[Layer], paths: list[Path], ceiling: float, seed: int, say: Progress
    ) -> None:
        self.checkpoint = checkpoint
        self.layers = layers
        self.paths = paths
        self.ceiling = ceiling
        self.seed = seed
        self.say = say
        self.tensors = {t.name: t for t in checkpoint.tensors}
        self.before: dict[str, float] = {}
        self.changed: set[str] = set()
        self.old: dict[str, str] = {}

    def judge_unwritable(self, source: Path) -> None:
        """Rows that lie in no one tensor may be chosen where they are under the ceiling anyway."""
        bad = []
        for layer in self.layers:
            for entry in (e for e in layer.entries if e.part is None):
                problem = self._problem(entry)
                if problem:
                    bad.append(f"{entry.name}: {problem}")
        _refuse(source, bad)

    def _problem(self, entry: Entry) -> str:
        if entry.status == "refused":
            return entry.reason
        try:
            prove(entry, self._read(self.checkpoint, entry.tensors), self.ceiling, self.seed)
        except OpnormError as error:
            return f"{entry.operator or entry.kind} is not stored as it acts and cannot be moved ({error})"
        return ""

    def move(self, source: Path) -> None:
        """Write copies of the files with every chosen row under the ceiling."""
        files = [
            (WRITERS[f.format][0](Path(f.path), p)) for f, p in zip(self.checkpoint.files, self.paths, strict=True)
        ]
        bad: list[str] = []
        for number, layer in enumerate(self.layers):
            self.say(layer.path, number, 2 * len(self.layers))
            bad += self._move(layer, files)
        _refuse(source, bad)
        for file in files:
            file.finish()

    def _move(self, layer: Layer, files: list[Writer]) -> list[str]:
        entries = [e for e in layer.entries if e.part is not None]
        arrays, touched, bad = self._read(self.checkpoint, _tensors(entries)), set(), []
        for entry in entries:
            try:
                first = seen(entry, arrays, self.seed)
                self.before[entry.name] = upper_of(first, Evidence.PROBABLE)
                under = self.before[entry.name] <= self.ceiling
                if under or stays(entry, arrays, first, self.ceiling, self.seed):
                    continue
                values = moved(entry, arrays, self.ceiling, self.seed)
            except NotFinite as error:
                bad.append(str(error))
                continue
            name = entry.tensors[0]
            digest = sha256(arrays[name])
            place(entry, arrays, values)
            if sha256(arrays[name]) != digest:
                self.old.setdefault(name, digest)
                self.changed.add(entry.name)
                touched.add(name)
        for name in touched:
            files[self.tensors[name].file].write(self.tensors[name], arrays[name])
        return bad

    def certified(self, target: Path) -> tuple[CertifiedRow, ...]:
        """Open what was written, prove every chosen row from it, and hash it."""
        opened: list[Checkpoint] = []
        try:
            for file, path in zip(self.checkpoint.files, self.paths, strict=True):
                opened.append(_copy_of(file, path))
            return tuple(
                row
                for number, layer in enumerate(self.layers)
                for row in self._certified(layer, number, _Written(opened, self.checkpoint), target)
            )
        finally:
            for checkpoint in opened:
                checkpoint.close()

    def _certified(self, layer: Layer, number: int, written: _Written, target: Path) -> list[CertifiedRow]:
        self.say(layer.path, len(self.layers) + number, 2 * len(self.layers))
        arrays = {name: written.read(name) for name in _tensors(layer.entries)}
        return [self._row(entry, arrays, self._name_in(target)) for entry in layer.entries]

    def _row(self, entry: Entry, arrays: Arrays, named: Callable[[str], str]) -> CertifiedRow:
        began, before = time.perf_counter(), self.before.get(entry.name, math.inf)
        found = prove(entry, arrays, self.ceiling, self.seed)
        if entry.name not in self.changed and math.isfinite(before):
            before = min(before, upper_of(found))
        return CertifiedRow(
            named(entry.name), tuple(map(named, entry.tensors)), entry.kind, entry.operator,
            entry.shape or found.shape, entry.dtype, 0.0, self.ceiling, found.bracket(Evidence.PROVED).lower,
            upper_of(found), None, 0.0, found.method, tuple(sha256(arrays[name]) for name in entry.tensors),
            round(time.perf_counter() - began, 6), before if math.isfinite(before) else None,
            entry.name in self.changed,
        )  # fmt: skip

    def _name_in(self, target: Path) -> Callable[[str], str]:
        """A row's name in the written file: that of the file itself, where that is what names its one tensor."""
        if self.checkpoint.files[0].format != "npy":
            return str
        old = self.checkpoint.tensors[0].name
        return lambda name: target.stem + name[len(old) :]

    def notes(self) -> tuple[str, ...]:
        """What was scaled for want of settings; tensors that had the bytes of one that moved, and have not moved."""
        return (*self._scaled(), *self._parted())

    def _scaled(self) -> list[str]:
        kernels = [(e.name, e.part) for layer in self.layers for e in layer.entries]
        return [
            f"{name} was scaled as a whole, by a bound for every way to apply it: the file does not give its stride "
            "and padding. opnorm.control on the live model moves less."
            for name, part in kernels
            if isinstance(part, ConvolutionPart) and part.settings is None and name in self.changed
        ]

    def _parted(self) -> list[str]:
        shapes = {(self.tensors[n].dtype, self.tensors[n].shape): n for n in self.old}
        found = []
        for tensor in self.checkpoint.tensors:
            like = shapes.get((tensor.dtype, tensor.shape))
            if like is None or tensor.name in self.old:
                continue
            digest = sha256(self.checkpoint.read(tensor))
            twins = [name for name, old in self.old.items() if old == digest]
            if twins:
                found.append(f"{tensor.name} held the same bytes as {twins[0]}, and was not chosen: they differ now.")
        return found

    def _read(self, checkpoint: Checkpoint, names: Sequence[str]) -> Arrays:
        return {name: checkpoint.read(self.tensors[name]) for name in names}


class _Written:
    """The tensors of the written files by the names they had."""

    def __init__(self, files: list[Checkpoint], source: Checkpoint) -> None:
        self._places: dict[str, tuple[Checkpoint, Tensor]] = {}
        for index, file in enumerate(files):
            before = [t for t in source.tensors if t.file == index]
            if len(before) != len(file.tensors):
                raise _changed(source.files[index].path, f"{len(before)} tensors")
            for old, new in zip(before, file.tensors, strict=True):
                same = (old.dtype, old.shape, old.nbytes, old.offset) == (new.dtype, new.shape, new.nbytes, new.offset)
                if not same or (old.name != new.name and source.files[index].format != "npy"):
                    raise _changed(source.files[index].path, old.name)
                self._places[old.name] = (file, new)

    def read(self, name: str) -> NDArray[Any]:
        """The entries on disk."""
        file, tensor = self._places[name]
        entries: NDArray[Any] = file.read(tensor)
        return entries


def _copy_of(file: SourceFile, path: Path) -> Checkpoint:
    try:
        return WRITERS[file.format][1](path)
    except CheckpointError:
        raise _changed(file.path, "its header") from None


def _changed(path: str, what: str) -> CheckpointError:
    return CheckpointError(path, f"changed while it was read: {what} is not where it was", "Nothing was written.")


def _tensors(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for entry in entries for name in entry.tensors))


def _patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _require_formats(checkpoint: Checkpoint, source: Path) -> None:
    other = [f for f in checkpoint.files if f.format not in WRITERS]
    if other:
        raise CheckpointError(
            source, f"is read from {Path(other[0].path).name}, of a format that is never written ({other[0].format})",
            "Save the weights as safetensors first.",
        )  # fmt: skip


def _refuse(source: Path, bad: list[str]) -> None:
    if bad:
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        problem = f"holds weights that cannot be capped: {'; '.join(bad[:_SHOWN])}{more}"
        raise CheckpointError(source, problem, "Nothing was written; leave them out with skip (--skip), or mend them.")
