"""The named quantities of a spectrum, from all values or from a quadrature: the table behind `Spectrum.quantities`.

Every key of `opnorm.spectrum.metrics.METRICS` has a quantity here or a note that says why it has none.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from opnorm.bound import Bracket, Evidence, Measurement
from opnorm.linalg.request import Request
from opnorm.linalg.rounding import Float64, down, gamma, up
from opnorm.spectrum import intervals
from opnorm.spectrum.document import NoiseEdge, Quantity, Tail
from opnorm.spectrum.intervals import absent, between, estimate
from opnorm.spectrum.quadrature import NEGLIGIBLE, Quadrature
from opnorm.spectrum.tail import LEAST_POINTS
from opnorm.spectrum.values import Values

_NO_VALUES = "too many singular values to compute; a quadrature does not see it"
_GROWS = "grows with the input's size: give input_shape"
_ZERO = "σ_min is 0 to within rounding"


def of_values(
    values: Values, shape: tuple[int, int], measurement: Measurement, request: Request
) -> dict[str, Quantity]:
    """All that follows from the singular values; none of them for a zero operator but its norms."""
    if not values.sigma.any():
        return _of_zero(values)
    tolerance = max(max(shape) * values.epsilon * float(values.sigma[0]), values.resolution)
    return {
        "stable_rank": _stable_rank(values, measurement, request),
        "effective_rank": intervals.effective_rank(values),
        "participation_ratio": intervals.participation_ratio(values),
        "numerical_rank": intervals.count_above(values, tolerance, f"above {tolerance:.3g}"),
        "nuclear": intervals.increasing(values, intervals.total(1)),
        "schatten_4": intervals.increasing(values, intervals.total(4), 16),
        "frobenius": _frobenius(values, measurement),
        "condition": _condition(values),
        "smallest": _smallest(values),
        "median": intervals.increasing(values, intervals.median),
        "log_det": intervals.log_sum(values) if values.sigma[-1] > values.floor else absent(_ZERO),
    }


def _of_zero(values: Values) -> dict[str, Quantity]:
    evidence = "proved" if values.proved else "estimate"
    none = Quantity(0.0, 0.0 if values.proved else None, 0.0 if values.proved else None, evidence)
    undefined = absent("all singular values are 0" if len(values.sigma) else "there are no singular values")
    zeros = ("numerical_rank", "nuclear", "schatten_4", "frobenius", "smallest", "median")
    ratios = ("stable_rank", "effective_rank", "participation_ratio", "condition", "log_det")
    return {**dict.fromkeys(ratios, undefined), **dict.fromkeys(zeros, none)}


def _stable_rank(values: Values, measurement: Measurement, request: Request) -> Quantity:
    """‖A‖_F²/σ₁² from the measured bracket, or from that of σ₁ here where it is proved and so narrower."""
    if measurement.frobenius and values.lower is not None and values.upper is not None and values.lower[0] > 0:
        ends = float(values.lower[0]), float(values.upper[0])
        return _ratio(measurement, *ends, "proved")
    found = stable_rank(measurement, request)
    if found.value is not None:
        return found
    return estimate(float(np.square(values.sigma / values.sigma[0]).sum()))


def stable_rank(measurement: Measurement, request: Request) -> Quantity:
    """‖A‖_F²/σ₁² from the measurement alone."""
    bracket = measurement.bracket(max(request.evidence, measurement.best(request.width)))
    if bracket.evidence is None:
        bracket = measurement.bracket(Evidence.ESTIMATE)
    if not measurement.frobenius or not bracket.lower or not bracket.upper:
        return absent("‖A‖_F is not known")
    return _ratio(measurement, bracket.lower, bracket.upper, _label(bracket))


def _ratio(measurement: Measurement, lower: float, upper: float, evidence: str) -> Quantity:
    """Squared after division, so that no square leaves the range."""
    assert measurement.frobenius is not None
    slack = gamma(math.prod(measurement.shape) + 8)
    least, most = (measurement.frobenius / upper) ** 2, (measurement.frobenius / lower) ** 2
    count = float(min(measurement.shape))
    low, high = max(1.0, down(least * (1 - slack), 8)), up(most * (1 + slack), 8)
    return between(math.sqrt(least * most), low, max(low, min(count, high)), evidence)


def _label(bracket: Bracket) -> str:
    return (bracket.evidence or Evidence.ESTIMATE).label


def frobenius(measurement: Measurement) -> Quantity:
    """‖A‖_F from the entries, its rounding included."""
    size = measurement.frobenius
    if size is None:
        return absent("‖A‖_F is not known")
    slack = gamma(math.prod(measurement.shape) + 8)
    return between(size, down(size * (1 - slack), 8), up(size * (1 + slack), 8))


def _frobenius(values: Values, measurement: Measurement) -> Quantity:
    found = frobenius(measurement)
    return found if found.value is not None else intervals.increasing(values, intervals.total(2), 16)


def _smallest(values: Values) -> Quantity:
    if values.lower is None or values.upper is None:
        size = float(values.sigma[-1])
        return estimate(size) if size > values.floor else estimate(0.0, _ZERO)
    lower, upper = float(values.lower[-1]), float(values.upper[-1])
    size = float(values.sigma[-1]) if lower > 0 else 0.0
    return between(size, lower, upper, note="" if lower > 0 else _ZERO)


def _condition(values: Values) -> Quantity:
    """σ₁/σ_min; where that may be infinite, what it is at least."""
    top, bottom = float(values.sigma[0]), float(values.sigma[-1])
    if values.lower is None or values.upper is None:
        return estimate(top / bottom) if bottom > values.floor else absent(_ZERO)
    least = down(float(values.lower[0]) / float(values.upper[-1])) if values.upper[-1] > 0 else None
    if values.lower[-1] == 0:
        return absent(_ZERO, least, "proved")
    assert least is not None
    return between(top / bottom, max(1.0, least), up(float(values.upper[0]) / float(values.lower[-1])))


def of_limit(values: Values) -> dict[str, Quantity]:
    """What has a meaning for a distribution: quantiles and the ratio of its ends, of the sample."""
    top, bottom = float(values.sigma[0]), float(values.sigma[-1])
    condition = estimate(top / bottom, values.note) if bottom > values.floor else absent(_ZERO)
    grows = ("effective_rank", "participation_ratio", "numerical_rank", "nuclear", "schatten_4", "frobenius", "log_det")
    return {
        **dict.fromkeys(("stable_rank", *grows), absent(_GROWS)),
        "condition": condition,
        "smallest": estimate(bottom if bottom > values.floor else 0.0, values.note),
        "median": estimate(intervals.median(values.sigma), values.note),
    }


def of_quadrature(rule: Quadrature, measurement: Measurement, request: Request) -> dict[str, Quantity]:
    """Sums by quadrature, each with its standard error; the norms from the measurement."""
    count, top = rule.count, float(rule.sigma.max())
    shift = math.frexp(top)[1]  # powers and logarithms of σ·2^−shift stay in range
    rule = replace(rule, sigma=np.ldexp(rule.sigma, -shift))
    first, entropy = rule.mean(lambda s: s), rule.mean(_s_log_s)
    second, fourth = rule.mean(np.square), rule.mean(lambda s: s**4)
    visible = 1 - rule.below(np.array([NEGLIGIBLE * float(rule.sigma.max())]))[:, 0]
    if not 0 < top < math.inf:
        return dict.fromkeys(("effective_rank", "participation_ratio", "nuclear"), absent(_NO_VALUES))

    def given(*parts: Float64, combine: object, note: str = "", size: int = 0) -> Quantity:
        value, error = rule.estimated(*parts, combine=combine)  # type: ignore[arg-type]
        with np.errstate(over="ignore"):
            return estimate(float(np.ldexp(value, size)), note, float(np.ldexp(error, size)))

    return {
        "stable_rank": stable_rank(measurement, request),
        "effective_rank": given(first, entropy, combine=lambda s, e: count * s * math.exp(-e / s)),
        "participation_ratio": given(second, fourth, combine=lambda s, f: count * s * s / f),
        "numerical_rank": given(visible, combine=lambda v: count * v, note="above a thousandth of σ₁"),
        "nuclear": given(first, combine=lambda s: count * s, size=shift),
        "schatten_4": given(fourth, combine=lambda f: (count * f) ** 0.25, size=shift),
        "frobenius": frobenius(measurement),
        "condition": absent(_NO_VALUES),
        "smallest": absent(_NO_VALUES),
        "median": given(rule.quantile(0.5), combine=lambda v: v, size=shift),
        "log_det": absent(_NO_VALUES),
    }


def _s_log_s(sigma: Float64) -> Float64:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(sigma > 0, sigma * np.log(sigma), 0.0))


def of_tail(tail: Tail | None, top: float, why: str = "") -> dict[str, Quantity]:
    """α and α·log₁₀σ₁² with their errors."""
    if tail is None:
        missing = absent(why or f"fewer than {LEAST_POINTS} different singular values above 0: no exponent is fitted")
        return {"alpha": missing, "alpha_weighted": missing}
    size = 2 * math.log10(top)
    note = "" if tail.favored == "power law" else f"favored: {tail.favored}"
    return {
        "alpha": Quantity(tail.alpha, error=tail.error, note=note),
        "alpha_weighted": Quantity(tail.alpha * size, error=abs(size) * tail.error, note=note),
    }


def of_noise(noise: NoiseEdge | None, why: str) -> dict[str, Quantity]:
    """The count of outliers, as the noise edge has it."""
    return {"outliers": absent(why) if noise is None else noise.outliers}
