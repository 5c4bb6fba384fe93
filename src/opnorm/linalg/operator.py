"""The linear operator: two verbs on blocks of vectors, and what their rounding costs.

An operator A: R^domain → R^codomain gives `matmat` (A·X) and `rmatmat` (Aᵀ·X) on host arrays of vectors,
in the precision of its own framework. Where it also knows its float64 products and their rounding
(`matmat64`, `rmatmat64`, `rounding`), bounds on it can be PROBABLE or PROVED; without, an ESTIMATE.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import UnsupportedInput
from opnorm.linalg.rounding import Float64, up

if TYPE_CHECKING:
    from opnorm.linalg.entrywise import Entrywise
    from opnorm.linalg.request import Found, Request

Block = NDArray[Any]
"""A host array (n, k): k vectors side by side, float32 or float64."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """What is proved about an operator's float64 products.

    norm: an upper bound on ‖A‖₂. forward: c with ‖fl(Ax) − Ax‖ ≤ c‖x‖ for every column x of a float64 block,
    hence ‖fl(AX) − AX‖_F ≤ c‖X‖_F; adjoint: the same for Aᵀ. All over the stored weights, in exact arithmetic,
    for norms within 2^±200 (`opnorm.linalg.measure` sees to it).
    """

    norm: float
    forward: float
    adjoint: float

    @property
    def gram(self) -> float:
        """c with ‖fl(A fl(AᵀX)) − AAᵀX‖_F ≤ c‖X‖_F."""
        return up(self.forward * (self.norm + self.adjoint) + self.norm * self.adjoint, 8)

    @property
    def transposed(self) -> Rounding:
        """The same for Aᵀ."""
        return Rounding(self.norm, self.adjoint, self.forward)


class LinearOperator(ABC):
    """A: R^domain → R^codomain. Subclasses give `matmat` and `rmatmat`; all else follows.

    `domain` and `codomain` are shapes of tensors, such as (64, 56, 56); blocks hold them flattened.
    """

    def __init__(self, codomain: tuple[int, ...], domain: tuple[int, ...]) -> None:
        self.codomain = codomain
        self.domain = domain

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns): the sizes of codomain and domain."""
        return math.prod(self.codomain), math.prod(self.domain)

    @abstractmethod
    def matmat(self, block: Block) -> Block:
        """A·X for X of shape (columns, k), in the operator's own precision; returns a host array."""

    @abstractmethod
    def rmatmat(self, block: Block) -> Block:
        """Aᵀ·X for X of shape (rows, k), in the operator's own precision; returns a host array."""

    @property
    def rounding(self) -> Rounding | None:
        """What is proved about `matmat64` and `rmatmat64`; None for a black box."""
        return None

    @property
    def parts(self) -> tuple[LinearOperator, ...]:
        """The operators that this one is made of, one level down."""
        return ()

    def matmat64(self, block: Float64) -> Float64:  # noqa: ARG002
        """A·X in float64, with the error that `rounding` states."""
        raise UnsupportedInput(f"{self!r} has no float64 products of known rounding")

    def rmatmat64(self, block: Float64) -> Float64:  # noqa: ARG002
        """Aᵀ·X in float64, with the error that `rounding` states."""
        raise UnsupportedInput(f"{self!r} has no float64 products of known rounding")

    def gram(self, block: Block) -> Block:
        """A(AᵀX) in the operator's own precision: one pass over the weights where they can be fused."""
        return self.matmat(self.rmatmat(block))

    def gram64(self, block: Float64) -> Float64:
        """A(AᵀX) in float64; the error is at most `rounding.gram`·‖X‖_F in the Frobenius norm."""
        return self.matmat64(self.rmatmat64(block))

    def blocks64(self, width: int) -> Iterator[Float64]:
        """Column blocks fl(A·E_j) of at most `width` columns; together within forward·√columns of A."""
        columns = self.shape[1]
        for start in range(0, columns, width):
            stop = min(start + width, columns)
            unit = np.zeros((columns, stop - start))
            unit[np.arange(start, stop), np.arange(stop - start)] = 1.0
            yield self.matmat64(unit)

    def entrywise(self) -> Entrywise | None:
        """One-pass bounds from the entries, where there are stored entries to read."""
        return None

    def own_bounds(self, request: Request) -> Found | None:  # noqa: ARG002
        """Bounds by a theorem about this kind of operator, in its own units; None: the general plan is followed.

        An operator that answers here may have no products at all (a convolution of any input size).
        """
        return None

    @property
    def columns_are_cheap(self) -> bool:
        """Whether all columns can be had for the price of a few passes, and without cancellation."""
        return False

    def rescaled(self, exponent: int) -> LinearOperator:
        """2^exponent·A."""
        from opnorm.linalg.algebra import Scaled

        return self if exponent == 0 else Scaled(self, math.ldexp(1.0, exponent))

    def wide(self) -> LinearOperator:
        """A or Aᵀ, whichever has its short side as rows. Both have the same norm."""
        rows, columns = self.shape
        return self if rows <= columns else self.T

    @property
    def T(self) -> LinearOperator:
        """The adjoint Aᵀ; ‖Aᵀ‖ = ‖A‖."""
        return Adjoint(self)

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        from opnorm.linalg.algebra import Product

        return Product(self, other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        from opnorm.linalg.algebra import Sum

        return Sum(self, other)

    def __mul__(self, factor: float) -> LinearOperator:
        from opnorm.linalg.algebra import Scaled

        return Scaled(self, factor)

    __rmul__ = __mul__

    def __neg__(self) -> LinearOperator:
        return self * -1.0

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return self + -other

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'×'.join(map(str, self.shape))})"


class Adjoint(LinearOperator):
    """Aᵀ of an operator that has no cheaper transpose of its own. Law: ‖Aᵀ‖ = ‖A‖."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.domain, operator.codomain)
        self.operator = operator

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        return self.operator.rmatmat(block)

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        return self.operator.matmat(block)

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        return self.operator.rmatmat64(block)

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        return self.operator.matmat64(block)

    @property
    def rounding(self) -> Rounding | None:
        """See `LinearOperator.rounding`."""
        inner = self.operator.rounding
        return None if inner is None else inner.transposed

    @property
    def parts(self) -> tuple[LinearOperator, ...]:
        """See `LinearOperator.parts`."""
        return (self.operator,)

    @property
    def T(self) -> LinearOperator:
        """See `LinearOperator.T`."""
        return self.operator


class FunctionOperator(LinearOperator):
    """An operator given only by functions on tensors. Its rounding is unknown: at most an ESTIMATE.

    `apply` maps an array (*domain, k) to (*codomain, k); `apply_adjoint` the other way, and must be the
    exact adjoint (check with `adjoint_defect`).
    """

    def __init__(
        self,
        codomain: int | tuple[int, ...],
        domain: int | tuple[int, ...],
        apply: Callable[[Block], Any],
        apply_adjoint: Callable[[Block], Any],
    ) -> None:
        super().__init__(_shape(codomain), _shape(domain))
        self._apply = apply
        self._apply_adjoint = apply_adjoint

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        return self._call(self._apply, block, self.domain, self.codomain)

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        return self._call(self._apply_adjoint, block, self.codomain, self.domain)

    def _call(
        self, function: Callable[[Block], Any], block: Block, source: tuple[int, ...], target: tuple[int, ...]
    ) -> Block:
        vectors = block.shape[1]
        image = np.asarray(function(block.reshape(*source, vectors)))
        if image.shape != (*target, vectors):
            raise UnsupportedInput(
                f"the operator's function returned shape {image.shape}; it must return {(*target, vectors)} "
                f"for an input of shape {(*source, vectors)}"
            )
        return image.reshape(-1, vectors)


def adjoint_defect(operator: LinearOperator, seed: int = 0) -> float:
    """|⟨AX, Y⟩ − ⟨X, AᵀY⟩| relative to ‖AX‖‖Y‖ for one random pair: about 1e-16 (or the working
    precision) for a true adjoint, about 1 for a wrong one. An estimate, for tests and for users' own
    operators.
    """  # fmt: skip
    rng = np.random.default_rng(seed)
    rows, columns = operator.shape
    x, y = rng.standard_normal((columns, 1)), rng.standard_normal((rows, 1))
    image, preimage = operator.matmat(x), operator.rmatmat(y)
    scale = float(np.linalg.norm(image) * np.linalg.norm(y)) or 1.0
    return abs(float(np.vdot(image, y)) - float(np.vdot(x, preimage))) / scale


def _shape(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)
