"""The singular values and directions of one operator, as far as they are affordable. Estimates, nothing more.

Up to `MOST_WORK` multiplications all of them, from eigenvectors of the float64 Gram matrix on the short side: squaring
hides singular values below `resolution`, some 10⁻⁷ of the largest. Beyond, the largest `PARTIAL` by block Lanczos, and
of their directions those that converged: a direction counts as a singular direction once its residual is below
`CONVERGED`, so that what is said of the others' complement holds.

Cost: all: m²n + 9m³ multiplications. Largest: 16 passes over the entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from opnorm.linalg.centering import centered
from opnorm.linalg.gram import gram_matrix
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import UNIT, Float64
from opnorm.linalg.start import start_block

MOST_WORK = 1 << 34
"""Multiplications spent on all singular values and directions of one operator: a second or two on a core."""

PARTIAL = 64
CONVERGED = 1e-4
"""‖AAᵀx − θx‖/θ₁ of a direction that is one."""

_BLOCK, _PASSES = 16, 16
_SEED = 0


@dataclass(frozen=True, slots=True)
class Sight:
    """values: singular values, descending, in units of 2^exponent. short: (short side, k) unit vectors of the first k.

    operator: 2^−exponent times what was looked at. complete: all values and directions are here.
    """

    operator: LinearOperator
    exponent: int
    values: Float64
    short: Float64
    complete: bool

    @property
    def singular_values(self) -> Float64:
        """In the units of the weights."""
        return np.asarray(np.ldexp(self.values, self.exponent))

    @property
    def resolution(self) -> float:
        """What of a singular value the Gram matrix may hide, in the units of the weights."""
        side = min(self.operator.shape)
        return float(4 * np.sqrt(side * UNIT) * self.singular_values.max(initial=0.0))

    @property
    def directions(self) -> int:
        """How many have a direction: not those that rounding makes."""
        k = self.short.shape[1]
        return int((self.values[:k] > self._floor).sum())

    def left(self, k: int) -> Float64:
        """The first k output directions, as columns."""
        k = min(k, self.directions)
        return self.short[:, :k] if self._wide else self._across(k, self.operator.matmat64)

    def right(self, k: int) -> Float64:
        """The first k input directions, as columns."""
        k = min(k, self.directions)
        return self._across(k, self.operator.rmatmat64) if self._wide else self.short[:, :k]

    def left_cosines(self, outputs: Float64) -> Float64:
        """|⟨uᵢ, y⟩| for every output direction uᵢ here and every unit column y of `outputs`."""
        k = self.directions
        if self._wide:
            return np.asarray(np.abs(self.short[:, :k].T @ outputs))
        return np.asarray(np.abs(self.short[:, :k].T @ self.operator.rmatmat64(outputs)) / self.values[:k, None])

    @property
    def _wide(self) -> bool:
        rows, columns = self.operator.shape
        return rows <= columns

    @property
    def _floor(self) -> float:
        return 1e-6 * float(self.values.max(initial=0.0))

    def _across(self, k: int, apply: Callable[[Float64], Float64]) -> Float64:
        image = apply(np.ascontiguousarray(self.short[:, :k]))
        return np.asarray(image / np.maximum(np.linalg.norm(image, axis=0), np.finfo(np.float64).tiny))


def look(operator: LinearOperator) -> Sight:
    """All that `operator` shows at a moderate cost. Raises `UndefinedNorm` for non-finite entries."""
    moved, exponent = centered(operator)
    rows, columns = moved.shape
    wide = moved if rows <= columns else moved.T
    short, long = wide.shape
    if short * short * (long + 9 * short) <= MOST_WORK:
        squares, vectors = np.linalg.eigh(gram_matrix(wide).matrix)
        values = np.sqrt(np.maximum(squares[::-1], 0.0))
        return Sight(moved, exponent, values, vectors[:, ::-1], complete=True)
    values, vectors = _largest(wide)
    return Sight(moved, exponent, values, vectors, complete=False)


def _largest(wide: LinearOperator) -> tuple[Float64, Float64]:
    lanczos = BlockLanczos(wide.gram, start_block(wide.shape[0], _BLOCK, _SEED))
    while not lanczos.spent(_PASSES):
        lanczos.step()
    squares, turns = np.linalg.eigh(lanczos.projection)
    squares, turns = squares[::-1][:PARTIAL], turns[:, ::-1][:, :PARTIAL]
    vectors = lanczos.basis @ turns
    residuals = np.linalg.norm(lanczos.images @ turns - vectors * squares, axis=0)
    settled = residuals <= CONVERGED * max(float(squares.max(initial=0.0)), np.finfo(np.float64).tiny)
    count = int(np.argmin(np.append(settled, False)))
    return np.sqrt(np.maximum(squares, 0.0)), vectors[:, :count]
