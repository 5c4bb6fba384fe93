"""Bounds at one input size: the operator as a corner of a twisted circulant, whose norm is a maximum over a grid.

Continue the kernel's windows quasi-periodically with period sN and phase φ on each axis: what arises is block
diagonal at the frequencies (2πj+φ)/N, and where N is large enough the convolution is a corner of it, so that
‖T‖ ≤ max_j σ₁(F((2πj+φ)/N)) for **every** φ (theorem T, `docs/proofs.md`, section 10). φ = 0 is the classical
circulant; the best phases put the highest peak of the symbol between two points of the grid.
A circular convolution whose stride divides its size is such a block diagonal matrix itself: φ = 0 then gives its norm.
Guarantee: PROVED. Cost: ∏N_a certificates a phase, half of that for phases 0 and π.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from opnorm.linalg.convolution.any_size import least_target
from opnorm.linalg.convolution.geometry import Geometry
from opnorm.linalg.convolution.peak import Peak, estimates, peak_scalar, scalar_values, top_vector
from opnorm.linalg.convolution.symbol import GramSymbol, Integers
from opnorm.linalg.hermitian import certified, rayleigh
from opnorm.linalg.rounding import up

PHASES = 8
"""φ = 2πp/8 on each axis are tried."""

_MOST_POINTS = 2e7
_TRIED = 3
_FIRST = 8
_RAISES = 40


def periods(geometry: Geometry) -> tuple[int, ...]:
    """The least N of each axis for a zero-padded convolution.

    sN ≥ n, sN ≥ n + p_before, N ≥ n_o and sN ≥ s(n_o − 1) + (k−1)δ − p_before + 1.
    """
    assert geometry.size is not None
    settings = zip(
        geometry.size,
        geometry.output,
        geometry.kernel,
        geometry.stride,
        geometry.dilation,
        geometry.padding,
        strict=True,
    )
    return tuple(
        -(-max(n, n + before, s * (out - 1) + (k - 1) * d - before + 1, s * out) // s)
        for n, out, k, s, d, (before, _) in settings
    )


def exact_periods(geometry: Geometry) -> tuple[int, ...] | None:
    """N of each axis where a circular convolution is block circulant as it stands, else None."""
    if geometry.mode != "circular" or geometry.size is None:
        return None
    pairs = list(zip(geometry.size, geometry.stride, geometry.output, strict=True))
    whole = all(n % s == 0 and out == n // s for n, s, out in pairs)
    return tuple(out for _, _, out in pairs) if whole else None


@dataclass(frozen=True, slots=True)
class Grid:
    """The frequencies (2πj + 2πp/PHASES)/N, as numerators over one denominator; mirrored ones once."""

    numerators: Integers
    denominator: int


def grid(counts: Sequence[int], phase: Sequence[int], steps: Sequence[int]) -> Grid:
    """Orders of the symbol are multiples of `steps`: its frequencies are multiplied by them."""
    counted = np.array(counts, dtype=np.int64)
    points = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, len(counts))
    places = points * PHASES + np.array(phase)
    moduli = counted * PHASES
    if all(p in (0, PHASES // 2) for p in phase):
        weights = np.cumprod([1, *moduli[:-1]])
        places = places[places @ weights <= (-places % moduli) @ weights]
    denominator = math.lcm(*moduli.tolist())
    return Grid(np.asarray(places * (denominator // moduli) * np.array(steps), dtype=np.int64), denominator)


def twisted(
    symbol: GramSymbol, counts: Sequence[int], peaks: Sequence[Peak], target: float, *, settle: bool
) -> float | None:
    """A PROVED upper bound on λ = ‖T‖²: `target` where a phase proves it.

    Otherwise None, or with `settle` the least that the phases tried allow.
    """
    best = math.inf
    for phase in itertools.islice(_phases(symbol, counts, peaks), _TRIED if settle else 1):
        chosen = grid(counts, phase, symbol.steps)
        least, highest = _tops(symbol, chosen)
        if not settle and (least > target or not _all_below(symbol, chosen, highest, target)):
            continue
        if least * 1.001 < best or least <= target:
            best = min(best, _raised(symbol, chosen, max(target, least * (1 + 2.0**-20)), settle=settle))
        if best <= up(target):
            break
    return best if best < math.inf else None


def _tops(symbol: GramSymbol, chosen: Grid) -> tuple[float, Integers]:
    """The largest estimate over a grid, and the pairs where estimates are largest."""
    tops = estimates(symbol, *_pairs(symbol, chosen), chosen.denominator)
    return float(tops.max()), np.argsort(tops)[-_FIRST:]


def _all_below(symbol: GramSymbol, chosen: Grid, pairs: Integers, ceiling: float) -> bool:
    """Certify a few pairs before all of them."""
    groups, numerators = _pairs(symbol, chosen)
    ceilings = np.full(len(pairs), ceiling)
    return bool(certified(symbol, groups[pairs], numerators[pairs], chosen.denominator, ceilings).all())


def _raised(symbol: GramSymbol, chosen: Grid, value: float, *, settle: bool) -> float:
    """Certify a whole grid; with `settle` raise the bound until what failed passes. Else infinity."""
    groups, numerators = _pairs(symbol, chosen)
    for attempt in range(_RAISES if settle else 1):
        proofs = certified(symbol, groups, numerators, chosen.denominator, np.full(len(groups), value))
        if proofs.all():
            return up(value)
        groups, numerators = groups[~proofs], numerators[~proofs]
        value *= 1 + 0.002 * 1.3**attempt
    return math.inf


def unsettled_groups(symbol: GramSymbol, counts: Sequence[int], target: float) -> Integers:
    """The groups that the classical circulant does not prove to be at most `target`."""
    chosen = grid(counts, (0,) * len(counts), symbol.steps)
    groups, numerators = _pairs(symbol, chosen)
    proofs = certified(symbol, groups, numerators, chosen.denominator, np.full(len(groups), target))
    return np.unique(groups[~proofs])


def _pairs(symbol: GramSymbol, chosen: Grid) -> tuple[Integers, Integers]:
    count = len(chosen.numerators)
    return np.repeat(np.arange(symbol.groups), count), np.tile(chosen.numerators, (symbol.groups, 1))


def circulant(symbol: GramSymbol, counts: Sequence[int], width: float) -> tuple[float, float]:
    """PROVED bounds on max_j λ_max(G(2πj/N)), about `width` apart on the norm."""
    chosen = grid(counts, (0,) * len(counts), symbol.steps)
    groups, numerators = _pairs(symbol, chosen)
    tops = estimates(symbol, groups, numerators, chosen.denominator)
    lower, target = 0.0, 0.0
    for _ in range(_RAISES):
        for index in np.argsort(tops)[::-1][:_TRIED]:
            at = int(groups[index]), numerators[index], chosen.denominator
            _, vector = top_vector(symbol, *at, 0.1 * width)
            lower = max(lower, rayleigh(symbol, *at, vector))
        target = max(least_target(symbol, lower, width), target * (1 + 0.1 * width))
        ceilings = np.full(len(groups), target)
        open_ones = ~certified(symbol, groups, numerators, chosen.denominator, ceilings)
        if not open_ones.any():
            return lower, up(target)
        groups, numerators, tops = groups[open_ones], numerators[open_ones], tops[open_ones]
        width *= 1.3
    return lower, math.inf


def _phases(symbol: GramSymbol, counts: Sequence[int], peaks: Sequence[Peak]) -> Iterator[tuple[int, ...]]:
    """Phases, best first as the peaks see it: the least maximum of their scalar polynomials over the grid."""
    axes = len(counts)
    per_axis = PHASES if axes < 3 else PHASES // 2
    free = [range(0, PHASES, PHASES // per_axis) if symbol.degrees[a] else (0,) for a in range(axes)]
    phases = list(itertools.product(*free))
    if math.prod(counts) * len(phases) * max(1, len(symbol.lags)) > _MOST_POINTS:
        phases = list(itertools.product(*[(0, PHASES // 2) if symbol.degrees[a] else (0,) for a in range(axes)]))
    scalars = [peak_scalar(symbol, peak) for peak in peaks]

    def score(phase: tuple[int, ...]) -> float:
        chosen = grid(counts, phase, symbol.steps)
        return max(
            float(scalar_values(scalar, symbol, at, chosen.denominator).max())
            for scalar in scalars
            for at in (chosen.numerators, -chosen.numerators)
        )

    return iter(sorted(phases, key=score))
