"""Brackets on every singular value at once, from factors of which nothing is believed.

Let Λ be diagonal, Q square, both any stored numbers, q ≥ ‖QᵀQ − I‖ with q < 1 and e ≥ ‖Ĝ − QΛQᵀ‖. By Ostrowski's law
of inertia λᵢ(QΛQᵀ) = θᵢλᵢ with θᵢ in [1 − q, 1 + q], so with Weyl and g ≥ ‖Ĝ − AAᵀ‖

    |σᵢ² − λᵢ| ≤ ρᵢ = g + e + q|λᵢ|        (λ and σ both descending).                                    (gram)

For thin U, V and S ≥ 0 with α ≥ ‖UᵀU − I‖, β ≥ ‖VᵀV − I‖, e ≥ ‖A − USVᵀ‖,

    sᵢ√((1−α)(1−β)) − e ≤ σᵢ ≤ sᵢ√((1+α)(1+β)) + e,                                                     (svd)

which does not square, and so reaches values that are 10⁻¹² of the largest. Computed eigenvectors and singular vectors
serve as Q, U and V; residuals are computed and their own rounding is added (`docs/proofs.md`, section 18).

Guarantee: PROVED. Cost beyond the decomposition: two products, 2m³ (gram) or m²n + 2m³ (svd) multiplications.
Sources: A. Ostrowski, *Proc. Nat. Acad. Sci.* 45 (1959) 740; H. Weyl 1912; S. M. Rump, *Verified bounds for singular
values*, BIT 51 (2011) 367, for the same purpose by other means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opnorm.linalg.gram import Gram
from opnorm.linalg.rounding import TINY, UNIT, Float64, frobenius_up, gamma, up
from opnorm.spectrum.values import down_each, up_each


@dataclass(frozen=True, slots=True)
class Enclosure:
    """Singular values as computed, and PROVED ends of each; descending. lowest: a vector that A nearly annihilates."""

    sigma: Float64
    lower: Float64
    upper: Float64
    lowest: Float64 | None = None


def from_gram(gram: Gram) -> Enclosure | None:
    """All σᵢ from an eigendecomposition of Ĝ; None where its vectors are not near orthonormal."""
    values, vectors = np.linalg.eigh(gram.matrix)
    return from_eigenpairs(gram.matrix, gram.error, values, vectors)


def from_eigenpairs(matrix: Float64, error: float, values: Float64, vectors: Float64) -> Enclosure | None:
    """The bounds (gram) for any stored Λ and Q; `error` is g."""
    defect = orthogonality_defect(vectors)
    if not defect < 0.5:
        return None
    residual = _eigen_residual(matrix, values, vectors, defect)
    lowest = vectors[:, int(np.argmin(values))]
    values = np.sort(values)[::-1]
    radius = np.abs(values) * defect + up(error + residual, 4)
    lower = down_each(np.sqrt(np.maximum(down_each(values - up_each(radius)), 0.0)))
    upper = up_each(np.sqrt(up_each(np.maximum(values, 0.0) + up_each(radius))))
    return Enclosure(np.sqrt(np.maximum(values, 0.0)), lower, upper, lowest)


def _eigen_residual(matrix: Float64, values: Float64, vectors: Float64, defect: float) -> float:
    """An upper bound on ‖Ĝ − QΛQᵀ‖. ‖|Q||Λ||Qᵀ|‖ ≤ Σ|λⱼ|‖qⱼ‖² ≤ (1 + q)Σ|λⱼ| bounds what products round."""
    size = len(matrix)
    residual = matrix - (vectors * values) @ vectors.T
    products = up(float(np.abs(values).sum()) * (1 + defect) * (1 + gamma(size)), 8)
    return up(frobenius_up(residual) * (1 + 2 * UNIT) + gamma(size + 3) * products + 4 * size**2 * TINY, 8)


def orthogonality_defect(columns: Float64) -> float:
    """An upper bound on ‖QᵀQ − I‖, rounding included: |Q|ᵀ|Q| has at most the norm ‖Q‖_F² or ‖Q‖₁‖Q‖_∞."""
    rows, size = columns.shape
    product = columns.T @ columns
    product[np.diag_indices(size)] -= 1.0
    magnitude = np.abs(columns)
    sums = float(magnitude.sum(axis=0).max(initial=0.0)) * float(magnitude.sum(axis=1).max(initial=0.0))
    size_bound = min(frobenius_up(columns) ** 2, sums * (1 + gamma(rows + size + 8)))
    return up(frobenius_up(product) * (1 + 2 * UNIT) + gamma(rows + 2) * size_bound + 4 * size**2 * TINY, 8)


def from_svd(matrix: Float64, perturbation: float) -> Enclosure | None:
    """All σᵢ from a thin SVD of entries with ‖Â − A‖ ≤ `perturbation`; None where vectors are not orthonormal."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return from_triplets(matrix, perturbation, u, s, vt)


def from_triplets(matrix: Float64, perturbation: float, u: Float64, s: Float64, vt: Float64) -> Enclosure | None:
    """The bounds (svd) for any stored factors with S ≥ 0."""
    alpha, beta = orthogonality_defect(u), orthogonality_defect(vt.T)
    if not (alpha < 0.5 and beta < 0.5) or (s < 0).any():
        return None
    size = len(s)
    products = float(s.sum()) * (1 + alpha) * (1 + beta) * (1 + gamma(size))
    residual = frobenius_up(matrix - (u * s) @ vt) * (1 + 2 * UNIT)
    loss = up(residual + gamma(size + 3) * products + 4 * max(matrix.shape) ** 2 * TINY + perturbation, 8)
    s = np.sort(s)[::-1]
    lower = down_each(s * np.sqrt((1 - alpha) * (1 - beta))) - loss
    upper = up_each(up_each(s * np.sqrt((1 + alpha) * (1 + beta))) + loss)
    return Enclosure(s, np.maximum(down_each(lower), 0.0), upper)
