"""An upper bound on σ₁ from a Krylov basis: false with probability at most η over the random start.

Let B = AAᵀ with Bu = λu, ‖u‖ = 1, λ = σ₁², and X (m×b) standard normal, drawn independently of A.

*Law.* Xᵀu is standard normal in R^b, so ‖Xᵀu‖ > d but with probability η = (d²/2)^(b/2)/Γ(b/2+1)
(density at most (2π)^(−b/2), times the volume of a ball). It is the only random event: given it, all below
is deterministic, whatever A did to the basis since. Stopping when it suits is therefore free.

*One pass, with rounding.* For any stored Q (m×p) whose first b columns nearly span X, take
Y ≈ BQ in float64, T = T^T near QᵀY, R = Y − QT. With z = Qᵀu, h the part of u outside range Q:
(λ − T)z = Rᵀh + f, where ‖f‖ ≤ ε collects every rounding error, and ‖z‖² + ‖h‖² + ‖f/(sε)‖² ≤ ρ²
with ρ² = 1 + ‖QᵀQ − I‖ + s⁻². (`docs/proofs.md`, theorems A and B, has each constant.)

*Multipliers.* For every p×b matrix Z (theorem M):
    z₁ := E₁ᵀz = (E₁ − (λ−T)Z)ᵀz + Zᵀ(λ−T)z = (E₁ − (λ−T)Z)ᵀz + ZᵀRᵀh + Zᵀf,
hence ‖z₁‖ ≤ ρ·‖[(E₁ − (λ−T)Z)ᵀ, ZᵀRᵀ, sε Zᵀ]‖. Where the right side is below what the law makes of ‖z₁‖,
λ is no eigenvalue. With Z a polynomial in λ − c one evaluation excludes a whole interval around c;
intervals from a proved upper bound downwards end at the bound returned. Z is computed to be near optimal
and never trusted: the norm is evaluated with its own rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from opnorm.linalg.rounding import UNIT, Float64, down, frobenius_up, gamma, psd_norm_quick, psd_norm_up, up

ORDER = 6
"""Degree in λ − c of the multiplier: a cell then reaches about half way to the nearest Ritz value."""

_SPLIT = 4.0
"""s above: the share of ρ² given to rounding is 1/s²."""

_CENTERS = (0.55, 0.7, 0.85, 0.93, 0.97, 0.99)
"""Where in the gap above θ a cell is centered: far first, closer where that fails."""

_LARGEST_RADIUS = 2.0**100
"""Relative to the trace of T; keeps powers of it finite."""


@dataclass(frozen=True, slots=True)
class Projection:
    """B seen through a basis: T (p×p, symmetric), D ⪰ RᵀR + s²ε²I, and δ, the least ‖E₁ᵀz‖ by the law.

    lower: a PROVED lower bound on λ = σ₁² (Rayleigh quotient of the top Ritz vector, errors subtracted).
    """

    projection: Float64
    residual: Float64
    delta: float
    width: int
    lower: float


def start_distance(width: int, failure_probability: float) -> float:
    """d with P(‖Xᵀu‖ ≤ d) ≤ η for b = `width` independent standard normals, rounded down."""
    log_d = (math.log(failure_probability) + math.lgamma(width / 2 + 1)) / width + 0.5 * math.log(2)
    return math.exp(log_d) * (1 - 1e-12)


def verify(
    basis: Float64,
    images: Float64,
    error: float,
    start: Float64,
    start_factor: Float64,
    failure_probability: float,
) -> Projection | None:
    """Theorem B: everything the bound needs, every rounding error included.

    `images` Y satisfies ‖Y − BQ‖₂ ≤ error. `start` X (m, b) is what was drawn, `start_factor` any S
    with X ≈ Q₁S (more columns, from warm vectors, are ignored). Cost: about 3mp² operations. None where
    the basis is too far from orthonormal, or the start lost, for anything to follow.
    """
    rows, size = basis.shape
    width = min(start.shape[1], size)
    start, factor = start[:, :width], start_factor[:width, :width]
    q_norm = frobenius_up(basis)
    defect = up(frobenius_up(basis.T @ basis - np.eye(size)) + gamma(rows + 2) * q_norm**2, 8)
    if not defect < 0.5:
        return None
    projection = basis.T @ images
    projection = (projection + projection.T) / 2
    t_norm = frobenius_up(projection)
    residual = images - basis @ projection
    r_norm = frobenius_up(residual)
    pass_error = up(error + gamma(size + 2) * (frobenius_up(images) + q_norm * t_norm), 8)
    spill = up(frobenius_up(basis.T @ residual) + gamma(rows + 2) * q_norm * r_norm, 8)
    inside = (spill + pass_error * math.sqrt(1 + defect)) / (1 - defect)
    epsilon_square = up((1 + defect) * inside**2 + pass_error**2, 16)
    square = residual.T @ residual
    shift = up(_SPLIT**2 * epsilon_square + gamma(rows + 4) * r_norm**2, 8)
    start_error = frobenius_up(start - basis[:, :width] @ factor) + gamma(width + 2) * (
        frobenius_up(start) + q_norm * frobenius_up(factor)
    )
    factor_norm = math.sqrt(psd_norm_up(factor.T @ factor) + gamma(width + 2) * frobenius_up(factor) ** 2)
    reach = start_distance(width, failure_probability) - up(start_error, 8)
    delta = down(reach / (factor_norm * math.sqrt(1 + defect + _SPLIT**-2)), 16) if reach > 0 else 0.0
    lower = _rayleigh(projection, t_norm, defect, spill + pass_error * math.sqrt(1 + defect))
    return Projection(projection, (square + square.T) / 2 + shift * np.eye(size), delta, width, lower)


def _rayleigh(projection: Float64, t_norm: float, defect: float, leak: float) -> float:
    """λ ≥ uᵀBu/‖u‖² for u = Qs: sᵀTs less the errors of Q and Y (theorem L)."""
    _, vectors = np.linalg.eigh(projection)
    s = vectors[:, -1]
    square = float(s @ s)
    quotient = float(s @ (projection @ s)) / square
    error = gamma(2 * len(s) + 8) * t_norm * 2 + defect * t_norm + leak
    return down(max(quotient - up(error, 8), 0.0) / (1 + defect), 16)


def unverified(
    projection: Float64, coupling: Float64, start_factor: Float64, failure_probability: float, noise: float
) -> Projection:
    """The same from the recurrence alone, rounding not proved: for stopping, and for estimates.

    `noise`: relative precision of the products that built the basis.
    """
    size, width = len(projection), len(start_factor)
    scale = float(np.trace(projection)) / max(width, 1)
    residual = (noise * scale) ** 2 * np.eye(size)
    tail = coupling.T @ coupling
    residual[size - len(tail) :, size - len(tail) :] += tail
    reach = start_distance(width, failure_probability)
    delta = reach / (float(np.linalg.norm(start_factor, 2)) * math.sqrt(1 + _SPLIT**-2))
    return Projection(projection, residual, delta, width, float(np.linalg.eigvalsh(projection)[-1]))


def nearness(seen: Projection, point: float) -> float:
    """‖W₀‖/δ at `point`: below 1, it is certainly no eigenvalue. A cheap test before a whole walk."""
    norms = _Cells(seen).norms(point, order=0)
    return norms[0] / seen.delta if norms else math.inf


def upper_eigenvalue(seen: Projection, ceiling: float, goal: float = 0.0) -> float:
    """An upper bound on λ = σ₁², walking down from `ceiling`, itself a proved upper bound on λ.

    Stops at `goal`, or where the intervals excluded shrink to nothing. Cost: one p×p inverse an interval,
    five to thirty intervals.
    """
    if seen.delta <= 0:
        return ceiling
    cells = _Cells(seen)
    floor = float(np.linalg.eigvalsh(seen.projection)[-1])
    covered, tries = min(ceiling, _far(seen)), 0
    while covered > max(goal, floor) and tries < len(_CENTERS):
        center = floor + (covered - floor) * _CENTERS[tries]
        radius = cells.radius(center)
        margin = 8 * UNIT * covered
        if radius is None or center + radius - margin < covered or radius <= 4 * margin:
            tries += 1
            continue
        # Below the goal no further cell is needed; below θ nothing more can be excluded.
        covered = max(center - radius + margin, floor)
    return covered


def _far(seen: Projection) -> float:
    """Beyond ‖T‖ + ‖D^½‖/δ the multiplier (λ−T)⁻¹E₁ excludes every λ at once: its F is 0."""
    spread = up(math.sqrt(frobenius_up(seen.residual)))
    return up(frobenius_up(seen.projection) + spread / seen.delta * (1 + 1e-9), 8)


class _Cells:
    """Radius of the interval around a center that one polynomial multiplier excludes."""

    def __init__(self, seen: Projection) -> None:
        size = max(float(np.trace(seen.projection)), math.sqrt(frobenius_up(seen.residual)), 2.0**-120)
        exponent = -math.frexp(size)[1]
        self._scale = math.ldexp(1.0, exponent)
        self._t = seen.projection * self._scale
        self._d = seen.residual * self._scale**2
        self._square = self._t @ self._t + self._d
        self._d_norm = frobenius_up(self._d)
        self._seen = seen

    def radius(self, center: float) -> float | None:
        """r ≥ 0 such that [center − r, center + r] holds no eigenvalue; None where the center may be one."""
        norms = self.norms(center, ORDER)
        return None if norms is None else self._largest_radius(norms, center * self._scale)

    def norms(self, center: float, order: int) -> list[float] | None:
        """Upper bounds on ‖W₀‖ … ‖W_order‖ and ‖Z_order‖, the coefficients of P; None where Z cannot be computed."""
        size, width = len(self._t), self._seen.width
        c = center * self._scale
        shifted = -self._t
        shifted[np.diag_indices(size)] += c
        try:
            inverse = np.linalg.inv(self._square - 2 * c * self._t + c * c * np.eye(size))
        except np.linalg.LinAlgError:
            return None
        n_norm = frobenius_up(shifted)
        target = np.eye(size, width)
        norms: list[float] = []
        z = np.zeros((size, width))
        for power in range(order + 1):
            source = target if power == 0 else -z
            following = inverse @ (shifted @ source)
            norms.append(self._norm(source - shifted @ following, following, source, n_norm, tight=power == 0))
            z = following
        return [*norms, frobenius_up(z)]

    def _norm(self, defect: Float64, z: Float64, source: Float64, n_norm: float, *, tight: bool) -> float:
        """An upper bound on ‖[defectᵀ, ZᵀD^½]‖, the rounding of `defect` included."""
        z_norm, a_norm = frobenius_up(z), frobenius_up(defect)
        square = defect.T @ defect + z.T @ (self._d @ z)
        square = (square + square.T) / 2
        rounding = gamma(2 * len(z) + 8) * (a_norm**2 + z_norm**2 * self._d_norm) * 2
        entry = gamma(len(z) + 6) * (frobenius_up(source) + 2 * z_norm * n_norm)
        largest = psd_norm_up(square) if tight else psd_norm_quick(square)
        return up(math.sqrt(largest + rounding) + entry, 8)

    def _largest_radius(self, norms: list[float], center: float) -> float | None:
        limit = self._seen.delta * (1 - 1e-9)

        def total(r: float) -> float:
            return math.fsum(n * r**j for j, n in enumerate(norms))

        if not total(0.0) < limit:
            return None
        low, high = 0.0, min(center, _LARGEST_RADIUS)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if total(middle) < limit else (low, middle)
        return low / self._scale
