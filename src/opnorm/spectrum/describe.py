"""`opnorm.describe`: the spectrum of one matrix or operator, with what follows from it."""

from __future__ import annotations

import math
from typing import Any

from opnorm.bound import Evidence, Measurement
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request, proved
from opnorm.linalg.start import fresh_seed
from opnorm.spectrum.document import Spectrum
from opnorm.spectrum.magnitude import spectrum_of
from opnorm.spectrum.singular import singular_values
from opnorm.spectrum.values import Values


def describe(
    A: Any,
    *,
    evidence: Evidence | str = Evidence.PROBABLE,
    width: float = 0.01,
    initial: Any = None,
    tail: bool = True,
    p_value: bool = False,
    seed: int | None = None,
) -> Spectrum:
    """The singular values of a matrix or operator, and what they say: ranks, norms, noise edge, tail, dead units.

    A: what `opnorm.spectral_norm` takes. evidence: 'proved' brackets every singular value whatever it costs;
    'probable' does so up to a short side of 4096; 'estimate' proves nothing but what is free. initial: the same layer
    before training, for the distance from it. tail: fit a power law to the largest σ²; p_value: and simulate how well
    it fits, which takes a second. seed: of random vectors; None draws fresh entropy.

    `print(opnorm.describe(A))` shows it;
    `.quantities['effective_rank'].value` is a number, `METRICS` says what each is. Raises `UndefinedNorm` for NaN or
    Inf, `UnsupportedInput` for what is no real matrix, `UsageError` for an initial matrix of another shape. Cost:
    about m²n + 4m³ multiplications, m the short side, up to 8192; a quadrature beyond.
    """
    request = Request(Evidence.parse(evidence), width, fresh_seed() if seed is None else seed)
    operator = aslinearoperator(A)
    before = None if initial is None else aslinearoperator(initial)
    values = singular_values(operator, request)
    measurement = _known(values, operator, request) or measure_operator(operator, request)
    return spectrum_of(operator, measurement, request, initial=before, tail=tail, p_value=p_value, values=values)


def _known(values: Values | None, operator: LinearOperator, request: Request) -> Measurement | None:
    """The norm's own bracket and ‖A‖_F, where finding all values has proved the one and summed the other."""
    if values is None or values.frobenius is None or values.lower is None or values.upper is None:
        return None
    ends = float(values.lower[0]), float(values.upper[0])
    if not (math.isfinite(ends[1]) and math.isfinite(values.frobenius)):
        return None
    bounds = proved("lower", ends[0], values.method), proved("upper", ends[1], values.method)
    return Measurement(bounds, operator.shape, values.method, 1, seed=request.seed, frobenius=values.frobenius)
