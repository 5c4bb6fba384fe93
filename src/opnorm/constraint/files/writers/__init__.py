"""Writing weights back into the files they were read from: only bytes of what moved, all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from opnorm.constraint.files.writers.in_place import InPlace
from opnorm.constraint.files.writers.npz import Rewritten
from opnorm.readers.checkpoint import Checkpoint, Tensor
from opnorm.readers.npy import NpyFile
from opnorm.readers.npz import NpzFile
from opnorm.readers.safetensors import SafetensorsFile


class Writer(Protocol):
    """A file on its way."""

    def write(self, tensor: Tensor, array: NDArray[Any]) -> None:
        """Replace the entries of a tensor."""

    def finish(self) -> None:
        """All is written: make the file complete."""


WRITERS: dict[str, tuple[Callable[[Path, Path], Writer], Callable[[Path], Checkpoint]]] = {
    "safetensors": (InPlace, SafetensorsFile),
    "npy": (InPlace, NpyFile),
    "npz": (Rewritten, NpzFile),
}
"""Format, as readers call it → what writes a changed copy of such a file, and what reads the copy."""
