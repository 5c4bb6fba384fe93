"""Bilinear layers: y_k = x₁ᵀA_k x₂ + b_k, linear in each input, not in both.

Its norm, the largest ‖y‖ for unit x₁ and x₂, is that of a tensor of order three, hard to find in general. Each of the
three ways to unfold the tensor A (outputs × n₁ × n₂) into a matrix bounds it from above:

    ‖B(x₁, x₂)‖ ≤ σ₁(unfolding)·‖x₁‖‖x₂‖,

because y = A₍₁₎(x₁⊗x₂) with ‖x₁⊗x₂‖ = ‖x₁‖‖x₂‖; and because x₁ ↦ B(x₁, ·) is A₍₂₎ᵀ, whose image, a matrix, acts on
x₂ with at most its Frobenius norm; A₍₃₎ likewise. Each unfolding is itself a linear map, measured and named as such;
their minimum is the bound. (De Lathauwer, De Moor and Vandewalle, *A Multilinear Singular Value Decomposition*, 2000.)
"""

from __future__ import annotations

from typing import Any

from opnorm.layers.plan import Arrays, Entry

UNFOLDINGS = (("output", 0), ("first input", 1), ("second input", 2))
BOUND = "the least of the three unfoldings' norms bounds ‖B(x₁, x₂)‖/(‖x₁‖‖x₂‖); the layer is not a linear map of both"


def bilinear(name: str, shape: tuple[int, ...], dtype: str) -> tuple[Entry, ...]:
    """The three unfoldings of a weight (outputs, inputs 1, inputs 2); the first stands for the tensor's bytes."""
    return tuple(_unfolding(name, shape, dtype, side, axis) for side, axis in UNFOLDINGS)


def _unfolding(name: str, shape: tuple[int, ...], dtype: str, side: str, axis: int) -> Entry:
    def build(arrays: Arrays) -> Any:
        weight = arrays[name]
        return weight.swapaxes(0, axis).reshape(shape[axis], -1)

    rows = shape[axis]
    columns = shape[0] * shape[1] * shape[2] // rows if rows else 0
    words = f"unfolding {rows}x{columns} of bilinear {'x'.join(map(str, shape))}"
    unfolded = f"{name}[{side} unfolding]"
    return Entry(
        unfolded, (name,), "bilinear", words, (rows, columns), dtype,
        reason=BOUND if axis == 0 else "", derived=axis > 0, build=build,
    )  # fmt: skip
