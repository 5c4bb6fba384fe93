"""The float64 Gram matrix, and a Cholesky factorization of sI − G that proves λ_max(AAᵀ) ≤ τ².

Theorem C (`docs/proofs.md`): if the Cholesky factorization of a stored symmetric M, by conventional sums in
any order, completes with finite positive pivots, then λ_min(M) ≥ −ku/(1−2ku)·tr M − underflow, k = m+2
(Higham, Lemma 8.4 and Theorem 10.3; compare Rump, *BIT* 46 (2006) 433). With M = sI − G and
|G − AAᵀ| ≤ γ_n|A||A|ᵀ this bounds σ₁². Whether this machine's BLAS sums conventionally is probed once
(`opnorm.linalg.cholesky`); where its factors do not, the residual form is used, which assumes nothing of them.
Guarantee: PROVED. Cost: m²n + m³/3 multiplications in float64, 8m² to 16m² bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from opnorm.linalg.cholesky import IN_PLACE_SIDE, cholesky, cholesky_is_conventional
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import TINY, TINY32, UNIT, Float64, down, frobenius_up, gamma, gamma32, up
from opnorm.linalg.stored import BLOCK_ENTRIES, StoredMatrix

COARSE_COLUMNS = 512
"""Terms that a float32 Gram matrix sums before they are added in float64."""

_BLOCK_COLUMNS = 1024
_MIRROR = 256


@dataclass(frozen=True, slots=True)
class Gram:
    """Ĝ ≈ AAᵀ (m×m, symmetric) with ‖Ĝ − AAᵀ‖ ≤ error, and tr Ĝ rounded up."""

    matrix: Float64
    error: float
    trace: float
    columns: int

    def rayleigh(self, vector: Float64) -> float:
        """A PROVED lower bound on λ_max(AAᵀ): vᵀĜv/‖v‖² less all errors."""
        quotient = float(vector @ (self.matrix @ vector)) / float(vector @ vector)
        error = self.error + gamma(2 * len(vector) + 8) * self.trace * (1 + gamma(self.columns)) * 2
        return down(max(quotient - up(error), 0.0), 8)


def gram_matrix(operator: LinearOperator) -> Gram:
    """Form Ĝ in float64, in one pass over column blocks; the operator is wide (rows ≤ columns)."""
    rows, columns = operator.shape
    blocks = operator.blocks64(max(_BLOCK_COLUMNS, BLOCK_ENTRIES // max(rows, 1)))
    matrix = _summed_in_place(rows, blocks) if rows >= IN_PLACE_SIDE else _summed(rows, blocks)
    return _described(matrix, columns, gamma(columns), TINY, _read_error(operator))


def gram_matrix32(operator: LinearOperator) -> Gram | None:
    """The same from float32 products, `COARSE_COLUMNS` terms at a time, added up in float64.

    |Ĝ − AAᵀ| ≤ (γ_k(2⁻²⁴) + γ_n)|A||A|ᵀ with k = `COARSE_COLUMNS`: half the work, and a slack in σ² of about
    3e-5 times the stable rank. None where the entries are not float32 in memory.
    """
    blocks = operator.blocks32(COARSE_COLUMNS) if isinstance(operator, StoredMatrix) else None
    if blocks is None:
        return None
    rows, columns = operator.shape
    matrix = np.zeros((rows, rows))
    for block in blocks:
        matrix += block @ block.T
    return _described(matrix, columns, gamma32(COARSE_COLUMNS) + gamma(columns), TINY32, 0.0)


def _described(matrix: Float64, columns: int, relative: float, tiny: float, loss: float) -> Gram:
    """`relative`: of |A||A|ᵀ, the error of each entry; `tiny`: of each product, by underflow; `loss`: ‖Â − A‖_F."""
    rows = len(matrix)
    underflow = 2 * rows * columns * tiny
    trace = up(float(np.trace(matrix)) * (1 + gamma(rows)))
    frobenius_square = up((trace + underflow) / (1 - relative), 8)
    error = relative * frobenius_square + 2 * math.sqrt(frobenius_square) * loss + loss**2 + underflow
    return Gram(matrix, up(error, 16), trace, columns)


def _summed(rows: int, blocks: Iterable[Float64]) -> Float64:
    matrix = np.zeros((rows, rows))
    for block in blocks:
        matrix += block @ block.T  # NumPy sees the transpose and computes one triangle
    return matrix


def _summed_in_place(rows: int, blocks: Iterable[Float64]) -> Float64:
    """The same without temporaries of m×m: one triangle by dsyrk, then mirrored block by block."""
    from scipy.linalg.blas import dsyrk

    upper = np.zeros((rows, rows), order="F")
    for block in blocks:
        across = not block.flags.f_contiguous
        factor = np.ascontiguousarray(block).T if across else block
        upper = dsyrk(1.0, factor, beta=1.0, c=upper, trans=int(across), overwrite_c=1)
    _mirror(upper)
    return np.asarray(upper)


def _read_error(operator: LinearOperator) -> float:
    """‖Â − A‖_F for the blocks read: what conversion lost, or the rounding of products with unit vectors."""
    if isinstance(operator, StoredMatrix):
        return operator.perturbation
    known = operator.rounding
    assert known is not None
    return up(known.forward * math.sqrt(operator.shape[1]))


def prove_upper(gram: Gram, shift: float) -> float | None:
    """A PROVED upper bound on λ_max(AAᵀ) just above `shift`, or None where sI − Ĝ is not clearly positive.

    From `IN_PLACE_SIDE` the factorization takes the place of Ĝ, which is restored only if it fails.
    """
    original = np.diagonal(gram.matrix).copy()
    diagonal = shift - original
    if not (diagonal > 0).all():
        return None
    in_place = len(original) >= IN_PLACE_SIDE
    shifted = np.negative(gram.matrix, out=gram.matrix if in_place else None)
    np.fill_diagonal(shifted, diagonal)
    conventional = cholesky_is_conventional(len(original))
    factor = cholesky(shifted if conventional else shifted.copy(order="F"))
    if factor is None:
        if in_place:
            _restore(shifted, original)
        return None
    slack = cholesky_slack(diagonal, gram.columns) if conventional else residual_slack(shifted, factor)
    return up(shift + slack + UNIT * float(diagonal.max()) + gram.error, 16)


def _restore(shifted: Float64, diagonal: Float64) -> None:
    """Ĝ again, from sI − Ĝ whose lower triangle a factorization has overwritten."""
    _mirror(shifted)
    np.negative(shifted, out=shifted)
    np.fill_diagonal(shifted, diagonal)


def _mirror(matrix: Float64) -> None:
    """Copy the strict upper triangle to the lower, block by block."""
    rows = len(matrix)
    for start in range(0, rows, _MIRROR):
        stop = min(start + _MIRROR, rows)
        corner = np.triu(matrix[start:stop, start:stop], 1)
        diagonal = np.diagonal(matrix[start:stop, start:stop]).copy()
        matrix[start:stop, start:stop] = corner + corner.T
        np.fill_diagonal(matrix[start:stop, start:stop], diagonal)
        matrix[stop:, start:stop] = matrix[start:stop, stop:].T


def cholesky_slack(diagonal: Float64, columns: int) -> float:
    """Theorem C: how far below zero an eigenvalue of sI − Ĝ may lie although the factorization completed."""
    rows = len(diagonal)
    ku = (rows + 2) * UNIT
    trace = float(diagonal.sum()) * (1 + gamma(rows))
    underflow = 16 * rows * max(rows, columns) * TINY * max(1.0, float(diagonal.max()))
    return up(ku / (1 - 2 * ku) * trace + underflow, 8)


def residual_slack(matrix: Float64, factor: Float64) -> float:
    """LLᵀ ⪰ 0 for any L, so λ_min(M) ≥ −‖M − LLᵀ‖: holds for any factor, from any library."""
    rows, factor = len(factor), np.tril(factor)
    residual = matrix - factor @ factor.T
    residual = (residual + residual.T) / 2
    rounding = gamma(rows + 3) * (frobenius_up(matrix) + frobenius_up(factor) ** 2)
    return up(min(frobenius_up(residual), _row_sum(residual)) + rounding + rows * rows * TINY, 8)


def _row_sum(matrix: Float64) -> float:
    return up(float(np.abs(matrix).sum(axis=1).max(initial=0.0)) * (1 + gamma(len(matrix))))
