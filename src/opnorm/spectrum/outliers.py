"""The number of singular values above a threshold, proved: from brackets of all values, or by inertia.

Where every value has a proved bracket, those whose lower end is above τ count, and those whose upper end is above it
may. Where no bracket holds τ the count is exact. Else `opnorm.spectrum.inertia` decides, whose margin is its own: by
the Gram matrix, or, for thresholds that squaring has lost, by the augmented matrix.

Guarantee: PROVED, both ends. Cost: a comparison, or two symmetric indefinite factorizations.
"""

from __future__ import annotations

import numpy as np

from opnorm.bound import Evidence
from opnorm.errors import UsageError
from opnorm.linalg.centering import centered
from opnorm.linalg.gram import gram_matrix
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.linalg.stored import StoredMatrix
from opnorm.spectrum.document import Quantity
from opnorm.spectrum.inertia import AUGMENTED_SIDE, SIDE, Count, count_above, count_above_augmented
from opnorm.spectrum.singular import formed
from opnorm.spectrum.values import Values

PROVED_MOST = 8192
"""The longest short side whose inertia is computed where 'proved' is asked for."""


def outliers(operator: LinearOperator, values: Values, threshold: float, request: Request) -> Quantity:
    """How many values lie above `threshold` > 0, in the operator's units."""
    if not threshold > 0:
        raise UsageError(f"a threshold of {threshold!r} has no outliers: give a number above 0")
    count = int(np.count_nonzero(values.sigma > threshold))
    known = _by_brackets(values, threshold)
    if known is None or not known.exact:
        known = _tighter(known, _by_inertia(operator, threshold, request))
    if known is None:
        return Quantity(float(count), note="not proved: the matrix is too large for its factorization")
    return Quantity(
        float(min(max(count, known.lower), known.upper)), float(known.lower), float(known.upper), "proved"
    )  # fmt: skip


def _by_brackets(values: Values, threshold: float) -> Count | None:
    if values.lower is None or values.upper is None:
        return None
    return Count(int(np.count_nonzero(values.lower > threshold)), int(np.count_nonzero(values.upper > threshold)))


def _tighter(first: Count | None, second: Count | None) -> Count | None:
    known = [count for count in (first, second) if count is not None]
    return Count(max(c.lower for c in known), min(c.upper for c in known)) if known else None


def _by_inertia(operator: LinearOperator, threshold: float, request: Request) -> Count | None:
    """For stored matrices; None where the factors would be too large."""
    most = PROVED_MOST if request.evidence is Evidence.PROVED else SIDE
    if not isinstance(operator, StoredMatrix) or min(operator.shape) > most or request.evidence is Evidence.ESTIMATE:
        return None
    wide, exponent = centered(operator.wide())
    assert isinstance(wide, StoredMatrix)
    moved = np.ldexp(threshold, -exponent)
    if not np.isfinite(moved) or np.ldexp(moved, exponent) != threshold:
        return None
    count = count_above(gram_matrix(wide), float(moved))
    if count.exact or sum(wide.shape) > AUGMENTED_SIDE:
        return count
    return _tighter(count, count_above_augmented(formed(wide), wide.perturbation, float(moved)))
