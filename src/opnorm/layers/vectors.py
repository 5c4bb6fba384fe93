"""What is no linear map alone (biases, scales, counts), what is refused, and how vectors are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from opnorm.errors import UnsupportedInput
from opnorm.frameworks import aslinearoperator
from opnorm.layers.plan import Entry
from opnorm.linalg.rounding import Float64
from opnorm.linalg.stored import StoredMatrix

COUNTS = "whole numbers: positions, counts or indices"


def not_a_map(name: str, shape: tuple[int, ...], dtype: str, kind: str, reason: str = "") -> Entry:
    """The row of a tensor that is no matrix."""
    size = "x".join(map(str, shape))
    said = reason or (f"a vector of {size}: {kind}" if len(shape) == 1 else kind)
    return Entry(name, (name,), kind, "", shape, dtype, "not_a_map", said)


def refused(name: str, shape: tuple[int, ...], dtype: str, kind: str, reason: str) -> Entry:
    """The row of a tensor that is not measured, and why."""
    return Entry(name, (name,), kind, "", shape, dtype, "refused", reason)


def numbers(array: Any) -> Float64:
    """A tensor of any framework and shape as float64 on the host, flat, each entry exact; a copy."""
    operator = aslinearoperator(array.reshape(1, -1))
    if not isinstance(operator, StoredMatrix) or operator.inexact:
        raise UnsupportedInput(f"entries of dtype {array.dtype} do not fit float64; save them as float32 or float64")
    parts = [block[0].copy() for block in operator.blocks64()]
    return np.concatenate(parts) if parts else np.zeros(0)
