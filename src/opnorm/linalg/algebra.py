"""Operators made of operators, each beside its norm law. Nothing is multiplied out.

Errors compose as norms do: if each part states ‖fl(AX) − AX‖_F ≤ c‖X‖_F and ‖A‖ ≤ N, so does the whole.
"""

from __future__ import annotations

import math

import numpy as np

from opnorm.errors import UnsupportedInput, UsageError
from opnorm.linalg.operator import Block, LinearOperator, Rounding
from opnorm.linalg.rounding import UNIT, Float64, gamma, up


class Product(LinearOperator):
    """A·B. Law: ‖AB‖ ≤ ‖A‖‖B‖.

    Error: fl(A fl(BX)) − ABX = [fl(AY) − AY] + A[Y − BX] with Y = fl(BX), hence
    c = c_A(N_B + c_B) + N_A c_B.
    """

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        if left.shape[1] != right.shape[0]:
            raise UsageError(
                f"cannot multiply {left!r} by {right!r}: {left.shape[1]} columns meet {right.shape[0]} rows"
            )
        super().__init__(left.codomain, right.domain)
        self.left, self.right = left, right

    @property
    def parts(self) -> tuple[LinearOperator, ...]:
        """See `LinearOperator.parts`."""
        return (self.left, self.right)

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        return self.left.matmat(self.right.matmat(block))

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        return self.right.rmatmat(self.left.rmatmat(block))

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        return self.left.matmat64(self.right.matmat64(block))

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        return self.right.rmatmat64(self.left.rmatmat64(block))

    @property
    def rounding(self) -> Rounding | None:
        """See `LinearOperator.rounding`."""
        a, b = self.left.rounding, self.right.rounding
        if a is None or b is None:
            return None
        return Rounding(
            up(a.norm * b.norm),
            up(a.forward * (b.norm + b.forward) + a.norm * b.forward, 8),
            up(b.adjoint * (a.norm + a.adjoint) + b.norm * a.adjoint, 8),
        )


class Sum(LinearOperator):
    """A + B + …. Law: ‖A + B‖ ≤ ‖A‖ + ‖B‖. Error: c = Σc_i + γ_k·Σ(N_i + c_i) for k terms."""

    def __init__(self, *terms: LinearOperator) -> None:
        if not terms or len({t.shape for t in terms}) > 1:
            raise UsageError(f"cannot add {', '.join(map(repr, terms)) or 'nothing'}: shapes must agree")
        super().__init__(terms[0].codomain, terms[0].domain)
        self.terms = terms

    @property
    def parts(self) -> tuple[LinearOperator, ...]:
        """See `LinearOperator.parts`."""
        return self.terms

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        return _total([t.matmat(block) for t in self.terms])

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        return _total([t.rmatmat(block) for t in self.terms])

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        return _total([t.matmat64(block) for t in self.terms])

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        return _total([t.rmatmat64(block) for t in self.terms])

    @property
    def rounding(self) -> Rounding | None:
        """See `LinearOperator.rounding`."""
        parts = [t.rounding for t in self.terms]
        known = [p for p in parts if p is not None]
        if len(known) < len(parts):
            return None
        roundings, extra = 2 * len(known) + 8, gamma(len(known))
        norm = math.fsum(p.norm for p in known)
        forward = math.fsum(p.forward for p in known)
        adjoint = math.fsum(p.adjoint for p in known)
        return Rounding(
            up(norm),
            up(forward + extra * (norm + forward), roundings),
            up(adjoint + extra * (norm + adjoint), roundings),
        )


class Scaled(LinearOperator):
    """s·A. Law: ‖sA‖ = |s|‖A‖. Error: c = |s|(c_A + u(N_A + c_A)); the last term absent for s = ±2^k."""

    def __init__(self, operator: LinearOperator, factor: float) -> None:
        if not math.isfinite(factor):
            raise UsageError(f"cannot scale an operator by {factor!r}: the factor must be a finite number")
        super().__init__(operator.codomain, operator.domain)
        self.operator, self.factor = operator, float(factor)

    @property
    def parts(self) -> tuple[LinearOperator, ...]:
        """See `LinearOperator.parts`."""
        return (self.operator,)

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        return self.factor * self.operator.matmat(block)

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        return self.factor * self.operator.rmatmat(block)

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        return self.factor * self.operator.matmat64(block)

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        return self.factor * self.operator.rmatmat64(block)

    @property
    def rounding(self) -> Rounding | None:
        """See `LinearOperator.rounding`."""
        inner, size = self.operator.rounding, abs(self.factor)
        if inner is None:
            return None
        unit = 0.0 if size == 0 or math.frexp(size)[0] == 0.5 else UNIT
        return Rounding(
            up(size * inner.norm),
            up(size * (inner.forward + unit * (inner.norm + inner.forward)), 8),
            up(size * (inner.adjoint + unit * (inner.norm + inner.adjoint)), 8),
        )


class BlockDiagonal(LinearOperator):
    """diag(A₁, A₂, …). Law: ‖diag(A_i)‖ = max ‖A_i‖. Error: c = max c_i."""

    def __init__(self, *parts: LinearOperator) -> None:
        if not parts:
            raise UsageError("a block-diagonal operator needs at least one block")
        super().__init__((sum(p.shape[0] for p in parts),), (sum(p.shape[1] for p in parts),))
        self._blocks = parts
        self._rows = np.cumsum([p.shape[0] for p in parts])[:-1]
        self._columns = np.cumsum([p.shape[1] for p in parts])[:-1]

    @property
    def parts(self) -> tuple[LinearOperator, ...]:
        """See `LinearOperator.parts`."""
        return self._blocks

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        pieces = np.split(block, self._columns)
        return np.concatenate([p.matmat(x) for p, x in zip(self._blocks, pieces, strict=True)])

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        pieces = np.split(block, self._rows)
        return np.concatenate([p.rmatmat(x) for p, x in zip(self._blocks, pieces, strict=True)])

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        pieces = np.split(block, self._columns)
        return np.concatenate([p.matmat64(x) for p, x in zip(self._blocks, pieces, strict=True)])

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        pieces = np.split(block, self._rows)
        return np.concatenate([p.rmatmat64(x) for p, x in zip(self._blocks, pieces, strict=True)])

    @property
    def rounding(self) -> Rounding | None:
        """See `LinearOperator.rounding`."""
        known = [r for p in self._blocks if (r := p.rounding) is not None]
        if len(known) < len(self._blocks):
            return None
        return Rounding(max(r.norm for r in known), max(r.forward for r in known), max(r.adjoint for r in known))


def low_rank_update(
    weight: LinearOperator, up_factor: LinearOperator, down_factor: LinearOperator, scale: float = 1.0
) -> LinearOperator:
    """W + s·B·A with thin B (`up_factor`) and A (`down_factor`): a LoRA-adapted weight, never formed."""
    return weight + scale * (up_factor @ down_factor)


def _total(images: list[Block]) -> Block:
    if len({i.shape for i in images}) > 1:
        raise UnsupportedInput("the terms of a sum returned blocks of different shapes")
    total = images[0]
    for image in images[1:]:
        total = total + image
    return total
