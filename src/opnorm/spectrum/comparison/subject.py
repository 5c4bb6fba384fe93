"""The operators of one layer in both checkpoints, and what is known of how they are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import Float64

UNITS = {
    "float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8, "float8_e4m3fn": 2.0**-4,
    "float8_e4m3fnuz": 2.0**-4, "float8_e5m2": 2.0**-3, "float8_e5m2fnuz": 2.0**-3,
}  # fmt: skip
"""Unit roundoff of a dtype in which weights are stored."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The operators of one layer. unit: the unit roundoff of what the tuned weight is stored in, 0 where it is not.

    values: gives the singular values of ΔW, where its factors give all that are not 0. turned: all three are stored as
    inputs by outputs. key: of the contents of both.
    """

    base: LinearOperator
    tuned: LinearOperator
    delta: LinearOperator
    unit: float = 0.0
    values: Callable[[], Float64] | None = None
    turned: bool = False
    key: bytes = b""
