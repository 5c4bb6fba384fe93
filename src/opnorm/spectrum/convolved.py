"""All singular values of a convolution, from its polyphase symbol F(ω) (`opnorm.linalg.convolution.symbol`).

Circular padding whose stride divides the size: the operator is block diagonal at the frequencies 2πj/N, so its values
are those of all F(2πj/N) together (H. Sedghi, V. Gupta and P. M. Long, *The Singular Values of Convolutional Layers*,
2019).

Any size: as the input grows the values of a zero-padded convolution are distributed as those of F(ω), ω uniform
(Avram and Parter; for layers X. Yi, *Asymptotic Singular Value Distribution of Linear Convolutional Layers*, 2021). A
grid of frequencies, half a step off the axes, samples that limit: densities and quantiles have a meaning there, sums
have none.

Windows that do not overlap, without padding: copies of the flattened kernel. Other padding at a small size: by
columns (`opnorm.spectrum.singular`).

Guarantee: ESTIMATE: exact to rounding where block diagonal, a sample in the limit. Cost: about 20m³ multiplications a
frequency, m the smaller number of channels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.convolution.flattened import FlattenedKernel
from opnorm.linalg.convolution.geometry import Geometry
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.convolution.symbol import MOST_LAG_ENTRIES, GramSymbol, Integers, Taps, gram_symbol, taps
from opnorm.linalg.convolution.twisted import exact_periods
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.linalg.rounding import UNIT, Float64
from opnorm.spectrum.values import Values

Rule: TypeAlias = Callable[[LinearOperator, Request], Values | None]

LIMIT_WORK = 4e10
"""Multiplications spent on a sample of the limit."""

EXACT_WORK = 4e11
"""The same on a block-diagonal convolution; where it needs more, its distribution is sampled as any operator's is."""

MOST_COUNT, LEAST_COUNT = 16, 4
"""Frequencies on an axis of the sample."""

_WORK = 20

ANY_SIZE = "the limit for large inputs, from the symbol"


def of_convolution(operator: Convolution, request: Request, formed: Rule, stored: Rule) -> Values | None:
    """The values of a convolution whose kernel is not zero; without an input size a sample of their limit."""
    known = taps(operator.kernel, operator.geometry)
    if known is None or known.lag_entries > MOST_LAG_ENTRIES:
        return formed(operator, request) if operator.geometry.size is not None else None
    if operator.geometry.size is None:
        return limit(operator)
    if _disjoint(operator.geometry):
        return _copies(operator, request, stored)
    periods = exact_periods(operator.geometry)
    if periods is not None and _WORK * math.prod(periods) * known.values.shape[1] ** 3 <= EXACT_WORK:
        return _block_diagonal(known, periods, min(operator.shape)).times(operator.exponent)
    return formed(operator, request)


def _disjoint(known: Geometry) -> bool:
    """Whether no two windows share an entry and none reaches into a padding: the operator is copies of one matrix."""
    apart = known.groups == 1 and all(
        (k - 1) * d < s for k, s, d in zip(known.kernel, known.stride, known.dilation, strict=True)
    )
    return apart and all(pair == (0, 0) for pair in known.padding)


def _copies(operator: Convolution, request: Request, stored: Rule) -> Values | None:
    """The values of the flattened kernel, as often as there are windows."""
    found = stored(FlattenedKernel(operator.kernel), request)
    if found is None:
        return None
    windows = math.prod(operator.geometry.output)
    count = min(operator.shape)

    def repeated(values: Float64 | None) -> Float64 | None:
        if values is None:
            return None
        copies = np.repeat(values, windows)
        return np.concatenate([copies, np.zeros(count - len(copies))])

    sigma = repeated(found.sigma)
    assert sigma is not None
    whole = replace(found, sigma=sigma, lower=repeated(found.lower), upper=repeated(found.upper), dense=False)
    return replace(whole, frobenius=None).times(operator.exponent)


def limit(operator: Convolution) -> Values | None:
    """A sample of what the values of a zero-padded convolution approach as its input grows."""
    known = taps(operator.kernel, operator.geometry)
    if known is None or known.lag_entries > MOST_LAG_ENTRIES:
        return None
    symbol = gram_symbol(known)
    numerators, denominator = _offset_grid(symbol)
    sigma = np.concatenate([_at(symbol, g, numerators, denominator) for g in range(symbol.groups)])
    return _values(sigma.ravel(), symbol, known, limit=True, note=ANY_SIZE).times(operator.exponent)


def _block_diagonal(known: Taps, periods: tuple[int, ...], count: int) -> Values:
    symbol = gram_symbol(known)
    used = [n if degree else 1 for n, degree in zip(periods, symbol.degrees, strict=True)]
    copies = math.prod(periods) // math.prod(used)
    numerators, denominator, weights = _full_grid(used, symbol.steps)
    blocks = [_at(symbol, g, numerators, denominator) for g in range(symbol.groups)]
    sigma = np.concatenate([np.repeat(block, weights * copies, axis=0).ravel() for block in blocks])
    return _values(np.concatenate([sigma, np.zeros(count - len(sigma))]), symbol, known)


def _values(sigma: Float64, symbol: GramSymbol, known: Taps, *, limit: bool = False, note: str = "") -> Values:
    scale = float(symbol.error.max(initial=0.0)) + 64 * UNIT * symbol.side * float(np.max(sigma, initial=0.0)) ** 2
    found = Values(np.sort(sigma)[::-1], "symbol", resolution=math.sqrt(scale), limit=limit, note=note)
    return found.times(known.exponent)


def _at(symbol: GramSymbol, group: int, numerators: Integers, denominator: int) -> Float64:
    """Singular values at each frequency, (frequencies, m)."""
    size = max(1, (1 << 21) // symbol.side**2)
    parts = [
        np.linalg.eigvalsh(symbol.evaluate(group, numerators[start : start + size], denominator))
        for start in range(0, len(numerators), size)
    ]
    return np.asarray(np.sqrt(np.maximum(np.concatenate(parts), 0.0)))


def _full_grid(counts: list[int], steps: tuple[int, ...]) -> tuple[Integers, int, NDArray[np.int64]]:
    """All j/N, of each mirrored pair one, and how many each stands for: real kernels have F(−ω) = conj F(ω)."""
    moduli = np.array(counts, dtype=np.int64)
    points = np.array(list(itertools.product(*map(range, counts))), dtype=np.int64)
    places = np.cumprod([1, *counts[:-1]])
    here, mirrored = points @ places, (-points % moduli) @ places
    weights = np.where(here == mirrored, 1, 2)[here <= mirrored]
    denominator = math.lcm(*counts)
    return points[here <= mirrored] * (denominator // moduli) * np.array(steps), denominator, weights


def _offset_grid(symbol: GramSymbol) -> tuple[Integers, int]:
    """(2j + 1)/2N on each axis that the symbol depends on, half of the first: no two are mirror images."""
    axes = [axis for axis, degree in enumerate(symbol.degrees) if degree]
    cost = _WORK * symbol.side**3 * symbol.groups
    per_axis = int((LIMIT_WORK / cost) ** (1 / max(1, len(axes)))) // 2 * 2
    count = min(MOST_COUNT, max(LEAST_COUNT, per_axis))
    ranges = [range(1) for _ in symbol.degrees]
    for axis in axes:
        ranges[axis] = range(count // 2 if axis == axes[0] else count)
    points = np.array(list(itertools.product(*ranges)), dtype=np.int64)
    numerators = np.where([degree > 0 for degree in symbol.degrees], 2 * points + 1, 0)
    return np.asarray(numerators, dtype=np.int64), 2 * count
