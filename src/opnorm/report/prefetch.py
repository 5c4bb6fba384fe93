"""Reading and hashing run ahead of measuring, by as many layers as are measured at a time and one more.

Conversion does not: it would take a core from the products, whose threads wait for one another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from opnorm.errors import OpnormError
from opnorm.layers.plan import Layer
from opnorm.readers.checkpoint import Checkpoint, Tensor


@dataclass(frozen=True, slots=True)
class Content:
    """A tensor's entries and the SHA-256 of its bytes, or why they could not be read."""

    array: Any = None
    key: bytes = b""
    error: OpnormError | None = None


Contents: TypeAlias = Mapping[str, Content]
"""Tensor name → what was read of it."""


def prefetched(
    checkpoint: Checkpoint, layers: list[Layer], tensors: Mapping[str, Tensor], ahead: int
) -> Iterator[tuple[Layer, Contents]]:
    """Each layer with the tensors it needs, read and hashed while the ones before it are measured."""
    with ThreadPoolExecutor(1) as reader:
        queue: list[Future[Contents]] = []
        for position, layer in enumerate(layers):
            while len(queue) < ahead + 1 and position + len(queue) < len(layers):
                queue.append(reader.submit(_load, checkpoint, layers[position + len(queue)], tensors))
            yield layer, queue.pop(0).result()


def _load(checkpoint: Checkpoint, layer: Layer, tensors: Mapping[str, Tensor]) -> Contents:
    return {name: _read(checkpoint, tensors[name]) for name in layer.needs}


def _read(checkpoint: Checkpoint, tensor: Tensor) -> Content:
    try:
        array = checkpoint.read(tensor)
        key = content_key(array)
    except OpnormError as error:
        return Content(error=error)
    return Content(array, key)


def content_key(array: Any) -> bytes:
    """SHA-256 of an array's bytes in row-major order; empty for arrays of other frameworks than NumPy."""
    if not isinstance(array, np.ndarray):
        return b""
    flat = np.ascontiguousarray(array)
    return hashlib.sha256(flat.view(np.uint8).data if flat.size else b"").digest()
