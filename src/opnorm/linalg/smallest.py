"""The smallest singular value of the short side, from below: σ_min ≥ √θ less what rounding may hide.

The mirror image of theorem C (`opnorm.linalg.gram`; `docs/proofs.md`): a Cholesky factorization of Ĝ − θI that
completes proves λ_min(Ĝ) ≥ θ − slack, and AAᵀ lies within `error` of Ĝ. θ is set just below the computed smallest
eigenvalue, of which nothing is believed. From above, a Rayleigh quotient.

Guarantee: both ends PROVED. Squaring costs digits: relative to σ_min the slack is about (σ₁/σ_min)² times
m(m + 2n)·2⁻⁵³, so that below some 10⁻⁶·σ₁ only 0 is proved. Cost: m²n multiplications for the Gram matrix, about
3m³ for the eigenvalue and its vector, m³/3 a factorization, 16m² bytes.
"""

from __future__ import annotations

import math

import numpy as np

from opnorm.bound import Bracket
from opnorm.errors import UnsupportedInput
from opnorm.linalg.centering import centered, scaled_back
from opnorm.linalg.cholesky import cholesky, cholesky_is_conventional
from opnorm.linalg.environment import require_ieee
from opnorm.linalg.gram import Gram, cholesky_slack, gram_matrix, residual_slack
from opnorm.linalg.plan import GRAM_SIDE_MOST
from opnorm.linalg.request import proved
from opnorm.linalg.rounding import UNIT, Float64, down, gamma, up
from opnorm.linalg.stored import StoredMatrix

METHOD = "gram"
_STEPS = 24


def smallest(matrix: StoredMatrix) -> Bracket:
    """σ_min over the short side, PROVED from both sides; 0 from below where rounding allows no more.

    Raises `UndefinedNorm` for non-finite entries, `UnsupportedInput` beyond a short side of 16384.
    """
    require_ieee()
    wide, exponent = centered(matrix.wide())
    assert isinstance(wide, StoredMatrix)
    if 0 in wide.shape or wide.entrywise().one == 0:
        return Bracket(proved("lower", 0.0, "zero"), proved("upper", 0.0, "zero"))
    if wide.shape[0] > GRAM_SIDE_MOST:
        raise UnsupportedInput(
            f"the smallest singular value of a matrix of shape {matrix.shape} is not proved: the short side is at "
            f"most {GRAM_SIDE_MOST}; hold only its ceiling"
        )
    gram = gram_matrix(wide)
    values, vectors = np.linalg.eigh(gram.matrix)
    above = rayleigh_up(gram, vectors[:, 0])
    below = _best_lower(gram, float(values[0]))
    bounds = (proved("lower", down(math.sqrt(below)), METHOD), proved("upper", up(math.sqrt(above)), METHOD))
    lower, upper = (scaled_back(bound, exponent) for bound in bounds)
    return Bracket(lower, upper)


def prove_lower(gram: Gram, theta: float) -> float | None:
    """A PROVED lower bound on λ_min(AAᵀ) just below `theta`, or None where Ĝ − θI is not clearly positive."""
    original = np.diagonal(gram.matrix)
    diagonal = original - theta
    if not (diagonal > 0).all():
        return None
    shifted = gram.matrix.copy()
    np.fill_diagonal(shifted, diagonal)
    conventional = cholesky_is_conventional(len(shifted))
    factor = cholesky(shifted if conventional else shifted.copy(order="F"))
    if factor is None:
        return None
    slack = cholesky_slack(diagonal, gram.columns) if conventional else residual_slack(shifted, factor)
    hidden = up(slack + UNIT * float(diagonal.max()) + gram.error, 16)
    return down(max(down(theta) - hidden, 0.0))


def rayleigh_up(gram: Gram, vector: Float64) -> float:
    """A PROVED upper bound on λ_min(AAᵀ): vᵀĜv/‖v‖² and all errors."""
    quotient = float(vector @ (gram.matrix @ vector)) / float(vector @ vector)
    error = gram.error + gamma(2 * len(vector) + 8) * gram.trace * (1 + gamma(gram.columns)) * 2
    return up(max(quotient, 0.0) + up(error), 8)


def _best_lower(gram: Gram, eigenvalue: float) -> float:
    """From an eigenvalue as computed: the first θ below it, by growing steps, whose factorization completes."""
    step = UNIT * len(gram.matrix) * gram.trace / 8
    for _ in range(_STEPS):
        if eigenvalue - step <= 0:
            return 0.0
        bound = prove_lower(gram, eigenvalue - step)
        if bound is not None:
            return bound
        step *= 4
    return 0.0
