"""What follows from three norms of a layer: ratios, Frobenius norms, ranks, and what singular directions tell.

Frobenius norms of stored matrices are PROVED (sums of squares, γ_n and two roundings an entry), and so are ratios of
proved brackets. Ranks, shifts and directions are estimates.

The numerical rank of ΔW counts its singular values above τ, the larger of what a Gram matrix can resolve and what
rounding the tuned weight to its dtype can make: entries of noise of sizes at most u|w'ᵢⱼ| have a norm of about the
largest row norm and the largest column norm of those sizes together (Bandeira and van Handel, *Sharp Nonasymptotic
Bounds on the Norm of Random Matrices with Independent Entries*, 2016). A merged LoRA so has the rank of its factors,
not that of its rounding.

Cost: where affordable, three eigendecompositions of the short side (`sight`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from opnorm.bound import Evidence, Measurement
from opnorm.linalg.centering import centered
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import Float64, down, gamma, ldexp_down, ldexp_up, up
from opnorm.linalg.stored import StoredMatrix
from opnorm.spectrum.comparison.difference import kernel_of
from opnorm.spectrum.comparison.intruders import intruders, largest_shift, rotation
from opnorm.spectrum.comparison.sight import look
from opnorm.spectrum.comparison.subject import Subject
from opnorm.spectrum.document import Quantity


def middle(lower: float | None, upper: float | None) -> float | None:
    """The middle of a bracket, or the end that there is."""
    if lower is None or upper is None:
        return upper if lower is None else lower
    return lower + (upper - lower) / 2


def ratio(top: Quantity, bottom: Quantity) -> Quantity:
    """top/bottom, both not negative, rounded outward, of the weaker evidence of the two."""
    if bottom.upper == 0:
        return Quantity(None, evidence=top.evidence, note="the base weight is zero: there is nothing to relate to")
    lower = None if top.lower is None or not bottom.upper else down(top.lower / bottom.upper)
    upper = None if top.upper is None or not bottom.lower else up(top.upper / bottom.lower)
    upper = None if upper is None or not math.isfinite(upper) else upper
    if lower is None or upper is None:
        note = "only one end of it is known, as only one end of a norm is"
        return Quantity(None, lower, upper, _weaker(top, bottom), note=note)
    return Quantity(middle(lower, upper), lower, upper, _weaker(top, bottom))


def _weaker(*quantities: Quantity) -> str:
    return min(Evidence.parse(q.evidence) for q in quantities).label


def further(subject: Subject, measurement: Measurement, delta: Quantity) -> Mapping[str, Quantity]:
    """All figures of a layer beyond its three norms; `delta`: the bracket of `measurement`, which is that of ΔW."""
    known = measurement.frobenius if subject.values is None else float(np.linalg.norm(subject.values()))
    change, base = _frobenius(subject.delta, known), _frobenius(subject.base, None)
    found: dict[str, Quantity | None] = {"delta_frobenius": change}
    if change is not None and base is not None:
        found["relative_frobenius"] = replace(ratio(change, base), note=change.note)
    if change is not None and not change.note:
        found["delta_stable_rank"] = _stable_rank(change, delta)
    if isinstance(subject.base, StoredMatrix) and delta.upper:
        found |= _by_sight(subject, delta.upper)
    return {name: _finite(q) for name, q in found.items() if q is not None}


def _finite(quantity: Quantity) -> Quantity:
    """Without what left the range of float64."""
    ends = (quantity.value, quantity.lower, quantity.upper)
    value, lower, upper = (v if v is not None and math.isfinite(v) else None for v in ends)
    return replace(quantity, value=value, lower=lower, upper=upper)


def _by_sight(subject: Subject, change: float) -> dict[str, Quantity | None]:
    """What singular values and directions tell; `change`: an upper bound on ‖ΔW‖."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # norms may lie beyond float64; `_finite` drops what does
            return _seen(subject, change)
    except np.linalg.LinAlgError as error:
        return {"largest_shift": Quantity(None, note=f"not found: {error}")}


def _seen(subject: Subject, change: float) -> dict[str, Quantity | None]:
    base, tuned = (look(o.T if subject.turned else o) for o in (subject.base, subject.tuned))
    return {
        "delta_rank": _rank(subject),
        "largest_shift": largest_shift(base, tuned, change),
        "intruders": intruders(base, tuned),
        "rotation": rotation(base, tuned, change),
    }


def _frobenius(operator: LinearOperator, known: float | None) -> Quantity | None:
    """‖A‖_F, PROVED for stored matrices; of a convolution that of its kernel, which is not the operator's."""
    kernel = kernel_of(operator)
    if kernel is not None:
        wide = kernel.astype(np.float64)
        shift = math.frexp(float(np.abs(wide).max(initial=0.0)))[1]
        size = ldexp_up(float(np.linalg.norm(np.ldexp(wide, -shift))), shift)
        return Quantity(size, size, size, note="of the kernel")
    if not isinstance(operator, StoredMatrix):
        return None if known is None else Quantity(known, known, known)
    centered = operator.centered()
    if centered.entrywise().one == 0:
        return Quantity(0.0, 0.0, 0.0, "proved")
    sums, exponent = centered.entrywise(), operator.exponent - centered.exponent
    slack = gamma(math.prod(operator.shape) + 8)
    lower = ldexp_down(down(math.sqrt(max(down(sums.square * (1 - slack), 4) - sums.tiny, 0.0)), 4), exponent)
    upper = ldexp_up(up(sums.frobenius_up * (1 + 4 * 2.0**-53)), exponent)
    return Quantity(ldexp_up(sums.frobenius, exponent), lower, upper, "proved")


def _stable_rank(frobenius: Quantity, norm: Quantity) -> Quantity | None:
    """(‖ΔW‖_F/‖ΔW‖)², at least 1."""
    root = ratio(frobenius, norm)
    if root.lower is None or root.upper is None:
        return None
    lower, upper = max(1.0, down(root.lower**2)), max(1.0, up(root.upper**2))
    return Quantity(middle(lower, upper), lower, upper, root.evidence)


def _rank(subject: Subject) -> Quantity:
    """How many singular values of ΔW stand out of rounding; see the head of this file."""
    sight = look(subject.delta) if subject.values is None else None
    values = sight.singular_values if sight is not None else _given(subject)
    noise = subject.unit * _largest_sides(subject.tuned) if subject.unit else 0.0
    hidden = 1e-12 * float(values.max(initial=0.0)) if sight is None else sight.resolution
    threshold = max(noise, hidden)
    count = int((values > threshold).sum())
    if sight is not None and not sight.complete and count == len(values):
        return Quantity(None, lower=float(count), note=f"at least: singular values above {threshold:.3g}")
    return Quantity(float(count), note=f"singular values above {threshold:.3g}")


def _largest_sides(operator: LinearOperator) -> float:
    """The largest row norm and the largest column norm together."""
    moved, exponent = centered(operator)
    squares, column = np.zeros(operator.shape[0]), 0.0
    for block in moved.blocks64(1 << 10):
        squares += np.einsum("ij,ij->i", block, block)
        column = max(column, float(np.einsum("ij,ij->j", block, block).max(initial=0.0)))
    return ldexp_up(math.sqrt(float(squares.max(initial=0.0))) + math.sqrt(column), exponent)


def _given(subject: Subject) -> Float64:
    assert subject.values is not None
    return subject.values()
