"""A kernel read as one matrix (c_out, c_in·taps).

Where the windows of a convolution are disjoint, the convolution is copies of this matrix side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.operator import Block
from opnorm.linalg.rounding import Float32, Float64
from opnorm.linalg.stored import StoredMatrix


class FlattenedKernel(StoredMatrix):
    """A host float32 or float64 array, all but its first axis flattened; wide."""

    def __init__(self, kernel: NDArray[Any]) -> None:
        flat = kernel.reshape(len(kernel), -1)
        self.array = flat if flat.shape[0] <= flat.shape[1] else flat.T
        super().__init__(*self.array.shape)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self.array[:, start:stop]

    def blocks32(self, width: int) -> Iterator[Float32] | None:
        """See `StoredMatrix.blocks32`."""
        if self.array.dtype != np.float32 or self.exponent:
            return None
        return (self.array[:, start : start + width] for start in range(0, self.shape[1], width))

    def gram(self, block: Block) -> Float64:
        """See `LinearOperator.gram`."""
        if self.array.dtype != np.float32 or self.exponent:
            return self.gram64(np.asarray(block, dtype=np.float64))
        single = block.astype(np.float32)
        return np.asarray(self.array @ (self.array.T @ single), dtype=np.float64)
