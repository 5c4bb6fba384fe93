"""What every reader gives: named tensors of known dtype, shape and size, each read on demand."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import CheckpointError, FileAccessError, UsageError

MAX_RANK = 8
SLICE = 16 << 20
"""Bytes read at a time."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A stored tensor. `file` indexes `Checkpoint.files`; `offset` is where its bytes begin there."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    file: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a checkpoint."""

    path: str
    format: str
    bytes: int


class Checkpoint(ABC):
    """An open checkpoint: a context manager over `files` and `tensors`, the latter in file order.

    `problems` are files of it that were refused while the rest is readable.
    """

    def __init__(
        self, files: list[SourceFile], tensors: list[Tensor], problems: list[CheckpointError] | None = None
    ) -> None:
        self.files = files
        self.tensors = tensors
        self.problems = problems or []

    @abstractmethod
    def read(self, tensor: Tensor) -> NDArray[Any]:
        """The entries, in the tensor's own dtype and shape. `CheckpointError` if the file lied."""

    @abstractmethod
    def close(self) -> None:
        """Release the files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_regular(path: Path) -> int:
    """A read-only descriptor of a regular file; pipes, devices and folders are refused unopened."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise CheckpointError(path, "is not a regular file", "Give a file or a folder of weights.")
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file or directory; check the path") from None
    except OSError as error:
        raise FileAccessError(f"{path}: cannot be read: {error.strerror}; check its permissions") from error


def read_exactly(descriptor: int, path: str, offset: int, size: int) -> NDArray[np.uint8]:
    """`size` bytes at `offset`, by slices, never by mapping (a mapped file that shrinks kills the process)."""
    buffer = np.empty(size, dtype=np.uint8)
    view = buffer.data
    done = 0
    while done < size:
        try:
            got = _read_into(descriptor, view[done : done + SLICE], offset + done)
        except OSError as error:
            raise FileAccessError(f"{path}: reading failed at byte {offset + done}: {error.strerror}") from error
        if got == 0:
            raise CheckpointError(
                path,
                f"ends at byte {offset + done}, before the data its header promises",
                "Fetch the file again.",
            )
        done += got
    return buffer


def _read_into(descriptor: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset)
    os.lseek(descriptor, offset, os.SEEK_SET)  # Windows, macOS: one thread reads a file at a time
    data = os.read(descriptor, len(view))
    view[: len(data)] = data
    return len(data)
