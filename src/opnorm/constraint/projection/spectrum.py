"""What a clip of singular values does to a matrix, and its derivative: one formula for every framework.

P(W) = U f(Σ)Vᵀ with f = clip to [lo, hi], W = UΣVᵀ thin, σ of length k = min(m, n). All functions are pure, take
the namespace `xp` (numpy, torch, jax.numpy) first, and stacks (..., m, n); lo, hi and slack have shape (..., 1).

DP(W)[E] = U(Γ∘sym K + Ω∘skew K)Vᵀ + U diag(d) UᵀE(I − VVᵀ) + (I − UUᵀ)EV diag(d) Vᵀ,   K = UᵀEV,
Γ_ij = (f_i − f_j)/(σ_i − σ_j), Ω_ij = (f_i + f_j)/(σ_i + σ_j), d_i = Ω_ii = f_i/σ_i: Daleckii and Krein's theorem
for the odd extension of f on [[0, W], [Wᵀ, 0]] (V. Noferini, *SIAM J. Matrix Anal. Appl.* 38 (2017) 434; proof:
`docs/proofs.md`, section 15). Γ and Ω are symmetric, hence DP is self-adjoint and is its own vjp. f is piecewise
linear: differences of f and of σ are exact where they are small, so quotients do not cancel.

Where P has no derivative: σ_i on an edge (to `slack`) takes the derivative from inside the band (1 if lo < hi);
with lo > 0, what a vanishing σ multiplies is left out (0) instead of made infinite.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class Factors(NamedTuple):
    """W = U diag(σ) Vᵀ, thin, in units of a power of two; lo, hi and the rounding of σ in the same units."""

    u: Any
    sigma: Any
    vt: Any
    lo: Any
    hi: Any
    slack: Any


class Scaled(NamedTuple):
    """A matrix times a power of two, with the band in its units; `up` undoes it."""

    matrix: Any
    lo: Any
    hi: Any
    up: Any


def scaled(xp: Any, matrix: Any, lo: Any, hi: Any, largest: Any) -> Scaled:
    """The largest entry (or lo, if larger) to [1, 2), exactly; `largest` is max|w_ij|, of shape (..., 1, 1).

    With a = mantissa·2^e both mantissa/a and a/mantissa are powers of two, so these divisions are exact.
    """
    one = xp.ones_like(largest)
    size = xp.where(largest > lo, largest, lo * one)
    size = xp.where(size > float(xp.finfo(matrix.dtype).tiny), size, float(xp.finfo(matrix.dtype).tiny) * one)
    mantissa = 2 * xp.frexp(size)[0]
    down, up = mantissa / size, size / mantissa
    return Scaled(matrix * down, lo * down[..., 0], hi * down[..., 0], up)


def slack_of(xp: Any, matrix: Any, top: Any) -> Any:
    """How far computed singular values may lie from true ones: (4 + √min(m, n))·ε·top, top of shape (..., 1)."""
    return (4 + math.sqrt(min(matrix.shape[-2:]))) * float(xp.finfo(matrix.dtype).eps) * top


def beyond(sigma: Any, lo: Any, hi: Any, slack: Any) -> Any:
    """Which singular values lie outside the band by more than rounding; NaN does."""
    return ~((sigma <= hi + slack) & (sigma >= lo - slack))


def decomposed(xp: Any, part: Scaled) -> Factors:
    """The thin SVD; of a zero matrix U and V are identities, so lo > 0 makes it lo·I, the same on every machine."""
    matrix = part.matrix
    nonzero = (matrix != 0).any(-1).any(-1)[..., None]
    identity = xp.triu(xp.tril(xp.ones_like(matrix)))
    u, _, vt = xp.linalg.svd(xp.where(nonzero[..., None], matrix, identity), full_matrices=False)
    u, vt = _polished(u), _polished(vt.mT).mT
    sigma = ((u.mT @ matrix) * vt).sum(-1).clip(0.0, None)
    top = xp.amax(sigma, -1)[..., None].clip(part.lo, part.hi)
    return Factors(u, sigma, vt, part.lo, part.hi, slack_of(xp, matrix, top))


def _polished(columns: Any) -> Any:
    """Orthonormal columns to the accuracy of a product: libraries leave up to 30 ε in float32 (one cubic step)."""
    return (3 * columns - columns @ (columns.mT @ columns)) / 2


def rebuilt(factors: Factors) -> Any:
    """U f(Σ)Vᵀ: its norm exceeds hi by rounding only, however large W was."""
    return (factors.u * factors.sigma.clip(factors.lo, factors.hi)[..., None, :]) @ factors.vt


def outside(factors: Factors) -> Any:
    """Which matrices of a stack leave the band, (..., 1, 1)."""
    return beyond(factors.sigma, factors.lo, factors.hi, factors.slack).any(-1)[..., None, None]


def quotients(xp: Any, factors: Factors, negligible: Any) -> tuple[Any, Any]:
    """Γ and Ω, (..., k, k); with lo > 0 sums σ_i + σ_j up to `negligible` count as 0."""
    _, sigma, _, lo, hi, slack = factors
    sigma = _on_edge(xp, _on_edge(xp, sigma, hi, slack), lo, slack)
    f = sigma.clip(lo, hi)
    inside = (sigma >= lo) & (sigma <= hi) & (lo < hi)
    one, zero = xp.ones_like(sigma[..., None]), xp.zeros_like(sigma[..., None])
    difference = sigma[..., :, None] - sigma[..., None, :]
    equal = difference == 0
    slope = (f[..., :, None] - f[..., None, :]) / xp.where(equal, one, difference)
    gamma = xp.where(equal, xp.where(inside[..., None], one, zero), slope)
    total = sigma[..., :, None] + sigma[..., None, :]
    floor = lo[..., None] > 0
    vanishing = xp.where(floor, total <= negligible[..., None], total == 0)
    ratio = (f[..., :, None] + f[..., None, :]) / xp.where(vanishing, one, total)
    return gamma, xp.where(vanishing, xp.where(floor, zero, one), ratio)


def _on_edge(xp: Any, sigma: Any, edge: Any, slack: Any) -> Any:
    return xp.where(abs(sigma - edge) <= slack, xp.ones_like(sigma) * edge, sigma)


def derivative(xp: Any, factors: Factors, tangent: Any) -> Any:
    """DP(W)[E], which is also the vjp of E."""
    u, sigma, vt = factors[:3]
    rows, columns = tangent.shape[-2:]
    negligible = max(rows, columns) * float(xp.finfo(sigma.dtype).eps) * xp.amax(sigma, -1)[..., None]
    gamma, omega = quotients(xp, factors, negligible)
    share = xp.diagonal(omega, 0, -2, -1)
    left = u.mT @ tangent
    k = left @ vt.mT
    inner = (gamma * (k + k.mT) + omega * (k - k.mT)) / 2
    result = u @ inner @ vt
    if columns > rows:
        result = result + (u * share[..., None, :]) @ (left - k @ vt)
    if rows > columns:
        result = result + (tangent @ vt.mT - u @ k) @ (share[..., :, None] * vt)
    return result
