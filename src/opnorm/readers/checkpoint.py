"""What every reader gives: named tensors of known dtype, shape and size, each read on demand."""

from __future__ import annotations

import math
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import CheckpointError, FileAccessError, OpnormError, UsageError
from opnorm.layers.plan import Layer

MAX_RANK = 8
MAX_NAME = 1024
"""Characters of a tensor's name; work on names may grow with the square of their length."""

MAX_EMPTY_SIDE = 1 << 24
"""Sides of a tensor without entries, whose size no byte of the file vouches for."""

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

    `problems` are files of it that were refused while the rest is readable, `notes` files beside it that were.
    `config`: what a `config.json` or `adapter_config.json` beside it says, if there is one. `input_shape`: of the
    model's input, without batch, where it is known.
    """

    config: Mapping[str, Any] | None = None
    input_shape: tuple[int, ...] | None = None

    def __init__(self, files: list[SourceFile], tensors: list[Tensor], problems: Sequence[OpnormError] = ()) -> None:
        self.files = files
        self.tensors = tensors
        self.problems = list(problems)
        self.notes: list[OpnormError] = []

    @cached_property
    def plan(self) -> list[Layer]:
        """What its layers are, from names, shapes and `config`; every tensor is in one of them."""
        from opnorm.readers.naming import plan

        return plan(self.tensors, self.config, self.input_shape)

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


def name_problem(name: str) -> str:
    """What is wrong with a tensor's name, as the end of a sentence; empty for a sound one."""
    if len(name) > MAX_NAME:
        return f"has a name of {len(name)} characters; {MAX_NAME} are allowed"
    if any("\ud800" <= c <= "\udfff" for c in name):
        return "has a name that is not Unicode text"
    return ""


def shape_problem(shape: tuple[int, ...]) -> str:
    """What is wrong with a shape of whole numbers, as the end of a sentence; empty for a sound one."""
    if len(shape) > MAX_RANK:
        return f"has {len(shape)} dimensions; {MAX_RANK} are allowed"
    if math.prod(shape) == 0 and max(shape) > MAX_EMPTY_SIDE:
        return f"is empty, yet has a side of {max(shape)}; {MAX_EMPTY_SIDE} is allowed"
    return ""


def open_regular(path: Path) -> int:
    """A read-only descriptor of a regular file; pipes, devices and folders are refused.

    Looked at before opening, as opening a device can act on it, and again after, as the path may have been
    exchanged meanwhile; never waits for a pipe's writer.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        _require_regular(path, path.stat().st_mode)
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file or directory; check the path") from None
    except OSError as error:
        raise FileAccessError(f"{path}: cannot be read: {error.strerror}; check its permissions") from error
    except ValueError as error:
        raise UsageError(f"{str(path)!r} is not a path: {error}; check the path") from None
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise CheckpointError(path, "is not a regular file", "Give a file or a folder of weights.")


def read_exactly(descriptor: int, path: str, offset: int, size: int) -> NDArray[np.uint8]:
    """`size` bytes at `offset`, by slices, never by mapping (a mapped file that shrinks kills the process)."""
    buffer = allocate(path, size)
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


def allocate(path: object, size: int) -> NDArray[np.uint8]:
    """Room for `size` bytes that a file is known to hold."""
    try:
        return np.empty(size, dtype=np.uint8)
    except MemoryError:
        raise FileAccessError(
            f"{path}: holds a tensor of {size} bytes, more than memory has; use a larger machine"
        ) from None


def _read_into(descriptor: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset)
    os.lseek(descriptor, offset, os.SEEK_SET)  # Windows, macOS: one thread reads a file at a time
    data = os.read(descriptor, len(view))
    view[: len(data)] = data
    return len(data)
