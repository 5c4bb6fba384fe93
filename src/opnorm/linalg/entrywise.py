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

import numpy as np

from opnorm.bound import Bound, Evidence
from opnorm.linalg.rounding import TINY, Float64, down, gamma, up


@dataclass(frozen=True, slots=True)
class Entrywise:
    """Sums over |a_ij| as computed, with `slack` a bound on their relative error.

    square: Σ a²; one: the largest column sum; inf: the largest row sum. `tiny` bounds the absolute error of
    `square` from underflow.
    """

    shape: tuple[int, int]
    square: float
    one: float
    inf: float

    @property
    def slack(self) -> float:
        """Relative error of `square`, `one` and `inf`."""
        return gamma(math.prod(self.shape) + 4)

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
        grow, shrink = 1 + self.slack, 1 - self.slack
        # A square that underflowed says nothing from below; the sums of absolute values still do.
        lower_square = max(self.square * shrink - self.tiny, 0.0)
        schur = math.sqrt(up(self.one * grow)) * math.sqrt(up(self.inf * grow))
        uppers = ((self.frobenius_up, "frobenius"), (up(schur, 6), "schur"))
        return (
            *(Bound("upper", v, Evidence.PROVED, name) for v, name in uppers if math.isfinite(v)),
            Bound("lower", down(math.sqrt(lower_square) / short, 6), Evidence.PROVED, "frobenius"),
            Bound("lower", down(self.one * shrink / math.sqrt(rows), 6), Evidence.PROVED, "column sum"),
            Bound("lower", down(self.inf * shrink / math.sqrt(columns), 6), Evidence.PROVED, "row sum"),
        )


def entrywise(shape: tuple[int, int], blocks: Iterable[Float64]) -> Entrywise:
    """Sum up column blocks (rows, k) of a finite matrix; non-finite entries make the result non-finite."""
    rows, columns = shape
    square, one, row_sums = 0.0, 0.0, np.zeros(rows)
    scratch = np.empty(0)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for block in blocks:
            if scratch.size < block.size:
                scratch = np.empty(block.size)
            flat = block.ravel(order="K")
            square += float(np.dot(flat, flat))
            magnitude = np.abs(block, out=_like(block, scratch))
            row_sums += magnitude @ np.ones(block.shape[1])
            one = max(one, float((np.ones(rows) @ magnitude).max(initial=0.0)))
    return Entrywise((rows, columns), square, one, float(row_sums.max(initial=0.0)))


def _like(block: Float64, scratch: Float64) -> Float64:
    """A view of `scratch` with the shape and memory order of `block`."""
    flat = scratch[: block.size]
    if block.flags.c_contiguous:
        return flat.reshape(block.shape)
    return flat.reshape(block.shape[::-1]).T
