"""Tensors of a PyTorch file before they are read: views of its storages, checked as they are made.

Shape, strides and offset must stay within the bytes that a storage claims (and the file is held to the claim later),
and an expanded view, whose strides repeat entries, may show at most as many bytes as its storage has, or a megabyte.
A tensor that is no plain view (quantized, sparse, nested, meta, conjugated) is `Opaque`: it is named and never read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from opnorm.readers.checkpoint import shape_problem
from opnorm.readers.pytorch.byte_stream import Refusal
from opnorm.readers.pytorch.dtypes import ITEM_BYTES

MAX_EXPANDED = 1 << 20
"""Bytes that an expanded view may show beyond its storage: buffers of models are expanded scalars at times."""

MAX_SIDE = 2**62
MAX_SIDES = 64


@dataclass(frozen=True, slots=True)
class Storage:
    """`size` bytes of the file's storage `key`, from its byte `start` on, which hold entries of `dtype`."""

    key: str
    dtype: str
    size: int
    start: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A tensor: entries of `dtype`, the first `offset` bytes into its storage, `strides` bytes apart."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the entries, side by side."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def span(self) -> int:
        """Bytes from the first entry to the end of the last one."""
        if 0 in self.shape:
            return 0
        reach = sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))
        return reach + ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """A tensor that is not read, and why. `dtype` tells in reports what it is."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    reason: str


def whole_numbers(values: Any) -> bool:
    """A tuple of whole numbers, none negative; true and false are not numbers."""
    return (
        type(values) is tuple and len(values) <= MAX_SIDES and all(type(v) is int and 0 <= v < MAX_SIDE for v in values)
    )


def view(storage: Storage, dtype: str, offset: Any, size: Any, stride: Any, lazy: bool = False) -> View | Opaque:
    """A tensor of `dtype` in `storage`; offset and strides count entries."""
    if not whole_numbers((offset,)) or not whole_numbers(size) or not whole_numbers(stride):
        raise Refusal("makes a tensor whose offset, shape or strides are not whole numbers from 0 on")
    if len(size) != len(stride):
        raise Refusal(f"makes a tensor of {len(size)} sides and {len(stride)} strides")
    if problem := shape_problem(size):
        raise Refusal(f"makes a tensor that {problem}")
    item = ITEM_BYTES[dtype]
    made = View(storage, dtype, size, tuple(s * item for s in stride), offset * item)
    if made.offset + made.span > storage.size:
        raise Refusal(
            f"makes a tensor of shape {size}, strides {stride} and offset {offset}, "
            f"which reaches past the {storage.size} bytes of its storage"
        )
    if made.nbytes > max(storage.size, MAX_EXPANDED):
        raise Refusal(f"expands a storage of {storage.size} bytes to a tensor of {made.nbytes}")
    if lazy:
        return Opaque(f"lazy {dtype}", size, made.nbytes, "is to be conjugated or negated when loaded")
    return made
