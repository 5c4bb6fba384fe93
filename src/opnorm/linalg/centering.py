"""Powers of two: bring an operator to a norm near 1, exactly, and bring bounds on it back, rounding outward."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from opnorm.bound import Bound
from opnorm.errors import UnsupportedInput, UsageError
from opnorm.linalg.algebra import Scaled
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import Float64, ldexp_down, ldexp_up
from opnorm.linalg.start import start_block
from opnorm.linalg.stored import StoredMatrix

PART_EXPONENT = 200
"""Parts of operators are measured with norms within 2^±200 or exactly 0; a matrix or convolution alone has no limit."""

_MODERATE = 40
"""Operators given by functions are taken as they are where one product lies within 2^± this."""


def centered(operator: LinearOperator) -> tuple[LinearOperator, int]:
    """2^−e·A with a norm near 1, and e. Exact, but for float64 entries whose underflow is accounted for."""
    if 0 in operator.shape:
        return operator, 0
    if isinstance(operator, StoredMatrix | Convolution):
        moved = operator.centered()
        return moved, operator.exponent - moved.exponent
    _require_moderate(operator)
    rounding = operator.rounding
    exponent = math.frexp(_seen(operator) if rounding is None else rounding.norm)[1]
    return operator.rescaled(-exponent), exponent


def _seen(operator: LinearOperator) -> float:
    """About the norm of an operator given by functions, by one product, where it is extreme; else 1/2."""
    vector = start_block(operator.shape[1], 1, 0, b"centering")
    with np.errstate(over="ignore", invalid="ignore"):
        image = np.asarray(operator.matmat(vector), dtype=np.float64)
        size = float(np.abs(image).max(initial=0.0))
    extreme = 0 < size < math.inf and not 2.0**-_MODERATE < size < 2.0**_MODERATE
    return max(size, 2.0**-1000) if extreme else 0.5


def _require_moderate(operator: LinearOperator) -> None:
    """Refuse parts whose products could overflow or underflow unseen: `Rounding` holds for moderate norms."""
    rounding = operator.rounding
    if rounding is None:
        return
    for part in (operator, *operator.parts):
        known = part.rounding
        moderate = known is None or known.norm == 0 or 2.0**-PART_EXPONENT < known.norm < 2.0**PART_EXPONENT
        if not moderate or (known is not None and known.norm == 0 and not _exactly_zero(part)):
            raise UnsupportedInput(
                f"{part!r} allows a norm of {known.norm if known else 0:.3g}; the parts of an operator are measured "
                f"where their norms lie within 2^±{PART_EXPONENT}. Scale them by powers of two first"
            )
        if part is not operator:
            _require_moderate(part)


def _exactly_zero(part: LinearOperator) -> bool:
    """Whether a norm of 0 is a fact, not an underflow: zero entries, a zero factor, or made of such parts."""
    if isinstance(part, StoredMatrix):
        return part.entrywise().one == 0
    if isinstance(part, Convolution):
        return not part.kernel.any()
    if isinstance(part, Scaled) and part.factor == 0:
        return True
    return any(p.rounding is not None and p.rounding.norm == 0 for p in part.parts)


def checked_warm(warm: Any, rows: int) -> Float64:
    """The warm vectors as a finite float64 block with columns of moderate size."""
    block = np.asarray(warm)
    if block.dtype.kind not in "fiu" or block.ndim != 2 or len(block) != rows:
        raise UsageError(
            f"warm vectors of shape {block.shape} and dtype {block.dtype} do not fit: give a real array of shape "
            f"({rows}, k), one column a vector on the short side"
        )
    block = block.astype(np.float64)
    if not np.isfinite(block).all():
        raise UsageError("warm vectors hold NaN or Inf; leave them out")
    return np.asarray(block / np.maximum(np.abs(block).max(axis=0, initial=0.0), 2.0**-500))


def scaled_back(bound: Bound, exponent: int) -> Bound | None:
    """The bound in the units of the weights; an upper bound beyond the largest float is no bound."""
    if exponent == 0:
        return bound
    if bound.side == "lower":
        return replace(bound, value=ldexp_down(bound.value, exponent))
    value = ldexp_up(bound.value, exponent)
    return replace(bound, value=value) if math.isfinite(value) else None
