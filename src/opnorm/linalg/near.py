"""An operator known by one close to it.

If A = D₁ÂD₂ + E with diagonal D₁, D₂ whose entries have products within `relative` of 1 and ‖E‖ ≤ `absolute`, then
(1 − relative)‖Â‖ − absolute ≤ ‖A‖ ≤ (1 + relative)‖Â‖ + absolute: every bound on ‖Â‖ gives one on ‖A‖, of the same
evidence. Used where scales are rounded once so that the products with them are exact.
"""

from __future__ import annotations

import math
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
        moved = (self._moved(bound) for bound in near.bounds)
        return Found(tuple(b for b in moved if b is not None), near.method, near.passes, near.note, near.frobenius)

    def _moved(self, bound: Bound) -> Bound | None:
        if bound.side == "upper":
            value = up(bound.value * (1 + self.relative) + self.absolute, 8)
            return replace(bound, value=value) if math.isfinite(value) else None
        return replace(bound, value=down(max(down(bound.value * (1 - self.relative), 4) - self.absolute, 0.0), 4))
