"""Formats whose entries lie bare in the file (safetensors, npy): a copy with the bytes of moved tensors replaced.

Header, order, alignment, metadata and every byte of what is not replaced are those of the source.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.constraint.files.writers.atomic import access
from opnorm.readers.checkpoint import Tensor


class InPlace:
    """A copy of `source` at `target`, to be written into."""

    def __init__(self, source: Path, target: Path) -> None:
        self._target = target
        with access(target):
            shutil.copyfile(source, target)

    def write(self, tensor: Tensor, array: NDArray[Any]) -> None:
        """Put the entries of a tensor in its place; same dtype, shape and layout as were read."""
        data = stored_bytes(array)
        assert len(data) == tensor.nbytes, f"{tensor.name}: {len(data)} bytes for {tensor.nbytes}"
        with access(self._target), open(self._target, "r+b") as file:
            file.seek(tensor.offset)
            file.write(data)

    def finish(self) -> None:
        """All is written."""


def stored_bytes(array: NDArray[Any]) -> memoryview:
    """The bytes of an array in the order in which its file has them: as it lies in memory."""
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    flat = np.ravel(array, order=order)  # type: ignore[call-overload]
    return memoryview(flat.view(np.uint8)) if flat.size else memoryview(b"")


def same_file(first: Path, second: Path) -> bool:
    """Whether two paths lead to one file or folder."""
    return second.exists() and os.path.samefile(first, second)
