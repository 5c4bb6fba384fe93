"""Products of thin factors, AᵀB with A (k×m) and B (k×n) of few rows, measured from k×k cores and never formed.

With G_A = AAᵀ and G_B = BBᵀ, ‖AᵀB‖² = λ_max(BᵀG_A B). For any k×k matrix L let e_A ≥ ‖LLᵀ − G_A‖ and
e_B ≥ ‖Ĝ_B − G_B‖. Then, as ‖BᵀEB‖ ≤ ‖E‖‖B‖² and λ_max moves by at most the norm of what is added (Weyl),

    |‖AᵀB‖² − λ_max(BᵀLLᵀB)| ≤ e_A‖B‖²,   λ_max(BᵀLLᵀB) = ‖LᵀB‖² = λ_max(LᵀG_B L),
    |λ_max(LᵀG_B L) − λ_max(LᵀĜ_B L)| ≤ e_B‖L‖².

L is a square root of Ĝ_A by eigenvectors, which exists for singular Ĝ_A too; its residual Ĝ_A − LLᵀ is computed, so
that nothing is assumed of it. The two ends of λ_max of the k×k matrix H = LᵀĜ_B L are a Rayleigh quotient and an
eigenvector congruence (`opnorm.linalg.rounding.psd_norm_up`). Guarantee: PROVED, every rounding included.

Cost: one read of A and B, k²(m + n) multiplications and a few eigendecompositions of side k. Width: about
n·2⁻⁵³·‖A‖_F²‖B‖²/‖AᵀB‖², 1e-10 for weights; where A and B all but annihilate each other, the general plan goes on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from opnorm.bound import Bound
from opnorm.errors import UsageError
from opnorm.linalg.algebra import Product
from opnorm.linalg.centering import centered, scaled_back
from opnorm.linalg.gram import gram_matrix
from opnorm.linalg.operator import Block, LinearOperator, Rounding
from opnorm.linalg.request import Found, Request, proved, relative_width, shortfall
from opnorm.linalg.rounding import (
    TINY,
    UNIT,
    Float64,
    down,
    frobenius_up,
    gamma,
    psd_norm_quick,
    psd_norm_up,
    up,
)
from opnorm.linalg.stored import StoredMatrix

METHOD = "thin"


class ThinProduct(Product):
    """factor·AᵀB/√root for a thin A (k×m) and B (k×n)."""

    def __init__(self, left: LinearOperator, right: LinearOperator, *, factor: float = 1.0, root: int = 1) -> None:
        if root < 1 or not math.isfinite(factor):
            raise UsageError(
                f"a product of thin factors cannot be multiplied by {factor!r}/√{root}: give a finite factor and a "
                "whole number from 1 on"
            )
        super().__init__(left.T, right)
        self.factor, self.root = float(factor), root
        self.factors = (left, right)

    @property
    def gain(self) -> float:
        """factor/√root, within 4 roundings."""
        return self.factor / math.sqrt(self.root)

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        return self._scaled(super().matmat(block))

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        return self._scaled(super().rmatmat(block))

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        return self._scaled(super().matmat64(block))

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        return self._scaled(super().rmatmat64(block))

    @property
    def rounding(self) -> Rounding | None:
        """See `LinearOperator.rounding`; the gain and its product round four times in all."""
        inner, size = super().rounding, abs(self.gain)
        if inner is None or self.gain == 1:
            return inner
        forward, adjoint = (up(size * (c + 6 * UNIT * (inner.norm + c)), 8) for c in (inner.forward, inner.adjoint))
        return Rounding(up(size * inner.norm, 8), forward, adjoint)

    def own_bounds(self, request: Request) -> Found | None:
        """From the cores; joined by the general plan where they are too coarse. None for black boxes."""
        if 0 in self.shape or any(f.rounding is None for f in _checked(self.factors)):
            return None
        (left, left_exponent), (right, right_exponent) = (centered(f) for f in self.factors)
        exponent, product = left_exponent + right_exponent, Product(left.T, right)
        if product.rounding is not None and product.rounding.norm == 0:
            return Found((proved("lower", 0.0, "zero"), proved("upper", 0.0, "zero")), "zero", 1)
        core = core_of(left, right)
        bounds = core.bounds()
        found = Found(bounds, METHOD, 1, frobenius=core.frobenius(product.shape))
        if relative_width(bounds) > request.width:
            found = _joined(bounds, product, request)
        return self._in_own_units(found, exponent)

    def _in_own_units(self, found: Found, exponent: int) -> Found:
        size, power = math.frexp(abs(self.factor))
        scaled = (scaled_back(_times(b, size, self.root), exponent + power) for b in found.bounds)
        frobenius = None
        if found.frobenius is not None:
            frobenius = _moved(found.frobenius * size / math.sqrt(self.root), exponent + power)
        return replace(found, bounds=tuple(b for b in scaled if b is not None), frobenius=frobenius)

    def _scaled(self, image: Block) -> Block:
        return image if self.gain == 1 else image * self.gain


@dataclass(frozen=True, slots=True)
class _Core:
    """H with |‖AᵀB‖² − λ_max(H)| ≤ error, H symmetric."""

    matrix: Float64
    error: float

    def bounds(self) -> tuple[Bound, Bound]:
        """Both ends of ‖AᵀB‖."""
        most = psd_norm_up(self.matrix)
        vector = np.linalg.eigh(self.matrix)[1][:, -1]
        quotient = float(vector @ (self.matrix @ vector)) / float(vector @ vector)
        error = up(self.error + gamma(2 * len(vector) + 8) * frobenius_up(self.matrix) * 2)
        least = math.sqrt(down(max(quotient - error, 0.0), 8))
        return proved("lower", down(least), METHOD), proved("upper", up(math.sqrt(up(most + self.error))), METHOD)

    def frobenius(self, shape: tuple[int, int]) -> float | None:
        """‖AᵀB‖_F = √tr H, where it is as good as a sum over the formed entries would be."""
        trace = float(np.trace(self.matrix))
        return math.sqrt(trace) if len(self.matrix) * self.error <= gamma(math.prod(shape)) * trace else None


def core_of(left: LinearOperator, right: LinearOperator) -> _Core:
    """The core of AᵀB, from the Gram matrices of its factors."""
    a, b = gram_matrix(left), gram_matrix(right)
    size = len(a.matrix)
    values, vectors = np.linalg.eigh(a.matrix)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    residual = up(_residual(a.matrix, root) + a.error, 4)
    square = _square_up(root)
    core = root.T @ b.matrix @ root
    length = frobenius_up(root)
    products = gamma(2 * size + 8) * length**2 * frobenius_up(b.matrix) + 4 * size**3 * (1 + length) ** 2 * TINY
    largest = up(psd_norm_quick(b.matrix) + b.error)
    return _Core((core + core.T) / 2, up(residual * largest + b.error * square + products, 16))


def _residual(matrix: Float64, root: Float64) -> float:
    """An upper bound on ‖M − LLᵀ‖."""
    size = len(root)
    rounding = gamma(size + 3) * (frobenius_up(matrix) + frobenius_up(root) ** 2) + size * size * TINY
    return up(frobenius_up(matrix - root @ root.T) + rounding, 8)


def _square_up(root: Float64) -> float:
    """An upper bound on ‖L‖²."""
    size = len(root)
    product = root @ root.T
    return up(psd_norm_quick(product) + gamma(size) * frobenius_up(root) ** 2 + size * size * TINY, 8)


def _joined(bounds: tuple[Bound, ...], product: Product, request: Request) -> Found:
    from opnorm.linalg.measure import measure_operator

    general = measure_operator(product, request)
    every = (*bounds, *general.bounds)
    note = shortfall(every, request, general.note or "the factors all but annihilate each other")
    return Found(every, general.method, 1 + general.passes, note)


def _checked(factors: tuple[LinearOperator, LinearOperator]) -> tuple[LinearOperator, LinearOperator]:
    """The factors, once `UndefinedNorm` was raised for one with a NaN or an infinity."""
    for factor in factors:
        if isinstance(factor, StoredMatrix):
            factor.entrywise()
    return factors


def _times(bound: Bound, size: float, root: int) -> Bound:
    """The bound times size/√root, rounded outward."""
    value = bound.value * size / math.sqrt(root)
    return replace(bound, value=down(value) if bound.side == "lower" else up(value))


def _moved(value: float, exponent: int) -> float | None:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return None
