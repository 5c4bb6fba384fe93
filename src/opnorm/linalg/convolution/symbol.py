"""The polyphase symbol of a convolution: one small matrix a frequency, whose norms bound every input size.

Offset o = δa of tap a is split by the stride into phase o mod s and order ⌊o/s⌋. Taps of one order q, their phases
side by side, make P_q, and F(ω) = Σ_q P_q e^{iq·ω} is the symbol: c_out × c_in·(phases) for each group. A zero-padded
convolution of any size and padding is a compression of x ↦ F x, so ‖T‖ ≤ sup_ω σ₁(F(ω)) (`docs/proofs.md`, section
10; stride 1: Sedghi, Gupta and Long 2019; Yi 2021). Padding only multiplies F by unitaries, and is left out.

Everything that is proved reads σ₁(F)² = λ_max(G) off the lags of G(ω) = F(ω)F(ω)* = Σ_d C_d e^{id·ω},
C_d = Σ_q P_{q+d}P_qᵀ, formed once: a frequency then costs |lags|·m² multiplications and not m²n.
Guarantee: ‖Ĝ(ω) − G(ω)‖ ≤ `error` at every frequency, every rounding included.
Cost: |lags|·|taps|·m²n/2 multiplications, 8|lags|m² bytes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.convolution.geometry import Geometry
from opnorm.linalg.rounding import TINY, UNIT, Float64, frobenius_up, gamma, up

Integers = NDArray[np.int64]
Complex128 = NDArray[np.complex128]

PHASE_ERROR = 32 * UNIT
"""Bounds the errors of cos 2πt and sin 2πt, |t| ≤ ½ a rounded fraction: three roundings of an angle of at most π
(9.5u), and 22u for the functions themselves, which good libraries keep below 8u."""

MOST_LAG_ENTRIES = 1 << 28
"""Beyond this (2 GB) the lags are not formed."""

_CHUNK = 1 << 21
"""Entries of the matrices held at a time."""


@dataclass(frozen=True, slots=True)
class Taps:
    """P_q on a dense grid of orders, short side as rows; 2^exponent times these are the kernel's.

    values: (groups, m, *orders, n). steps: what one order stands for on each axis (a common factor of all orders).
    flipped: rows are the input's (channel, phase) pairs, as P_q was transposed.
    """

    values: Float64
    steps: tuple[int, ...]
    flipped: bool
    exponent: int

    @property
    def degrees(self) -> tuple[int, ...]:
        """The largest order on each axis, in steps."""
        return tuple(count - 1 for count in self.values.shape[2:-1])

    @property
    def lag_entries(self) -> int:
        """Entries of all C_d, d ≥ 0."""
        lags = (math.prod(2 * degree + 1 for degree in self.degrees) + 1) // 2
        return int(lags * self.values.shape[0] * self.values.shape[1] ** 2)

    def at(self, group: int, numerators: Integers, denominator: int) -> Complex128:
        """F_g at one frequency, m × n; not a proof of anything."""
        orders = np.array(list(np.ndindex(*self.values.shape[2:-1])), dtype=np.int64)
        turns = (orders @ numerators % denominator) / denominator
        m, n = self.values.shape[1], self.values.shape[-1]
        tap = np.moveaxis(self.values[group], 0, -2).reshape(len(orders), m, n)
        return np.asarray(np.tensordot(np.exp(2j * np.pi * turns), tap, 1))


def taps(kernel: NDArray[np.floating], geometry: Geometry) -> Taps | None:
    """The taps of the symbol of each group; None for a kernel that is zero."""
    largest = float(np.abs(kernel).max(initial=0.0))
    if largest == 0:
        return None
    exponent = math.frexp(largest)[1]
    kept = np.argwhere(np.any(kernel != 0, axis=(0, 1)))
    offsets = kept * np.array(geometry.dilation)
    offsets -= offsets.min(axis=0)
    orders, phases = np.divmod(offsets, geometry.stride)
    steps = [int(np.gcd.reduce(column)) or 1 for column in orders.T]
    orders //= steps
    _, phase = np.unique(phases, axis=0, return_inverse=True)
    groups, outputs, inputs = geometry.groups, kernel.shape[0] // geometry.groups, kernel.shape[1]
    count = int(phase.max()) + 1
    values = np.zeros((groups, outputs, *(orders.max(axis=0) + 1), count, inputs))
    for place, order, p in zip(kept, orders, phase.ravel(), strict=True):
        tap = np.ldexp(kernel[(..., *place)].astype(np.float64), -exponent)
        values[(slice(None), slice(None), *order, p)] = tap.reshape(groups, outputs, inputs)
    values = values.reshape(*values.shape[:-2], count * inputs)
    flipped = values.shape[1] > values.shape[-1]
    if flipped:
        values = np.ascontiguousarray(np.swapaxes(values, 1, -1))
    return Taps(values, tuple(steps), flipped, exponent)


@dataclass(frozen=True, slots=True)
class GramSymbol:
    """Ĝ_g(ω) = Ĉ_0 + H + H*, H = Σ_{d>0} Ĉ_d e^{id·ω}, with ‖Ĝ_g(ω) − F_gF_g*‖ ≤ error_g for every ω.

    still: Ĉ_0 (groups, m, m). moving: Ĉ_d for the lags d > 0 in lexical order (groups, lags, m, m).
    """

    still: Float64
    moving: Float64
    lags: Integers
    error: Float64
    degrees: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def side(self) -> int:
        """m, the rows of each matrix."""
        return int(self.still.shape[-1])

    @property
    def groups(self) -> int:
        """How many symbols there are, one a group."""
        return len(self.still)

    def turns(self, numerators: Integers, denominator: int) -> tuple[Float64, Float64]:
        """cos and sin of 2π d·j/N for frequencies j (count, axes) and all lags d > 0: (count, lags)."""
        residues = (numerators @ self.lags.T) % denominator
        residues -= np.where(2 * residues > denominator, denominator, 0)
        angles = residues / denominator * (2 * np.pi)
        return np.cos(angles), np.sin(angles)

    def evaluate(self, group: int, numerators: Integers, denominator: int) -> Complex128:
        """Ĝ_g at the frequencies 2πj/N, (count, m, m), Hermitian exactly."""
        cosines, sines = self.turns(numerators, denominator)
        count, m = len(numerators), self.side
        flat = self.moving[group].reshape(-1, m * m)
        parts = (np.concatenate([cosines, sines]) @ flat).reshape(2, count, m, m)
        matrices = np.empty((count, m, m), dtype=np.complex128)
        np.add(parts[0], np.swapaxes(parts[0], 1, 2), out=matrices.real)
        np.subtract(parts[1], np.swapaxes(parts[1], 1, 2), out=matrices.imag)
        matrices.real += self.still[group]
        return matrices

    def evaluated(
        self, groups: Integers, numerators: Integers, denominator: int
    ) -> Iterator[tuple[Integers, Complex128]]:
        """The same for many (group, frequency) pairs: chunks of their indices and matrices."""
        if self.side == 1:
            yield from self._scalars(groups, numerators, denominator)
            return
        size = max(1, _CHUNK // self.side**2)
        order = np.argsort(groups, kind="stable")
        for group in np.unique(groups):
            for part in _parts(order[groups[order] == group], size):
                yield part, self.evaluate(int(group), numerators[part], denominator)

    def _scalars(
        self, groups: Integers, numerators: Integers, denominator: int
    ) -> Iterator[tuple[Integers, Complex128]]:
        """1×1 matrices, such as a depthwise convolution's: groups that share a frequency share its cosines."""
        different, which = np.unique(numerators, axis=0, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        edges = np.searchsorted(which.ravel()[order], np.arange(len(different) + 1))
        size = max(1, _CHUNK // max(1, len(self.lags)))
        for start in range(0, len(different), size):
            stop = min(start + size, len(different))
            part = order[edges[start] : edges[stop]]
            present, column = np.unique(groups[part], return_inverse=True)
            cosines, _ = self.turns(different[start:stop], denominator)
            table = self.still[present, 0, 0] + 2 * (cosines @ self.moving[present, :, 0, 0].T)
            values = table[which.ravel()[part] - start, column.ravel()]
            yield part, values[:, None, None].astype(np.complex128)


def _parts(indices: Integers, size: int) -> Iterator[Integers]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def gram_symbol(known: Taps) -> GramSymbol:
    """The lags of F F*, and a bound on the error of all that is evaluated from them.

    |Ĝ − G| ≤ ε S Sᵀ entry by entry with S = Σ_q|P_q|: the sums of Ĉ_d have at most K = |orders|·n products (γ_K), and
    |Σ_d| of their sizes is at most SSᵀ; phases are within `PHASE_ERROR`, sums over the lags within γ.
    """
    shape = known.values.shape[2:-1]
    axes = range(len(shape))
    spans = [range(1 - count, count) for count in shape]
    lags = [d for d in itertools.product(*spans) if d > (0,) * len(shape)]
    groups, m = known.values.shape[:2]
    moving = np.empty((groups, len(lags), m, m))
    for position, lag in enumerate(lags):
        ahead = tuple(slice(max(lag[a], 0), shape[a] + min(lag[a], 0)) for a in axes)
        behind = tuple(slice(max(-lag[a], 0), shape[a] + min(-lag[a], 0)) for a in axes)
        moving[:, position] = _contract(known.values, ahead, behind)
    everything = tuple(slice(None) for _ in axes)
    still = _contract(known.values, everything, everything)
    still = (still + np.swapaxes(still, 1, 2)) / 2
    error = np.array([_error(known.values[g], len(lags)) for g in range(groups)])
    numbers = np.array(lags, dtype=np.int64).reshape(len(lags), len(shape))
    return GramSymbol(still, moving, numbers, error, known.degrees, known.steps)


def _contract(values: Float64, ahead: tuple[slice, ...], behind: tuple[slice, ...]) -> Float64:
    groups, m = values.shape[:2]
    first = values[(slice(None), slice(None), *ahead)].reshape(groups, m, -1)
    second = values[(slice(None), slice(None), *behind)].reshape(groups, m, -1)
    return np.asarray(first @ np.swapaxes(second, 1, 2))


def _error(values: Float64, lags: int) -> float:
    m, n = values.shape[0], values.shape[-1]
    orders = values.size // (m * n)
    absolute = np.abs(values).reshape(m, orders, n).sum(axis=1)
    size = frobenius_up(absolute) ** 2 * (1 + gamma(2 * orders))
    relative = gamma(orders * n + 2) + 2 * (PHASE_ERROR + gamma(2 * lags + 8))
    return up(relative * (1 + 2.0**-20) * size + 64 * values.size * (lags + 1) * TINY, 16)
