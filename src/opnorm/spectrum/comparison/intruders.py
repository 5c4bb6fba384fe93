"""What the directions of two weights say: intruders, how far the top direction turned, how far singular values moved.

An intruder is one of the top ten left singular directions y of the tuned weight whose |cosine| with every left
singular direction of the base is below ε = 0.5 (Shuttleworth, Andreas, Torralba and Sharma, *LoRA vs Full Fine-tuning:
An Illusion of Equivalence*, 2024; the thresholds are those of PEFT's `tuners/lora/intruders.py`, which does two full
SVDs a layer). Directions of the base that its singular values do not use (below 10⁻⁶·σ₁) are none.

Where all directions of the base are known, the count is exact as far as they are. Where only the first K are, the
largest |cosine| is at least c = max_{i≤K}|cosᵢ| and at most the larger of c and a bound on what any other direction can
have of y: √(1 − Σ cosᵢ²), and that of `spread`. A direction is then one, is none, or is undecided, and the count is an
interval.

Evidence: estimates, as singular directions are computed, not proved; singular values that lie close together leave
their directions undetermined.
"""

from __future__ import annotations

import math

import numpy as np

from opnorm.linalg.rounding import Float64
from opnorm.spectrum.comparison.difference import dense
from opnorm.spectrum.comparison.sight import Sight
from opnorm.spectrum.comparison.spread import largest_atoms
from opnorm.spectrum.document import Quantity

TOP = 10
COSINE = 0.5

_FINE = 100
"""A change below so many times the resolution of Gram matrices has its shift taken from an SVD."""


def intruders(base: Sight, tuned: Sight, *, top: int = TOP, cosine: float = COSINE) -> Quantity | None:
    """How many of the tuned weight's top directions the base does not have; None where neither has any."""
    outputs = tuned.left(top)
    if outputs.shape[1] == 0 or not base.values.any():
        return None
    cosines = base.left_cosines(outputs)
    largest = cosines.max(axis=0, initial=0.0)
    outside = np.zeros(len(largest)) if base.complete else _outside(base, outputs, cosines)
    certain = int((np.maximum(largest, outside) < cosine).sum())
    possible = int((largest < cosine).sum())
    looked = f"of the top {outputs.shape[1]} output directions, |cosine| below {cosine:g}"
    note = (
        looked if base.complete else f"{looked}; {base.directions} directions of the base are known, the rest bounded"
    )
    value = float(certain) if certain == possible else None
    return Quantity(value, float(certain), float(possible), note=note)


def _outside(base: Sight, outputs: Float64, cosines: Float64) -> Float64:
    """What directions of the base that are not known can have of `outputs` at most."""
    rest = np.sqrt(np.maximum(1 - (cosines**2).sum(axis=0), 0.0))
    return np.asarray(np.minimum(rest, largest_atoms(base.operator, outputs, base.left(base.directions))))


def rotation(base: Sight, tuned: Sight, change: float) -> Quantity | None:
    """Degrees between the top directions of both, of the two sides the larger; `change`: an upper bound on ‖ΔW‖."""
    if not base.directions or not tuned.directions:
        return None
    sides = ((base.left(1), tuned.left(1)), (base.right(1), tuned.right(1)))
    angle = max(_degrees(a[:, 0], b[:, 0]) for a, b in sides)
    values = base.singular_values
    gap = float(values[0] - values[1]) if len(values) > 1 else math.inf
    close = "the base's two largest singular values lie closer than twice the change: which is on top is not settled"
    return Quantity(angle, note=close if gap <= 2 * change else "")


def largest_shift(base: Sight, tuned: Sight, change: float) -> Quantity:
    """max |σᵢ(tuned) − σᵢ(base)|: at most ‖ΔW‖ by Weyl's inequality."""
    before, after, note = base.singular_values, tuned.singular_values, ""
    if base.complete and tuned.complete:
        if change < _FINE * max(base.resolution, tuned.resolution):
            before, after = _by_svd(base), _by_svd(tuned)
    else:
        known = min(base.directions, tuned.directions)
        before, after, note = before[:known], after[:known], f"of the {known} largest"
        if not known:
            return Quantity(None, note="no singular value but the largest is known closely enough")
    return Quantity(float(np.abs(after - before).max(initial=0.0)), note=note)


def _by_svd(sight: Sight) -> Float64:
    values = np.linalg.svd(dense(sight.operator), compute_uv=False)
    return np.ldexp(np.asarray(values, dtype=np.float64), sight.exponent)


def _degrees(x: Float64, y: Float64) -> float:
    along = float(x @ y)
    across = float(np.linalg.norm(y - along * x))
    return math.degrees(math.atan2(across, abs(along)))
