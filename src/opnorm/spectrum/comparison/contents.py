"""What a pair of layers holds: its arrays of either side, whether they are the same, and a digest of them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from opnorm.errors import OpnormError, UnsupportedInput
from opnorm.readers.checkpoint import Checkpoint

Arrays: TypeAlias = Mapping[str, Any]


class Source:
    """The tensors of a checkpoint, those of the last pair kept: fused ones hold several rows in a row."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._tensors = {t.name: t for t in checkpoint.tensors}
        self._held: dict[str, Any] = {}

    def read(self, names: Sequence[str]) -> Arrays:
        """The arrays of these names, in their order; raises what the reader raises."""
        self._held = {n: self._held[n] for n in names if n in self._held}
        for name in names:
            if name not in self._held:
                self._held[name] = self._read(name)
        return {n: self._held[n] for n in names}

    def _read(self, name: str) -> Any:
        try:
            return self._checkpoint.read(self._tensors[name])
        except KeyError:  # a live model's tensor that is no plain array is named and not held
            raise UnsupportedInput(f"the tensor {name[:80]!r} is named and cannot be read") from None


@dataclass(frozen=True, slots=True)
class Contents:
    """The arrays of a pair, or why they could not be read."""

    base: Arrays
    tuned: Arrays
    error: OpnormError | None = None

    @property
    def key(self) -> bytes:
        """SHA-256 of all bytes, so that no file can be built against the random start; empty beyond NumPy's arrays."""
        arrays = [*self.base.values(), *self.tuned.values()]
        if not all(isinstance(a, np.ndarray) for a in arrays):
            return b""
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(_bytes(array).data if array.size else b"")
        return digest.digest()


def same_bytes(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Bit for bit; arrays of other frameworks than NumPy and torch are left to be measured."""
    pairs = list(zip(first, second, strict=True))
    return bool(pairs) and all(_same_form(a, b) and np.array_equal(_bytes(a), _bytes(b)) for a, b in pairs)


def is_rounded(wide: Any, narrow: Any) -> bool:
    """Whether `narrow` is `wide` in a narrower dtype of floating-point numbers."""
    if not (isinstance(wide, np.ndarray) and isinstance(narrow, np.ndarray)):
        return False
    if narrow.itemsize >= wide.itemsize or narrow.dtype.kind in "biu":
        return False
    with np.errstate(all="ignore"):
        return same_bytes([wide.astype(narrow.dtype)], [narrow])


def not_finite(array: Any) -> int:
    """NaN and Inf of a floating-point array; whole numbers have none."""
    if not isinstance(array, np.ndarray):
        return int((~sys.modules["torch"].isfinite(array)).sum())
    return 0 if array.dtype.kind in "biu" else int(array.size - np.isfinite(array).sum())


def _same_form(first: Any, second: Any) -> bool:
    return bool(_form(first) and _form(first) == _form(second))


def _form(array: Any) -> tuple[Any, ...]:
    """What two arrays must share for their bytes to mean the same; empty for arrays whose bytes are not at hand."""
    if isinstance(array, np.ndarray):
        return "numpy", array.dtype, array.shape
    return ("torch", array.dtype, tuple(array.shape)) if _is_plain_torch(array) else ()


def _is_plain_torch(array: Any) -> bool:
    torch = sys.modules.get("torch")
    if torch is None or type(array) not in (torch.Tensor, torch.nn.Parameter):
        return False
    return bool(array.layout == torch.strided and array.device.type == "cpu")


def _bytes(array: Any) -> Any:
    if not isinstance(array, np.ndarray):
        torch = sys.modules["torch"]
        return array.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
