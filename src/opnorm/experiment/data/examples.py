"""What every kind of data becomes before it is split: inputs, encoded targets, and what ties rows together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from opnorm.experiment.models.model import Inputs
from opnorm.experiment.subject import Task

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class Targets:
    """values: int64 classes, counted by their place in `labels`, or float64 numbers. because: why this task."""

    task: Task
    values: np.ndarray
    labels: tuple[str, ...]
    because: str

    @property
    def classes(self) -> int:
        """How many classes, 1 for numbers."""
        return len(self.labels) if self.task.classifies else 1

    def taken(self, rows: np.ndarray) -> Targets:
        """Those of some rows."""
        return Targets(self.task, self.values[rows], self.labels, self.because)


@dataclass(frozen=True, slots=True)
class Columns:
    """Of a table, by kind. numbers can be moved a little, flags have two values, categories are names.

    dropped: columns that are not used, each with the reason. notes: what was read into the others.
    """

    numbers: tuple[str, ...]
    flags: tuple[str, ...]
    categories: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[str, ...]:
        """All that a model sees."""
        return self.numbers + self.flags + self.categories


@dataclass(frozen=True, slots=True)
class Examples:
    """inputs: a frame of cleaned columns, or an array (n, …). official: so many rows at the end are the test part.

    groups: rows of one group stay in one part. times: rows are in order of it, and so are the parts. notes: by name,
    for the report.
    """

    name: str
    kind: Inputs
    inputs: pandas.DataFrame | np.ndarray
    targets: Targets
    columns: Columns | None = None
    official: int = 0
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    notes: dict[str, str | int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.targets.values)

    def taken(self, rows: np.ndarray, official: int = 0) -> Examples:
        """Those of some rows, in that order, of which the last `official` are the test part."""
        inputs = (
            self.inputs[rows] if isinstance(self.inputs, np.ndarray) else self.inputs.iloc[rows].reset_index(drop=True)
        )
        groups, times = (None if a is None else a[rows] for a in (self.groups, self.times))
        return replace(
            self, inputs=inputs, targets=self.targets.taken(rows), official=official, groups=groups, times=times,
            notes=dict(self.notes),
        )  # fmt: skip

    def digest(self) -> str:
        """SHA-256 of all that a split is made from."""
        sha = hashlib.sha256()
        for piece in self._pieces():
            sha.update(len(piece).to_bytes(8, "little"))
            sha.update(piece)
        return sha.hexdigest()

    def _pieces(self) -> Iterator[bytes]:
        head = (self.kind, self.targets.task, self.targets.labels, self.columns, self.official)
        yield repr(head).encode()
        for array in (self.targets.values, self.groups, self.times):
            yield b"" if array is None else _bytes(array)
        if isinstance(self.inputs, np.ndarray):
            yield _bytes(self.inputs)
        else:
            yield from (_bytes(self.inputs[c].to_numpy()) for c in self.inputs.columns)


def _bytes(array: np.ndarray) -> bytes:
    if array.dtype == object:
        return "\0".join(str(len(t)) + ":" + t for t in map(str, array)).encode(errors="surrogatepass")
    return f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
