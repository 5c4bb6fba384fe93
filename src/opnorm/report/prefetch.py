"""Reading and hashing run ahead of measuring, by as many tensors as are measured at a time and one more.

Conversion does not: it would take a core from the products, whose threads wait for one another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from opnorm.errors import OpnormError
from opnorm.readers.checkpoint import Checkpoint, Tensor
from opnorm.readers.naming import Identity


@dataclass(frozen=True, slots=True)
class Content:
    """A tensor's entries and the SHA-256 of its bytes, or why they could not be read."""

    array: Any = None
    key: bytes = b""
    error: OpnormError | None = None


def prefetched(
    checkpoint: Checkpoint, wanted: list[tuple[Tensor, Identity]], ahead: int
) -> Iterator[tuple[Tensor, Identity, Content]]:
    """Each tensor with its content, read and hashed while the ones before it are measured."""
    with ThreadPoolExecutor(1) as reader:
        queue: list[Future[Content]] = []
        for position, (tensor, identity) in enumerate(wanted):
            while len(queue) < ahead + 1 and position + len(queue) < len(wanted):
                queue.append(reader.submit(_load, checkpoint, *wanted[position + len(queue)]))
            yield tensor, identity, queue.pop(0).result()


def _load(checkpoint: Checkpoint, tensor: Tensor, identity: Identity) -> Content:
    if identity.status != "weight":
        return Content()
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
