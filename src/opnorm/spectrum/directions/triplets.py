"""The top singular triplets of an operator: values with the vectors on both sides, as estimates.

A short side of at most `EXACT_SIDE`: eigenvectors of AAᵀ in float64. Else block Lanczos on AAᵀ in the weights' own
precision (`opnorm.linalg.lanczos`; Musco and Musco, *Randomized Block Krylov Methods*, 2015), until the residuals of
the wanted pairs are small or `PASSES` are made. Then one product gives the other side, and a small SVD makes both
orthonormal. A vector is only as certain as its singular value is apart from the next: by Davis and Kahan (1970) its
angle to the true one is at most about residual/gap, and `settled` says where that is small.

Guarantee: none; an estimate. Cost: m²n + one eigendecomposition, or a few passes of `BLOCK` columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from opnorm.errors import UndefinedNorm
from opnorm.linalg.centering import centered
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.near import Near
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import Float64
from opnorm.linalg.start import start_block
from opnorm.linalg.stored import StoredMatrix

EXACT_SIDE = 512
BLOCK = 16
PASSES = 24
FIRST_LOOK = 4
RESIDUAL = 1e-5
"""Relative to σ₁²: float32 products leave 3e-7."""

SETTLED = 0.1
"""The largest angle, in radians, at which a vector counts as found."""

NEGLIGIBLE = 1e-10
"""Singular values below this share of the largest are rounding noise, and have no vectors."""


@dataclass(frozen=True, slots=True)
class Triplets:
    """A ≈ left·diag(values)·rightᵀ with orthonormal columns. values: descending, all above 0; none for a zero operator.

    settled: for each, whether its vectors are found to within `SETTLED`.
    """

    left: Float64
    values: Float64
    right: Float64
    settled: tuple[bool, ...]

    @property
    def T(self) -> Triplets:
        """The same for Aᵀ."""
        return Triplets(self.right, self.values, self.left, self.settled)

    def flipped(self, signs: Float64) -> Triplets:
        """Each pair of vectors times its sign."""
        return Triplets(self.left * signs, self.values, self.right * signs, self.settled)


def top_triplets(operator: LinearOperator, k: int, seed: int = 0) -> Triplets:
    """The k largest, fewer where the rank is lower. Raises `UndefinedNorm` for a NaN or an infinity."""
    operator = plain(operator)
    rows, columns = operator.shape
    if 0 in operator.shape or k < 1:
        return Triplets(np.zeros((rows, 0)), np.zeros(0), np.zeros((columns, 0)), ())
    if rows > columns:
        return top_triplets(operator.T, k, seed).T
    wide, exponent = centered(operator)
    k = min(k, rows)
    basis, settled = _exact(wide, k) if rows <= EXACT_SIDE else _by_lanczos(wide, k, seed)
    return _completed(wide, basis, settled, exponent)


def plain(operator: LinearOperator) -> LinearOperator:
    """The operator whose products are computed: that of a `Near` one differs by its rounding alone."""
    return plain(operator.operator) if isinstance(operator, Near) else operator


def _exact(wide: LinearOperator, k: int) -> tuple[Float64, tuple[bool, ...]]:
    from scipy.linalg import eigh

    rows = wide.shape[0]
    gram = _gram(wide)
    _require_finite(gram)
    more = min(rows, k + 1)
    values, vectors = eigh((gram + gram.T) / 2, subset_by_index=[rows - more, rows - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = np.full(more, 4 * rows * np.finfo(np.float64).eps * abs(values[0]))
    return vectors[:, :k], _settled(values, noise, k)


def _gram(wide: LinearOperator) -> Float64:
    rows = wide.shape[0]
    if not isinstance(wide, StoredMatrix):
        return np.asarray(wide.gram(np.eye(rows)), dtype=np.float64)
    gram = np.zeros((rows, rows))
    for block in wide.blocks64():
        gram += block @ block.T
    return gram


def _by_lanczos(wide: LinearOperator, k: int, seed: int) -> tuple[Float64, tuple[bool, ...]]:
    rows = wide.shape[0]
    lanczos = BlockLanczos(wide.gram, start_block(rows, min(max(BLOCK, k + 4), rows), seed))
    while True:
        lanczos.step()
        if (lanczos.passes < FIRST_LOOK or lanczos.passes % 2) and not lanczos.spent(PASSES):
            continue  # looking costs about as much as a pass
        _require_finite(lanczos.projection)
        values, vectors = np.linalg.eigh(lanczos.projection)
        values, vectors = values[::-1], vectors[:, ::-1]
        last = lanczos.coupling.shape[1]
        residuals = np.linalg.norm(lanczos.coupling @ vectors[len(vectors) - last :, : k + 1], axis=0)
        if lanczos.spent(PASSES) or residuals[:k].max() <= RESIDUAL * values[0]:
            break
    residuals += RESIDUAL * values[0] / 100
    return lanczos.basis @ vectors[:, :k], _settled(values, residuals, k)


def _settled(values: Float64, residuals: Float64, k: int) -> tuple[bool, ...]:
    """Whether residual/gap is small, for each of the first k."""
    gaps = np.abs(np.diff(values[: k + 1], append=-math.inf if len(values) <= k else values[k + 1 : k + 2]))
    nearest = np.minimum(gaps, np.concatenate([[math.inf], gaps[:-1]]))
    return tuple(bool(r <= SETTLED * gap) for r, gap in zip(residuals[:k], nearest, strict=False))


def _completed(wide: LinearOperator, basis: Float64, settled: tuple[bool, ...], exponent: int) -> Triplets:
    image = np.asarray(wide.rmatmat(basis), dtype=np.float64)
    _require_finite(image)
    right, values, turn = np.linalg.svd(image, full_matrices=False)
    kept = values > NEGLIGIBLE * values.max(initial=0.0)
    left = basis @ turn.T
    with np.errstate(over="ignore"):
        size = np.minimum(np.ldexp(values, exponent), np.finfo(np.float64).max)
    flags = tuple(flag for flag, keep in zip(settled, kept, strict=True) if keep)
    return Triplets(left[:, kept], size[kept], right[:, kept], flags)


def _require_finite(block: Float64) -> None:
    if not np.isfinite(block).all():
        raise UndefinedNorm(int(np.isnan(block).sum()), int(np.isinf(block).sum()))
