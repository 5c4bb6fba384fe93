"""All singular values of an operator, by the cheapest exact way that its kind allows.

The way of the data: an operator → the rule of its kind → its Gram matrix on the short side, its symbol, its thin
cores or its diagonal → `Values`. None where nothing exact fits into memory or patience; `opnorm.spectrum.quadrature`
then gives the distribution without the values.

| kind | how | cost in multiplications |
|---|---|---|
| stored, short side m ≤ 8192 | eigenvalues of AAᵀ; up to 4096 with vectors, which proves them | m²n + about 4m³ |
| the same, where AAᵀ cannot tell the smallest value from 0, m ≤ 512 | singular value decomposition | 4m²n + 8m³ |
| AᵀB of thin factors, k rows | eigenvalues of a k×k core | k²(m + n) |
| convolution | by its columns, where they are few; circular, or any size: by its symbol | `opnorm.spectrum.convolved` |
| sums, products, black boxes | by their columns, up to 1024 of them | a product with each |
| diagonal, block-diagonal, scaled, transposed | from what they are made of | |

Guarantee: as `Values` says: each value with its PROVED bracket (`opnorm.spectrum.enclosure`), or an estimate.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from opnorm.bound import Evidence
from opnorm.errors import UndefinedNorm
from opnorm.linalg.algebra import BlockDiagonal, Scaled, Sum
from opnorm.linalg.centering import centered
from opnorm.linalg.convolution.by_symbol import BareKernel
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.diagonal import Diagonal
from opnorm.linalg.environment import require_ieee
from opnorm.linalg.gram import Gram, gram_matrix
from opnorm.linalg.near import Near
from opnorm.linalg.operator import Adjoint, LinearOperator
from opnorm.linalg.request import Request
from opnorm.linalg.rounding import UNIT, Float64, up
from opnorm.linalg.stored import StoredMatrix
from opnorm.linalg.thin import ThinProduct
from opnorm.spectrum import convolved, cores
from opnorm.spectrum.convolved import Rule
from opnorm.spectrum.enclosure import Enclosure, from_gram, from_svd
from opnorm.spectrum.values import DOUBLE, SINGLE, Values, down_each, together, up_each, zeros

SIDE = 8192
"""The longest short side whose Gram matrix is decomposed: 0.5 GB, and minutes."""

PROVED_SIDE = 4096
"""Up to here every value is proved unless an estimate will do: vectors cost no more than a count by inertia would. From
here to `SIDE` where 'proved' is asked for."""

SVD_SIDE, SVD_SIDE_MOST = 512, 1024
"""Up to here a decomposition looks for values that squaring has hidden; to the latter where 'proved' is asked for."""

SVD_ENTRIES = 1 << 22

FORMED_SIDE = 1024
"""Up to here an operator without stored entries is formed, a column at a time."""

FORMED_ENTRIES = 1 << 24


def singular_values(operator: LinearOperator, request: Request) -> Values | None:
    """All min(rows, columns) singular values in the operator's own units, or None where none of the ways fits.

    Raises `UndefinedNorm` for NaN or Inf, `UnsupportedInput` for parts whose norms leave 2^±200.
    """
    require_ieee()
    if 0 in operator.shape:
        return zeros(0)
    for kind, rule in RULES:
        if isinstance(operator, kind):
            return rule(operator, request)
    return _formed(operator, request)


def _stored(operator: LinearOperator, request: Request) -> Values | None:
    assert isinstance(operator, StoredMatrix)
    wide, exponent = centered(operator.wide())
    assert isinstance(wide, StoredMatrix)
    epsilon = _epsilon(wide)
    if wide.entrywise().one == 0:
        return zeros(wide.shape[0], epsilon=epsilon, dense=True)
    if wide.shape[0] > SIDE:
        return None
    found, lowest = _of_gram(gram_matrix(wide), request, epsilon, dense=True)
    if _worth_refining(wide, found, lowest, request):
        found = _refined(wide, found, request)
    return replace(found, frobenius=wide.entrywise().frobenius).times(exponent)


def _epsilon(matrix: StoredMatrix) -> float:
    return SINGLE if matrix._read(0, 1).dtype == np.float32 else DOUBLE


def _of_gram(gram: Gram, request: Request, epsilon: float, *, dense: bool) -> tuple[Values, Float64 | None]:
    """From Ĝ: every value proved where the side is small or proof is asked, else to rounding.

    With the vectors computed there is one that A nearly annihilates.
    """
    size = len(gram.matrix)
    wanted = size <= PROVED_SIDE and request.evidence is not Evidence.ESTIMATE
    if wanted or request.evidence is Evidence.PROVED:
        found = from_gram(gram)
        if found is not None:
            return _enclosed(found, "gram", epsilon, dense=dense), found.lowest
    squares = np.linalg.eigvalsh(gram.matrix)[::-1]
    loss = up(gram.error + 8 * UNIT * size * gram.trace)
    sigma = np.sqrt(np.maximum(squares, 0.0))
    return Values(sigma, "gram", resolution=math.sqrt(loss), epsilon=epsilon, dense=dense), None


def _enclosed(found: Enclosure, method: str, epsilon: float, *, dense: bool) -> Values:
    """What may be 0 is given as 0, and what it may be at most is the resolution: as computed it is noise."""
    hidden = found.lower == 0
    resolution = float(found.upper[hidden].max(initial=0.0))
    return Values(np.where(hidden, 0.0, found.sigma), method, found.lower, found.upper, resolution, epsilon, dense)


def _worth_refining(wide: StoredMatrix, found: Values, lowest: Float64 | None, request: Request) -> bool:
    """Whether squaring has hidden the smallest value, the matrix is small, and a decomposition could see more.

    It could not where the vector of the smallest value is annihilated to the rounding of a decomposition itself, as
    dead units and centered layers have it.
    """
    rows, columns = wide.shape
    most = SVD_SIDE_MOST if request.evidence is Evidence.PROVED else SVD_SIDE
    if found.sigma[-1] > 4 * found.resolution or rows > most or rows * columns > SVD_ENTRIES:
        return False
    if lowest is None:
        return True
    image = float(np.linalg.norm(wide.rmatmat64(lowest[:, None])))
    return image > rows * UNIT * float(found.sigma.sum())


def _refined(wide: StoredMatrix, found: Values, request: Request) -> Values:
    """By a singular value decomposition."""
    columns = wide.shape[1]
    matrix = formed(wide)
    if request.evidence is Evidence.ESTIMATE:
        sigma = np.asarray(np.linalg.svd(matrix, compute_uv=False), dtype=np.float64)
        resolution = 4 * UNIT * columns * float(sigma[0]) + wide.perturbation
        return Values(sigma, "svd", resolution=resolution, epsilon=found.epsilon, dense=found.dense)
    enclosed = from_svd(matrix, wide.perturbation)
    return found if enclosed is None else _enclosed(enclosed, "svd", found.epsilon, dense=found.dense)


def formed(operator: LinearOperator) -> Float64:
    """The float64 entries of an operator as one array; its own to write to."""
    rows, columns = operator.shape
    matrix = np.empty((rows, columns))
    start = 0
    for block in operator.blocks64(1024):
        matrix[:, start : start + block.shape[1]] = block
        start += block.shape[1]
    return matrix


def _formed(operator: LinearOperator, request: Request) -> Values | None:
    """By its columns: with the rounding of its products where that is known, else as an estimate."""
    wide = operator.wide()
    rows, columns = wide.shape
    if rows > FORMED_SIDE or rows * columns > FORMED_ENTRIES:
        return None
    if wide.rounding is None:
        return _black_box(wide)
    moved, exponent = centered(wide)
    known = moved.rounding
    if known is None or known.norm == 0:
        return zeros(rows)
    found, _ = _of_gram(gram_matrix(moved), request, SINGLE, dense=isinstance(operator, Sum))
    return found.times(exponent)


def _black_box(wide: LinearOperator) -> Values:
    rows, columns = wide.shape
    matrix = np.asarray(wide.rmatmat(np.eye(rows)), dtype=np.float64)
    nan, inf = int(np.isnan(matrix).sum()), int(np.isinf(matrix).sum())
    if nan or inf:
        raise UndefinedNorm(nan, inf)
    sigma = np.asarray(np.linalg.svd(matrix, compute_uv=False), dtype=np.float64)
    resolution = 4 * SINGLE * math.sqrt(columns) * float(sigma[0])
    return Values(sigma, "svd", resolution=resolution)


def _diagonal(operator: LinearOperator, request: Request) -> Values:  # noqa: ARG001
    """|dᵢ|, each known to `relative`."""
    assert isinstance(operator, Diagonal)
    sizes = np.sort(np.abs(operator.values))[::-1]
    slack = 2 * operator.relative
    return Values(sizes, "diagonal", down_each(sizes * (1 - slack)), up_each(sizes * (1 + slack)), epsilon=DOUBLE)


def _near(operator: LinearOperator, request: Request) -> Values | None:
    assert isinstance(operator, Near)
    found = singular_values(operator.operator, request)
    return None if found is None else found.moved(operator.relative, operator.absolute)


def _adjoint(operator: LinearOperator, request: Request) -> Values | None:
    assert isinstance(operator, Adjoint)
    return singular_values(operator.operator, request)


def _scaled(operator: LinearOperator, request: Request) -> Values | None:
    assert isinstance(operator, Scaled)
    found = singular_values(operator.operator, request)
    return None if found is None else found.scaled(abs(operator.factor))


def _block_diagonal(operator: LinearOperator, request: Request) -> Values | None:
    assert isinstance(operator, BlockDiagonal)
    found = [singular_values(part, request) for part in operator.parts]
    known = [part for part in found if part is not None]
    return together(known, min(operator.shape)) if len(known) == len(found) else None


def _thin(operator: LinearOperator, request: Request) -> Values | None:
    assert isinstance(operator, ThinProduct)
    found = cores.of_thin(operator)
    return _formed(operator, request) if found is None else found


def _convolution(operator: LinearOperator, request: Request) -> Values | None:
    assert isinstance(operator, Convolution)
    operator.require_finite()
    if not operator.kernel.any():
        known = operator.geometry.size is not None
        return zeros(min(operator.shape)) if known else None
    return convolved.of_convolution(operator, request, _formed, _stored)


RULES: tuple[tuple[type[LinearOperator], Rule], ...] = (
    (StoredMatrix, _stored),
    (ThinProduct, _thin),
    (Convolution, _convolution),
    (BareKernel, lambda *_: None),
    (Diagonal, _diagonal),
    (Near, _near),
    (Adjoint, _adjoint),
    (Scaled, _scaled),
    (BlockDiagonal, _block_diagonal),
)
"""Kind of operator → how its values are found; the first that fits."""
