"""Norms that a kernel's entries give at once: of the convolution with their absolute values, and Frobenius.

Let phase r of the input be seen by the taps T_r. Then |A| = Σ_r |A_r|S_r, where S_r takes one phase and the phases are
disjoint, and one tap is a matrix |K_t| beside a partial shift, so that for each group

    ‖|A|‖² ≤ Σ_r ‖|A_r|‖² ≤ Σ_r (Σ_{t∈T_r} ‖K_t‖_F)².

Schur's test bounds the same by (largest row sum)·(largest column sum), columns within one phase. Groups act on
channels of their own, so the largest counts. Both hold at any size. Cost: a pass over the kernel, in float64.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.convolution.correlate import kernel_taps
from opnorm.linalg.convolution.geometry import Geometry
from opnorm.linalg.rounding import Float64, gamma, up

Scaled = tuple[float, int]
"""m and e: the number m·2^e, which may lie outside the range of floats."""


def phases(geometry: Geometry) -> list[list[int]]:
    """Indices of the taps that see the same phase of the input, a list a phase."""
    together: dict[tuple[int, ...], list[int]] = {}
    for tap in kernel_taps(geometry):
        together.setdefault(tap.phase, []).append(tap.index)
    return list(together.values())


def adjoint_terms(kernel: NDArray[np.floating], geometry: Geometry) -> int:
    """Products in one sum of the adjoint, at most."""
    channels: int = kernel.shape[0] // geometry.groups
    return channels * max(len(taps) for taps in phases(geometry))


def absolute_norm(kernel: NDArray[np.floating], geometry: Geometry) -> Scaled:
    """An upper bound on ‖|A|‖₂, padding with other than zeros apart; 0 only for a kernel of zeros."""
    size, exponent = _near_one(kernel, geometry)
    if not size.any():
        return 0.0, 0
    by_tap = np.sqrt(np.einsum("goit,goit->gt", size, size))
    by_column = size.sum(axis=1)
    columns = np.zeros(len(size))
    frobenius = np.zeros(len(size))
    for taps in phases(geometry):
        frobenius += by_tap[:, taps].sum(axis=1) ** 2
        np.maximum(columns, by_column[..., taps].sum(axis=2).max(axis=1), out=columns)
    schur = size.sum(axis=(2, 3)).max(axis=1) * columns
    # Entries below 2⁻¹⁰²² of the largest may be lost: far less than one of the roundings.
    norm = up(math.sqrt(float(np.minimum(frobenius, schur).max())) * (1 + gamma(size.size + 8)), 16)
    moved = math.frexp(norm)[1]
    return math.ldexp(norm, -moved), exponent + moved


def frobenius_norm(kernel: NDArray[np.floating], geometry: Geometry) -> Scaled:
    """‖A‖_F at one size, zero padding: each tap counts as often as it meets the input. Not rounded up."""
    counts = {tap.index: _meetings(geometry, tap.phase, tap.shift) for tap in kernel_taps(geometry)}
    met = [index for index, count in counts.items() if count]
    entries = kernel.reshape(-1, geometry.taps)[:, met].astype(np.float64)
    exponent = math.frexp(float(np.abs(entries).max(initial=0.0)))[1]
    entries = np.ldexp(entries, -exponent)
    squares = np.einsum("it,it->t", entries, entries)
    norm = math.sqrt(math.fsum(counts[index] * float(square) for index, square in zip(met, squares, strict=True)))
    moved = math.frexp(norm)[1]
    return math.ldexp(norm, -moved), exponent + moved


def _near_one(kernel: NDArray[np.floating], geometry: Geometry) -> tuple[Float64, int]:
    """|kernel|·2^−e, largest in [½, 1), as (groups, c_out/groups, c_in/groups, taps), and e."""
    exponent = math.frexp(float(np.abs(kernel).max(initial=0.0)))[1]
    size = np.ldexp(np.abs(kernel.astype(np.float64)), -exponent)
    groups = geometry.groups
    return size.reshape(groups, kernel.shape[0] // groups, kernel.shape[1], geometry.taps), exponent


def _meetings(geometry: Geometry, phase: tuple[int, ...], shift: tuple[int, ...]) -> int:
    """Outputs at which a tap meets the input, not zeros."""
    assert geometry.size is not None
    count = 1
    for n, s, outputs, r, q in zip(geometry.size, geometry.stride, geometry.output, phase, shift, strict=True):
        count *= max(0, min(outputs, -((r - n) // s) - q) - max(0, -q))
    return count
