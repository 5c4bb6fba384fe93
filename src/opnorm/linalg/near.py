"""An operator known by one close to it.

If A = D₁ÂD₂ + E with |1 − D₁D₂| no larger than `relative` and ‖E‖ ≤ `absolute`, then
(1 − relative)‖Â‖ − absolute ≤ ‖A‖ ≤ (1 + relative)‖Â‖ + absolute: every bound on ‖Â‖ gives one on ‖A‖, of the same
evidence. Used where scales are rounded once so that the products with them are exact.
"""

from __future__ import annotations

from dataclasses import replace

from opnorm.bound import Bound
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.operator import Block, LinearOperator
from opnorm.linalg.request import Found, Request
from opnorm.linalg.rounding import down, up


class Near(LinearOperator):
    """The A of the head of this file. Its products are Â's and have no stated rounding: only its norm is bounded."""

    def __init__(self, operator: LinearOperator, *, relative: float, absolute: float = 0.0) -> None:
        super().__init__(operator.codomain, operator.domain)
        self.operator, self.relative, self.absolute = operator, relative, absolute

    @property
    def parts(self) -> tuple[LinearOperator, ...]:
        """See `LinearOperator.parts`."""
        return (self.operator,)

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        return self.operator.matmat(block)

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        return self.operator.rmatmat(block)

    def own_bounds(self, request: Request) -> Found:
        """The bounds on ‖Â‖, each moved outward."""
        near = measure_operator(self.operator, request)
        bounds = tuple(self._moved(bound) for bound in near.bounds)
        return Found(bounds, near.method, near.passes, near.note, near.frobenius)

    def _moved(self, bound: Bound) -> Bound:
        if bound.side == "upper":
            return replace(bound, value=up(bound.value * (1 + self.relative) + self.absolute, 8))
        return replace(bound, value=down(max(down(bound.value * (1 - self.relative), 4) - self.absolute, 0.0), 4))
