"""The float64 Gram matrix, and a Cholesky factorization of sI − G that proves λ_max(AAᵀ) ≤ τ².

Theorem C (`docs/proofs.md`): if the Cholesky factorization of a stored symmetric M, by conventional sums in
any order, completes with finite positive pivots, then λ_min(M) ≥ −ku/(1−2ku)·tr M − underflow, k = m+2
(Higham, Lemma 8.4 and Theorem 10.3; compare Rump, *BIT* 46 (2006) 433). With M = sI − G and
|G − AAᵀ| ≤ γ_n|A||A|ᵀ this bounds σ₁². Whether this machine's BLAS sums conventionally is probed once
(`opnorm.linalg.cholesky`); where it does not, the residual form is used, which assumes nothing of the factor.
Guarantee: PROVED. Cost: m²n + m³/3 multiplications in float64, 8m² to 16m² bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from opnorm.linalg.cholesky import cholesky, cholesky_is_conventional
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import TINY, UNIT, Float64, down, frobenius_up, gamma, up
from opnorm.linalg.stored import BLOCK_ENTRIES, StoredMatrix

_BLOCK_COLUMNS = 4096


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
    """Form Ĝ in one pass over column blocks; the operator is wide (rows ≤ columns)."""
    rows, columns = operator.shape
    matrix = np.zeros((rows, rows))
    for block in operator.blocks64(max(_BLOCK_COLUMNS, BLOCK_ENTRIES // max(rows, 1))):
        matrix += block @ block.T  # NumPy sees the transpose and computes one triangle
    trace = up(float(np.trace(matrix)) * (1 + gamma(rows)))
    frobenius_square = up(trace * (1 + gamma(columns)) + rows * columns * TINY, 8)
    loss = _read_error(operator)
    error = gamma(columns) * frobenius_square + 2 * math.sqrt(frobenius_square) * loss + loss**2
    return Gram(matrix, up(error + rows * columns * TINY, 16), trace, columns)


def _read_error(operator: LinearOperator) -> float:
    """‖Â − A‖_F for the blocks read: what conversion lost, or the rounding of products with unit vectors."""
    if isinstance(operator, StoredMatrix):
        return operator.perturbation
    known = operator.rounding
    assert known is not None
    return up(known.forward * math.sqrt(operator.shape[1]))


def prove_upper(gram: Gram, shift: float) -> float | None:
    """A PROVED upper bound on λ_max(AAᵀ) just above `shift`, or None where sI − Ĝ is not clearly positive."""
    diagonal = shift - np.diagonal(gram.matrix)
    if not (diagonal > 0).all():
        return None
    matrix = np.negative(gram.matrix)
    np.fill_diagonal(matrix, diagonal)
    factor = cholesky(matrix)
    if factor is None:
        return None
    conventional = cholesky_is_conventional(len(matrix))
    slack = _cholesky_slack(diagonal, gram.columns) if conventional else _residual_slack(matrix, factor)
    return up(shift + slack + UNIT * float(diagonal.max()) + gram.error, 16)


def _cholesky_slack(diagonal: Float64, columns: int) -> float:
    """Theorem C: how far below zero an eigenvalue of sI − Ĝ may lie although the factorization completed."""
    rows = len(diagonal)
    ku = (rows + 2) * UNIT
    trace = float(diagonal.sum()) * (1 + gamma(rows))
    underflow = 16 * rows * max(rows, columns) * TINY * max(1.0, float(diagonal.max()))
    return up(ku / (1 - 2 * ku) * trace + underflow, 8)


def _residual_slack(matrix: Float64, factor: Float64) -> float:
    """LLᵀ ⪰ 0 for any L, so λ_min(M) ≥ −‖M − LLᵀ‖: holds for any factor, from any library."""
    rows = len(factor)
    residual = matrix - factor @ factor.T
    rounding = gamma(rows + 3) * (frobenius_up(matrix) + frobenius_up(factor) ** 2)
    return up(min(frobenius_up(residual), _row_sum(residual)) + rounding + rows * rows * TINY, 8)


def _row_sum(matrix: Float64) -> float:
    return up(float(np.abs(matrix).sum(axis=1).max(initial=0.0)) * (1 + gamma(len(matrix))))
