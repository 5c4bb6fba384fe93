"""How wrong are products that were computed in low precision? A sketch tells, at the price of a few columns.

Let M = Y − BQ be the unknown error of images Y of a basis Q (m×p), and G (p×k) standard normal, drawn after
Y and Q. For the top right singular vector v of M, ‖MG‖₂ ≥ ‖M‖₂‖Gᵀv‖, and ‖Gᵀv‖ ≤ d has probability at
most η by the law of the start block (`opnorm.linalg.probable`). Hence ‖M‖₂ ≤ ‖MG‖₂/d with probability
at least 1 − η (theorem S, `docs/proofs.md`), and MG = YG − B(QG) takes one float64 product with k columns instead of p.
Nothing is assumed of how Y was computed: float32, TF32, another device, a bug.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from opnorm.linalg.operator import LinearOperator, Rounding
from opnorm.linalg.probable import start_distance
from opnorm.linalg.rounding import Float64, down, frobenius_up, gamma, psd_norm_up, up


@dataclass(frozen=True, slots=True)
class Sketch:
    """error: a bound on ‖Y − BQ‖₂, PROBABLE; lower: a bound on λ = σ₁², PROVED."""

    error: float
    lower: float


def sketch(
    operator: LinearOperator,
    rounding: Rounding,
    basis: Float64,
    images: Float64,
    top: Float64,
    probe: Float64,
    failure_probability: float,
) -> Sketch:
    """One float64 pass with the columns of Q·`probe` and one more, Q·`top`, whose Rayleigh quotient bounds λ.

    `probe` (p, k) is fresh standard normal; `top` (p,) the coordinates of the best vector known.
    """
    size, columns = probe.shape
    inside = basis @ np.column_stack([probe, top])
    outside = operator.gram64(inside)
    difference = images @ probe - outside[:, :columns]
    q_norm, g_norm = frobenius_up(basis), frobenius_up(probe)
    slack = gamma(size + 2) * g_norm * (frobenius_up(images) + q_norm * up(rounding.norm**2))
    slack += rounding.gram * frobenius_up(inside[:, :columns])
    square = difference.T @ difference
    square_error = gamma(len(basis) + 4) * frobenius_up(difference) ** 2
    spread = math.sqrt(psd_norm_up((square + square.T) / 2) + square_error)
    error = up((spread + slack) * (1 + 1e-12) / start_distance(columns, failure_probability), 8)
    return Sketch(error, _rayleigh(inside[:, columns], outside[:, columns], rounding))


def _rayleigh(vector: Float64, image: Float64, rounding: Rounding) -> float:
    """λ ≥ vᵀBv/‖v‖² for the stored v; fl(Bv) is within rounding.gram·‖v‖ of Bv."""
    square = float(vector @ vector)
    if not square > 0.25:
        return 0.0
    quotient = float(vector @ image) / square
    norm = frobenius_up(vector)
    error = (gamma(len(vector) + 4) * norm * frobenius_up(image) + rounding.gram * norm**2) / square
    error += gamma(len(vector) + 4) * abs(quotient)
    return down(max(quotient - up(error, 16), 0.0), 8)
