"""The projection of matrices in memory, for NumPy and torch: by the Gram matrix where that is exact enough, else SVD.

With m ≤ n and WWᵀ = UΛUᵀ, P(W) = W − U diag(1 − f(√λ)/√λ) UᵀW, where only eigenvectors of moved singular values are
read: nothing is divided by small ones. Squaring costs digits. A symmetric error δ of WWᵀ, ‖δ‖ ≈ ε‖W‖², moves P(W) by
about ε·σ₁²/ρ², relative to ρ: the smallest σ that matters, hi for a cap and min(σ_k, hi) with a floor. Where
that exceeds the tolerance of the result's dtype, the SVD is taken, of which U f(Σ)Vᵀ is made.
Cost: Gram 2m²n + about 9m³ multiplications, half of an SVD's time at m = n and a third at n = 4m.
"""

from __future__ import annotations

from typing import Any

from opnorm.constraint.projection.spectrum import Scaled, beyond, decomposed, outside, rebuilt, slack_of

_DIGITS_TO_SPARE = 1 / 64
_SAME_PRECISION = 4.0


def clipped(xp: Any, part: Scaled, result_eps: float) -> Any | None:
    """P of `part.matrix` in its units, or None where every matrix lies in the band and is to stay as it is."""
    matrix = part.matrix
    if bool((_norm_bound(xp, matrix) <= part.hi).all()) and not bool((part.lo > 0).any()):
        return None
    rows, columns = matrix.shape[-2:]
    wide = matrix if rows <= columns else matrix.mT
    tolerance = max(result_eps * _DIGITS_TO_SPARE, _SAME_PRECISION * float(xp.finfo(matrix.dtype).eps))
    values, vectors = xp.linalg.eigh(wide @ wide.mT)
    sigma = xp.sqrt(values.clip(0.0, None))
    top, bottom = sigma[..., -1:], sigma[..., :1]
    slack = slack_of(xp, matrix, top.clip(part.lo, part.hi))
    moved = beyond(sigma, part.lo, part.hi, slack)
    smallest = xp.where(part.lo > 0, xp.minimum(bottom, part.hi), part.hi)
    exact = (float(xp.finfo(matrix.dtype).eps) * top**2 <= tolerance * smallest**2) & (smallest > 0)
    if not bool(exact.all()):
        factors = decomposed(xp, part)
        return xp.where(outside(factors), rebuilt(factors), matrix)
    if not bool(moved.any()):
        return None
    change = _change(xp, wide, vectors, sigma, part, moved)
    return matrix - (change if rows <= columns else change.mT)


def _change(xp: Any, wide: Any, vectors: Any, sigma: Any, part: Scaled, moved: Any) -> Any:
    """U diag(1 − f/σ) UᵀW over the eigenvectors that any matrix of the stack moves; 0 for a matrix in the band."""
    fraction = 1 - sigma.clip(part.lo, part.hi) / xp.where(sigma > 0, sigma, xp.ones_like(sigma))
    fraction = xp.where(moved.any(-1)[..., None], fraction, xp.zeros_like(fraction))
    used = (fraction != 0).reshape(-1, fraction.shape[-1]).any(0)
    basis = vectors[..., :, used]
    return (basis * fraction[..., None, used]) @ (basis.mT @ wide)


def _norm_bound(xp: Any, matrix: Any) -> Any:
    """√(‖W‖₁‖W‖_∞) ≥ σ₁, of shape (..., 1)."""
    size = abs(matrix)
    return xp.sqrt(xp.amax(size.sum(-2), -1) * xp.amax(size.sum(-1), -1))[..., None]
