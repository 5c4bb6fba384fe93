"""One file a framework, the same verbs in each: turn an array into an operator where it lives.

A framework is considered only if it is already imported: opnorm imports none for you.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Protocol, cast

from opnorm.errors import UnsupportedInput
from opnorm.linalg.operator import LinearOperator

ADAPTERS = {
    "torch": "opnorm.frameworks.torch",
    "jax": "opnorm.frameworks.jax",
    "scipy.sparse": "opnorm.frameworks.scipy",
    "numpy": "opnorm.frameworks.numpy",
}
"""Imported module → its adapter here. The first that accepts an object adapts it; NumPy accepts the rest."""


class Adapter(Protocol):
    """The two verbs of every file in this room."""

    def accepts(self, matrix: Any) -> bool:
        """Whether the object is this framework's."""

    def adapt(self, matrix: Any) -> LinearOperator:
        """The operator over it; `UnsupportedInput` says why not."""


def aslinearoperator(matrix: Any) -> LinearOperator:
    """Turn what users have into a `LinearOperator`.

    Accepts two-dimensional NumPy, PyTorch and JAX arrays of any real dtype on any device, SciPy sparse
    matrices, SciPy `LinearOperator`s (their rounding is unknown: at most an ESTIMATE), nested sequences of
    numbers, and `LinearOperator`s themselves. `UnsupportedInput` for anything else.
    """
    if isinstance(matrix, LinearOperator):
        return matrix
    for module, home in ADAPTERS.items():
        if module in sys.modules:
            adapter: Adapter = cast("Adapter", import_module(home))
            if adapter.accepts(matrix):
                return adapter.adapt(matrix)
    raise UnsupportedInput(f"cannot take a {type(matrix).__name__} for a matrix or operator")


def require_matrix(shape: tuple[int, ...], dtype: object) -> None:
    """Refuse anything that is not two-dimensional, with what to do instead."""
    if len(shape) == 2:
        return
    if len(shape) == 1:
        advice = "a vector is no linear map: its 2-norm is numpy.linalg.norm(v), or reshape it to (1, n)"
    elif len(shape) == 0:
        advice = "a number is no linear map"
    else:
        advice = (
            "a kernel reshaped into a matrix is not the layer: measure each matrix of a stack on its own, "
            "or describe the operator as an opnorm.LinearOperator"
        )
    raise UnsupportedInput(f"an array of shape {shape} and dtype {dtype} has no spectral norm here: {advice}")


def require_real(is_complex: bool, dtype: object) -> None:
    """Refuse complex arrays, with the real matrix of the same norm."""
    if is_complex:
        raise UnsupportedInput(
            f"an array of dtype {dtype} is complex, which opnorm does not measure; "
            "the real matrix [[Re A, -Im A], [Im A, Re A]] has the same spectral norm"
        )
