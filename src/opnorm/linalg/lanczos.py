"""Block Lanczos on B = AAᵀ with full reorthogonalization: the only recurrence in the package.

B Q_j = Q_{j−1}C_{j−1}ᵀ + Q_jT_jj + Q_{j+1}C_j. It explores: nothing here is a bound. What the basis
proves is settled by one float64 pass over it (`opnorm.linalg.probable`), whatever its precision was.
(Golub & Van Loan, *Matrix Computations*, 4th ed., section 10.3.6; Musco & Musco 2015 for block size.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from opnorm.linalg.rounding import Float64

_CLEAN = 1e-10
"""Components along the basis below this are left: verification accounts for them."""

_MOST_CLEANINGS = 4


class BlockLanczos:
    """The growing basis Q (rows, p) and projection T ≈ QᵀBQ (p, p), one block and one pass a step.

    `gram` maps a float64 block X to (about) BX. `start` (rows, b) is random; its span is the first block
    of the basis. `warm` vectors may follow: they cannot weaken the bound (theorem A), and often speed it.
    """

    def __init__(self, gram: Callable[[Float64], Float64], start: Float64, warm: Float64 | None = None) -> None:
        self._gram = gram
        self.start = start
        first = start if warm is None else np.hstack([start, warm])
        self._rows = len(start)
        self._store = np.empty((self._rows, 4 * first.shape[1]), order="F")
        self._size = 0
        self._next, self.start_factor = _orthonormal(first[:, : self._rows])
        self._images: list[Float64] = []
        self.projection = np.zeros((0, 0))
        self.coupling = np.zeros((0, 0))
        self.passes = 0

    @property
    def basis(self) -> Float64:
        """Q, every column of which has been multiplied by B."""
        return self._store[:, : self._size]

    @property
    def images(self) -> Float64:
        """The computed BQ, in the precision of `gram`."""
        return np.hstack(self._images)

    @property
    def exhausted(self) -> bool:
        """Whether the basis spans the whole space: there is nothing left to explore."""
        return bool(self._next.shape[1] == 0)

    def spent(self, budget: int) -> bool:
        """Whether `budget` passes are made, or nothing is left to explore."""
        return self.exhausted or self.passes >= budget

    def step(self) -> None:
        """Multiply the newest block by B, enlarge Q and T, and orthonormalize what is new."""
        image = np.asarray(self._gram(self._next), dtype=np.float64)
        self._append(self._next)
        self._images.append(image)
        self.passes += 1
        column = self._extend_projection(image)
        basis = self.basis
        residual = image - basis @ column
        residual -= basis @ (basis.T @ residual)  # Kahan and Parlett: twice is enough
        following, self.coupling = _orthonormal(residual[:, : self._rows - self._size])
        self._next = self._cleaned(following)

    def _cleaned(self, block: Float64) -> Float64:
        """`block` orthogonal to Q: what was rounding noise is not, and a zero residual may lie within Q.

        Theorem A allows any columns here; where none is left of the block, random ones take its place.
        """
        basis = self.basis
        for attempt in range(_MOST_CLEANINGS):
            spill = basis.T @ block
            if np.abs(spill).max(initial=0.0) <= _CLEAN:
                break
            if attempt:
                block = np.random.default_rng(self._size).standard_normal(block.shape)
                block -= basis @ (basis.T @ block)
                spill = basis.T @ block
            block = _orthonormal(block - basis @ spill)[0]
        return block

    def _append(self, block: Float64) -> None:
        grown = self._size + block.shape[1]
        if grown > self._store.shape[1]:
            larger = np.empty((self._rows, 2 * grown), order="F")
            larger[:, : self._size] = self.basis
            self._store = larger
        self._store[:, self._size : grown] = block
        self._size = grown

    def _extend_projection(self, image: Float64) -> Float64:
        size, width = len(self.projection), image.shape[1]
        column = self.basis.T @ image
        grown = np.zeros((size + width, size + width))
        grown[:size, :size] = self.projection
        grown[:, size:] = column
        grown[size:, :] = column.T
        grown[size:, size:] = (column[size:] + column[size:].T) / 2
        self.projection = grown
        return column

    def top(self) -> tuple[float, Float64]:
        """The largest Ritz value (an estimate of σ₁²) and its unit vector in the basis."""
        values, vectors = np.linalg.eigh(self.projection)
        return float(values[-1]), vectors[:, -1]


def _orthonormal(block: Float64) -> tuple[Float64, Float64]:
    if block.shape[1] == 0:
        return block, np.zeros((0, 0))
    q, r = np.linalg.qr(block)
    return q, r
