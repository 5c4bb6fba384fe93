"""sup_ω σ₁(F(ω)) from finitely many certificates: cells of frequencies, each proved by its center.

Theorem K (`docs/proofs.md`, section 10): if S = sup σ₁(F) is attained at ω*, then for every x with ½Σ_a D_a|x_a| < π/2
σ₁(F(ω* + x)) ≥ S·cos(½Σ_a D_a|x_a|), D_a the degree of F on axis a. So if every cell of a cover holds σ₁(F(center)) ≤
T·cos r, r the largest ½Σ D_a|x_a| in that cell, then S ≤ T. Cells may have different sizes; those whose certificate
fails are split. On two axes cells are diamonds, the balls of that distance, which tile; a third axis is cut into
slices, whose cos(πD/(2N)) is a factor for all.
Real kernels have σ₁(F(−ω)) = σ₁(F(ω)): half the cells suffice.
Cost: about (π/2)∏D_a/(2·width) certificates for a flat symbol on two axes, far fewer for a peaked one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from opnorm.linalg.convolution.peak import FINE, Peak, climb, estimates
from opnorm.linalg.convolution.symbol import GramSymbol, Integers
from opnorm.linalg.hermitian import Flags, certified, rayleigh, slack
from opnorm.linalg.rounding import up

SHARE = 0.95
"""Of the width asked for, what the target takes; the rest is left to rounding."""

MOST_WORK = 1e13
"""Real multiplications before the target is widened: about ten minutes on one core."""

MOST_BITS = 50
"""Denominators stay below 2⁵⁰, so that fractions have exact parts in float64."""

_COARSE = 0.15
_MANY = 1000
_OVERHEAD = 2e6
_STARTS = 3
_CLIMB = 0.01
_ESTIMATE_SHARE = 0.98
_DEEP = 6


@dataclass(frozen=True, slots=True)
class Cover:
    """The first cells: N_a centers 2πc/(2N_a) an axis of `axes`, slices on `slice_axis`."""

    symbol: GramSymbol
    axes: tuple[int, ...]
    counts: tuple[int, ...]
    slice_axis: int | None
    slices: int

    @property
    def loss(self) -> float:
        """cos(πD/(2N)) of the slices."""
        if self.slice_axis is None:
            return 1.0
        return math.cos(math.pi * self.symbol.degrees[self.slice_axis] / (2 * self.slices))

    def radius(self, level: int) -> float:
        """r of the cells of a level, rounded up."""
        sizes = [self.symbol.degrees[a] * math.pi / n for a, n in zip(self.axes, self.counts, strict=True)]
        return up(max(sizes, default=0.0) / 2 ** (level + 1), 8)

    def denominator(self, level: int) -> int:
        """The common denominator of the frequencies of a level."""
        return math.lcm(self.slices, *(2 * n for n in self.counts)) << level

    def frequencies(self, cells: Integers, level: int) -> Integers:
        """Numerators over `denominator`, one column an axis of the symbol; cells: (count, axes + 1), slices last."""
        denominator = self.denominator(level)
        out = np.zeros((len(cells), len(self.symbol.degrees)), dtype=np.int64)
        for column, (axis, count) in enumerate(zip(self.axes, self.counts, strict=True)):
            out[:, axis] = cells[:, column] * (denominator // ((2 * count) << level))
        if self.slice_axis is not None:
            out[:, self.slice_axis] = cells[:, -1] * (denominator // self.slices)
        return out

    def first(self) -> Integers:
        """One of each pair of mirrored cells of level 0."""
        ranges = [range(0, 2 * n, 1 if len(self.axes) == 2 else 2) for n in self.counts]
        grid = np.stack(np.meshgrid(*ranges, range(self.slices), indexing="ij"), axis=-1).reshape(-1, len(ranges) + 1)
        if len(self.axes) == 2:
            grid = grid[grid[:, :2].sum(axis=1) % 2 == 0]
        moduli = np.array([*(2 * n for n in self.counts), self.slices])
        mirrored = -grid % moduli
        weights = np.cumprod([1, *moduli[:-1]])
        return np.asarray(grid[grid @ weights <= mirrored @ weights], dtype=np.int64)

    def split(self, cells: Integers) -> Integers:
        """The children of cells, (count, children, axes + 1), centers over a denominator twice as large."""
        width = len(self.axes)
        moves = np.zeros((2 * width, width + 1), dtype=np.int64)
        for column in range(width):
            moves[2 * column, column], moves[2 * column + 1, column] = 1, -1
        doubled = cells * np.array([2] * width + [1])
        return np.asarray(doubled[:, None] + moves)


def cover(symbol: GramSymbol, loss: float) -> tuple[Cover, int]:
    """A cover whose cells of the level returned lose the factor 1/(1+loss): coarser levels come before it."""
    free = sorted((a for a, degree in enumerate(symbol.degrees) if degree), key=lambda a: -symbol.degrees[a])
    axes, rest = tuple(free[:2]), free[2:]
    slices, slice_axis = 1, None
    if rest:
        slice_axis = rest[0]
        slices = math.ceil(math.pi * symbol.degrees[slice_axis] / (2 * _angle(loss / 3)))
        loss *= 2 / 3
    angle = _angle(loss)
    finest = [math.pi * symbol.degrees[a] / (2 * angle) for a in axes]
    # Level 0 has r < π/3: N ≥ 1.5 D an axis.
    depth = max(0, math.floor(math.log2(math.pi / 3 / angle))) if axes else 0
    counts = tuple(math.ceil(n / 2**depth) for n in finest)
    return Cover(symbol, axes, counts, slice_axis, slices), depth


def _angle(loss: float) -> float:
    """r with 1/cos r = 1 + loss, kept below π/3."""
    return min(math.acos(1 / (1 + loss)), math.pi / 3)


@dataclass(slots=True)
class Search:
    """The state of a proof: the best peak, a PROVED lower bound on λ, and the target Λ that cells are proved for.

    fixed: the target is given and is not moved; where a sample lies above it, the proof is given up.
    """

    symbol: GramSymbol
    width: float
    fixed: float | None = None
    peak: Peak | None = None
    lower: float = 0.0
    target: float = 0.0
    work: float = 0.0
    certificates: int = 0
    seen: list[Peak] = field(default_factory=list)

    def climb_from(self, group: int, numerators: Integers, denominator: int) -> None:
        """Ascend; keep what is better, and move the target with it."""
        peak = climb(self.symbol, group, numerators, denominator, _CLIMB * self.width)
        self.seen.append(peak)
        lower = rayleigh(self.symbol, group, peak.numerators, FINE, peak.vector)
        if self.peak is None or lower > self.lower:
            self.peak, self.lower = peak, lower
        if self.fixed is None:
            self.target = max(self.target, self.least_target(self.width))

    def least_target(self, width: float) -> float:
        """Λ for a width, but no closer to the lower bound than rounding allows a proof to come."""
        return least_target(self.symbol, self.lower, width)

    def widen(self) -> None:
        """A target twice as far above the lower bound."""
        self.target += max(self.target - self.lower, 2.0**-40 * self.target)

    def spend(self, estimates: int, certificates: int) -> None:
        """Count work in real multiplications; small matrices cost their overhead."""
        side = float(self.symbol.side)
        self.certificates += certificates
        self.work += estimates * (_OVERHEAD + 40 * side**2) + certificates * (_OVERHEAD + 4 / 3 * side**3)


def least_target(symbol: GramSymbol, lower: float, width: float) -> float:
    """See `Search.least_target`."""
    rounding = 8 * float(symbol.error.max()) + (8 * slack(symbol.side) + 2.0**-40) * lower
    return max(lower * (1 + SHARE * width) ** 2, lower + rounding)


def explore(symbol: GramSymbol, width: float) -> Search:
    """Sample coarsely and climb from the best samples: a PROVED lower bound on the supremum of λ, no upper one."""
    search = Search(symbol, width)
    coarse, _ = cover(symbol, _COARSE)
    cells, level = coarse.first(), 0
    if len(cells) * symbol.groups <= _MANY:
        cells, level = coarse.split(cells).reshape(-1, cells.shape[1]), 1
    cells = cells if len(cells) else coarse.first()  # no axis to split
    numerators, denominator = coarse.frequencies(cells, level), coarse.denominator(level)
    groups = np.repeat(np.arange(symbol.groups), len(cells))
    tops = estimates(symbol, groups, np.tile(numerators, (symbol.groups, 1)), denominator)
    for index in np.argsort(tops)[::-1][:_STARTS]:
        search.climb_from(int(groups[index]), numerators[index % len(cells)], denominator)
    return search


def prove(search: Search) -> float | None:
    """A PROVED upper bound on sup λ: the target of the search, moved up where it had to be.

    None where the target is fixed and cannot be proved.
    """
    symbol = search.symbol
    if search.lower <= 0 and search.fixed is None:
        return None
    if search.fixed is not None:
        search.target = search.fixed
    loss = math.sqrt(search.target / max(search.lower, search.target * 2.0**-40)) - 1
    if not loss > 0:
        return None
    known, depth = cover(symbol, _ESTIMATE_SHARE * loss)
    first = known.first()
    live = np.tile(first, (symbol.groups, 1))
    groups = np.repeat(np.arange(symbol.groups), len(first))
    bits = min(MOST_BITS, 61 - sum(symbol.degrees).bit_length())  # numerators times lags stay below 2⁶³
    for level in range(bits - known.denominator(0).bit_length()):
        failed = _settle(search, known, groups, live, level, estimate=level < depth or level > depth)
        if search.fixed is not None and (search.lower > search.fixed or search.work > MOST_WORK):
            return None
        if not failed.any():
            return up(search.target)
        live, groups = live[failed], groups[failed]
        if level >= depth + _DEEP and search.fixed is not None:
            return None
        if level >= depth + _DEEP or search.work > MOST_WORK:
            search.widen()
        children = known.split(live)
        if children.shape[1]:
            live, groups = children.reshape(-1, live.shape[1]), np.repeat(groups, children.shape[1])
    return None


def _settle(search: Search, known: Cover, groups: Integers, cells: Integers, level: int, *, estimate: bool) -> Flags:
    """Which cells of a level are not proved. Estimates spare certificates that would fail, and find higher peaks."""
    symbol = search.symbol
    denominator, numerators = known.denominator(level), known.frequencies(cells, level)
    share = _share(known, level)
    unproved = np.ones(len(cells), dtype=np.bool_)
    if estimate:
        tops = estimates(symbol, groups, numerators, denominator)
        search.spend(len(cells), 0)
        best = int(np.argmax(tops))
        if tops[best] > search.lower:
            search.climb_from(int(groups[best]), numerators[best], denominator)
        tried = np.flatnonzero(tops <= search.target * share)
    else:
        tried = np.arange(len(cells))
    ceilings = np.full(len(tried), search.target * share)
    proofs = certified(symbol, groups[tried], numerators[tried], denominator, ceilings)
    search.spend(0, len(tried))
    unproved[tried[proofs]] = False
    return unproved


def _share(known: Cover, level: int) -> float:
    """cos² r times that of the slices, rounded down; 0 where r reaches π/2."""
    radius = known.radius(level)
    if radius >= math.pi / 2:
        return 0.0
    return max(0.0, (math.cos(radius) * known.loss) ** 2 * (1 - 2.0**-46))
