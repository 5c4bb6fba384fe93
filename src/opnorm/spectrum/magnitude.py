"""A layer's spectrum in one call: the singular values once, and from them everything else.

The way of the data: operator, its measured norm and what was asked → all singular values where one of the exact ways
fits (`opnorm.spectrum.singular`), else a quadrature (`opnorm.spectrum.quadrature`) → named quantities, a profile to
draw, the density, the noise edge with its proved count, the tail, dead and duplicate units → `Spectrum`. Methods are
chosen by counting work; nothing is formed that does not fit.

Guarantee: each quantity states its own evidence. Cost: that of the values, see `opnorm.spectrum.singular`; what follows
from them costs a few milliseconds a layer.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np

from opnorm.bound import Measurement
from opnorm.frameworks.numpy import adapt
from opnorm.linalg.algebra import Sum
from opnorm.linalg.convolution.by_symbol import BareKernel
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.linalg.stored import StoredMatrix
from opnorm.spectrum import density, noise, quantities
from opnorm.spectrum.convolved import limit
from opnorm.spectrum.distance import from_initial
from opnorm.spectrum.document import NoiseEdge, Quantity, Spectrum, Units
from opnorm.spectrum.intervals import absent
from opnorm.spectrum.metrics import METRICS
from opnorm.spectrum.outliers import outliers
from opnorm.spectrum.quadrature import PROBES, STEPS, Quadrature, quadrature
from opnorm.spectrum.singular import singular_values
from opnorm.spectrum.tail import SIMULATIONS, tail_of
from opnorm.spectrum.units import units_of
from opnorm.spectrum.values import Values

__all__ = ["METRICS", "spectrum_of"]

PROFILE, FIRST = 64, 8
"""Singular values in a profile, and how many of the first are all there."""

CONVOLVED_PROBES, CONVOLVED_STEPS = 5, 32
"""Vectors and steps of the quadrature of a convolution, whose products are dear."""

QUADRATURE_WORK = 6e10
"""Multiplications for that; where it needs more, the limit for large inputs stands in."""

_NO_WAY = "no way to find the singular values of this operator"
_UNKNOWN_SETTINGS = "unknown stride, padding and groups: give the model or its config"

_NO_NOISE = "no noise edge: the singular values are not those of a matrix without structure, or half of them are 0"


def spectrum_of(
    operator: LinearOperator,
    measurement: Measurement,
    request: Request,
    *,
    initial: LinearOperator | None = None,
    tail: bool = True,
    p_value: bool = False,
    transposed: bool = False,
    values: Values | None = None,
) -> Spectrum:
    """The singular values of `operator` and what follows from them.

    measurement: its norm as `opnorm.linalg.measure` found it. initial: the operator it was trained from. tail: fit a
    power law; p_value: and simulate how well it fits. transposed: the entries are stored as inputs by outputs.
    values: where they were found before. Raises `UndefinedNorm` for NaN or Inf.
    """
    began = time.perf_counter()
    values = singular_values(operator, request) if values is None else values
    rule = None
    if values is None and isinstance(operator, Convolution) and _work(operator) > QUADRATURE_WORK:
        values = limit(operator)
    if values is None and _has_products(operator):
        rule = quadrature(operator, request, *_effort(operator))
    found = Spectrum(*operator.shape, "none", {}, units=_units(operator, request, transposed=transposed))
    if values is not None:
        found = _exact(found, operator, values, measurement, request, tail=tail, p_value=p_value)
    elif rule is not None:
        found = _sampled(found, rule, operator, measurement, request)
    return _completed(found, operator, initial, began)


def _completed(found: Spectrum, operator: LinearOperator, initial: LinearOperator | None, began: float) -> Spectrum:
    """With the distance from initialization, a word for every metric that has no number, and the time."""
    numbers = dict(found.quantities)
    if initial is not None:
        numbers["from_initial"] = from_initial(operator, initial)
    unknown = absent(_UNKNOWN_SETTINGS if isinstance(operator, BareKernel) else _NO_WAY)
    numbers = {name: numbers.get(name, unknown) for name in METRICS if name in numbers or name != "from_initial"}
    return replace(found, quantities=numbers, seconds=round(time.perf_counter() - began, 6))


def _exact(
    found: Spectrum,
    operator: LinearOperator,
    values: Values,
    measurement: Measurement,
    request: Request,
    *,
    tail: bool,
    p_value: bool,
) -> Spectrum:
    if len(values.sigma) == 0 or values.limit:
        return _of_limit(found, values)
    if not math.isfinite(values.sigma[0] if values.upper is None else values.upper[0]):
        beyond = absent("the singular values leave the range of float64: multiply the weights by a power of two")
        return replace(found, method=values.method, quantities=dict.fromkeys(METRICS, beyond))
    edge = _noise(operator, values, request)
    law = tail_of(values, simulations=SIMULATIONS if p_value else 0, seed=request.seed) if tail else None
    numbers = {
        **quantities.of_values(values, operator.shape, measurement, request),
        **quantities.of_noise(edge, _NO_NOISE),
        **quantities.of_tail(law, float(values.sigma[0]), "" if tail else "not asked for"),
    }
    profile, ranks = profile_of(values)
    return replace(
        found,
        method=values.method,
        quantities=numbers,
        profile=profile,
        ranks=ranks,
        density=density.exact(values),
        noise=edge,
        tail=law,
    )


def _of_limit(found: Spectrum, values: Values) -> Spectrum:
    """A sample of a distribution has no sums, no noise edge and no tail; an empty operator has nothing."""
    if len(values.sigma) == 0:
        return replace(found, method=values.method)
    numbers = quantities.of_limit(values)
    why = "a sample of the limit for large inputs is not the spectrum of one matrix"
    numbers |= quantities.of_noise(None, why) | quantities.of_tail(None, 1.0, why)
    return replace(found, method=values.method, quantities=numbers, density=density.exact(values))


def _sampled(
    found: Spectrum, rule: Quadrature, operator: LinearOperator, measurement: Measurement, request: Request
) -> Spectrum:
    numbers = quantities.of_quadrature(rule, measurement, request)
    edge = _sampled_noise(rule, *operator.shape) if isinstance(operator, StoredMatrix | Sum) else None
    why = "too many singular values to compute, and a tail is fitted to all of them"
    numbers |= quantities.of_noise(edge, _NO_NOISE) | quantities.of_tail(None, 1.0, why)
    return replace(found, method="quadrature", quantities=numbers, density=density.sampled(rule), noise=edge)


def _noise(operator: LinearOperator, values: Values, request: Request) -> NoiseEdge | None:
    rows, columns = operator.shape
    if not values.dense or min(rows, columns) < noise.LEAST_SIDE:
        return None
    size = noise.median_scale(values.sigma, rows, columns)
    edge = noise.edge(size, rows, columns)
    if not values.floor < edge < math.inf:
        return None
    return NoiseEdge(size, noise.METHOD, edge, outliers(operator, values, edge, request))


def _sampled_noise(rule: Quadrature, rows: int, columns: int) -> NoiseEdge | None:
    """The same from a quadrature: the weight of the nodes above, an estimate with its error."""
    median = float(rule.quantile(0.5).mean())
    if median == 0 or min(rows, columns) < noise.LEAST_SIDE:
        return None
    size = noise.scale(median, rows, columns)
    edge = noise.edge(size, rows, columns)
    above = rule.mean(lambda sigma: (sigma > edge).astype(np.float64))
    count, error = rule.estimated(above, combine=lambda share: rule.count * share)
    counted = Quantity(max(0.0, count), error=error, note="by quadrature; not proved")
    return NoiseEdge(size, noise.METHOD, edge, counted)


def profile_of(values: Values) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """At most 64 singular values and their ranks: the first eight, then evenly spaced ones, the last included."""
    count = len(values.sigma)
    spaced = np.linspace(FIRST, count - 1, PROFILE - FIRST).round().astype(int) if count > PROFILE else range(count)
    ranks = sorted({*range(min(FIRST, count)), *(int(r) for r in spaced)})
    return tuple(float(values.sigma[r]) for r in ranks), tuple(ranks)


def _has_products(operator: LinearOperator) -> bool:
    """A bare kernel and a convolution of any size have a norm, and no products."""
    sizeless = isinstance(operator, Convolution) and operator.geometry.size is None
    return not sizeless and not isinstance(operator, BareKernel)


def _effort(operator: LinearOperator) -> tuple[int, int]:
    return (CONVOLVED_PROBES, CONVOLVED_STEPS) if isinstance(operator, Convolution) else (PROBES, STEPS)


def _work(operator: Convolution) -> float:
    """Multiplications of a quadrature: two products with each vector at each step."""
    if operator.geometry.size is None:
        return math.inf
    taps = operator.geometry.taps * operator.kernel.shape[1]
    return float(
        2 * CONVOLVED_PROBES * CONVOLVED_STEPS * taps * operator.kernel.shape[0] * math.prod(operator.geometry.output)
    )


def _units(operator: LinearOperator, request: Request, *, transposed: bool) -> Units | None:
    """Of a stored matrix, or of a convolution by its filters; None for operators that have no units."""
    matrix = operator.T if transposed else operator
    if isinstance(matrix, Convolution | BareKernel):
        if isinstance(matrix, Convolution) and matrix.transposed:
            return None
        channels = matrix.kernel.any(axis=(0, *range(2, matrix.kernel.ndim)))
        grouped = isinstance(matrix, Convolution) and matrix.geometry.groups > 1
        found = units_of(adapt(matrix.kernel.reshape(len(matrix.kernel), -1)), request.seed, request.key)
        idle = () if grouped else np.flatnonzero(~channels)
        return replace(found, dead_inputs=tuple(int(i) for i in idle[:32]), dead_inputs_count=len(idle))
    if not isinstance(matrix, StoredMatrix) or 0 in matrix.shape:
        return None
    return units_of(matrix, request.seed, request.key)
