"""Named arrays already in memory, read as a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opnorm.errors import UnsupportedInput
from opnorm.readers.checkpoint import Checkpoint, SourceFile, Tensor


class MemoryCheckpoint(Checkpoint):
    """A mapping from names to NumPy, PyTorch or JAX arrays. Nothing is copied until it is measured."""

    def __init__(self, arrays: Mapping[str, Any], input_shape: tuple[int, ...] | None = None) -> None:
        self._arrays = dict(arrays)
        tensors = [_describe(name, array) for name, array in self._arrays.items()]
        total = sum(t.nbytes for t in tensors)
        super().__init__([SourceFile("<memory>", "memory", total)], tensors)
        self.input_shape = input_shape

    def read(self, tensor: Tensor) -> Any:
        """The array itself, wherever it lives."""
        return self._arrays[tensor.name]

    def close(self) -> None:
        """Nothing to release."""


def _describe(name: Any, array: Any) -> Tensor:
    shape, dtype, nbytes = (getattr(array, a, None) for a in ("shape", "dtype", "nbytes"))
    if not isinstance(name, str) or shape is None or dtype is None or nbytes is None:
        raise UnsupportedInput(
            f"the entry {str(name)[:80]!r} is a {type(array).__name__}: give a dictionary from names (strings) "
            "to NumPy, PyTorch or JAX arrays, such as module.state_dict()"
        )
    return Tensor(name, str(dtype).removeprefix("torch."), tuple(int(n) for n in shape), int(nbytes))
