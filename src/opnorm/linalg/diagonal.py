"""Diagonal operators: what a normalization layer does once its statistics are fixed.

diag(d) has the norm max |d_i| exactly. Entries come as float64 numbers, each within a relative distance of the true
one that whoever computed them states; products add one rounding: |fl(d̂_i x_i) − d_i x_i| ≤ (relative + 2u)|d_i x_i|.

Guarantee: PROVED. Cost: one pass over the diagonal.
"""

from __future__ import annotations

import math

import numpy as np

from opnorm.errors import UndefinedNorm, UnsupportedInput
from opnorm.linalg.operator import Block, LinearOperator, Rounding
from opnorm.linalg.request import Found, Request, proved
from opnorm.linalg.rounding import UNIT, Float64, down, gamma, up
from opnorm.linalg.stored import UNDERFLOW

SHORT = 24
"""Bits that a shortened scale keeps: times an entry of float32 it is exact in float64."""

SMALLEST = 2.0**-960
"""No computed scale may be smaller and not 0: every rounding on the way to it was relative."""


class Diagonal(LinearOperator):
    """diag(d): d̂_i within `relative`·|d_i| of each true d_i."""

    def __init__(self, values: Float64, relative: float = 0.0) -> None:
        super().__init__((values.size,), (values.size,))
        self.values, self.relative = values, relative

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        return np.asarray(self.values[:, None] * block)

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        return self.matmat(block)

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        return np.asarray(self.values[:, None] * block)

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        return self.matmat64(block)

    @property
    def T(self) -> LinearOperator:
        """See `LinearOperator.T`."""
        return self

    @property
    def rounding(self) -> Rounding:
        """See the head of this file; UNDERFLOW as for stored matrices."""
        norm = up(self._largest * (1 + 2 * self.relative), 8)
        error = up(norm * (self.relative + 4 * UNIT) + UNDERFLOW, 8)
        return Rounding(norm, error, error)

    @property
    def _largest(self) -> float:
        return float(np.abs(self.values).max(initial=0.0))

    def own_bounds(self, request: Request) -> Found:  # noqa: ARG002
        """max |d_i|, as far as the entries are known."""
        nan, inf = int(np.isnan(self.values).sum()), int(np.isinf(self.values).sum())
        if nan or inf:
            raise UndefinedNorm(nan, inf)
        size = self._largest
        upper = proved("upper", up(size * (1 + 2 * self.relative), 8), "diagonal")
        return Found((proved("lower", down(size * (1 - 2 * self.relative), 8), "diagonal"), upper), "diagonal", 1)


def normalizing_scales(gamma_: Float64 | None, variance: Float64, eps: float) -> tuple[Float64, float]:
    """γ_i/√(var_i + ε) and their relative error: a sum, a root (which halves what came before), a quotient."""
    for given in (variance, *(() if gamma_ is None else (gamma_,))):
        if not np.isfinite(given).all():
            raise UndefinedNorm(int(np.isnan(given).sum()), int(np.isinf(given).sum()))
    with np.errstate(all="ignore"):
        shifted = variance + eps
        least = float(shifted.min(initial=math.inf))
        if not least >= SMALLEST:
            raise UnsupportedInput(
                f"the smallest running variance and ε = {eps!r} add up to {least:.3g}: 1/√(var + ε) needs a number "
                "above 0, and at least 2⁻⁹⁶⁰; check the checkpoint's running_var"
            )
        scales = (np.ones_like(variance) if gamma_ is None else gamma_) / np.sqrt(shifted)
    nonzero = np.abs(scales if gamma_ is None else scales[gamma_ != 0])
    if not (np.isfinite(nonzero).all() and (nonzero >= SMALLEST).all()):
        raise UnsupportedInput("the scales γ/√(var + ε) leave the range of float64; rescale the layer first")
    return scales, gamma(4)


def shortened(values: Float64) -> tuple[Float64, float]:
    """Each number to 24 significant bits, and the relative error of that, 2⁻²⁴."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(mantissa, SHORT)), exponent - SHORT), 2.0**-SHORT
