"""The exact projection of a stored matrix under a ceiling, at several ceilings, a block of columns at a time.

With m ≤ n and WWᵀ = UΛUᵀ: P(W) = W − U diag(1 − c/σ)₊ UᵀW, rounded to a format block by block. The matrix is never
copied as a whole; the decomposition serves every ceiling. Squaring costs (σ₁/c)²·2⁻⁵³ relative to c: where the format
would show it, the SVD of the whole in float64 is taken instead (`opnorm.constraint.projection`).
Cost: 2m²n + 9m³ multiplications, then 2mkn for k clipped values; 40m² bytes.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.constraint.finalize.stored import FORMATS, format_of, rounded
from opnorm.constraint.projection import project
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.gram import gram_matrix
from opnorm.linalg.rounding import UNIT, Float64
from opnorm.linalg.stored import StoredMatrix

_SPARE = 1 / 32
_SAME = 8.0


class Clip:
    """The projections of one finite matrix (rows, columns) of any float dtype."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self._turned = array.shape[0] > array.shape[1]
        operator = aslinearoperator(array.T if self._turned else array)
        assert isinstance(operator, StoredMatrix)
        self._wide = operator.centered()

    @cached_property
    def _decomposed(self) -> tuple[Float64, Float64]:
        """Singular values, ascending, and left vectors, in the units of `_wide`."""
        values, vectors = np.linalg.eigh(gram_matrix(self._wide).matrix)
        return np.sqrt(np.maximum(values, 0.0)), vectors

    def stable_rank(self, ceiling: float) -> float:
        """About that of the projection, as far as the Frobenius norm tells."""
        level = math.ldexp(ceiling, self._wide.exponent)
        ratio = self._wide.entrywise().frobenius / level if level > 0 else math.inf
        return ratio * ratio  # infinite where ** would raise

    def rounding(self, ceiling: float, unit: float) -> float:
        """About how far, relatively, rounding entries to a format lifts the k clipped values of the projection.

        Errors of rms 0.4u|w| make a k×k block of norm 2√k times that of one entry: at most 0.6u, less where few meet.
        """
        sigma = self._decomposed[0]
        level = math.ldexp(ceiling, self._wide.exponent)
        clipped = np.minimum(sigma, level)
        hot = int((sigma > level).sum())
        entry = float(np.linalg.norm(clipped)) / math.sqrt(math.prod(self.array.shape))
        return 0.8 * unit * entry * math.sqrt(hot) / level if level > 0 else 0.0

    def at(self, ceiling: float, kind: np.dtype[Any]) -> NDArray[Any]:
        """P(W) for this ceiling as `kind` stores it, laid out as the matrix is."""
        sigma, vectors = self._decomposed
        level = math.ldexp(ceiling, self._wide.exponent)
        tolerance = max(FORMATS[format_of(kind)] * _SPARE, _SAME * UNIT)
        if UNIT * float(sigma[-1]) ** 2 > tolerance * level**2:
            return rounded(project(np.asarray(self.array, dtype=np.float64), 0.0, ceiling), kind)
        hot = sigma > level
        basis, fraction = vectors[:, hot], 1 - level / sigma[hot]
        result = np.empty_like(self.array, dtype=kind)
        wide, start = result.T if self._turned else result, 0
        for block in self._wide.blocks64():
            stop = start + block.shape[1]
            moved = block - basis @ (fraction[:, None] * (basis.T @ block))
            wide[:, start:stop] = rounded(np.ldexp(moved, -self._wide.exponent), kind)
            start = stop
        return result
