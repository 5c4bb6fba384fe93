"""The last projection of a matrix, into the format in which it is saved, and the proof of what is saved.

The way: the weight as stored, in float64 → singular values clipped exactly → rounded to the format → proved from the
rounded numbers. Rounding moves singular values, by at most ‖Δ‖₂ ≤ u‖W‖_F and mostly by a small part of u·σ₁; where
that leaves the band, the aim is drawn in by what was missed and a step that doubles, and the clip is made again. So it
ends: for a cap the aim falls geometrically. What is proved inside from the start stays as it is, bit for bit.

Guarantee: caps (lo = 0) σ₁ ≤ hi, PROVED, never loosened. With lo > 0 the proved band lies in [lo, hi] where there is
room for rounding, else (lo near hi, orthogonal weights) in [lo(1 − t), hi(1 + t)] with t of `TOLERANCE`.
Cost, m ≤ n: about 2m²n + 10m³ multiplications and 40m² bytes for a cap, besides blocks of the weight; with lo > 0 an
SVD of the whole in float64. Beyond a short side of 16384 a cap is proved only where row and column sums do it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.bound import Bracket, Evidence, Measurement
from opnorm.constraint.band import Band
from opnorm.constraint.finalize.clip import Clip
from opnorm.constraint.finalize.stored import FORMATS, format_of, like, numpy_dtype, on_host, rounded
from opnorm.constraint.projection import project
from opnorm.errors import BoundMissed, NotFinite
from opnorm.frameworks import aslinearoperator, require_matrix
from opnorm.linalg.at_most import at_most, slack_of
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.plan import GRAM_SIDE_MOST
from opnorm.linalg.request import Request
from opnorm.linalg.smallest import smallest
from opnorm.linalg.stored import StoredMatrix

TOLERANCE = {**{name: 2 * unit for name, unit in FORMATS.items()}, "float64": 1e-7, "float32": 1e-6}
"""t of a format: twice its unit roundoff, where 0.8 of one was the most met; for the two widest, what a proof in
float64 hides at a short side of 4096."""

MOST_ROUNDS = 100
_MOST_BAND_ROUNDS = 7
_OVERSHOOT = 1.25


@dataclass(frozen=True, slots=True)
class Finalized:
    """values: in the format asked for, in the framework and on the device of the weight. measurement: of their σ₁.
    smallest: σ_min of the short side, where there is a floor. changed: whether they are more than the weight rounded.
    """  # fmt: skip

    values: Any
    measurement: Measurement
    smallest: Bracket | None = None
    changed: bool = False
    rounds: int = 0

    @property
    def band(self) -> tuple[float, float]:
        """What is PROVED of every singular value of the short side."""
        floor = 0.0 if self.smallest is None else self.smallest.lower
        return floor or 0.0, _upper(self.measurement)


def finalize_matrix(
    weight: Any, lo: float, hi: float, dtype: Any = None, *, name: str = "the matrix", seed: int = 0
) -> Finalized:
    """The nearest matrix with lo ≤ σ_i ≤ hi, as `dtype` stores it, and the proof.

    weight: a NumPy array or torch tensor of two dimensions, never changed. dtype: a format of `stored.FORMATS`, by
    name or as a framework's type; None: the weight's own. name: for messages.

    Raises `NotFinite`; `BoundMissed` where the format is too coarse for the band or nothing proves it;
    `UnsupportedInput` for other dtypes and shapes.
    """
    band = Band(lo, hi)
    array = on_host(weight)
    require_matrix(array.shape, array.dtype)
    own = format_of(array.dtype)
    name_of = own if dtype is None else format_of(dtype)
    kind = array.dtype if name_of == own else numpy_dtype(name_of)
    require_finite(array, name)
    found = _finished(array, band, kind, name, seed)
    return Finalized(like(found.values, weight), found.measurement, found.smallest, found.changed, found.rounds)


def _finished(array: NDArray[Any], band: Band, kind: np.dtype[Any], name: str, seed: int) -> Finalized:
    plain = rounded(array, kind)
    if band.kind == "free":
        require_finite(plain, name)
        return Finalized(plain, measure_operator(aslinearoperator(plain), Request(Evidence.PROVED, seed=seed)))
    if _is_finite(plain) and band.kind != "orthogonal":
        found = _proof(plain, band, seed)
        if _inside(found, band, 0.0):
            return found
    if min(array.shape) > GRAM_SIDE_MOST:
        raise BoundMissed(
            f"{name} of shape {array.shape} cannot be proved to lie in {band}: its short side exceeds "
            f"{GRAM_SIDE_MOST}, and its row and column sums do not suffice; split it into parts, or leave it out"
        )
    rounds = _capped(array, band, kind, name, seed) if band.lo == 0 else _banded(array, band, kind, name, seed)
    best: Finalized | None = None
    for number, found in enumerate(rounds, start=1):
        found = replace(found, changed=bool((found.values != plain).any()), rounds=number)
        if _inside(found, band, 0.0):
            return found
        best = found if best is None or _beyond(found, band) < _beyond(best, band) else best
    tolerance = 0.0 if band.lo == 0 else TOLERANCE[format_of(kind)]
    if best is not None and _inside(best, band, tolerance):
        return best
    raise BoundMissed(_coarse(name, band, format_of(kind), best, tolerance))


def _capped(array: NDArray[Any], band: Band, kind: np.dtype[Any], name: str, seed: int) -> Iterator[Finalized]:
    """Clips at falling ceilings, each rounded and proved or not."""
    clip, unit = Clip(array), FORMATS[format_of(kind)]
    step = unit / 16
    aim = band.hi * (1 - 2 * slack_of(array.shape, clip.stable_rank(band.hi)) - clip.rounding(band.hi, unit))
    for _ in range(MOST_ROUNDS):
        values = clip.at(aim, kind)
        require_finite(values, name)
        if not (values != 0).any():
            break
        found = _proof(values, band, seed)
        yield found
        over = (found.measurement.bracket(Evidence.PROVED).lower or 0.0) / band.hi - 1
        aim *= 1 - min(0.5, _OVERSHOOT * max(over, 0.0) + step)
        step *= 2


def _banded(array: NDArray[Any], band: Band, kind: np.dtype[Any], name: str, seed: int) -> Iterator[Finalized]:
    """Projections onto bands drawn in from the sides that were missed, while there is room between them."""
    exact = np.asarray(array, dtype=np.float64)
    slack = 2 * slack_of(array.shape, min(array.shape))
    room = band.hi > band.lo * (1 + 4 * slack)
    low, high = (band.lo * (1 + slack), band.hi * (1 - slack)) if room else (band.lo, band.hi)
    step = FORMATS[format_of(kind)] / 16
    for _ in range(_MOST_BAND_ROUNDS):
        values = rounded(project(exact, low, high), kind)
        require_finite(values, name)
        found = _proof(values, band, seed)
        yield found
        floor, ceiling = found.band
        low *= 1 + step + _OVERSHOOT * max(1 - floor / band.lo, 0.0)
        high *= 1 - step - _OVERSHOOT * max(ceiling / band.hi - 1, 0.0)
        step *= 2
        if low > high:
            break


def _proof(values: NDArray[Any], band: Band, seed: int) -> Finalized:
    operator = aslinearoperator(values)
    assert isinstance(operator, StoredMatrix)
    found = at_most(operator, band.hi, seed)
    if band.lo == 0:
        return Finalized(values, found)
    if _upper(found) > band.hi:
        width = max(TOLERANCE[format_of(values.dtype)] / 64, 8 * slack_of(values.shape, min(values.shape)))
        found = measure_operator(operator, Request(Evidence.PROVED, width, seed))
    return Finalized(values, found, smallest(operator))


def _upper(measurement: Measurement) -> float:
    upper = measurement.bracket(Evidence.PROVED).upper
    return math.inf if upper is None else upper


def _inside(found: Finalized, band: Band, tolerance: float) -> bool:
    floor, ceiling = found.band
    return floor >= band.lo * (1 - tolerance) and ceiling <= band.hi * (1 + tolerance)


def _beyond(found: Finalized, band: Band) -> float:
    """How far outside the band, relatively, singular values may lie."""
    floor, ceiling = found.band
    return max(ceiling / band.hi - 1, 1 - floor / band.lo if band.lo > 0 else 0.0)


def _is_finite(values: NDArray[Any]) -> bool:
    return bool(np.isfinite(values).all())


def require_finite(values: NDArray[Any], name: str) -> None:
    """`NotFinite` with the counts of NaN and infinite entries."""
    if not _is_finite(values):
        raise NotFinite(name, int(np.isnan(values).sum()), int(np.isinf(values).sum()))


def _coarse(name: str, band: Band, kind: str, best: Finalized | None, tolerance: float) -> str:
    if best is None:
        return (
            f"{name} rounds to zero in {kind} when its singular values are brought to {band}: save it in a wider format"
        )
    floor, ceiling = best.band
    allowed = f" to within {tolerance:.1g}" if tolerance else ""
    return (
        f"{name} could not be brought into {band}{allowed} as {kind} stores it: its singular values are proved to lie "
        f"in [{floor:.6g}, {ceiling:.6g}]; save it in a wider format, or give a wider band"
    )
