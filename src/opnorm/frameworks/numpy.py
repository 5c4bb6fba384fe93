"""NumPy arrays: entries in memory, products by the BLAS behind NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import UnsupportedInput
from opnorm.frameworks import require_matrix, require_real
from opnorm.linalg.operator import Block
from opnorm.linalg.rounding import Float32, Float64
from opnorm.linalg.stored import StoredMatrix

FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e4m3", "float8_e3m4")
LOW_PRECISION = ("float16", "bfloat16", *FLOAT8)

ACROSS_COLUMNS, ACROSS_ENTRIES = 1024, 1 << 23


class HostMatrix(StoredMatrix):
    """A matrix in host memory, float32 or float64, which every accepted dtype embeds into exactly.

    Exploration runs in float32 where the entries are float32, else in float64.
    """

    def __init__(self, array: NDArray[Any], *, inexact: bool = False) -> None:
        super().__init__(*array.shape, inexact=inexact)
        self.array = array

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self.array[:, start:stop]

    @property
    def block_width(self) -> int:
        """See `StoredMatrix.block_width`; wider where columns lie across memory, for long pieces of rows."""
        width = super().block_width
        across = not self.array.flags.f_contiguous
        return max(width, min(ACROSS_COLUMNS, ACROSS_ENTRIES // max(self.shape[0], 1))) if across else width

    def blocks32(self, width: int) -> Iterator[Float32] | None:
        """See `StoredMatrix.blocks32`."""
        if self.array.dtype != np.float32 or self.exponent:
            return None
        return (self.array[:, start : start + width] for start in range(0, self.shape[1], width))

    @property
    def T(self) -> HostMatrix:
        """See `LinearOperator.T`."""
        other = self.rescaled(0)
        other.array = self.array.T
        other.codomain, other.domain = self.domain, self.codomain
        return other

    def wide(self) -> HostMatrix:
        """See `LinearOperator.wide`; a square matrix is read along its memory."""
        rows, columns = self.shape
        along_memory = rows == columns and self.array.flags.c_contiguous
        return self.T if rows > columns or along_memory else self

    def gram(self, block: Block) -> Float64:
        """See `LinearOperator.gram`."""
        if self.array.dtype != np.float32 or self.exponent:
            return self.gram64(np.asarray(block, dtype=np.float64))
        x = block.astype(np.float32)
        total = np.zeros(x.shape, dtype=np.float32)
        width = self.block_width
        for start in range(0, self.shape[1], width):
            part = self.array[:, start : start + width]
            total += part @ (part.T @ x)
        return total.astype(np.float64)


def accepts(matrix: Any) -> bool:  # noqa: ARG001
    """Whatever no other framework claimed: `numpy.asarray` decides."""
    return True


def adapt(matrix: Any) -> HostMatrix:
    """A `HostMatrix` over `matrix` (rows, columns), copied only where its dtype or layout asks for it."""
    if isinstance(matrix, np.ma.MaskedArray):
        raise UnsupportedInput("a masked array has no norm while entries are missing; fill them first, with .filled(0)")
    array = np.asarray(matrix)
    require_real(array.dtype.kind == "c", array.dtype)
    require_matrix(array.shape, array.dtype)
    embedded, inexact = embed(array)
    return HostMatrix(embedded, inexact=inexact)


def embed(array: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """The array in float32 or float64, and whether any entry may have been rounded on the way.

    Exact for float16, bfloat16, float8, float32, float64, and integers up to 32 bits; for 64-bit integers
    within ±2⁵³. `UnsupportedInput` for any other dtype.
    """
    name, kind = array.dtype.name, array.dtype.kind
    if name in FLOAT8:
        return _decode_bytes(array), False
    if name in LOW_PRECISION or kind == "b" or (kind in "iu" and array.dtype.itemsize <= 2):
        return _laid_out(array.astype(np.float32)), False
    if name == "float32":
        return _laid_out(array.astype(np.float32, copy=False)), False
    if name == "float64" or kind in "iu":
        limit = 2**53
        inexact = array.dtype.itemsize == 8 and kind in "iu" and bool(((array > limit) | (array < -limit)).any())
        return _laid_out(array.astype(np.float64, copy=False)), inexact
    if kind == "f":
        return _laid_out(_narrowed(array)), True
    raise UnsupportedInput(
        f"an array of dtype {array.dtype} is not numeric: give real floating-point or integer entries"
    )


def _narrowed(array: NDArray[Any]) -> NDArray[np.float64]:
    """A long double array in float64, refused where an entry leaves the range of normal float64 numbers."""
    size = np.abs(array[np.isfinite(array) & (array != 0)])
    limits = np.finfo(np.float64)
    if size.size and (size.max() > limits.max or size.min() < limits.tiny):
        raise UnsupportedInput(
            f"entries of dtype {array.dtype} between {size.min():.3g} and {size.max():.3g} leave the range of "
            "float64; multiply the matrix by a power of two first"
        )
    return array.astype(np.float64)


def _decode_bytes(array: NDArray[Any]) -> NDArray[np.float32]:
    """One look-up an entry: the 256 values of an 8-bit format, each exact in float32."""
    table = np.arange(256, dtype=np.uint8).view(array.dtype).astype(np.float32)
    codes = np.ascontiguousarray(array).view(np.uint8)
    return table[codes]


def _laid_out(array: NDArray[Any]) -> NDArray[Any]:
    """Native byte order, and contiguous one way or the other, as BLAS wants it."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    contiguous = native.flags.c_contiguous or native.flags.f_contiguous
    return native if contiguous else np.ascontiguousarray(native)
