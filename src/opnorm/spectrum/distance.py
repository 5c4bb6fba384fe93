"""How far a layer has moved from where it began: ‖A − A₀‖_F, over the stored entries.

Guarantee: PROVED for stored matrices: |fl(Σ(a − a₀)²) − Σ(a − a₀)²| ≤ γ_{mn+6}Σ(a − a₀)², and what conversion to
float64 may have lost of either is added. Cost: one pass over both.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from opnorm.errors import UndefinedNorm, UsageError
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import TINY, down, gamma, up
from opnorm.linalg.stored import StoredMatrix
from opnorm.spectrum.document import Quantity
from opnorm.spectrum.intervals import absent, between


def from_initial(operator: LinearOperator, initial: LinearOperator) -> Quantity:
    """‖A − A₀‖_F; a note has it relative to ‖A₀‖_F."""
    if operator.shape != initial.shape:
        raise UsageError(
            f"a layer of shape {operator.shape} cannot have begun as one of shape {initial.shape}: "
            "give the initial weights of the same layer"
        )
    if not (isinstance(operator, StoredMatrix) and isinstance(initial, StoredMatrix)):
        return absent("the distance is taken between stored matrices only")
    square, base = 0.0, 0.0
    width = operator.block_width
    with np.errstate(over="ignore", invalid="ignore"):
        for block, before in zip(operator.blocks64(width), initial.blocks64(width), strict=True):
            apart = block - before
            square += float(np.vdot(apart, apart))
            base += float(np.vdot(before, before))
    if not math.isfinite(square):
        _refuse(initial)
        return absent("the distance leaves the range of float64")
    slack, loss = gamma(math.prod(operator.shape) + 6), operator.perturbation + initial.perturbation
    underflow = math.prod(operator.shape) * TINY
    lower = down(max(math.sqrt(max(down(square * (1 - slack), 4) - underflow, 0.0)) - loss, 0.0), 8)
    upper = up(math.sqrt(up(square * (1 + slack) + underflow)) + loss, 8)
    relative = f"{math.sqrt(square / base):.3g} of the initial ‖A₀‖_F" if base > 0 else "the initial weights are 0"
    return replace(between(math.sqrt(square), lower, upper), note=relative)


def _refuse(initial: StoredMatrix) -> None:
    """Name NaN and Inf of the initial weights; the layer's own were found before."""
    blocks = list(initial.blocks64())
    nan, inf = (sum(int(test(block).sum()) for block in blocks) for test in (np.isnan, np.isinf))
    if nan or inf:
        raise UndefinedNorm(nan, inf)
