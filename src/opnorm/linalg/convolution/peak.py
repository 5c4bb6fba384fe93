"""Where a symbol is large: estimates of λ_max at many frequencies, and an ascent from the best of them.

Nothing here is a bound. An ascent alternates: for a vector u, ψ(ω) = u*G(ω)u is one scalar trigonometric polynomial
in the lags, cheap to maximize; at its maximizer ω, u is the top vector of G(ω). ψ never decreases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opnorm.linalg.convolution.symbol import Complex128, GramSymbol, Integers
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.rounding import Float64

FINE = 1 << 40
"""The denominator of frequencies that an ascent visits."""

_EXACT_SIDE = 32
_STEPS = 10
_ASCENTS = 3
_ZOOMS = 11
_POINTS = 4


@dataclass(frozen=True, slots=True)
class Peak:
    """A frequency 2πj/`FINE` of one group with (about) the top vector of G there, and its λ."""

    group: int
    numerators: Integers
    vector: Complex128
    value: float


def estimates(symbol: GramSymbol, groups: Integers, numerators: Integers, denominator: int) -> Float64:
    """About λ_max of each matrix, from below but for rounding."""
    tops = np.empty(len(groups))
    for part, matrices in symbol.evaluated(groups, numerators, denominator):
        tops[part] = _tops(matrices)
    return tops


def _tops(matrices: Complex128) -> Float64:
    side = matrices.shape[1]
    if side == 1:
        return np.asarray(matrices[:, 0, 0].real)
    return np.asarray(np.linalg.eigvalsh(matrices)[:, -1]) if side <= _EXACT_SIDE else _lanczos(matrices)


def _lanczos(matrices: Complex128) -> Float64:
    """A few steps of the single-vector recurrence for all matrices at once, in single precision where it is large."""
    count, side, _ = matrices.shape
    rng = np.random.default_rng(side)
    vector = rng.standard_normal((count, side, 1)) + 1j * rng.standard_normal((count, side, 1))
    vector /= np.linalg.norm(vector, axis=1, keepdims=True)
    before = np.zeros_like(vector)
    steps = min(_STEPS, side)
    tridiagonal = np.zeros((count, steps, steps))
    beta = np.zeros((count, 1, 1))
    for step in range(steps):
        image = matrices @ vector - beta * before
        alpha = (vector.conj() * image).real.sum(axis=1)
        tridiagonal[:, step, step] = alpha[:, 0]
        image -= alpha[:, None] * vector
        beta = np.linalg.norm(image, axis=1, keepdims=True)
        if step + 1 < steps:
            tridiagonal[:, step, step + 1] = tridiagonal[:, step + 1, step] = beta[:, 0, 0]
        before, vector = vector, image / np.maximum(beta, 2.0**-300)
    return np.asarray(np.linalg.eigvalsh(tridiagonal)[:, -1])


def climb(symbol: GramSymbol, group: int, numerators: Integers, denominator: int, tolerance: float) -> Peak:
    """Ascend from the frequency 2πj/N until the top grows by less than `tolerance`, relatively."""
    at = np.array([int(n) * FINE // denominator for n in numerators], dtype=np.int64)
    value, vector = top_vector(symbol, group, at, FINE, tolerance)
    for _ in range(_ASCENTS):
        moved = _maximized(_scalar(symbol, group, vector), symbol, at)
        if np.array_equal(moved, at):
            break
        larger, other = top_vector(symbol, group, moved, FINE, tolerance)
        if larger <= value:
            break
        gained, at, value, vector = larger - value, moved, larger, other
        if gained <= tolerance * value:
            break
    return Peak(group, at, vector, value)


def top_vector(
    symbol: GramSymbol, group: int, at: Integers, denominator: int, tolerance: float
) -> tuple[float, Complex128]:
    """About λ_max and its vector at the frequency 2πj/N."""
    matrix = symbol.evaluate(group, at[None], denominator)[0]
    side = len(matrix)
    if side <= 3 * _EXACT_SIDE:
        values, vectors = np.linalg.eigh(matrix)
        return float(values[-1]), np.asarray(vectors[:, -1])
    # [Re −Im; Im Re] has the same eigenvalues, each twice.
    real = np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])
    lanczos = BlockLanczos(lambda block: real @ block, np.random.default_rng(side).standard_normal((2 * side, 4)))
    before, top = -np.inf, 0.0
    while not lanczos.spent(_EXACT_SIDE) and top > before * (1 + 0.1 * tolerance):
        for _ in range(4):
            lanczos.step()
        before, (top, coordinates) = top, lanczos.top()
    vector = lanczos.basis @ coordinates
    return top, np.asarray(vector[:side] + 1j * vector[side:])


def _scalar(symbol: GramSymbol, group: int, vector: Complex128) -> tuple[float, Complex128]:
    """u*C_d u for d = 0 and all d > 0, u of norm 1."""
    vector = vector / np.linalg.norm(vector)
    still = float(np.vdot(vector, symbol.still[group] @ vector).real)
    return still, np.asarray((symbol.moving[group] @ vector) @ vector.conj())


def scalar_values(scalar: tuple[float, Complex128], symbol: GramSymbol, at: Integers, denominator: int) -> Float64:
    """ψ at frequencies 2πj/N."""
    still, moving = scalar
    cosines, sines = symbol.turns(at, denominator)
    return np.asarray(still + 2 * (cosines @ moving.real - sines @ moving.imag))


def peak_scalar(symbol: GramSymbol, peak: Peak) -> tuple[float, Complex128]:
    """The scalar polynomial of a peak's own vector."""
    return _scalar(symbol, peak.group, peak.vector)


def _maximized(scalar: tuple[float, Complex128], symbol: GramSymbol, at: Integers) -> Integers:
    """The maximizer of ψ near `at`, by grids that zoom in."""
    free = [a for a, degree in enumerate(symbol.degrees) if degree]
    points = np.arange(-_POINTS, _POINTS + 1)
    offsets: Integers = np.zeros((len(points) ** len(free), len(symbol.degrees)), dtype=np.int64)
    if free:
        offsets[:, free] = np.stack(np.meshgrid(*[points] * len(free), indexing="ij"), axis=-1).reshape(-1, len(free))
    step = np.array([FINE // (8 * _POINTS * max(1, degree)) for degree in symbol.degrees], dtype=np.int64)
    for _ in range(_ZOOMS):
        candidates: Integers = (at + offsets * step) % FINE
        at = candidates[int(np.argmax(scalar_values(scalar, symbol, candidates, FINE)))]
        step = np.maximum(step // 3, 1)
    return at
