"""What a row knows of a metric: from its bounds, its Frobenius norm, or its spectrum, as one `Quantity`.

Guarantee: the ends of σ₁, the stable rank and the Frobenius norm are those of the report, at the evidence asked for;
every other metric is what `opnorm.spectrum` states of itself. Nothing is computed beyond a few products per row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from opnorm.bound import Evidence
from opnorm.linalg.rounding import down, gamma, up
from opnorm.report.document import Row
from opnorm.report.rows import weakest
from opnorm.spectrum.document import Quantity, Spectrum

SPECTRAL_NORM, FROBENIUS, STABLE_RANK = NORMS = ("spectral_norm", "frobenius", "stable_rank")
"""Metrics that every measured row has, without its spectrum."""

SIGNED = ("log_det",)
"""Metrics that may be negative."""

ERRORS = 2
"""Standard errors on either side of a value that is known by sampling or a fit."""


def _outliers(spectrum: Spectrum) -> Quantity | None:
    return None if spectrum.noise is None else spectrum.noise.outliers


def _alpha(spectrum: Spectrum) -> Quantity | None:
    tail = spectrum.tail
    return None if tail is None else Quantity(tail.alpha, error=tail.error)


def _counted(field: str) -> Callable[[Spectrum], Quantity | None]:
    """A count of exact zeros: as sure as the stored numbers."""

    def count(spectrum: Spectrum) -> Quantity | None:
        if spectrum.units is None:
            return None
        number = float(getattr(spectrum.units, field))
        return Quantity(number, number, number, "proved")

    return count


BESIDE: Mapping[str, Callable[[Spectrum], Quantity | None]] = {
    "outliers": _outliers,
    "alpha": _alpha,
    "dead_outputs": _counted("dead_outputs_count"),
    "dead_inputs": _counted("dead_inputs_count"),
}
"""Metrics of a spectrum that are none of its `quantities`."""


def names() -> tuple[str, ...]:
    """Every metric that a rule can limit."""
    from opnorm.spectrum.magnitude import METRICS

    return tuple(dict.fromkeys((*NORMS, *METRICS, *BESIDE)))


def quantity_of(row: Row, metric: str, least: Evidence) -> Quantity:
    """What is known of `metric` with at least the evidence `least`; ends are None, with a note, where nothing is."""
    if metric == SPECTRAL_NORM:
        return _norm(row, least)
    stated = _stated(row, metric)
    if metric in NORMS and (stated is None or Evidence.parse(stated.evidence) < least):
        return _stable_rank(row, least) if metric == STABLE_RANK else _frobenius(row)
    if stated is not None:
        return stated
    absent = "the row's spectrum was not found" if row.spectrum is None else "its spectrum does not say"
    return Quantity(None, note=f"{metric} is not known: {absent}")


def _stated(row: Row, metric: str) -> Quantity | None:
    if row.spectrum is None:
        return None
    found = row.spectrum.quantities.get(metric)
    return BESIDE[metric](row.spectrum) if found is None and metric in BESIDE else found


def _norm(row: Row, least: Evidence) -> Quantity:
    """The bracket of σ₁; a row read back from a file has its numbers alone."""
    if row.bounds:
        bracket = row.bracket(least)
        evidence = weakest(bracket)
        return Quantity(None, bracket.lower, bracket.upper, (evidence or Evidence.ESTIMATE).label)
    return Quantity(None, row.lower, row.upper, row.evidence or Evidence.ESTIMATE.label)


def _frobenius(row: Row) -> Quantity:
    """‖A‖_F with the rounding of a sum over all entries, which is what every method keeps to where it gives one."""
    if row.frobenius is None:
        return Quantity(None, note="frobenius is not known: the operator has no stored entries")
    slack = gamma(math.prod(row.shape) + 8)
    return Quantity(row.frobenius, down(row.frobenius * (1 - slack)), up(row.frobenius * (1 + slack)), "proved")


def _stable_rank(row: Row, least: Evidence) -> Quantity:
    """‖A‖_F²/σ₁² from the ends of either at `least`; at least 1, as ‖A‖_F ≥ σ₁."""
    norm, frobenius = _norm(row, least), _frobenius(row)
    if not norm.lower or not norm.upper or not frobenius.lower or not frobenius.upper:
        return Quantity(None, note="stable_rank is not known: it takes both ends of σ₁ and the Frobenius norm")
    lower = max(1.0, down((frobenius.lower / norm.upper) ** 2, 8))
    upper = max(1.0, up((frobenius.upper / norm.lower) ** 2, 8))
    return Quantity(None, lower, upper, norm.evidence)


def ends(quantity: Quantity, least: Evidence) -> tuple[float | None, float | None]:
    """The lower and the upper end that may be relied on at `least`.

    Of an estimate without ends, its value, with `ERRORS` standard errors on either side where it has one.
    """
    if Evidence.parse(quantity.evidence) < least:
        return None, None
    lower, upper = quantity.lower, quantity.upper
    if least <= Evidence.ESTIMATE and quantity.value is not None:
        around = ERRORS * (quantity.error or 0.0)
        lower = quantity.value - around if lower is None else lower
        upper = quantity.value + around if upper is None else upper
    return lower, upper
