"""Quantized weights: codes of 8 bits and the scales that give them meaning, multiplied while streaming.

Entry (i, j) is code(i, j)·scale(i // r, j // c) for blocks of r×c. Exact in float64: an 8-bit integer has at most 8
significant bits and an 8-bit float at most 4, a float32 scale 24, so the product needs at most 32 of 53; its
exponent, between −17 − 149 and 16 + 128, is far from both ends of binary64. So the streamed entries are the weights,
and every proof about a stored matrix holds for them. The codes are read a block of columns at a time and never
copied whole.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import UnsupportedInput
from opnorm.frameworks import aslinearoperator
from opnorm.frameworks.numpy import FLOAT8, embed
from opnorm.linalg.operator import Block
from opnorm.linalg.rounding import Float64
from opnorm.linalg.stored import StoredMatrix

CODES = ("int8", "uint8", *FLOAT8)
"""The dtypes of codes: 8 bits, a value of at most 8 significant bits each."""


class ScaledBlocks(StoredMatrix):
    """Codes (rows, columns), each block of `block` = (r, c) of them times one of `scales` (⌈rows/r⌉, ⌈columns/c⌉).

    `codes`: a NumPy array or a tensor of a framework, of a dtype in `CODES`. `scales`: anything NumPy turns into
    numbers that float32 holds exactly; a NaN among them makes the norm undefined.
    """

    def __init__(self, codes: Any, scales: Any, block: tuple[int, int]) -> None:
        rows, columns = (int(n) for n in codes.shape)
        super().__init__(rows, columns)
        dtype = str(codes.dtype).removeprefix("torch.")
        if dtype not in CODES:
            raise UnsupportedInput(f"codes of dtype {dtype} are not read with scales: give one of {', '.join(CODES)}")
        self.scales = _exact(scales)
        expected = (-(-rows // block[0]), -(-columns // block[1]))
        if self.scales.shape != expected:
            raise UnsupportedInput(
                f"scales of shape {self.scales.shape} do not fit codes of shape {(rows, columns)} in blocks of "
                f"{block[0]}x{block[1]}: give scales of shape {expected}"
            )
        self.codes, self.block = codes, block

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self._scaled(start, stop, np.float64)

    def _scaled(self, start: int, stop: int, dtype: type[np.floating[Any]]) -> NDArray[Any]:
        part = self.codes[:, start:stop]
        host = embed(part)[0] if isinstance(part, np.ndarray) else _streamed(part)
        wide = host.astype(dtype)
        high, across = self.block
        columns = self.scales[:, np.arange(start, stop) // across].astype(dtype)
        for band in range(len(self.scales)):
            wide[band * high : (band + 1) * high] *= columns[band]
        return wide

    @property
    def T(self) -> Self:
        """See `LinearOperator.T`."""
        other = self.rescaled(0)
        other.codes, other.scales, other.block = self.codes.T, self.scales.T, self.block[::-1]
        other.codomain, other.domain = self.domain, self.codomain
        return other

    def wide(self) -> Self:
        """See `LinearOperator.wide`."""
        return self.T if self.shape[0] > self.shape[1] else self

    def gram(self, block: Block) -> Float64:
        """See `LinearOperator.gram`; explored in float32, whose rounding the float64 pass settles."""
        if self.exponent:
            return self.gram64(np.asarray(block, dtype=np.float64))
        x = block.astype(np.float32)
        total, width = np.zeros(x.shape, dtype=np.float32), self.block_width
        for start in range(0, self.shape[1], width):
            part = self._scaled(start, min(start + width, self.shape[1]), np.float32)
            total += part @ (part.T @ x)
        return total.astype(np.float64)


def _exact(scales: Any) -> Float64:
    """The scales in float64, refused where float32 does not hold them: their products would round."""
    if str(scales.dtype) == "float8_e8m0fnu":  # powers of two, which no matrix is made of
        scales = scales.astype(np.float32)
    wide = _streamed(scales)
    with np.errstate(over="ignore"):
        single = wide.astype(np.float32)
    if not np.array_equal(single, wide, equal_nan=True):
        raise UnsupportedInput("scales that float32 does not hold exactly are not read; dequantize the weight first")
    return wide


def _streamed(part: Any) -> Float64:
    """Any array's entries in float64 on the host."""
    operator = aslinearoperator(part)
    assert isinstance(operator, StoredMatrix)
    return np.concatenate([np.zeros((operator.shape[0], 0)), *(b.copy() for b in operator.blocks64())], axis=1)
