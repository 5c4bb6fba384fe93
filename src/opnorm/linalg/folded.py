"""A stored matrix with the neighbouring normalization folded in: M = diag(r)·W·diag(c), then M(I − 11ᵀ/n) if centered.

Scales and means are applied while the entries stream by; nothing is formed. The float64 entries that result are a
stored matrix Â of their own, measured without error; how far A itself lies from it is stated beside:

- Where W is float32 or narrower and only one side has scales, float32 numbers, each product is exact in float64
  (24 + 24 ≤ 53 bits, and no exponent leaves the range). Otherwise reading, and each of two products, round once:
  ‖Â − A‖_F ≤ 4u‖Â‖_F.
- A computed row mean errs by at most γ_{n+1}·mean_j|m_ij|, the difference rounds once more, and
  ‖(mean_j |m_ij|)_i 1ᵀ‖_F ≤ ‖M‖_F: ‖Â − A‖_F ≤ γ_{n+16}‖M‖_F with what was said before.
- Scales known to within `relative` are D₁, D₂ of `opnorm.linalg.near`, whose norms are taken up; but D₂ does not
  commute with centering: M(D₂ − I)(I − 11ᵀ/n) is then only known to have a norm of at most relative·‖M‖_F.
- Underflow adds at most TINY an entry and operation.

Guarantee: PROVED, with `opnorm.linalg.near`. Cost: a multiplication an entry and read more, and for centering or
inexact products a further read.
"""

from __future__ import annotations

import math

import numpy as np

from opnorm.errors import UnsupportedInput
from opnorm.linalg.near import Near
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import TINY, UNIT, Float64, gamma, ldexp_up, up
from opnorm.linalg.stored import StoredMatrix


class FoldedMatrix(StoredMatrix):
    """fl(fl(diag(r)·W·diag(c)) − s1ᵀ − 1tᵀ) for a stored W, entry by entry in float64."""

    def __init__(
        self,
        base: StoredMatrix,
        *,
        rows: Float64 | None = None,
        columns: Float64 | None = None,
        row_shifts: Float64 | None = None,
        column_shifts: Float64 | None = None,
    ) -> None:
        super().__init__(*base.shape)
        if base.exponent:
            raise UnsupportedInput(f"{base!r} is scaled by 2^{base.exponent}: only a matrix as stored is folded")
        self.base, self.rows, self.columns = base, rows, columns
        self.row_shifts, self.column_shifts = row_shifts, column_shifts

    def _read(self, start: int, stop: int) -> Float64:
        part = self.base._read(start, stop).astype(np.float64)
        if self.rows is not None:
            part *= self.rows[:, None]
        if self.columns is not None:
            part *= self.columns[start:stop]
        if self.row_shifts is not None:
            part -= self.row_shifts[:, None]
        if self.column_shifts is not None:
            part -= self.column_shifts[start:stop]
        return part

    @property
    def T(self) -> FoldedMatrix:
        """See `LinearOperator.T`."""
        base = self.base.T
        assert isinstance(base, StoredMatrix)
        other = FoldedMatrix(
            base,
            rows=self.columns,
            columns=self.rows,
            row_shifts=self.column_shifts,
            column_shifts=self.row_shifts,
        )
        other.exponent = self.exponent
        return other


def folded(
    base: StoredMatrix,
    *,
    rows: Float64 | None = None,
    columns: Float64 | None = None,
    centered: bool = False,
    relative: float = 0.0,
) -> LinearOperator:
    """diag(r)·W·diag(c), centered or not, to be measured; `relative`: the distance of r and c from the true scales."""
    plain = FoldedMatrix(base, rows=rows, columns=columns)
    short = (rows is None or columns is None) and all(_is_short(scale) for scale in (rows, columns))
    exact = not base.inexact and _is_single(base) and short
    if exact and not centered:
        return Near(plain, relative=relative) if relative else plain
    slack = gamma(base.shape[1] + 16) if centered else 4 * UNIT
    absolute = up(slack * (size := frobenius_up(plain)) + 8 * math.sqrt(math.prod(base.shape)) * TINY, 8)
    if not centered:
        return Near(plain, relative=relative, absolute=absolute)
    means = plain.matmat64(np.ones((base.shape[1], 1)))[:, 0] / max(base.shape[1], 1)
    shifted = FoldedMatrix(base, rows=rows, columns=columns, row_shifts=means)
    return Near(shifted, relative=0.0, absolute=up(absolute + relative * size * (1 + slack), 8))


def frobenius_up(matrix: StoredMatrix) -> float:
    """An upper bound on ‖A‖_F, whatever the scale of A; raises `UndefinedNorm` for a NaN or an infinity."""
    centered = matrix.centered()
    return ldexp_up(centered.entrywise().frobenius_up, matrix.exponent - centered.exponent)


def _is_single(base: StoredMatrix) -> bool:
    return 0 in base.shape or base._read(0, 1).dtype == np.float32


def _is_short(scale: Float64 | None) -> bool:
    """Whether every scale is a float32 number, so that its product with one is exact in float64."""
    if scale is None:
        return True
    with np.errstate(over="ignore"):
        return bool((scale.astype(np.float32) == scale).all())
