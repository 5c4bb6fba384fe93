"""All singular values of a product AᵀB of thin factors, k rows each: those of a k×k core, and zeros.

With LLᵀ ≈ AAᵀ, `opnorm.linalg.thin` proves |λ₁(AᵀB BᵀA) − λ₁(H)| ≤ error for H = LᵀĜ_B L; both steps of that proof are
Weyl's inequality, which holds for every λᵢ alike, so the same error serves them all. The eigenvalues of H are enclosed
as those of a Gram matrix are (`opnorm.spectrum.enclosure`).

Guarantee: PROVED. The error is absolute in σ², so values below about 10⁻⁵ of the largest may be 0.
Cost: k²(m + n) multiplications and a few decompositions of side k.
"""

from __future__ import annotations

import math

import numpy as np

from opnorm.linalg.centering import centered
from opnorm.linalg.thin import ThinProduct, core_of
from opnorm.spectrum.enclosure import from_eigenpairs
from opnorm.spectrum.values import Values, zeros


def of_thin(operator: ThinProduct) -> Values | None:
    """The values of factor·AᵀB/√root; None where the factors' rounding is unknown or the core is degenerate."""
    left, right = operator.factors
    if left.rounding is None or right.rounding is None:
        return None
    count = min(operator.shape)
    (left, first), (right, second) = centered(left), centered(right)
    rounding = (left.T @ right).rounding
    if rounding is None or rounding.norm == 0:
        return zeros(count)
    core = core_of(left, right)
    found = from_eigenpairs(core.matrix, core.error, *np.linalg.eigh(core.matrix))
    if found is None:
        return None
    known = min(count, len(found.sigma))
    sigma, lower, upper = (_padded(part[:known], count) for part in (found.sigma, found.lower, found.upper))
    resolution = float(upper[lower == 0].max(initial=0.0))
    values = Values(np.where(lower == 0, 0.0, sigma), "thin", lower, upper, resolution)
    return values.scaled(abs(operator.factor)).scaled(1 / math.sqrt(operator.root)).times(first + second)


def _padded(values: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([values, np.zeros(count - len(values))])
