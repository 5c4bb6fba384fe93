"""Matrices whose entries are stored somewhere and can be read in blocks of columns.

A framework's adapter says where the entries are and how to read a block to the host (`_read`), and does
the exploratory product A(AᵀX) in its own idiom (`gram`). Everything that proves is here, once, in NumPy
float64: entrywise sums, products with their rounding, the Gram matrix.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import UndefinedNorm
from opnorm.linalg.entrywise import MOST_SINGLE_TERMS, Entrywise, entrywise
from opnorm.linalg.operator import Block, LinearOperator, Rounding
from opnorm.linalg.rounding import TINY, UNIT, Float32, Float64, gamma, up

BLOCK_ENTRIES = 1 << 19
"""Entries of one streamed block, chosen by measurement: 2 MB in float32, 4 MB in float64."""

SAFE_EXPONENT = 60
"""With ‖A‖_F² within 2^±60 no sum of squares leaves the range of float32, in which exploration runs."""

UNDERFLOW = 2.0**-600
"""Added to every error constant: bounds all underflows of a product with a block of norm at least 1."""


class StoredMatrix(LinearOperator):
    """2^exponent·A for a stored real matrix A.

    `inexact`: converting an entry to float64 may round it (64-bit integers beyond 2⁵³, long doubles).
    """

    def __init__(self, rows: int, columns: int, *, exponent: int = 0, inexact: bool = False) -> None:
        super().__init__((rows,), (columns,))
        self.exponent = exponent
        self.inexact = inexact

    @abstractmethod
    def _read(self, start: int, stop: int) -> NDArray[Any]:
        """Columns start:stop of A as a host array (rows, stop − start) of any real dtype."""

    @property
    def columns_are_cheap(self) -> bool:
        """They are there to be read."""
        return True

    def rescaled(self, exponent: int) -> Self:
        """2^exponent·A, exact but for float64 entries that underflow (their loss is in `rounding`)."""
        other = copy.copy(self)
        other.__dict__.pop("_entrywise", None)
        other.exponent = self.exponent + exponent
        return other

    @property
    def block_width(self) -> int:
        """Columns of one streamed block."""
        return max(16, BLOCK_ENTRIES // max(self.shape[0], 1))

    def blocks64(self, width: int = 0) -> Iterator[Float64]:
        """Column blocks in float64. Each is read-only to the caller and valid until the next is asked for."""
        columns = self.shape[1]
        width = width or self.block_width
        buffer: Float64 | None = None
        for start in range(0, columns, width):
            source = self._read(start, min(start + width, columns))
            if source.dtype == np.float64 and self.exponent == 0:
                yield source
                continue
            if buffer is None or buffer.shape != source.shape:
                buffer = np.empty_like(source, dtype=np.float64, subok=False)
            np.copyto(buffer, source, casting="unsafe")
            if self.exponent:
                np.ldexp(buffer, self.exponent, out=buffer)
            yield buffer

    def blocks32(self, width: int) -> Iterator[Float32] | None:  # noqa: ARG002
        """Column blocks in float32 where that is exact and costs no conversion, else None."""
        return None

    def entrywise(self) -> Entrywise:
        """See `opnorm.linalg.entrywise`; raises `UndefinedNorm` for a NaN or an infinity."""
        return self._entrywise

    @cached_property
    def _entrywise(self) -> Entrywise:
        width = self.block_width
        singles = self.blocks32(width) if max(self.shape[0], width) <= MOST_SINGLE_TERMS else None
        sums = entrywise(self.shape, self.blocks64(width), singles)
        if not math.isfinite(sums.square + sums.one + sums.inf):
            self._refuse_nonfinite()
        return sums

    def _refuse_nonfinite(self) -> None:
        nan = inf = 0
        for block in self.blocks64():
            nan += int(np.isnan(block).sum())
            inf += int(np.isinf(block).sum())
        if nan or inf:
            raise UndefinedNorm(nan, inf)

    def centered(self) -> Self:
        """A rescaled by a power of two so that sums of squares neither overflow nor underflow."""
        square = self.entrywise().square
        if 2.0**-SAFE_EXPONENT < square < 2.0**SAFE_EXPONENT:
            return self
        largest = max((float(np.abs(b).max(initial=0.0)) for b in self.blocks64()), default=0.0)
        return self if largest == 0 else self.rescaled(-math.frexp(largest)[1])

    @property
    def perturbation(self) -> float:
        """An upper bound on ‖Â − A‖_F, where Â are the float64 entries that products see."""
        loss = math.sqrt(math.prod(self.shape)) * TINY if self.exponent else 0.0
        return up(loss + 2 * UNIT * self.entrywise().frobenius_up) if self.inexact else up(loss)

    @property
    def rounding(self) -> Rounding:
        """|fl(ÂX) − ÂX| ≤ γ_n|Â||X| in any order of summation, so c = γ_n‖Â‖_F + perturbation."""
        sums, loss = self.entrywise(), self.perturbation
        rows, columns = self.shape
        return Rounding(
            up(sums.upper + loss),
            up(gamma(columns) * sums.frobenius_up + loss + UNDERFLOW),
            up(gamma(rows) * sums.frobenius_up + loss + UNDERFLOW),
        )

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        total = np.zeros((self.shape[0], block.shape[1]))
        start = 0
        for part in self.blocks64():
            stop = start + part.shape[1]
            total += part @ block[start:stop]
            start = stop
        return total

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        images = [part.T @ block for part in self.blocks64()]
        return np.concatenate(images) if images else np.zeros((0, block.shape[1]))

    def gram64(self, block: Float64) -> Float64:
        """See `LinearOperator.gram64`; fused, so that each entry is read once."""
        total = np.zeros((self.shape[0], block.shape[1]))
        for part in self.blocks64():
            total += part @ (part.T @ block)
        return total

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        return self.matmat64(np.asarray(block, dtype=np.float64))

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        return self.rmatmat64(np.asarray(block, dtype=np.float64))
