"""Bounds from one pass over the entries: Frobenius, Schur's √(‖A‖₁‖A‖_∞), and their lower companions.

For A of shape m×n, m ≤ n after transposition (Higham, *Accuracy and Stability*, section 6.2):

    max(‖A‖_F/√m, ‖A‖₁/√m, ‖A‖_∞/√n) ≤ σ₁ ≤ min(‖A‖_F, √(‖A‖₁‖A‖_∞))

Guarantee: PROVED, sums rounded outward. Cost: one read. Width: useless for most weights (σ₁ is often a
tenth of ‖A‖_F), exact for a single row or column, for rank one, and for non-negative doubly balanced
matrices; every other method needs these numbers for its rounding slack.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.bound import Bound, Evidence
from opnorm.linalg.rounding import TINY, Float32, Float64, down, gamma, gamma32, up

MOST_SINGLE_TERMS = 1 << 13
"""Terms that a float32 sum may have, so that its slack stays below 5e-4; blocks are added in float64."""


@dataclass(frozen=True, slots=True)
class Entrywise:
    """Sums over |a_ij| as computed. square: Σ a², in float64; one, inf: the largest column and row sum.

    `single`: the column and row sums were added in float32, whose entries cannot underflow in a sum.
    """

    shape: tuple[int, int]
    square: float
    one: float
    inf: float
    single: bool = False

    @property
    def slack(self) -> float:
        """Relative error of `square`."""
        return gamma(math.prod(self.shape) + 4)

    @property
    def sum_slack(self) -> float:
        """Relative error of `one` and `inf`."""
        return gamma(sum(self.shape) + 4) + (gamma32(MOST_SINGLE_TERMS + 4) if self.single else 0.0)

    @property
    def tiny(self) -> float:
        """Absolute error of `square` from underflow of its terms."""
        return math.prod(self.shape) * TINY

    @property
    def frobenius(self) -> float:
        """‖A‖_F, rounded to nearest: a description, not a bound."""
        return math.sqrt(self.square)

    @property
    def frobenius_up(self) -> float:
        """An upper bound on ‖A‖_F."""
        return up(math.sqrt(up(self.square * (1 + self.slack) + self.tiny)))

    @property
    def upper(self) -> float:
        """The smaller of the two upper bounds on σ₁."""
        return min((b.value for b in self.bounds() if b.side == "upper"), default=math.inf)

    def bounds(self) -> tuple[Bound, ...]:
        """All entrywise bounds on σ₁, PROVED."""
        rows, columns = self.shape
        short = math.sqrt(min(rows, columns))
        grow, shrink = 1 + self.sum_slack, 1 - self.sum_slack
        # A square that underflowed says nothing from below; the sums of absolute values still do.
        lower_square = max(self.square * (1 - self.slack) - self.tiny, 0.0)
        schur = math.sqrt(up(self.one * grow)) * math.sqrt(up(self.inf * grow))
        uppers = ((self.frobenius_up, "frobenius"), (up(schur, 6), "schur"))
        return (
            *(Bound("upper", v, Evidence.PROVED, name) for v, name in uppers if math.isfinite(v)),
            Bound("lower", down(math.sqrt(lower_square) / short, 6), Evidence.PROVED, "frobenius"),
            Bound("lower", down(self.one * shrink / math.sqrt(rows), 6), Evidence.PROVED, "column sum"),
            Bound("lower", down(self.inf * shrink / math.sqrt(columns), 6), Evidence.PROVED, "row sum"),
        )


def entrywise(shape: tuple[int, int], blocks: Iterable[Float64], singles: Iterable[Float32] | None = None) -> Entrywise:
    """Sum up column blocks (rows, k) of a finite matrix; non-finite entries make the result non-finite.

    `singles`: the same blocks in float32, where that is what is stored; their magnitudes are added instead.
    """
    rows, columns = shape
    dtype = np.float64 if singles is None else np.float32
    square, one, row_sums = 0.0, 0.0, np.zeros(rows)
    scratch, ones = np.empty(0, dtype=dtype), np.ones(rows, dtype=dtype)
    pairs = ((b, b) for b in blocks) if singles is None else zip(blocks, singles, strict=True)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for block, source in pairs:
            if scratch.size < block.size:
                scratch = np.empty(block.size, dtype=dtype)
            flat = block.ravel(order="K")
            square += float(np.dot(flat, flat))
            magnitude = np.abs(source, out=_like(block, scratch))
            row_sums += magnitude @ np.ones(block.shape[1], dtype=dtype)
            one = max(one, float((ones @ magnitude).max(initial=0.0)))
    return Entrywise((rows, columns), square, one, float(row_sums.max(initial=0.0)), single=singles is not None)


def _like(block: Float64, scratch: NDArray[Any]) -> NDArray[Any]:
    """A view of `scratch` with the shape and memory order of `block`."""
    flat = scratch[: block.size]
    if block.flags.c_contiguous:
        return flat.reshape(block.shape)
    return flat.reshape(block.shape[::-1]).T
